"""``bench tune``: hyper-parameters chosen inside each fold, on its validation part alone, with one budget for all models."""
