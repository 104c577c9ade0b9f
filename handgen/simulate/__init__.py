"""Captures with known truth, rendered on the CPU from the open hand: `handgen.simulate.run(out, config)`."""

from handgen.simulate.stage import Report, run

__all__ = ["Report", "run"]
