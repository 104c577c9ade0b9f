"""Masks against simulated truth, with and without a screen, and what they cost.

    python scripts/bench/masks.py [--json] [--keep FOLDER] [--captures CAPTURE ...]

People in front of a green screen and in a furnished room are simulated, annotated and evaluated as a user would. Then
each fitted hand is moved as far as a fit is off, and the mask should find its way back; and to where no hand is, and
the view should be rejected. One thread; the time is that of `segment`, which finds hand and forearm.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from table import report

from handgen.hand.model import HandModel, single_pose
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.reconstruct.hand_view import HandCutOut, PosedMesh, cut_out
from handgen.segmentation.segment import MeshGuides, segment
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.masks import boundary_f, boundary_tolerance_px, iou, resample_mask
from handgen.stages.evaluate.stage import run as evaluate
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig

SEEDS = (9201, 9202)  # used for nothing else
BASE = SimulateConfig(views=8, frames=24, fps=15)
BACKGROUNDS = ("green", "room")
EVERY = 3  # of the frames, for moved hands and for times
OFF_M, ABSENT_M = 0.005, 0.06  # a fit is off by a few millimetres; 60 mm away a mesh covers less than half of the hand
SIDE_PX, REPEATS = 400, 3
# name -> (what, target, whether more is better)
TARGETS: dict[str, tuple[str, float | None, bool]] = {}
for _name, _target in (("green", 0.97), ("room", 0.93)):
    TARGETS |= {
        f"mask_iou_{_name}": (f"{_name}: IoU of masks and truth", _target, True),
        f"boundary_f_{_name}": (f"{_name}: boundary F of masks and truth", None, True),
        f"mesh_iou_{_name}": (f"{_name}: IoU of the fitted meshes and truth", None, True),
        f"off_mask_iou_{_name}": (f"{_name}: IoU of masks and truth, meshes {OFF_M * 1e3:g} mm off", None, True),
        f"off_boundary_f_{_name}": (f"{_name}: boundary F, meshes {OFF_M * 1e3:g} mm off", None, True),
        f"off_mesh_iou_{_name}": (f"{_name}: IoU of those meshes and truth", None, True),
        f"accepted_{_name}": (f"{_name}: views whose mask agrees with the fit, share", None, True),
        f"absent_accepted_{_name}": (f"{_name}: the same, mesh {ABSENT_M * 1e3:g} mm beside the hand", None, False),
    }
TARGETS |= {
    "chroma_ms": ("segment with a screen, median of all views, ms", 2.0, False),
    "grabcut_ms": ("segment without a screen, median of all views, ms", 10.0, False),
    f"chroma_{SIDE_PX}_ms": (f"segment with a screen, cutouts of {SIDE_PX} px, ms", None, False),
    f"grabcut_{SIDE_PX}_ms": (f"segment without a screen, cutouts of {SIDE_PX} px, ms", None, False),
}
TIMES = {"green": "chroma", "room": "grabcut"}


@dataclass(frozen=True)
class Measured:
    """Figures of a view. mesh_iou, mask_iou, boundary: fitted mesh and mask against truth. off_: the moved mesh's.

    agrees, absent_agrees: what the view's mask says of the mesh, and of a mesh beside the hand. ms, side_ms: times.
    """

    mesh_iou: float
    off_mesh_iou: float
    off_mask_iou: float
    off_boundary: float
    agrees: float
    absent_agrees: float
    ms: float
    side_ms: float


def captures(folder: Path) -> Iterator[Path]:
    """Simulated captures in `folder`, made if they are not there."""
    for background in BACKGROUNDS:
        for seed in SEEDS:
            path = folder / "captures" / f"{background}_{seed}"
            simulate.run(path, replace(BASE, background=background, seed=seed))
            yield path


def background_of(capture: Path) -> str:
    """Return what a simulated capture has behind its hands."""
    return str(json.loads((capture / "run.json").read_bytes())["depends_on"]["background"])


def milliseconds(image: np.ndarray, guides: MeshGuides, extent_px: float) -> float:
    """The shortest time that `segment` takes."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        segment(image, guides, extent_px)
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def times_ms(found: HandCutOut) -> tuple[float, float]:
    """Time a view as it is, and the same view with a longer side of `SIDE_PX`."""
    scale = SIDE_PX / max(found.crop.shape[:2])
    image = cv2.resize(found.crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    masks = (getattr(found.guides, field.name) for field in fields(MeshGuides))
    size = image.shape[1::-1]
    guides = MeshGuides(*(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in masks))
    as_is = milliseconds(found.crop, found.guides, found.extent_px)
    return as_is, milliseconds(image, guides, found.extent_px * scale)


def measured_views(capture_path: Path, annotated: Annotations) -> Iterator[Measured]:
    """Every view of some frames in which the truth shows an annotated hand."""
    capture = load_capture(capture_path)
    truth = Annotations(capture_path / "truth")
    true_records = {(record.frame, record.side): (chunk, record) for chunk, record in truth}
    records = [record for _, record in annotated if record.accepted and record.frame % EVERY == 0]
    models = {side: HandModel.load(annotated.hand_model, side) for side in {record.side for record in records}}
    rng = np.random.default_rng(0)
    for record in records:
        chunk, true_record = true_records[record.frame, record.side]
        model = models[record.side]
        posed = model(single_pose(record.pose, record.translation_m, annotated.betas[record.subject]))
        vertices, keypoints = posed.vertices[0].numpy(), posed.keypoints[0].numpy()
        images = next(iter(capture.read(record.frame, record.frame + 1)))
        for camera, image in zip(annotated.rig, images, strict=True):
            true_view = next((view for view in true_record.views if view.camera.name == camera.name), None)
            if image is None or true_view is None or not true_view.accepted:
                continue
            # Sideways as seen from this camera: what moves along its axis hardly changes the picture.
            angle = rng.uniform(0, 2 * np.pi)
            step = camera.cam_from_world.rotation.T @ np.array([np.cos(angle), np.sin(angle), 0.0])
            views = [
                cut_out(image, camera, PosedMesh(model, vertices + move, keypoints + move))
                for move in (0.0 * step, OFF_M * step, ABSENT_M * step)
            ]
            fitted, off, absent = views
            if fitted is None or off is None:
                continue
            true_mask = truth.cutout(chunk, true_view).mask
            fitted_cut, off_cut = fitted.segment("auto"), off.segment("auto")
            moved = [
                resample_mask(mask, view.camera, camera, true_view.camera, truth.rig[camera.name])
                for mask, view in ((fitted.guides.hand, fitted), (off.guides.hand, off), (off_cut.mask, off))
            ]
            yield Measured(
                *(iou(mask, true_mask) for mask in moved),
                off_boundary=boundary_f(moved[2], true_mask, boundary_tolerance_px(true_view.camera.size_px)),
                agrees=fitted_cut.iou,
                absent_agrees=absent.segment("auto").iou if absent is not None else np.nan,
                **dict(zip(("ms", "side_ms"), times_ms(fitted), strict=True)),
            )


def mean(values: list[float]) -> float:
    """Mean of the finite ones."""
    return float(np.nanmean(values))


def measure(folder: Path, given: list[Path]) -> dict[str, float]:
    """All figures of the given captures, or of simulated ones."""
    views: dict[str, list[Measured]] = {name: [] for name in BACKGROUNDS}
    ious: dict[str, list[float]] = {name: [] for name in BACKGROUNDS}
    boundaries: dict[str, list[float]] = {name: [] for name in BACKGROUNDS}
    config = AnnotateConfig(workers=1)
    for capture in given or captures(folder):
        background = background_of(capture)
        out = folder / "annotations" / capture.name
        annotate.run(capture, out, config, overwrite=True)
        report = evaluate(out, capture / "truth", EvaluateConfig(workers=1))
        assert report.mean_mask_iou is not None and report.mean_boundary_f is not None
        ious[background].append(report.mean_mask_iou)
        boundaries[background].append(report.mean_boundary_f)
        views[background] += measured_views(capture, Annotations(out))
    figures: dict[str, float] = {}
    for name in BACKGROUNDS:
        if not (seen := views[name]):
            continue
        figures |= {
            f"mask_iou_{name}": mean(ious[name]),
            f"boundary_f_{name}": mean(boundaries[name]),
            f"mesh_iou_{name}": mean([view.mesh_iou for view in seen]),
            f"off_mask_iou_{name}": mean([view.off_mask_iou for view in seen]),
            f"off_boundary_f_{name}": mean([view.off_boundary for view in seen]),
            f"off_mesh_iou_{name}": mean([view.off_mesh_iou for view in seen]),
            f"accepted_{name}": mean([view.agrees >= config.min_mask_iou for view in seen]),
            f"absent_accepted_{name}": mean([view.absent_agrees >= config.min_mask_iou for view in seen]),
            f"{TIMES[name]}_ms": float(np.median([view.ms for view in seen])),
            f"{TIMES[name]}_{SIDE_PX}_ms": float(np.median([view.side_ms for view in seen])),
        }
    return figures


def main() -> None:
    """Simulate, annotate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it; what is there is used again")
    parser.add_argument("--captures", type=Path, nargs="+", default=[], help="simulated captures to use instead")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(options.keep or Path(temporary), options.captures)
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
