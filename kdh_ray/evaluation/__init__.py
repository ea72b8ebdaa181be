"""How good a classifier is: metrics, decision thresholds, and the baselines it must beat."""
