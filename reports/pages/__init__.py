"""HTML pages, and headlines in words."""
