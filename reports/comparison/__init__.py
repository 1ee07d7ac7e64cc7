"""Differences between models, data sets and runs, and their statistical tests."""
