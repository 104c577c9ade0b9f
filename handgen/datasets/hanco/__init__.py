"""HanCo, the videos that FreiHAND was taken from."""
