"""Regularization techniques compared on equal terms: which of them help, by how much, and is it more than luck."""
