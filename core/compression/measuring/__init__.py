"""Size, speed, memory and accuracy of a compressed checkpoint beside its original."""
