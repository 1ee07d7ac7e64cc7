"""The hub: command line, suites, the plan of cells, running them, and the run folder."""

__version__ = "0.1.0"
