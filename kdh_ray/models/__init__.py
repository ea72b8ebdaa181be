"""Encoders, the classifier on top of them, and their checkpoints."""
