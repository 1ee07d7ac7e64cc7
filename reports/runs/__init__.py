"""The format of a run folder, and what is read from it."""
