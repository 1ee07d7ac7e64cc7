"""What a user can mend: every such error is one line that names the file or key, what is wrong and the way out."""


class UserError(ValueError):
    """Wrong input; the command line prints the message and ends with exit code 2."""
