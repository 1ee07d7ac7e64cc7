"""Explanations: heat maps, and tests of whether they mean anything."""
