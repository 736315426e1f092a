"""Generate text and look inside language models."""
