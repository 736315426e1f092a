"""Convolution and pooling: the sum term by term, the layers of a network, changes to them, and what a shift does."""
