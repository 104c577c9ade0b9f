"""Is a directory of shards or annotations whole, and does it hold what its manifest says?"""
