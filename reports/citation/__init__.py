"""What a paper about a run must say: BibTeX of everything used, a methods paragraph, and reporting checklists."""
