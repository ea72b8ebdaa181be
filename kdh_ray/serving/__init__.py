"""A classifier behind HTTP: an API and a page, on this machine or on Ray Serve."""
