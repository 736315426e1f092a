"""Checkpoints: the card, the weights file and where they are kept."""
