"""Bottleneck Lab's library: datasets, models, training, runs and checkpoints. It never imports Streamlit."""

__version__ = "0.1.0"
