"""Models behind a small web page and an HTTP API, which listen on this machine alone unless told otherwise."""
