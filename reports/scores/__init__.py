"""Metrics of stored predictions."""
