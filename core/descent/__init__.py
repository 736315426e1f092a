"""Gradient descent at work: on functions of two variables, and on the loss of a network."""
