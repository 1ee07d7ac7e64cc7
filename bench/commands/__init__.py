"""Commands of the command line, one file each: they turn options into a request and pass it to another room."""
