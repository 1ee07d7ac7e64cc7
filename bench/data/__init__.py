"""Everything before the first cell: images, splits, pictures, checks."""
