"""HTML pages and headlines."""
