"""Annotations as Python objects: hands of frames, their views, their meshes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from jaxtyping import Float, Int, UInt8

from handgen._api.config import Place
from handgen.arguments import check_arguments, convert
from handgen.errors import HandgenError
from handgen.fit.observations import kinematics_of
from handgen.fit.tracker import Tracker
from handgen.geometry.camera import Camera, Rig
from handgen.hand.model import HandModel, single_pose
from handgen.hand.skeleton import KEYPOINT_NAMES
from handgen.io.annotations import Annotations
from handgen.io.cutouts import Cutout
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.storage.filesystem import Location, location

if TYPE_CHECKING:
    import pandas


@check_arguments
def open_annotations(directory: Place) -> AnnotatedHands:
    """Open the annotations in `directory`, a path or a URL, for reading; HandgenError where none are finished."""
    return AnnotatedHands(Annotations(location(directory)))


class Mesh(NamedTuple):
    """The surface of a hand. vertices: (778, 3), world frame, metres. faces: (about 1540, 3), indices of vertices."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]


class AnnotatedHands(Sequence["AnnotatedHand"]):
    """All hands of a folder of annotations, in the order of the frames: it has a length, indices and iteration.

    One chunk of frames is held in memory at a time. The world frame is the calibration's own, in metres; poses are in
    radians. Rejected hands are among them: `accepted` of each says which.
    """

    def __init__(self, source: Annotations) -> None:
        self._source = source
        self._ends = list(accumulate(chunk["records"] for chunk in source.manifest["chunks"]))
        self._chunk: tuple[int, list[HandRecord]] = (-1, [])
        self._models: dict[str, HandModel] = {}

    @property
    def path(self) -> Location:
        """The folder that was opened."""
        return self._source.root

    @property
    def rig(self) -> Rig:
        """The cameras of whole, distorted images; world frame, metres."""
        return self._source.rig

    @property
    def frame_count(self) -> int:
        """Number of frames of the capture; a frame has no, one or two hands."""
        return int(self._source.manifest["capture"]["frame_count"])

    @property
    def fps(self) -> float | None:
        """Frames per second of the capture, or None where that is not known."""
        return self._source.manifest["capture"]["fps"]

    def hand_model(self, side: str) -> HandModel:
        """The hand model of the annotations, for "left" or "right"."""
        if side not in self._models:
            self._models[side] = HandModel.load(self._source.hand_model, side)
        return self._models[side]

    def tracker(self, side: str, subject: str | None = None) -> Tracker:
        """A tracker for live use: it knows these cameras, this subject's hand, and how the detector sees it.

        subject: None where the annotations have one. Raises KeyError for a name that they do not have.
        """
        subjects = self._source.manifest["subjects"]
        if subject is None and len(subjects) == 1:
            subject = next(iter(subjects))
        if subject is None or subject not in subjects:
            raise KeyError(f"{self.path}: the subjects are {', '.join(subjects)}; say which, got {subject!r}")
        offsets_m = np.array(subjects[subject].get("detector_offsets_m") or np.zeros((21, 3)))
        kinematics = kinematics_of(self._source.hand_model, side, offsets_m)
        return Tracker(kinematics, self.rig, self._source.betas[subject])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> AnnotatedHand: ...

    @overload
    def __getitem__(self, index: slice) -> list[AnnotatedHand]: ...

    def __getitem__(self, index: int | slice) -> AnnotatedHand | list[AnnotatedHand]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = convert("index", index, int)
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path}: there are {len(self)} hands, no number {index}")
        chunk = int(np.searchsorted(self._ends, number, side="right"))
        records = self._records(chunk)
        return AnnotatedHand(self, chunk, records[number - self._ends[chunk] + len(records)])

    def __iter__(self) -> Iterator[AnnotatedHand]:
        return (AnnotatedHand(self, chunk, record) for chunk, record in self._source)

    def __repr__(self) -> str:
        return f"<{len(self)} annotated hands in {self.frame_count} frames of {len(self.rig)} cameras: {self.path}>"

    def to_dataframe(self, keypoints: bool = False) -> pandas.DataFrame:
        """One row per hand: frame, side, subject, whether and why not accepted, how good it is.

        keypoints: also columns such as `wrist_x_m`, `wrist_y_m` and `wrist_z_m` of all keypoints; world frame, metres.
        Raises HandgenError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise HandgenError("to_dataframe: needs pandas; pip install 'handgen[pandas]'") from None
        return pandas.DataFrame([_row(hand, keypoints) for hand in self])

    def _records(self, chunk: int) -> list[HandRecord]:
        if self._chunk[0] != chunk:
            self._chunk = chunk, self._source.records(chunk)
        return self._chunk[1]


class AnnotatedHand:
    """One hand in one frame. World frame in metres, rotations in radians."""

    def __init__(self, hands: AnnotatedHands, chunk: int, record: HandRecord) -> None:
        self._hands, self._chunk, self._record = hands, chunk, record

    @property
    def frame(self) -> int:
        """The number of the frame, from 0."""
        return self._record.frame

    @property
    def side(self) -> str:
        """The side, "left" or "right"."""
        return self._record.side

    @property
    def subject(self) -> str:
        """The name of the person; "0" where the capture does not say who it is."""
        return self._record.subject

    @property
    def accepted(self) -> bool:
        """True if the hand is good enough to train on."""
        return self._record.accepted

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the hand is not accepted; empty where it is."""
        return self._record.reasons

    @property
    def keypoints_3d(self) -> Float[np.ndarray, "21 3"]:
        """The keypoints (21, 3): wrist, then thumb, index, middle, ring, pinky from palm to tip; world, metres."""
        return self._record.keypoints_world_m

    @property
    def covariance_mm2(self) -> Float[np.ndarray, "21 3 3"] | None:
        """The covariance of each keypoint (21, 3, 3), world, mm^2; None where it is not known."""
        return self._record.covariance_mm2

    @property
    def pose(self) -> Float[np.ndarray, " 48"]:
        """The pose of the hand model (48): axis-angle of its 16 joints, radians, the mean pose included."""
        return self._record.pose

    @property
    def betas(self) -> Float[np.ndarray, " 10"]:
        """The shape of the subject's hand (10), in standard deviations of the hand model."""
        return self._hands._source.betas_of(self._record)

    @property
    def translation_m(self) -> Float[np.ndarray, " 3"]:
        """The translation of the hand model (3), smplx's `transl`; world, metres."""
        return self._record.translation_m

    @property
    def expected_error_mm(self) -> float | None:
        """Expected error of a keypoint on average, by the covariance, mm; None where it is not known."""
        return self._record.expected_error_mm

    @property
    def reprojection_px(self) -> float | None:
        """The median distance of the fit from the detections, full image pixels; None where nothing was seen."""
        return self._record.reprojection_px

    @property
    def mask_iou(self) -> float | None:
        """The median overlap of mask and mesh over the views, 0 to 1; None where there is no mask."""
        return self._record.mask_iou

    @cached_property
    def views(self) -> tuple[HandView, ...]:
        """The hand in each camera that sees it."""
        return tuple(HandView(self, view) for view in self._record.views)

    def camera(self, name: str) -> Camera:
        """The ideal camera of the named camera's cutout (`HandView.camera`). Raises KeyError where it has none."""
        for view in self._record.views:
            if view.camera.name == name:
                return view.camera
        raise KeyError(f"frame {self.frame}: camera {name!r} has no {self.side} hand")

    def mesh(self) -> Mesh:
        """The surface of the hand: vertices in the world, metres, and faces."""
        model = self._hands.hand_model(self.side)
        posed = model(single_pose(self.pose, self.translation_m, self.betas))
        return Mesh(posed.vertices[0].numpy(), model.faces)

    def __repr__(self) -> str:
        said = "accepted" if self.accepted else f"rejected ({', '.join(self.reasons)})"
        return f"<{self.side} hand of frame {self.frame}, {len(self._record.views)} views, {said}>"


class HandView:
    """One hand as one camera sees it: a cutout of the undistorted image with a mask."""

    def __init__(self, hand: AnnotatedHand, record: ViewRecord) -> None:
        self._hand, self._record = hand, record

    @property
    def camera(self) -> Camera:
        """The ideal camera (no distortion) of the cutout: it projects world metres to pixels of `image`."""
        return self._record.camera

    @property
    def accepted(self) -> bool:
        """True if the view is good enough to train on."""
        return self._record.accepted

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the view is not accepted; empty where it is."""
        return self._record.reasons

    @property
    def image(self) -> UInt8[np.ndarray, "height width 3"]:
        """The cutout, RGB. Raises HandgenError where its file is damaged."""
        return self._cutout.image

    @property
    def mask(self) -> UInt8[np.ndarray, "height width"]:
        """The mask of the hand in the cutout, 0 or 255."""
        return self._cutout.mask

    @property
    def keypoints_2d(self) -> Float[np.ndarray, "21 2"]:
        """The fitted keypoints (21, 2) in pixels of `image`, x and y; outside it where the hand is cut off."""
        return self.camera.project(self._hand.keypoints_3d)[0]

    @property
    def detected_px(self) -> Float[np.ndarray, "21 3"] | None:
        """The detector's keypoints (21, 3): x, y in the full, distorted image, and confidence; None without any."""
        return self._record.detected_px

    @property
    def box_px(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the cutout in the full, undistorted image, pixels."""
        return self._record.box_px

    @property
    def mask_iou(self) -> float | None:
        """The overlap of mask and mesh, 0 to 1; None where there is no mask."""
        return self._record.mask_iou

    @property
    def reprojection_px(self) -> float | None:
        """The median distance of the fit from the detection, pixels of the full image; None without a detection."""
        return self._record.reprojection_px

    @cached_property
    def _cutout(self) -> Cutout:
        return self._hand._hands._source.cutout(self._hand._chunk, self._record)

    def __repr__(self) -> str:
        width, height = self.camera.size_px
        return f"<{self._hand.side} hand of frame {self._hand.frame} in {self.camera.name}, {width} x {height} px>"


def _row(hand: AnnotatedHand, keypoints: bool) -> dict[str, Any]:
    row = {
        "frame": hand.frame,
        "side": hand.side,
        "subject": hand.subject,
        "accepted": hand.accepted,
        "reasons": ", ".join(hand.reasons),
        "expected_error_mm": hand.expected_error_mm,
        "reprojection_px": hand.reprojection_px,
        "mask_iou": hand.mask_iou,
        "views": len(hand.views),
        "views_accepted": sum(view.accepted for view in hand.views),
    }
    if keypoints:
        for name, point in zip(KEYPOINT_NAMES, hand.keypoints_3d.tolist(), strict=True):
            row |= {f"{name}_{axis}_m": value for axis, value in zip("xyz", point, strict=True)}
    return row
