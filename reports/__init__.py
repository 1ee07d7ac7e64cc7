"""Results as data frames, metrics, tables, figures and one offline HTML page, from a run folder alone."""
