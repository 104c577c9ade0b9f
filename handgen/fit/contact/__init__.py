"""Keep two hands out of each other."""
