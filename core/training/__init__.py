"""Training: a config in, a stream of typed results out."""
