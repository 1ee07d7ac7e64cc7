"""Suites, search spaces and the contract of a model."""
