"""Annotate the two real captures and hold the result against the figures that handgen promises.

    python scripts/bench/real.py [--json] [--keep FOLDER]

Reads the captures from HANDGEN_CAPTURES (default ../shared/captures). There is no 3D truth: what is measured is
coverage, reprojection against the detections, plausibility, and leave-one-view-out: person and poses fitted without a
view, projected into it and compared with that view's own detections. Memory is the summed PSS of all processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from handgen.detect.mediapipe.detector import load_offsets_m, load_view_bias
from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.fit.subject import SURE_ERROR_SHARE, estimate_metres_per_unit, fit_subject
from handgen.geometry.camera import UnscaledRig
from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_PARENTS, MIDDLE_MCP, WRIST
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.multiview.association import MultiviewHand
from handgen.multiview.tracking import hands_in_any_unit
from handgen.records.annotation import HandRecord
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.annotate.job import AnnotateJob, detections_of_frames, hands_of_frames
from handgen.stages.evaluate.leave_one_out import leave_one_out

DESK, ROOM = "desk_two_views", "room_four_views"
ANNOTATE_OPTIONS = {DESK: ("--metres-per-unit", "auto", "--hands", "right"), ROOM: ()}
SAMPLE_S = 0.1
FIXED_SIGMA_M = 1e-7  # a prior this tight holds the offsets
# name -> (what, target, whether more is better)
TARGETS = {
    "desk_frames": ("desk: frames annotated, of 378", 350, True),
    "desk_reprojection_px": ("desk: median reprojection, px", 3.0, False),
    "desk_fixed_offsets_px": ("desk: the same, no offset learnt on this capture, px", 3.0, False),
    "desk_bone_spread_mm": ("desk: largest spread of a bone's length over frames, mm", 0.01, False),
    "room_left_frames": ("room: frames with the left hand, of 111", 95, True),
    "room_right_frames": ("room: frames with the right hand, of 111", 95, True),
    "room_reprojection_px": ("room: median reprojection, px", 5.0, False),
    "room_fixed_offsets_px": ("room: the same, no offset learnt on this capture, px", 5.0, False),
    "room_palm_mm": ("room: middle knuckle to wrist (80 to 110), mm", 110, False),
    "room_leave_one_out_px": ("room: leave one view out, median px", 7.0, False),
    "room_tips_mm": ("room: fitted fingertips to those clicked by eye, median mm", 4.5, False),
    "room_tips_p90_mm": ("room: the same, 90th percentile", 10.0, False),
    "room_leave_one_out_hands": ("room: hands compared in a left-out view", 200, True),
    "peak_rss_mib": ("desk: peak memory of all processes, MiB", 2048, False),
}


def annotate(capture: Path, out: Path, *options: str) -> float:
    """Run the command; its peak memory in MiB."""
    command = [
        sys.executable,
        "-m",
        "handgen.cli.main",
        "annotate",
        str(capture),
        "--out",
        str(out),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    tree = psutil.Process(process.pid)
    done = threading.Event()
    while not done.wait(SAMPLE_S):
        if process.poll() is not None:
            break
        peak = max(peak, tree_mib(tree))
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}")
    return peak


def tree_mib(tree: psutil.Process) -> float:
    """Memory of a process and all its children, shared pages counted once."""
    total = 0
    try:
        members = [tree, *tree.children(recursive=True)]
    except psutil.Error:  # it has just ended
        return 0.0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_full_info().pss
    return total / 2**20


def accepted(out: Path) -> list[HandRecord]:
    """The accepted records of an annotations directory."""
    return [record for _, record in Annotations(out) if record.accepted]


def reprojection_px(records: list[HandRecord]) -> float:
    """Median over the records that a detection says something about."""
    return float(np.median([record.reprojection_px for record in records if record.reprojection_px is not None]))


def tip_errors_mm(records: list[HandRecord], clicks: Path) -> np.ndarray:
    """Distances of fitted fingertips from those that were clicked by eye in several cameras and triangulated.

    Tips of hands that were not accepted count as infinitely far.
    """
    fitted = {(record.frame, record.side): record.keypoints_world_m for record in records}
    tips = {f"{finger}_tip": keypoints[-1] for finger, keypoints in FINGER_KEYPOINTS.items()}
    found = []
    for frame, sides in json.loads(clicks.read_text())["triangulated_m"].items():
        for side, points in sides.items():
            hand = fitted.get((int(frame), side))
            clicked = {tips[name]: point for name, point in points.items() if name in tips}
            found += [np.inf if hand is None else np.linalg.norm(hand[tip] - p) * 1e3 for tip, p in clicked.items()]
    return np.array(found)


def bone_spread_mm(records: list[HandRecord]) -> float:
    """How much the length of any bone differs between frames: nothing, if they are all of one hand."""
    keypoints = np.stack([record.keypoints_world_m for record in records])
    children = [k for k, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0]
    parents = [KEYPOINT_PARENTS[k] for k in children]
    lengths = np.linalg.norm(keypoints[:, children] - keypoints[:, parents], axis=2)
    joints_only = [i for i, k in enumerate(children) if k % 4 != 0]  # tips are skin: they shift with pose correctives
    return float(np.ptp(lengths[:, joints_only], axis=0).max() * 1e3)


def sure_hands(hands: Iterable[MultiviewHand]) -> list[MultiviewHand]:
    """Keep the hands whose views agree well enough to learn the betas from."""
    return [hand for hand in hands if hand.error_share < SURE_ERROR_SHARE]


def fixed_offsets_px(capture_path: Path, out: Path, hands: str) -> float:
    """Median reprojection with the detector's offsets as measured on renders, none of them learnt on this capture."""
    capture = load_capture(capture_path, metres_per_unit=None if hands == "both" else "auto")
    detector = DetectorCalibration(load_offsets_m(), load_view_bias())
    job = AnnotateJob(capture, out, AnnotateConfig(hands=hands), hands)
    if isinstance(capture.cameras, UnscaledRig):
        sure: dict[str, list[MultiviewHand]] = {}
        for index in range(job.chunk_count):
            frames = job.frames(index)
            for hand in hands_in_any_unit(capture.cameras, frames, detections_of_frames(job, frames), hands):
                sure.setdefault(hand.side, []).extend(sure_hands(hand.seen_hands.values()))
        unit, _ = estimate_metres_per_unit("open", detector, capture.cameras, sure)
        job = replace(job, capture=capture.in_metres(unit))
    found: dict[str, list[MultiviewHand]] = {}
    for index in range(job.chunk_count):
        for hand in hands_of_frames(job, job.frames(index)):
            found.setdefault(hand.side, []).extend(hand.seen_hands.values())
    sure = {side: sure_hands(seen) for side, seen in found.items()}
    rig = job.capture.rig
    shape, person = fit_subject("open", detector, rig, sure, offset_sigma_m=FIXED_SIGMA_M)
    medians = []
    for side, seen in found.items():
        kinematics = kinematics_of("open", side, person.offsets_m)
        fitted = fit_poses(kinematics, rig, seen, shape.betas, person.view_bias).hands()
        expected = [fitted.expected_px(v, camera) for v, camera in enumerate(rig)]
        for i, seen_hand in enumerate(seen):
            off = [
                np.linalg.norm(pixels[i] - view.detection.keypoints_px, axis=1)
                for pixels, view in zip(expected, seen_hand.views, strict=True)
                if view is not None
            ]
            medians.append(np.median([np.median(view) for view in off]))
    return float(np.median(medians))


def measure(captures: Path, folder: Path) -> dict[str, float]:
    """All figures."""
    desk, room = folder / DESK, folder / ROOM
    peak = annotate(captures / DESK, desk, *ANNOTATE_OPTIONS[DESK], "--preview", "6")
    annotate(captures / ROOM, room, *ANNOTATE_OPTIONS[ROOM], "--preview", "6")
    desk_records, room_records = accepted(desk), accepted(room)
    left_out = leave_one_out(room, captures / ROOM)
    assert left_out.error_px is not None
    tips_mm = tip_errors_mm(room_records, captures / f"{ROOM}_clicks.json")
    palms = [np.linalg.norm(r.keypoints_world_m[MIDDLE_MCP] - r.keypoints_world_m[WRIST]) * 1e3 for r in room_records]
    return {
        "desk_frames": len({r.frame for r in desk_records}),
        "desk_reprojection_px": reprojection_px(desk_records),
        "desk_fixed_offsets_px": fixed_offsets_px(captures / DESK, desk, "right"),
        "desk_bone_spread_mm": bone_spread_mm(desk_records),
        "room_left_frames": len({r.frame for r in room_records if r.side == "left"}),
        "room_right_frames": len({r.frame for r in room_records if r.side == "right"}),
        "room_reprojection_px": reprojection_px(room_records),
        "room_fixed_offsets_px": fixed_offsets_px(captures / ROOM, room, "both"),
        "room_palm_mm": float(np.median(palms)),
        "room_leave_one_out_px": left_out.error_px.median,
        "room_tips_mm": float(np.median(tips_mm)),
        "room_tips_p90_mm": float(np.percentile(tips_mm, 90)),
        "room_leave_one_out_hands": left_out.hands,
        "peak_rss_mib": peak,
    }


def captures_folder() -> Path:
    """Return the folder of real captures; exits with a message where there is none."""
    default = Path(__file__).resolve().parents[3] / "shared" / "captures"
    captures = Path(os.environ.get("HANDGEN_CAPTURES", default))
    if not captures.is_dir():
        raise SystemExit(f"{captures}: no captures; set HANDGEN_CAPTURES to the folder that holds {DESK} and {ROOM}")
    return captures


def main() -> None:
    """Annotate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--keep", type=Path, help="annotate into this folder and keep it, pictures included")
    options = parser.parse_args()
    captures = captures_folder()
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(captures, options.keep or Path(temporary))
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
        return
    print(f"{'figure':58} {'measured':>10} {'target':>10}")
    for name, (what, target, more_is_better) in TARGETS.items():
        sign = ">=" if more_is_better else "<="
        print(f"{what:58} {figures[name]:10.2f} {sign + str(target):>10}")


if __name__ == "__main__":
    main()
