"""Annotate the two real captures and hold the result against the figures that handgen promises.

    python scripts/bench_real.py [--json] [--keep FOLDER]

Reads the captures from HANDGEN_CAPTURES (default ../shared/captures). There is no 3D truth: what is measured is
coverage, reprojection against the detections, plausibility, and leave-one-view-out: person and poses fitted without a
view, projected into it and compared with that view's own detections. Memory is the summed PSS of all processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from handgen.associate import Cluster, clusters_of_frame, hands_of_frames, reclustered
from handgen.cameras import Rig
from handgen.detect.base import Detection
from handgen.fit.hands import fit_poses, fit_subject, kinematics_of
from handgen.hand.layout import KEYPOINT_PARENTS, MIDDLE_MCP, WRIST
from handgen.io.annotations import DETECTIONS, Annotations, HandRecord
from handgen.io.capture import load_capture
from handgen.io.detections import read_detections

DESK, ROOM = "desk_two_views", "room_four_views"
SAMPLE_S = 0.1
# name -> (what, target, whether more is better)
TARGETS = {
    "desk_frames": ("desk: frames annotated, of 378", 350, True),
    "desk_reprojection_px": ("desk: median reprojection, px", 3.0, False),
    "desk_bone_spread_mm": ("desk: largest spread of a bone's length over frames, mm", 0.01, False),
    "room_left_frames": ("room: frames with the left hand, of 111", 95, True),
    "room_right_frames": ("room: frames with the right hand, of 111", 95, True),
    "room_reprojection_px": ("room: median reprojection, px", 5.0, False),
    "room_palm_mm": ("room: middle knuckle to wrist (80 to 110), mm", 110, False),
    "room_leave_one_out_px": ("room: leave one view out, median px", 7.0, False),
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
        total = 0
        for member in (tree, *tree.children(recursive=True)):
            try:
                total += member.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total / 2**20)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}")
    return peak


def accepted(out: Path) -> list[HandRecord]:
    """The accepted records of an annotations directory."""
    return [record for _, record in Annotations(out) if record.accepted]


def bone_spread_mm(records: list[HandRecord]) -> float:
    """How much the length of any bone differs between frames: nothing, if they are all of one hand."""
    keypoints = np.stack([record.keypoints_world_m for record in records])
    children = [k for k, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0]
    parents = [KEYPOINT_PARENTS[k] for k in children]
    lengths = np.linalg.norm(keypoints[:, children] - keypoints[:, parents], axis=2)
    joints_only = [i for i, k in enumerate(children) if k % 4 != 0]  # tips are skin: they shift with pose correctives
    return float(np.ptp(lengths[:, joints_only], axis=0).max() * 1e3)


def leave_one_out_px(capture_path: Path, out: Path) -> float:
    """Median distance between hands fitted without a view and that view's detections."""
    capture = load_capture(capture_path)
    rig = capture.rig
    by_frame: dict[int, list[list[Detection]]] = {f: [[] for _ in rig.names] for f in range(capture.frame_count)}
    for path in sorted((out / DETECTIONS).glob("*.jsonl")):
        for row in read_detections(path):
            by_frame[row.frame][rig.names.index(row.camera)].append(
                Detection(row.keypoints_px, row.confidence, row.right)
            )
    clusters = [clusters_of_frame(rig, frame, found) for frame, found in by_frame.items()]
    from handgen.detect.mediapipe import load_offsets_m

    distances: list[np.ndarray] = []
    for held_out in range(len(rig)):
        without: dict[str, list[Cluster]] = {}
        truth: dict[str, list[Cluster]] = {}
        for hand in hands_of_frames(clusters, "both"):
            full = [c for c in hand.clusters.values() if c.views[held_out] is not None and c.view_count >= 4]
            truth[hand.side] = full
            without[hand.side] = [reclustered(rig, drop(c, held_out)) for c in full]
        without = {side: found for side, found in without.items() if found}
        subject = fit_subject("open", load_offsets_m(), rig, without, estimate_scale=False)
        for side, found in without.items():
            fitted = fit_poses(kinematics_of("open", side, subject.offsets_m), rig, found, subject.betas)
            distances += compare(rig, held_out, fitted.observed_keypoints, truth[side])
    return float(np.median(np.concatenate(distances)))


def drop(cluster: Cluster, view: int) -> Cluster:
    """The cluster without one view."""
    return replace(cluster, views=tuple(None if v == view else found for v, found in enumerate(cluster.views)))


def compare(rig: Rig, view: int, keypoints: np.ndarray, truth: list[Cluster]) -> list[np.ndarray]:
    """Distances in pixels of projected keypoints from one view's detections."""
    projected, _ = rig.cameras[view].project(keypoints)
    found = [c.views[view].detection.keypoints_px for c in truth if c.views[view] is not None]
    return [np.linalg.norm(a - b, axis=1) for a, b in zip(projected, found, strict=True)]


def measure(captures: Path, folder: Path) -> dict[str, float]:
    """All figures."""
    desk, room = folder / DESK, folder / ROOM
    peak = annotate(captures / DESK, desk, "--metres-per-unit", "auto", "--hands", "right", "--preview", "6")
    annotate(captures / ROOM, room, "--preview", "6")
    desk_records, room_records = accepted(desk), accepted(room)
    palms = [np.linalg.norm(r.keypoints_world_m[MIDDLE_MCP] - r.keypoints_world_m[WRIST]) * 1e3 for r in room_records]
    return {
        "desk_frames": len({r.frame for r in desk_records}),
        "desk_reprojection_px": float(np.median([r.reprojection_px for r in desk_records])),
        "desk_bone_spread_mm": bone_spread_mm(desk_records),
        "room_left_frames": len({r.frame for r in room_records if r.side == "left"}),
        "room_right_frames": len({r.frame for r in room_records if r.side == "right"}),
        "room_reprojection_px": float(np.median([r.reprojection_px for r in room_records])),
        "room_palm_mm": float(np.median(palms)),
        "room_leave_one_out_px": leave_one_out_px(captures / ROOM, room),
        "peak_rss_mib": peak,
    }


def main() -> None:
    """Annotate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--keep", type=Path, help="annotate into this folder and keep it, pictures included")
    options = parser.parse_args()
    default = Path(__file__).resolve().parents[2] / "shared" / "captures"
    captures = Path(os.environ.get("HANDGEN_CAPTURES", default))
    if not captures.is_dir():
        raise SystemExit(f"{captures}: no captures; set HANDGEN_CAPTURES to the folder that holds {DESK} and {ROOM}")
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
