"""Annotations against truth, or against a view that was left out: how good are they?"""

from handgen.config import EvaluateConfig
from handgen.evaluate.report import Report
from handgen.evaluate.stage import run

__all__ = ["EvaluateConfig", "Report", "run"]
