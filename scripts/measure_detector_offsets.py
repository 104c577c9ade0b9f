"""Measure a detector's habits on simulated captures with known truth: where it puts each keypoint, and how surely.

    python scripts/measure_detector_offsets.py [--out handgen/detect/mediapipe/mediapipe_offsets.json] [--captures 16]

Every capture has its own subject, motion, room and rig. A detection says where a keypoint is across the line of sight;
the difference from the true one, in the rest axes of the joint that carries it, is explained by a constant and by the
side that it is seen from (`handgen.detect.view_bias`), fitted robustly. What is left, by the flesh in front of the
keypoint, is the noise. Left hands are mirrored. Printed is what is left on captures that were not fitted to.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from handgen.detect import registry
from handgen.detect.base import DetectionTask
from handgen.detect.view_bias import FEATURES, ViewBias, features_of
from handgen.fit.observations import flesh_before
from handgen.hand.model import HandModel, single_pose
from handgen.hand.skeleton import KEYPOINT_CARRIERS, KEYPOINT_COUNT, KEYPOINT_NAMES, MIRROR_X
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import Capture, load_capture
from handgen.multiview.association import keypoint_extent, support_of_side
from handgen.records.annotation import HandRecord
from handgen.records.detection import Detection
from handgen.runtime.local import default_workers, map_units
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.stage import run as simulate
from handgen.storage.documents import write_json

FIRST_SEED = 1000
SAME_HAND = 0.25  # of its extent: a detection further off than this, by the median, is of something else
LABEL_SUPPORT = 0.15  # less for the true side, and the hand was seen mirrored
ROBUST_M = 0.006  # residuals beyond lose their say
RIDGE = 0.02  # against features of size 1
SKIN_PERCENTILE = 20  # of the flesh before a keypoint, over views: that much is there in plain sight
DEPTHS_M = (0.0, 0.004, 0.010, 0.020, 0.035, 0.060)
MIN_PER_DEPTH = 100
LARGEST_SHARE = 0.15  # of the hand's extent: larger errors count as this, as the fit's loss has it


@dataclass(frozen=True)
class Seen:
    """Detected hands: `n` hands in views.

    off_m: detected minus true keypoint across the line of sight, carrier axes of a right hand. towards: to the camera,
    same axes. flexion_rad: of joints 1 to 15. flesh_m: in front of the keypoint. size_m: the hand's extent, at its
    depth.
    """

    off_m: np.ndarray  # n 21 3
    towards: np.ndarray  # n 21 3
    flexion_rad: np.ndarray  # n 15
    flesh_m: np.ndarray  # n 21
    size_m: np.ndarray  # n

    @property
    def across(self) -> np.ndarray:
        """(n, 21, 3, 3): what of a vector is seen from the camera."""
        return np.eye(3) - self.towards[..., :, None] * self.towards[..., None, :]


def together(parts: list[Seen]) -> Seen:
    """All of them."""
    return Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in Seen.__dataclass_fields__))


def observe(detector_name: str, frames: int, views: int, folder: Path, index: int) -> Seen:
    """Simulate one capture and look at it."""
    config = SimulateConfig(
        views=views,
        frames=frames,
        seed=FIRST_SEED + index,
        fps=4,
        hands=("right", "left")[index % 2],
        rig=("ring", "cage")[index // 2 % 2],
        background=("room", "green")[index // 4 % 2],
        workers=1,
    )
    path = folder / f"{index}"
    simulate(path, config)
    capture, truth = load_capture(path), Annotations(path / "truth")
    records = {record.frame: record for _, record in truth}
    detector = registry.create_detector(detector_name, DetectionTask(capture.rig.names, max_hands=1))
    detectors = [detector.start(name) for name in capture.rig.names]
    parts = []
    for frame, images in enumerate(capture.read()):
        found = [
            d.detect(image, frame) if image is not None else [] for d, image in zip(detectors, images, strict=True)
        ]
        if frame in records:
            parts += seen_of(capture, truth, records[frame], found)
    return together(parts)


def seen_of(capture: Capture, truth: Annotations, record: HandRecord, found: list[list[Detection]]) -> Iterator[Seen]:
    """The views in which the hand was detected, the right way round."""
    model = HandModel.load(truth.hand_model, record.side)
    posed = model(single_pose(record.pose, record.translation_m, truth.betas[record.subject]))
    keypoints, mirror = posed.keypoints[0].numpy(), np.array(MIRROR_X if record.side == "left" else (1.0, 1.0, 1.0))
    carriers = posed.rotations[0].numpy()[list(KEYPOINT_CARRIERS)]
    flexion = np.einsum("ja,ja->j", model.arrays.joint_axes[:, 0], record.pose.reshape(16, 3)[1:])
    flesh = flesh_before(capture.rig, posed.vertices.numpy(), model.faces, keypoints[None])[0]
    for view, (camera, detections) in enumerate(zip(capture.rig, found, strict=True)):
        true_px, _ = camera.project(keypoints)
        for detection in detections:
            apart = np.median(np.linalg.norm(detection.keypoints_px - true_px, axis=1))
            size_px = keypoint_extent(detection.keypoints_px)
            if apart > SAME_HAND * size_px or support_of_side(detection, record.side) < LABEL_SUPPORT:
                continue
            ideal_px, _ = camera.undistort(detection.keypoints_px)
            in_cam = camera.cam_from_world.apply(keypoints)
            homogeneous = np.column_stack([ideal_px, np.ones(KEYPOINT_COUNT)])
            lines = homogeneous @ np.linalg.inv(camera.intrinsics).T
            off_world = (lines * in_cam[:, 2:] - in_cam) @ camera.cam_from_world.rotation
            towards = camera.center_world - keypoints
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            yield Seen(
                np.einsum("kba,kb->ka", carriers, off_world)[None] * mirror,
                np.einsum("kba,kb->ka", carriers, towards)[None] * mirror,
                flexion[None],
                flesh[view][None],
                np.array([size_px * in_cam[:, 2].mean() / camera.intrinsics[0, 0]]),
            )


def solve(seen: Seen, features: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """(21, 3, f) coefficients that explain (n, 21, 3) `target_m` across the lines of sight by (n, 21, f) features."""
    across, count = seen.across, features.shape[-1]
    found = np.zeros((KEYPOINT_COUNT, 3, count))
    for keypoint in range(KEYPOINT_COUNT):
        rows = np.einsum("nab,nf->nabf", across[:, keypoint], features[:, keypoint]).reshape(-1, 3 * count)
        wanted, weight = target_m[:, keypoint].reshape(-1), np.ones(len(features))
        ridge = RIDGE * len(features) * np.diag(np.tile([0.0] + [1.0] * (count - 1), 3))
        for _ in range(10):
            weighted = rows * np.repeat(weight, 3)[:, None]
            solution = np.linalg.solve(rows.T @ weighted + ridge, weighted.T @ wanted)
            left = np.linalg.norm((rows @ solution - wanted).reshape(-1, 3), axis=1)
            weight = 1 / (1 + (left / ROBUST_M) ** 2) ** 2  # Geman-McClure
        found[keypoint] = solution.reshape(3, count)
    return found


def fit(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Constant offsets (21, 3), and the coefficients (21, 3, FEATURES) of what depends on the view."""
    features = features_of(seen.towards, seen.flexion_rad)
    offsets = solve(seen, features[..., :1], seen.off_m)[..., 0]
    rest = seen.off_m - np.einsum("nkab,kb->nka", seen.across, offsets)
    return offsets, solve(seen, features, rest)


def left_over_m(seen: Seen, offsets: np.ndarray, by_view: np.ndarray) -> np.ndarray:
    """(n, 21) what is not explained."""
    explained = offsets + np.einsum("kcf,nkf->nkc", by_view, features_of(seen.towards, seen.flexion_rad))
    return np.linalg.norm(seen.off_m - np.einsum("nkab,nkb->nka", seen.across, explained), axis=-1)


def noise_by_depth(seen: Seen, left_m: np.ndarray, skin_m: np.ndarray) -> np.ndarray:
    """How much larger the RMS of what is left is at each of `DEPTHS_M`; never falling, 1 in plain sight."""
    share = np.minimum(left_m / seen.size_m[:, None], LARGEST_SHARE)
    excess = seen.flesh_m - skin_m
    edges = [-np.inf, *(np.array(DEPTHS_M[1:]) + np.array(DEPTHS_M[:-1])) / 2, np.inf]
    rms = []
    for low, high in zip(edges, edges[1:], strict=False):
        here = share[(excess >= low) & (excess < high)]
        rms.append(np.sqrt((here**2).mean()) if len(here) >= MIN_PER_DEPTH else rms[-1])
    return np.maximum.accumulate(np.array(rms) / rms[0])


def main() -> None:
    """Simulate, detect, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="mediapipe")
    parser.add_argument("--out", type=Path, default=Path("handgen/detect/mediapipe/mediapipe_offsets.json"))
    parser.add_argument("--captures", type=int, default=16)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--workers", type=int, default=default_workers())
    options = parser.parse_args()
    captures: list[Seen] = []
    with tempfile.TemporaryDirectory() as folder:
        look = partial(observe, options.detector, options.frames, options.views, Path(folder))
        for seen in map_units(look, range(options.captures), options.workers):
            captures.append(seen)
            print(f"capture {len(captures)}: {len(seen.off_m)} hands in views", flush=True)
    constant, view, nothing = [], [], np.zeros((KEYPOINT_COUNT, 3, FEATURES))
    for held_out, seen in enumerate(captures):
        others = fit(together([s for i, s in enumerate(captures) if i != held_out]))
        constant.append(left_over_m(seen, others[0], nothing))
        view.append(left_over_m(seen, *others))
    for keypoint, name in enumerate(KEYPOINT_NAMES):
        before, after = (np.median(np.concatenate(left)[:, keypoint]) * 1e3 for left in (constant, view))
        print(f"{name:11} left over on captures not fitted to: constant {before:.1f} mm, by view {after:.1f} mm")
    seen = together(sorted(captures, key=lambda s: float(s.off_m.sum())))  # in one order, whichever was done first
    offsets, by_view = fit(seen)
    skin = np.percentile(seen.flesh_m, SKIN_PERCENTILE, axis=0)
    noise = noise_by_depth(seen, left_over_m(seen, offsets, by_view), skin)
    print(
        "noise by flesh in front:",
        ", ".join(f"{d * 1e3:.0f} mm x{n:.2f}" for d, n in zip(DEPTHS_M, noise, strict=True)),
    )
    bias = ViewBias(np.round(by_view, 6), np.round(skin, 5), np.array(DEPTHS_M), np.round(noise, 3))
    source = (
        f"scripts/measure_detector_offsets.py: {len(seen.off_m)} hands in views, {options.captures} simulated captures"
    )
    write_json(options.out, {"offsets_m": np.round(offsets, 5).tolist(), "view_bias": bias.to_json(), "source": source})


if __name__ == "__main__":
    main()
