"""A checkpoint behind HTTP, in this process or on Ray Serve. The API and the page are ``kdh_runtime.serving``."""
