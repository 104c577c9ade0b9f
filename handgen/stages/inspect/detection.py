"""Look for hands in a few frames of a capture: does every camera see what the others see, and is the unit right?"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from handgen.detect import registry
from handgen.detect.base import DetectionTask, Detector
from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.subject import SURE_ERROR_SHARE
from handgen.geometry.camera import Rig
from handgen.hand.skeleton import SIDES
from handgen.io.capture.capture import Capture
from handgen.media.arrays import Image
from handgen.multiview.tracking import hands_in_any_unit, hands_of_detections
from handgen.progress import Progress
from handgen.reconstruct.camera_hypotheses import find_suspects, notes_of, unexplained_cameras
from handgen.reconstruct.hand_size import hand_size, size_notes
from handgen.reconstruct.redetection import search_regions, views_to_search
from handgen.records.detection import Detection

_RUNS, _RUN_FRAMES = 3, 16  # of consecutive frames, spread over the capture: delays show in consecutive ones alone

Found = dict[int, list[list[Detection]]]  # detections by frame and camera


def detect_some(capture: Capture, detector: Detector, show: Progress) -> Found:
    """Detect the hands in a few runs of frames of every camera."""
    last = max(capture.frame_count - _RUN_FRAMES, 0)
    starts = np.unique(np.linspace(0, last, _RUNS).round().astype(int)).tolist()
    found: Found = {}
    for start in starts:
        views = [detector.start(name) for name in capture.cameras.names]
        frames = range(max(start, max(found, default=-1) + 1), min(start + _RUN_FRAMES, capture.frame_count))
        pictures, sources = capture.read(frames.start, frames.stop), capture.source_frames[frames.start : frames.stop]
        for frame, numbers, images in zip(frames, sources.tolist(), pictures, strict=True):
            seen = zip(views, numbers, images, strict=True)
            found[frame] = [[] if image is None else view.detect(image, number) for view, number, image in seen]
            show("detect", len(found), _RUNS * _RUN_FRAMES)
    return found


def _redetect_unexplained(capture: Capture, detector: Detector, found: Found, cameras: Collection[int]) -> None:
    """Add what the detector finds in these cameras where the others see a hand."""
    frames, moments = list(found), list(found.values())
    hands = hands_in_any_unit(capture.cameras, frames, moments, capture.hands or "both")
    regions = [r for r in views_to_search(capture.cameras, hands, 0) if r.camera in cameras and r.frame in found]

    def pictures(wanted: range) -> Iterator[tuple[Sequence[int], Sequence[Image | None]]]:
        numbers = capture.source_frames[wanted.start : wanted.stop].tolist()
        return zip(numbers, capture.read(wanted.start, wanted.stop), strict=True)

    for start in (frame for frame in frames if frame - 1 not in found):  # of each run of frames
        run = range(start, next(frame for frame in itertools.count(start) if frame not in found))
        of_run = [region for region in regions if region.frame in run]
        for region, _, detection in search_regions(detector, capture.cameras.names, of_run, pictures):
            found[region.frame][region.camera].append(detection)


def look(capture: Capture, detector_name: str, options: Any, show: Progress) -> tuple[dict[str, Any], list[str]]:
    """Ask a detector about the cameras: a document for programs, and notes. Raises HandgenError as detectors do."""
    names, hands = capture.cameras.names, capture.hands or "both"
    task = DetectionTask(names, 2 if hands == "both" else 1, hands if hands in SIDES else None)
    detector = registry.create_detector(detector_name, task, options)
    found = detect_some(capture, detector, show)
    counts = {name: sum(len(seen[v]) for seen in found.values()) for v, name in enumerate(names)}
    suspects = find_suspects(capture.cameras, found)
    if detector.needs_images and (cameras := unexplained_cameras(capture.cameras, suspects)):
        _redetect_unexplained(capture, detector, found, cameras)
        suspects = find_suspects(capture.cameras, found)
    document: dict[str, Any] = {
        "frames": len(found),
        "hands": counts,
        "suspects": [{"camera": s.camera, "cause": s.note(), "left_out": s.left_out} for s in suspects],
    }
    notes = [*detector.notes, *notes_of(suspects)]
    silent = [name for name, count in counts.items() if not count]
    notes += [f"no hand was detected in {len(found)} frames of camera {name}" for name in silent]
    if isinstance(capture.cameras, Rig):
        assert capture.metres_per_unit is not None
        size = _size(capture.cameras, found, hands, detector)
        document["hand_size"] = size
        notes += size_notes(size, capture.metres_per_unit)
    return document, notes


def _size(rig: Rig, found: Found, hands: str, detector: Detector) -> float | None:
    """Size of the hands that two or more cameras agree on, in people's mean size."""
    sure: dict[str, Sequence[Any]] = {
        hand.side: [h for h in hand.seen_hands.values() if h.view_count >= 2 and h.error_share < SURE_ERROR_SHARE]
        for hand in hands_of_detections(rig, list(found), list(found.values()), hands)
    }
    return hand_size("open", DetectorCalibration(detector.offsets_m, detector.view_bias), sure)
