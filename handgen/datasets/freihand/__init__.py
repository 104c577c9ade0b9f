"""FreiHAND."""
