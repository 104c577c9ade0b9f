"""The report to look at: one page that needs nothing else, and its plots and pictures of hands as files."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from handgen.io.annotations import Annotations
from handgen.media.arrays import Image
from handgen.media.images import encode_jpeg, write_png
from handgen.progress import Progress
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.stages.evaluate.masks import resample_mask, resample_points
from handgen.stages.evaluate.metrics.keypoints import ALIGNMENT_NAMES
from handgen.stages.evaluate.metrics.vertices import SURFACE_NAMES
from handgen.stages.evaluate.plots import plots_of
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import Hand
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.version import __version__
from handgen.visualize.drawing import OUTLINE_COLOR, ViewLabel, draw_mask_outline, draw_skeleton, overlay_views
from handgen.wording import printable

TRUTH_COLOR = (255, 70, 200)  # of skeleton and mask; the annotation's are in the fingers' colours and turquoise
PAGE, PLOTS, WORST = "report.html", "plots", "worst"
_CELL_PX, _VIEWS = (400, 400), 2  # of a hand's picture
_JPEG_QUALITY = 88  # of the pictures inside the page; the files are lossless
_PLOT_TITLES = {
    "pck": "Share of keypoints within a distance of the truth, by what is aligned first",
    "keypoints": "Absolute error of each keypoint: median, and the 95th percentile above it",
    "frames": "Absolute error of every matched hand over the frames",
    "masks": "Overlap of annotated and true masks, by view",
    "left_out": "Distance from the left-out view's own detections, by view",
}


@dataclass(frozen=True)
class WorstHand:
    """One entry of the gallery. image: a data URI, None without cutout. views: camera and 2D error, px, in order."""

    hand: Hand
    image: str | None
    views: tuple[tuple[str, float], ...]


def write_page(
    report: EvaluateReport, annotated: Annotations, truth: Annotations | None, folder: Location, show: Progress
) -> None:
    """Write `report.html`, `plots/NAME.png` and `worst/NN_FRAME_SIDE.png` into `folder`."""
    plots = plots_of(report)
    filesystem.make_folder(folder / PLOTS)
    for name, data in plots.items():
        filesystem.put(folder / PLOTS / f"{name}.png", data)
    worst = []
    show("report", 0, len(report.worst))
    for rank, hand in enumerate(report.worst, 1):
        worst.append(_draw_worst(rank, hand, annotated, truth, folder))
        show("report", rank, len(report.worst))
    loader = PackageLoader("handgen.stages.evaluate", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_printable
    )
    text = environment.get_template("report.html.j2").render(
        report=report,
        version=__version__,
        facts=report.rows(),
        worst=worst,
        alignments=ALIGNMENT_NAMES,
        surfaces=SURFACE_NAMES,
        plots=[(_PLOT_TITLES[name], _data_uri(data, "image/png")) for name, data in plots.items()],
    )
    filesystem.put(folder / PAGE, text.encode())


def _printable(value: Any) -> Any:
    """Escape control characters of names out of files, before those that mean something in HTML are."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _draw_worst(
    rank: int, hand: Hand, annotated: Annotations, truth: Annotations | None, folder: Location
) -> WorstHand:
    found = _draw_hand(hand, annotated, truth) if truth is not None else None
    if found is None:
        return WorstHand(hand, None, ())
    image, views = found
    write_png(folder / WORST / f"{rank:02d}_{hand.frame:08d}_{hand.side}.png", image)
    return WorstHand(hand, _data_uri(encode_jpeg(image, _JPEG_QUALITY), "image/jpeg"), views)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _draw_hand(
    hand: Hand, annotated: Annotations, truth: Annotations
) -> tuple[Image, tuple[tuple[str, float], ...]] | None:
    """The views where the annotation is farthest off, at most two, with cameras and 2D errors, px; None without cutout.

    Both skeletons and masks are drawn, the true ones where the truth's camera has them in the full picture.
    """
    record = _records(annotated, hand.chunks[0], hand)[0]
    middle = record.keypoints_world_m.mean(0)
    true_record = min(
        _records(truth, hand.chunks[1], hand),
        key=lambda other: float(np.linalg.norm(other.keypoints_world_m.mean(0) - middle)),
    )
    found = [shown for view in record.views if (shown := _view(view, record, true_record, hand, annotated, truth))]
    found = sorted(found, key=lambda shown: -shown[2])[:_VIEWS]
    if not found:
        return None
    labels = [ViewLabel(view.camera.name, error_px, view.mask_iou) for view, _, error_px in found]
    image = overlay_views([drawn for _, drawn, _ in found], labels, columns=len(found), cell_px=_CELL_PX)
    return image, tuple((view.camera.name, error_px) for view, _, error_px in found)


def _records(annotations: Annotations, chunk: int, hand: Hand) -> list[HandRecord]:
    return [record for record in annotations.records(chunk) if (record.frame, record.side) == (hand.frame, hand.side)]


def _view(
    view: ViewRecord, record: HandRecord, true: HandRecord, hand: Hand, annotated: Annotations, truth: Annotations
) -> tuple[ViewRecord, np.ndarray, float] | None:
    """One view drawn, and how far off the annotation is there, px of the full picture."""
    name = view.camera.name
    if name not in annotated.rig.names or name not in truth.rig.names:
        return None
    camera, true_camera = annotated.rig[name], truth.rig[name]
    if camera.size_px != true_camera.size_px:  # not the same picture
        return None
    true_px, visible = true_camera.project(true.keypoints_world_m)
    own_px, _ = camera.project(record.keypoints_world_m)
    if not visible.any():
        return None
    error_px = float(np.linalg.norm(own_px - true_px, axis=1)[visible].mean())
    cutout = annotated.cutout(hand.chunks[0], view)
    zoom = min(cell / length for cell, length in zip(_CELL_PX, view.camera.size_px, strict=True))
    width, height = (max(1, round(length * zoom)) for length in view.camera.size_px)
    shown, size_px = view.camera.resized((width, height)), (width, height)
    drawn = cv2.resize(cutout.image, size_px, interpolation=cv2.INTER_LINEAR)
    true_view = next((other for other in true.views if other.camera.name == name), None)
    if true_view is not None:
        mask = truth.cutout(hand.chunks[1], true_view).mask
        drawn = draw_mask_outline(drawn, resample_mask(mask, true_view.camera, true_camera, shown, camera), TRUTH_COLOR)
    drawn = draw_mask_outline(drawn, cv2.resize(cutout.mask, size_px, interpolation=cv2.INTER_NEAREST), OUTLINE_COLOR)
    drawn = draw_skeleton(drawn, resample_points(true_px, camera, shown), visible, TRUTH_COLOR)
    return view, draw_skeleton(drawn, shown.project(record.keypoints_world_m)[0]), error_px
