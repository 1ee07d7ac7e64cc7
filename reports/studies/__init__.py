"""Several runs as one study: what variants, seeds and another data set change."""
