"""Metrics, decision thresholds, tests of significance, and the linear models that a classifier must beat."""
