"""Shards or annotations become another project's data set."""
