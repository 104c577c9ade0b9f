"""Plots of a report, drawn into PNG bytes without a display and without global state."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from handgen.hand.skeleton import KEYPOINT_NAMES
from handgen.stages.evaluate.distributions import PCK_THRESHOLDS_MM, Distribution
from handgen.stages.evaluate.leave_one_out import LeftOutView
from handgen.stages.evaluate.metrics.keypoints import ALIGNMENT_NAMES
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import Series
from handgen.visualize.drawing import FINGER_COLORS, WRIST_COLOR
from handgen.wording import printable

_DPI, _SIZE_INCHES = 120, (7.2, 4.2)
_ALIGNMENT_COLORS = dict(zip(ALIGNMENT_NAMES, ("#1b4f9c", "#d1495b", "#e3a018", "#2a8f5c"), strict=True))
_SIDE_COLORS = {"left": "#d1495b", "right": "#1b4f9c"}


def plots_of(report: EvaluateReport) -> dict[str, bytes]:
    """PNG bytes by name, of everything that the report holds."""
    found: dict[str, bytes] = {}
    if report.keypoints:
        found["pck"] = _pck(report)
        found["keypoints"] = _per_keypoint(report)
    if (series := report.series) is not None and len(series.frame):
        found["frames"] = _over_frames(report, series)
        if len(series.mask_iou):
            found["masks"] = _mask_iou(series)
    if report.leave_one_out and report.leave_one_out.error_px:
        found["left_out"] = _left_out(report.leave_one_out.views)
    return found


def _axes(title: str, x: str, y: str) -> Axes:
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    return axes


def _png(axes: Axes) -> bytes:
    buffer = io.BytesIO()
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _pck(report: EvaluateReport) -> bytes:
    axes = _axes("Keypoints within a distance (PCK)", "distance from the truth, mm", "share of keypoints")
    for name, errors in report.keypoints.items():
        label = f"{ALIGNMENT_NAMES[name].removeprefix('MPJPE, ')}, AUC {errors.auc:.3f}"
        axes.plot(PCK_THRESHOLDS_MM, errors.pck, label=label, color=_ALIGNMENT_COLORS[name], linewidth=1.8)
    axes.set_xlim(0, PCK_THRESHOLDS_MM[-1])
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right", frameon=False)
    return _png(axes)


def _per_keypoint(report: EvaluateReport) -> bytes:
    axes = _axes("Absolute error by keypoint: median, and up to 95 %", "", "mm")
    found = report.keypoints["absolute"].per_keypoint_mm
    names = [name for name in KEYPOINT_NAMES if name in found]
    _bars(axes, names, [found[name] for name in names], [_finger_color(name) for name in names])
    axes.tick_params(axis="x", rotation=60)
    return _png(axes)


def _finger_color(keypoint: str) -> str:
    color = FINGER_COLORS.get(keypoint.partition("_")[0], tuple(value // 2 for value in WRIST_COLOR))
    return "#{:02x}{:02x}{:02x}".format(*color)


def _bars(axes: Axes, names: list[str], found: list[Distribution], colors: list[str]) -> None:
    """Bars of medians with a whisker up to the 95th percentile."""
    places = np.arange(len(names))
    medians = np.array([one.median for one in found])
    above = np.array([one.p95 for one in found]) - medians
    axes.bar(places, medians, color=colors, width=0.7)
    whiskers = [np.zeros(len(found)), above]
    axes.errorbar(places, medians, yerr=whiskers, fmt="none", ecolor="#555555", capsize=2, elinewidth=1)
    axes.set_xticks(places, [printable(name) for name in names], parse_math=False)
    axes.set_ylim(bottom=0)


def _over_frames(report: EvaluateReport, series: Series) -> bytes:
    axes = _axes("Absolute error over time, mean of a hand", "frame", "mm")
    for side, color in _SIDE_COLORS.items():
        here = series.side == side
        if here.any():
            axes.plot(series.frame[here], series.absolute_mm[here], ".", color=color, label=side, markersize=4)
    for hands, marker, label in ((report.missed, "x", "missed"), (report.false, "+", "false hand")):
        if hands:
            frames = [hand.frame for hand in hands]
            axes.plot(frames, np.zeros(len(hands)), marker, color="#333333", label=label, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=4, borderpad=0)
    return _png(axes)


def _mask_iou(series: Series) -> bytes:
    axes = _axes("Masks against the truth's", "IoU", "views")
    axes.hist(series.mask_iou, bins=np.linspace(0, 1, 41).tolist(), color="#2a8f5c")
    axes.set_xlim(0, 1)
    return _png(axes)


def _left_out(views: Sequence[LeftOutView]) -> bytes:
    axes = _axes("Left-out view: median, and up to 95 %", "", "px from its own detections")
    found = {view.camera: view.error_px for view in views if view.error_px is not None}
    _bars(axes, list(found), list(found.values()), ["#1b4f9c"] * len(found))
    return _png(axes)
