"""The `handgen` command."""
