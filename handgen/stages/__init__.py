"""One package per command. No stage imports another."""
