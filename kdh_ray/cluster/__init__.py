"""Ray for a run: a local Ray or a running cluster, its machines, and jobs submitted to it from a laptop."""
