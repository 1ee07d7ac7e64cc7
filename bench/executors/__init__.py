"""Cells one after another, or in processes of this machine."""
