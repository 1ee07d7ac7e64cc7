"""Commands of the command line, one file each: they turn options into a request and hand it to another room."""
