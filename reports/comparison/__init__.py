"""Differences between models, data sets and runs, and what can be claimed of them."""
