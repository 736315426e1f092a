"""Compression methods: each takes a checkpoint and returns a new one."""
