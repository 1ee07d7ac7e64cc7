"""Tables as data frames and as files."""
