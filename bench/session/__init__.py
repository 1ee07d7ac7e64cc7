"""One run, from what was asked for to the exit code."""
