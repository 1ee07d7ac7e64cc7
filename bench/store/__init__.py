"""The run folder and its lock."""
