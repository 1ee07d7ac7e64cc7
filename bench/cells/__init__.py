"""One cell: its encodings, its key, the timed fit and the timed prediction."""
