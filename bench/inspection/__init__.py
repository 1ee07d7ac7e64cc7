"""Questions to what is there: runs, models, weights, this machine."""
