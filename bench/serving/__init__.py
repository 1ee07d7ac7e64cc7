"""Models behind a small web page and an HTTP API, which listen on this machine only unless configured otherwise."""
