"""Engines: how units of work (chunks, shards) are spread over processes."""
