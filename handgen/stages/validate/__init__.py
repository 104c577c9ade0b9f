"""Is a directory whole, and does it hold what it says?"""
