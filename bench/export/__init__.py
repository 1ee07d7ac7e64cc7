"""Exported models and the final test."""
