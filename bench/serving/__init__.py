"""Models behind a small web page and an HTTP API, for one machine and nobody else unless told otherwise."""
