"""The report to look at: one page that needs nothing else, and its pictures as files."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from handgen.io.annotations import Annotations
from handgen.media.images import encode_jpeg, write_png
from handgen.stages.evaluate.metrics.keypoints import ALIGNMENT_NAMES
from handgen.stages.evaluate.metrics.vertices import SURFACE_NAMES
from handgen.stages.evaluate.pictures import picture_of
from handgen.stages.evaluate.plots import plots_of
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import Hand
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.version import __version__

PAGE, PLOTS, WORST = "report.html", "plots", "worst"
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
    """One entry of the page's gallery.

    image: a data URI, or None where the annotations have no cutout. views: camera and 2D error, px, left to right.
    """

    hand: Hand
    image: str | None
    views: tuple[tuple[str, float], ...]


def write_page(
    report: EvaluateReport,
    annotated: Annotations,
    truth: Annotations | None,
    folder: Location,
    progress: Callable[[int, int], None] | None = None,
) -> Location:
    """Write `report.html`, `plots/NAME.png` and `worst/NN_FRAME_SIDE.png` into `folder`; returns the page's path."""
    show = progress or (lambda *_: None)
    plots = plots_of(report)
    filesystem.make_folder(folder / PLOTS)
    for name, data in plots.items():
        filesystem.put(folder / PLOTS / f"{name}.png", data)
    worst = []
    for rank, hand in enumerate(report.worst):
        show(rank, len(report.worst))
        worst.append(_draw_worst(rank, hand, annotated, truth, folder))
    show(len(report.worst), len(report.worst))
    environment = Environment(
        loader=PackageLoader("handgen.stages.evaluate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
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
    path = folder / PAGE
    filesystem.put(path, text.encode())
    return path


def _draw_worst(
    rank: int, hand: Hand, annotated: Annotations, truth: Annotations | None, folder: Location
) -> WorstHand:
    picture = picture_of(hand, annotated, truth) if truth is not None else None
    if picture is None:
        return WorstHand(hand, None, ())
    write_png(folder / WORST / f"{rank + 1:02d}_{hand.frame:08d}_{hand.side}.png", picture.image)
    return WorstHand(hand, _data_uri(encode_jpeg(picture.image, _JPEG_QUALITY), "image/jpeg"), picture.views)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
