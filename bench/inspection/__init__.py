"""Inspection of runs, models, weights, and this machine."""
