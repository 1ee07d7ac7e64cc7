"""Commands of the command line, one file each; what they decide stands in the other rooms."""
