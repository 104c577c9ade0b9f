"""Shards or annotations in the files that other projects' training code reads; one module per format."""
