"""Write InterHand2.6M's files (`handgen.datasets.interhand.layout`).

A picture's `file_name` is 000000/00000000.jpg: the unit, then the picture's number. Other than a capture's, handgen's
pictures each have a camera of their own (a crop, or a virtual camera), so there is a camera per picture, named by its
number. Samples of shards each are a frame of their own, since each has its own background; views of annotations share
the frame of their capture. All are of capture 0; `seq_name` says which it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.datasets import writer as base
from handgen.datasets.interhand import layout
from handgen.datasets.interhand.layout import CAMERA_SHAPES, HAND_TYPES, MM_PER_M, SIDE_ORDER
from handgen.datasets.parameters import move_parameters
from handgen.datasets.writer import ExportJob, File, Writer, Written, encode_entry, hand_box, join_parts
from handgen.errors import HandgenError
from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import relative_from_full, reorder_keypoints
from handgen.hand.skeleton import FINGERS, KEYPOINT_COUNT
from handgen.io import shards
from handgen.records.labelled_image import LabelledHand, LabelledImage

CAPTURE = "0"
_SKEW_PX = 1e-6
_Frame = dict[str, tuple[LabelledHand, Rigid]]  # by side, with world_from_cam


class InterhandWriter(Writer):
    """Writes InterHand2.6M's files."""

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._subjects = {name: i for i, name in enumerate(job.source.subjects)}

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """Write the pictures of a unit, and its pieces of the JSON files."""
        entries: dict[str, list[bytes]] = {kind: [] for kind in ("images", "annotations", *CAMERA_SHAPES)}
        frames: dict[int, _Frame] = {}
        own_frames = self._job.source.kind == shards.KIND

        def describe(number: int, name: str, picture: LabelledImage) -> None:
            world = picture.cam_from_world
            if picture.image is None or picture.intrinsics is None or world is None:
                raise HandgenError(f"{picture.name}: has no camera; choose the format coco")
            frame = number if own_frames else picture.frame
            entries["images"].append(encode_entry(self._image(number, frame, name, picture)))
            entries["annotations"].append(encode_entry(_annotation(number, picture)))
            for key, value in _camera(picture, world).items():
                entries[key].append(_member(number, value))
            for hand in picture.hands:
                frames.setdefault(frame, {}).setdefault(hand.side, (hand, world.inverse()))

        folder = layout.picture_folder(self._job.source.split)
        written = base.write_pictures(self._job, folder, unit, first, pictures, describe)
        entries["joints"] = [_member(number, _joints(hands)) for number, hands in sorted(frames.items())]
        entries["mano"] = [_member(number, self._mano(hands)) for number, hands in sorted(frames.items())]
        for kind, lines in entries.items():
            base.write_part(self._job, unit, kind, lines, written)
        return written

    def _image(self, number: int, frame: int, name: str, picture: LabelledImage) -> dict[str, Any]:
        return {
            "id": number,
            "file_name": name,
            "width": picture.size_px[0],
            "height": picture.size_px[1],
            "capture": int(CAPTURE),
            "subject": self._subjects[picture.subject],
            "seq_name": picture.capture,
            "camera": str(number),
            "frame_idx": frame,
        }

    def _mano(self, hands: _Frame) -> dict[str, Any]:
        return {side: self._parameters(*hands[side]) if side in hands else None for side in SIDE_ORDER}

    def _parameters(self, hand: LabelledHand, world_from_cam: Rigid) -> dict[str, Any]:
        given = hand.parameters
        if given is None or given.translation_m is None or given.model_sha256 is None:
            raise HandgenError(f"{self._job.source.root}: a hand has no parameters; choose the format coco")
        arrays = self._job.source.arrays(given.model_sha256, hand.side)
        moved = move_parameters(given, world_from_cam, arrays)
        pose, translation = relative_from_full(moved.pose, arrays), np.asarray(moved.translation_m)
        return {"pose": np.round(pose, 7), "shape": given.betas, "trans": np.round(translation, 7)}

    def finish(self, units: Sequence[Written]) -> list[File]:
        """Write the JSON files and the skeleton."""
        job, split = self._job, self._job.source.split
        images, annotations, joints, mano = (
            join_parts(job, kind, units) for kind in ("images", "annotations", "joints", "mano")
        )
        parts = {
            layout.DATA: chain([b'{"images":['], images, [b'],\n"annotations":['], annotations, [b"]}\n"]),
            layout.CAMERA: _of_capture(self._cameras(units)),
            layout.JOINTS: _of_capture(joints),
            layout.PARAMETERS: _of_capture(mano),
        }
        names = {part: f"{layout.labels_folder(split)}/{layout.labels_file(split, part)}" for part in parts}
        files = [base.write_file(job, names[part], blocks) for part, blocks in parts.items()]
        return [*files, base.write_file(job, layout.SKELETON, [skeleton().encode()])]

    def _cameras(self, units: Sequence[Written]) -> Iterator[bytes]:
        for i, name in enumerate(CAMERA_SHAPES):
            yield (b"," if i else b"") + b'"' + name.encode() + b'":{'
            yield from join_parts(self._job, name, units)
            yield b"}"

    def notes(self) -> list[str]:
        """Remarks on cameras, and on another hand model than MANO."""
        notes = ["every picture has a camera of its own, and all are of capture 0; seq_name is the capture's name"]
        if not self._job.all_mano:
            notes.append(
                "MANO_NeuralAnnot is of a hand model other than MANO: a loader that puts it into MANO gets another "
                "hand; joint_3d holds for every model"
            )
        return notes


def _of_capture(blocks: Iterable[bytes]) -> Iterable[bytes]:
    return chain([b'{"' + CAPTURE.encode() + b'":{'], blocks, [b"}}\n"])


def _member(number: int, value: Any) -> bytes:
    return encode_entry(str(number)) + b":" + encode_entry(value)


def _hand_type(sides: Iterable[str]) -> str:
    there = set(sides)
    return next(name for name, named in HAND_TYPES.items() if named == there)


def _annotation(number: int, picture: LabelledImage) -> dict[str, Any]:
    by_side = {hand.side: hand for hand in picture.hands}
    return {
        "id": number,
        "image_id": number,
        "bbox": list(base.union_of(hand_box(hand, picture) for hand in picture.hands)),
        "joint_valid": _valid(by_side),
        "hand_type": _hand_type(by_side),
        "hand_type_valid": 1,
    }


def _valid(hands: dict[str, LabelledHand]) -> list[list[int]]:
    """`joint_valid`, 42 x 1."""
    flags = []
    for side in SIDE_ORDER:
        labelled = hands[side].labelled if side in hands else np.zeros(KEYPOINT_COUNT, bool)
        flags.append(reorder_keypoints(labelled[:, None].astype(float), "handgen", "interhand"))
    return np.concatenate(flags).astype(int).tolist()


def _joints(hands: _Frame) -> dict[str, Any]:
    """One frame of `joint_3d`."""
    world = []
    for side in SIDE_ORDER:
        points: Float[np.ndarray, "21 3"] = np.zeros((KEYPOINT_COUNT, 3))
        if side in hands:
            hand, world_from_cam = hands[side]
            assert hand.keypoints_cam_m is not None
            points = world_from_cam.apply(hand.keypoints_cam_m)
        world.append(reorder_keypoints(points, "handgen", "interhand"))
    return {
        "world_coord": np.round(np.concatenate(world) * MM_PER_M, 4),
        "joint_valid": _valid({side: hand for side, (hand, _) in hands.items()}),
        "hand_type": _hand_type(hands),
        "hand_type_valid": 1,
    }


def _camera(picture: LabelledImage, cam_from_world: Rigid) -> dict[str, Any]:
    assert picture.intrinsics is not None
    k = picture.intrinsics
    if abs(k[0, 1]) > _SKEW_PX * k[0, 0]:
        raise HandgenError(f"{picture.name}: its camera has skew, which this format cannot say; choose another")
    return {
        "campos": np.round(cam_from_world.inverse().translation * MM_PER_M, 6),
        "camrot": np.round(cam_from_world.rotation, 9),
        "focal": np.round([k[0, 0], k[1, 1]], 6),
        "princpt": np.round([k[0, 2], k[1, 2]], 6),
    }


def skeleton() -> str:
    """The text of `skeleton.txt`: name, number and parent of each joint."""
    lines = ["# joint_name joint_id joint_parent_id"]
    for start, letter in ((0, "r"), (KEYPOINT_COUNT, "l")):
        wrist = start + KEYPOINT_COUNT - 1
        for i, finger in enumerate(FINGERS):
            for k in range(4):
                number = start + 4 * i + k
                lines.append(f"{letter}_{finger}{4 - k} {number} {number + 1 if k < 3 else wrist}")
        lines.append(f"{letter}_wrist {wrist} -1")
    return "\n".join(lines) + "\n"
