"""Studies: several data sets, suites, variants and seeds as one plan."""
