"""Classify images and evaluate a classifier."""
