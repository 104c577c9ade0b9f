"""Without truth: people and poses fitted without a view, compared with what the detector saw in that view.

The view that is left out takes no part in anything: not in finding hands, nor in which hand is which, nor in betas,
detector offsets and poses, nor with its masks. What any view found in a second look is left out as well, since all
views led it there. A hand is compared with the detection in that view whose middle is nearest to its own, if one lies
within half a hand. What is compared are the keypoints where the detector would put them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.detect.view_bias import DetectorCalibration, ViewBias
from handgen.errors import HandgenError
from handgen.fit.subject import SURE_ERROR_SHARE, HandShape, fit_subject
from handgen.geometry.camera import Rig
from handgen.io.annotations import DETECTIONS, Annotations
from handgen.io.capture.capture import Capture, load_capture
from handgen.io.detections import read_detections
from handgen.multiview.association import MultiviewHand, evenly_spaced, group_by_moment, keypoint_extent
from handgen.multiview.tracking import HandObservations, hands_of_detections
from handgen.progress import Progress
from handgen.reconstruct.fit_hands import HandFitter
from handgen.reconstruct.settings import FitSettings, parse_term_weight
from handgen.records.detection import Detection
from handgen.runtime.engines import Engine
from handgen.runtime.local import LocalEngine
from handgen.runtime.messages import advance
from handgen.runtime.resumable_run import Units, map_missing
from handgen.stages.evaluate.distributions import Distribution, distribution
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.json_fields import Count
from handgen.storage.output import RUN, RUN_SCHEMA

MIN_VIEWS = 3  # one to leave out, two to triangulate
_BLOCK_FRAMES = 128  # associated and fitted at once, so that memory does not grow with the capture
_IN_THIS_PROCESS = LocalEngine(1)
_SUBJECT_BLOCKS = 8  # spread over the capture
_SUBJECT_HANDS_PER_SIDE = 256
_SUPPORT = 3  # a hand that fewer of the other views see, where there are so many, is not compared
_NEAR = 0.5  # of a hand: how far a detection's middle may be from the fitted hand's

FrameDetections = list[list[Detection]]  # per camera of the rig


@dataclass(frozen=True)
class LeftOutView:
    """One view that was left out; null where no hand was compared."""

    camera: str
    hands: Count
    """How many hands were compared."""
    error_px: Distribution | None
    error_mm: Distribution | None


@dataclass(frozen=True)
class LeaveOneOut:
    """Hands found and fitted without a view, against that view's detections; distances per keypoint."""

    hands: Count
    error_px: Distribution | None
    error_mm: Distribution | None
    """Pixels times depth over focal length."""
    views: tuple[LeftOutView, ...]


@dataclass(frozen=True)
class Setting:
    """Facts of annotations that leaving views out needs. rig: metres. hands: "left", "right" or "both".

    detector: before anything was learnt on this capture. fit: as the annotations were made.
    """

    root: Location
    capture: Capture
    rig: Rig
    hands: str
    detector: DetectorCalibration
    fit: FitSettings
    chunk_frames: int

    def detections(self, frames: range) -> list[FrameDetections]:
        """Read the detections of some frames of the capture; a camera without a frame saw nothing."""
        chunks = range(frames.start // self.chunk_frames, (frames.stop - 1) // self.chunk_frames + 1)
        paths = [self.root / DETECTIONS / f"{chunk:06d}.jsonl" for chunk in chunks]
        rows = (row for path in paths for row in read_detections(path, self.rig.names) if not row.again)
        return group_by_moment(rows, self.rig.names, self.capture.source_frames[frames.start : frames.stop])


def leave_one_out(
    annotations_path: Location,
    capture_path: Location,
    calibration: Location | None = None,
    engine: Engine = _IN_THIS_PROCESS,
    progress: Progress | None = None,
) -> LeaveOneOut:
    """Leave every view out once. HandgenError for fewer than three views, or annotations of another capture."""
    setting = open_setting(annotations_path, capture_path, calibration)
    views = len(setting.rig)
    units = Units("leave views out", [setting.capture.frame_count] * views, partial(_without_view, setting))
    results = dict(map_missing(units, (), engine, progress))
    px, mm = (np.concatenate([results[view][i] for view in range(views)]) for i in (0, 1))
    each = tuple(
        LeftOutView(name, len(results[v][0]), distribution(results[v][0]), distribution(results[v][1]))
        for v, name in enumerate(setting.rig.names)
    )
    return LeaveOneOut(len(px), distribution(px), distribution(mm), each)


def open_setting(annotations_path: Location, capture_path: Location, calibration: Location | None = None) -> Setting:
    """Read annotations and their capture; HandgenError if they do not belong together or lack something."""
    annotations = Annotations(annotations_path)
    rig = annotations.rig
    if len(rig) < MIN_VIEWS:
        raise HandgenError(
            f"{annotations_path}: has {len(rig)} views ({', '.join(rig.names)}); leaving one out takes {MIN_VIEWS}, "
            "since two must remain to triangulate; give --truth to measure it"
        )
    if filesystem.size_of(annotations_path / RUN) is None:
        raise HandgenError(
            f"{annotations_path}: has no {RUN}, so its detections are not known; leaving a view out takes annotations "
            "that `handgen annotate` wrote"
        )
    depends_on = read_json(annotations_path / RUN, RUN_SCHEMA)["depends_on"]
    try:
        fingerprint, offsets_m = depends_on["capture"], np.array(depends_on["detector"]["offsets_m"], dtype=float)
        bias = depends_on["detector"].get("view_bias")
        view_bias = None if bias is None else ViewBias.from_json(bias)
        configuration = depends_on["configuration"]
        chunk_frames, hands = configuration["chunk_frames"], configuration["hands"]
        fit = FitSettings(
            annotations.hand_model,
            float(configuration.get("acceleration_mm_s2", FitSettings.acceleration_mm_s2)),
            configuration.get("refine", "none"),
            background=configuration.get("background", "auto"),
            term_weights=tuple(map(parse_term_weight, configuration.get("term", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HandgenError(f"{annotations_path / RUN}: lacks or garbles {error}; annotate the capture again") from None
    capture = load_capture(capture_path, calibration=calibration, require_scale=False)
    if capture.fingerprint() != fingerprint:
        raise HandgenError(
            f"{capture_path}: is not the capture that {annotations_path} was made of (other pictures, or other frames "
            "of them belong together); give that one with --capture"
        )
    if capture.cameras.names != rig.names:
        raise HandgenError(
            f"{capture_path}: its cameras are {', '.join(capture.cameras.names)}, those of {annotations_path} "
            f"{', '.join(rig.names)}; give the calibration that was annotated with (--calibration)"
        )
    detector = DetectorCalibration(offsets_m, view_bias)
    return Setting(annotations_path, capture, rig, hands, detector, fit, chunk_frames)


def _without_view(setting: Setting, view: int) -> tuple[np.ndarray, np.ndarray]:
    """(hands, 21) distances in px and mm of hands fitted without it."""
    frames_of_capture = range(setting.capture.frame_count)
    blocks = [frames_of_capture[first : first + _BLOCK_FRAMES] for first in frames_of_capture[::_BLOCK_FRAMES]]
    person, errors = _person(setting, view, blocks), list[tuple[np.ndarray, np.ndarray]]()
    if person is not None:
        fitter = HandFitter(setting.fit, setting.rig, *person, setting.capture.fps)
        for frames in blocks:
            errors += _compared(setting, view, fitter, frames, setting.detections(frames))
            advance(len(frames))
    px, mm = np.array(errors).reshape(-1, 2, 21).swapaxes(0, 1)
    return px, mm


def _blind_hands(
    setting: Setting, view: int, frames: range, detections: Sequence[FrameDetections]
) -> list[HandObservations]:
    """The hands of some frames as the other views see them."""
    blind = [[[] if v == view else seen for v, seen in enumerate(found)] for found in detections]
    return hands_of_detections(setting.rig, frames, blind, setting.hands)


def _person(setting: Setting, view: int, blocks: Sequence[range]) -> tuple[HandShape, DetectorCalibration] | None:
    """The person's betas and detector offsets as the other views see them; None if they see no hand well."""
    sure: dict[str, list[MultiviewHand]] = {}
    chosen = np.unique(np.linspace(0, len(blocks) - 1, min(len(blocks), _SUBJECT_BLOCKS)).round().astype(int))
    for frames in (blocks[i] for i in chosen.tolist()):
        for hand in _blind_hands(setting, view, frames, setting.detections(frames)):
            good = [seen_hand for seen_hand in hand.seen_hands.values() if seen_hand.error_share < SURE_ERROR_SHARE]
            if good:
                sure.setdefault(hand.side, []).extend(good)
    if not sure:
        return None
    picked = {side: evenly_spaced(found, _SUBJECT_HANDS_PER_SIDE) for side, found in sure.items()}
    return fit_subject(setting.fit.hand_model, setting.detector, setting.rig, picked)


def _compared(
    setting: Setting, view: int, fitter: HandFitter, frames: range, detections: Sequence[FrameDetections]
) -> Iterator[tuple[Float[np.ndarray, " 21"], Float[np.ndarray, " 21"]]]:
    """Distances in px and mm of every hand that the left-out view saw as well."""

    def pictures(wanted: range) -> Iterator[list[Any]]:
        for images in setting.capture.read(wanted.start, wanted.stop):
            yield [None if v == view else image for v, image in enumerate(images)]

    others = min(_SUPPORT, len(setting.rig) - 1)
    camera = setting.rig.cameras[view]
    focal_px = (camera.intrinsics[0, 0] + camera.intrinsics[1, 1]) / 2
    hands = _blind_hands(setting, view, frames, detections)
    for hand in fitter.fit(hands, frames, pictures):
        fitted = hand.fit.hands()
        _, inside = camera.project(fitted.observed_keypoints)
        projected = fitted.expected_px(view, camera)
        found = zip(hand.seen_hands, fitted.observed_keypoints, projected, inside, strict=True)
        for seen_hand, points, pixels, seen in found:
            if seen_hand.view_count < others or seen_hand.conflicting_views or not seen.all():
                continue
            detected = nearest(pixels, detections[seen_hand.frame - frames.start][view])
            if detected is not None:
                error_px = np.linalg.norm(pixels - detected.keypoints_px, axis=1)
                error_px = np.where(detected.confidence > 0, error_px, np.nan)  # confidence 0: no keypoint there
                mm_per_px = camera.cam_from_world.apply(points)[:, 2] / focal_px * 1e3  # at each point's depth
                yield error_px, error_px * mm_per_px


def nearest(pixels: Float[np.ndarray, "21 2"], detections: Iterable[Detection]) -> Detection | None:
    """The detection of the same hand, if there is one."""
    center, reach = np.median(pixels, axis=0), _NEAR * keypoint_extent(pixels)
    away = [(float(np.linalg.norm(np.median(one.keypoints_px, axis=0) - center)), one) for one in detections]
    distance, best = min(away, default=(np.inf, None), key=itemgetter(0))
    return best if distance < reach else None
