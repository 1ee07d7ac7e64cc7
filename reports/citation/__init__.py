"""What a paper about a run must state: BibTeX of everything used, a methods paragraph, and reporting checklists."""
