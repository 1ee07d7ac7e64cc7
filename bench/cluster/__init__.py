"""Cells on more than one machine, as tasks on Dask distributed."""
