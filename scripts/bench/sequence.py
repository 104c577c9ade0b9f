"""Measure what sequences, masks and second looks add: simulated captures with known truth, annotated in several ways.

    python scripts/bench/sequence.py [--json] [--keep FOLDER] [--only NAME ...]

Four people, whose seeds were used for nothing else (but a first run helped to choose the covariance's numbers): calm
and fast motion in front of a green screen, a furnished room, two hands that touch. Each is annotated with keypoints
alone and with masks. Besides: a detector that is silent after the first frame; gaps of ten frames; no second looks; a
camera that was bumped after the calibration.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from table import report

from handgen.detect.registry import KeypointFilesOptions
from handgen.geometry.camera import Rig
from handgen.geometry.rigid import Rigid
from handgen.io.annotations import Annotations
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.detections import read_detections, write_detections
from handgen.options import make_config
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.stage import run as evaluate
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig

BASE = SimulateConfig(views=8, frames=60, fps=30, background="green")
SCENES = {
    "calm": replace(BASE, seed=9101),
    "fast": replace(BASE, seed=9102, motion="fast"),
    "room": replace(BASE, seed=9103, background="room", views=4),
    "two_hands": replace(BASE, seed=9104, motion="interact", hands="both"),
}
GAP_FRAMES, GAP_EVERY = 10, 20
BUMP_DEG, BUMP_MM, BUMPED = 1.5, 10.0, 3
CARRIED = AnnotateConfig(track="silhouette", chunk_frames=128)
# name -> (what, target, whether more is better)
TARGETS: dict[str, tuple[str, float | None, bool]] = {}
for _scene in SCENES:
    TARGETS |= {
        f"{_scene}_keypoints_mm": (f"{_scene}: mean keypoint error, keypoints alone, mm", None, False),
        f"{_scene}_masks_mm": (f"{_scene}: the same with masks, mm", None, False),
        f"{_scene}_keypoints_tips_mm": (f"{_scene}: fingertips, keypoints alone, mm", None, False),
        f"{_scene}_masks_tips_mm": (f"{_scene}: fingertips with masks, mm", None, False),
        f"{_scene}_keypoints_iou": (f"{_scene}: IoU of true and annotated masks, keypoints alone", None, True),
        f"{_scene}_masks_iou": (f"{_scene}: the same with masks", None, True),
        f"{_scene}_within_one_sigma": (f"{_scene}: errors within one sigma (0.58 to 0.78), share", None, True),
        f"{_scene}_found_again": (f"{_scene}: accepted views found in a second look", None, True),
    }
TARGETS |= {
    "all_within_one_sigma": ("all scenes: errors within one sigma (0.58 to 0.78), share", None, True),
    "silent_share": ("detector silent after frame 0: share of 60 frames still annotated", None, True),
    "silent_mm": ("the same: mean keypoint error, mm", None, False),
    "silent_two_hands_share": ("the same, two hands that touch: share annotated", None, True),
    "silent_two_hands_mm": ("the same: mean keypoint error, mm", None, False),
    "gaps_share": ("gaps of ten frames in every twenty: share of the hands annotated", None, True),
    "gaps_interpolated_mm": ("the same, keypoints alone: mean error in the gaps, mm", None, False),
    "gaps_masks_mm": ("the same with masks, mm", None, False),
    "look_again_views": ("fast: accepted views without second looks", None, True),
    "bumped_named": ("bumped camera: named, and no other (1: yes)", 1, True),
    "bumped_mm": ("bumped camera: mean keypoint error as calibrated, mm", None, False),
    "mended_mm": ("the same with --refine-extrinsics, mm", None, False),
    "mended_turn_deg": ("how far the mended camera is turned from the true one, degrees", None, False),
}


class Bench:
    """Runs annotate and evaluate in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def capture(self, scene: str) -> Path:
        """The simulated capture, rendered where it is not there yet."""
        path = self.folder / "captures" / scene
        simulate.run(path, SCENES[scene])
        return path

    def annotated(self, name: str, capture: Path, config: AnnotateConfig) -> tuple[annotate.AnnotateReport, Path]:
        """Annotations of a capture."""
        print(f"  {name}", file=sys.stderr)
        out = self.folder / "annotations" / name
        return annotate.run(capture, out, config, overwrite=True), out


def measured(out: Path, truth: Path) -> EvaluateReport:
    """The annotations against truth."""
    return evaluate(out, truth, EvaluateConfig())


def number(value: float | None) -> float:
    """NaN for None."""
    return float("nan") if value is None else float(value)


def bench_scene(bench: Bench, scene: str) -> dict[str, float]:
    """Keypoints alone and with masks."""
    capture = bench.capture(scene)
    figures: dict[str, float] = {}
    for name, refine in (("keypoints", "none"), ("masks", "silhouette")):
        done, out = bench.annotated(f"{scene}_{name}", capture, AnnotateConfig(refine=refine))
        report = measured(out, capture / "truth")
        figures |= {
            f"{scene}_{name}_mm": number(report.mean_absolute_mm),
            f"{scene}_{name}_tips_mm": number(report.mean_fingertip_mm),
            f"{scene}_{name}_iou": number(report.mean_mask_iou),
        }
    assert report.uncertainty is not None
    figures[f"{scene}_within_one_sigma"] = report.uncertainty.within_one_sigma
    figures[f"{scene}_found_again"] = done.views_detected_again
    if scene == "fast":
        without, _ = bench.annotated("fast_one_look", capture, AnnotateConfig(redetect=False))
        figures["look_again_views"] = without.views
    return figures


def some_detections(bench: Bench, scene: str, name: str, kept: set[int]) -> Path:
    """Write what the detector saw in some frames, as a file of keypoints."""
    found = sorted((bench.folder / "annotations" / f"{scene}_masks" / "detections").glob("*.jsonl"))
    path = bench.folder / f"{name}.jsonl"
    rows = (row for file in found for row in read_detections(file) if row.frame in kept)
    write_detections(path, rows)
    return path


def bench_silence(bench: Bench, scene: str, prefix: str) -> dict[str, float]:
    """Frame 0 is all that the detector says."""
    capture = bench.capture(scene)
    keypoints = some_detections(bench, scene, f"{prefix}_frame_0", {0})
    config = replace(CARRIED, detector="keypoints", detector_options=KeypointFilesOptions(keypoints=str(keypoints)))
    _, out = bench.annotated(prefix, capture, config)
    report = measured(out, capture / "truth")
    return {f"{prefix}_share": number(report.annotated_share), f"{prefix}_mm": number(report.mean_absolute_mm)}


def bench_gaps(bench: Bench) -> dict[str, float]:
    """Half of the frames are lost, ten in a row."""
    capture = bench.capture("calm")
    frames = SCENES["calm"].frames
    gaps = {f for f in range(frames) if f % GAP_EVERY >= GAP_FRAMES and f < frames - GAP_EVERY + GAP_FRAMES}
    keypoints = some_detections(bench, "calm", "gaps", set(range(frames)) - gaps)
    truth = {record.frame: record for _, record in Annotations(capture / "truth")}
    figures = {}
    for name, refine in (("interpolated", "none"), ("masks", "silhouette")):
        config = make_config(AnnotateConfig, detector="keypoints", keypoints=str(keypoints), refine=refine)
        _, out = bench.annotated(f"gaps_{name}", capture, config)
        errors = [
            np.linalg.norm(record.keypoints_world_m - truth[record.frame].keypoints_world_m, axis=1).mean() * 1e3
            for _, record in Annotations(out)
            if record.frame in gaps and record.accepted
        ]
        figures[f"gaps_{name}_mm"] = float(np.mean(errors)) if errors else float("nan")
    report = measured(out, capture / "truth")
    return figures | {"gaps_share": number(report.annotated_share)}


def bench_bump(bench: Bench) -> dict[str, float]:
    """One camera turned and moved after its calibration."""
    capture = bench.capture("calm")
    bumped = capture.with_name("bumped")
    if not bumped.is_dir():
        shutil.copytree(capture, bumped, ignore=shutil.ignore_patterns("truth"), copy_function=os.link)
        (bumped / "calibration.json").unlink()
    rig = Annotations(capture / "truth").rig
    camera = rig.cameras[BUMPED]
    axis = np.array([0.6, 0.64, 0.48])
    angle = np.radians(BUMP_DEG)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    step = Rigid(turn, BUMP_MM * 1e-3 * np.array([0.0, 0.6, 0.8]))
    wrong = replace(camera, cam_from_world=step @ camera.cam_from_world)
    save_calibration(bumped / "calibration.json", Rig(tuple(wrong if c.name == camera.name else c for c in rig)))
    as_is, out = bench.annotated("bumped", bumped, AnnotateConfig())
    before = measured(out, capture / "truth")
    _, out = bench.annotated("mended", bumped, AnnotateConfig(refine_extrinsics=True))
    after = measured(out, capture / "truth")
    rotation = Annotations(out).rig[camera.name].cam_from_world.rotation @ camera.cam_from_world.rotation.T
    off = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
    named = [move["camera"] for move in as_is.cameras_moved]
    return {
        "bumped_named": float(named == [camera.name]),
        "bumped_mm": number(before.mean_absolute_mm),
        "mended_mm": number(after.mean_absolute_mm),
        "mended_turn_deg": float(off),
    }


def measure(folder: Path, only: list[str]) -> dict[str, float]:
    """All figures, or those of the named parts."""
    bench = Bench(folder)
    figures: dict[str, float] = {}
    for scene in SCENES:
        if not only or scene in only:
            figures |= bench_scene(bench, scene)
    shares = [value for name, value in figures.items() if name.endswith("_within_one_sigma")]
    if shares:
        figures["all_within_one_sigma"] = float(np.mean(shares))
    if not only or "silent" in only:
        figures |= bench_silence(bench, "calm", "silent") | bench_silence(bench, "two_hands", "silent_two_hands")
    if not only or "gaps" in only:
        figures |= bench_gaps(bench)
    if not only or "bump" in only:
        figures |= bench_bump(bench)
    return figures


def main() -> None:
    """Simulate, annotate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep it; captures there are used again")
    parser.add_argument("--only", nargs="+", default=[], choices=[*SCENES, "silent", "gaps", "bump"],
                        help="parts; silent and gaps need the annotations of calm and two_hands in --keep")  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(options.keep or Path(temporary), options.only)
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
