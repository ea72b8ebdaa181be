"""Ray for one run: local or joined, its machines, and jobs submitted to it from elsewhere."""
