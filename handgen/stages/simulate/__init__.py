"""Captures with known truth, rendered on the CPU from the open hand."""
