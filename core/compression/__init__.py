"""Smaller and faster: methods that take a checkpoint and return a new one, and one procedure that measures them all."""
