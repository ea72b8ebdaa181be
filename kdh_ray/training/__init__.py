"""From documents to weights: losses, the training loop, and the stages of a run. Knows no Ray."""
