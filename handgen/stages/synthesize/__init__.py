"""Annotations and backgrounds become training samples in shards."""
