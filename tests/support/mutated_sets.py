"""Changes that people make to annotations, calibrations and captures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handgen.hand.conversions import relative_from_full
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import other_side
from handgen.media import images
from handgen.storage.tar import write_tar
from support.mutations import Mutation, members_of

# Annotations


def records(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change every record."""

    def change_set(root: Path) -> None:
        for path in sorted((root / "chunks").glob("*.jsonl")):
            documents = [json.loads(line) for line in path.read_text().splitlines()]
            for document in documents:
                change(document)
            path.write_text("".join(json.dumps(document) + "\n" for document in documents))

    return change_set


def views(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change every view of every record."""

    def each_view(record: dict[str, Any]) -> None:
        for view in record["views"]:
            change(view)

    return records(each_view)


def manifest(change: Callable[[dict[str, Any]], None], name: str = "manifest.json") -> Callable[[Path], None]:
    """Change the manifest, or another JSON file."""

    def change_set(root: Path) -> None:
        document = json.loads((root / name).read_text())
        change(document)
        (root / name).write_text(json.dumps(document))

    return change_set


def each_camera(change: Callable[[np.ndarray], np.ndarray], name: str = "manifest.json", only: int | None = None):
    """Change cam_from_world of the cameras in a JSON file."""

    def change_document(document: dict[str, Any]) -> None:
        for number, camera in enumerate(document["cameras"]):
            if only is None or number == only:
                camera["cam_from_world"] = change(np.array(camera["cam_from_world"], float)).tolist()

    return manifest(change_document, name)


def transposed(matrix: np.ndarray) -> np.ndarray:
    matrix[:3, :3] = matrix[:3, :3].T
    return matrix


def scaled(matrix: np.ndarray) -> np.ndarray:
    matrix[:3, 3] *= 1000
    return matrix


def mirrored(matrix: np.ndarray) -> np.ndarray:
    return np.diag([1.0, -1.0, 1.0, 1.0]) @ matrix


def _record_in_mm(record: dict[str, Any]) -> None:
    for name in ("keypoints_world_m", "translation_m"):
        record[name] = (1000 * np.array(record[name])).tolist()


def _record_of_other_side(record: dict[str, Any]) -> None:
    record["side"] = other_side(record["side"])


def _relative_record(record: dict[str, Any]) -> None:
    record["pose"] = relative_from_full(np.array(record["pose"]), load_hand("open", record["side"])).tolist()


def _half_a_pixel(view: dict[str, Any]) -> None:
    view["intrinsics"][0][2] += 0.5
    view["intrinsics"][1][2] += 0.5


def _mirrored_view(view: dict[str, Any]) -> None:
    view["cam_from_world"] = mirrored(np.array(view["cam_from_world"])).tolist()


def _inverted_views_and_cameras(root: Path) -> None:
    """Everything the wrong way round, as from a calibration that was: only the detections disagree."""

    def invert(view: dict[str, Any]) -> None:
        view["cam_from_world"] = transposed(np.array(view["cam_from_world"])).tolist()

    views(invert)(root)
    each_camera(transposed)(root)


def _bgr_cutouts(root: Path) -> None:
    for path in sorted((root / "chunks").glob("*.tar")):
        members = []
        for name, data in members_of(path):
            if name.endswith(".jpg"):
                picture = images.decode_rgb(data, name)[..., ::-1]
                data = images.encode_jpeg(np.ascontiguousarray(picture), 95, "420")
            members.append((name, data))
        write_tar(path, members)


ANNOTATIONS = [
    Mutation("records in millimetres", records(_record_in_mm), "metres", "millimetres"),
    Mutation("records of the other side", records(_record_of_other_side), "side", "parameters give"),
    Mutation("records' mean pose missing", records(_relative_record), "mean pose", "missing"),
    Mutation("cutouts half a pixel off", views(_half_a_pixel), "view camera", "half a pixel"),
    Mutation("a mirror in the views' cameras", views(_mirrored_view), "rotation", "mirror"),
    Mutation("cameras' rotations transposed", _inverted_views_and_cameras, "detections", "rotation transposed"),
    Mutation("BGR cutouts", _bgr_cutouts, "colours", "BGR"),
]

# Calibrations and captures; the file is calibration.json in the folder


def _lens(document: dict[str, Any]) -> None:
    document["cameras"][1]["distortion"] = [-1.8, 0.0, 0.0, 0.0]


def _focal(document: dict[str, Any]) -> None:
    document["cameras"][0]["intrinsics"][0][0] = 4.0
    document["cameras"][0]["intrinsics"][1][1] = 4.0


def _twice(document: dict[str, Any]) -> None:
    document["cameras"][2] = {**document["cameras"][0], "name": document["cameras"][2]["name"]}


_FILE = "calibration.json"
CALIBRATIONS = [
    Mutation("world_from_cam in a calibration", each_camera(np.linalg.inv, _FILE), "common view", "world_from_cam"),
    Mutation("a calibration's rotations transposed", each_camera(transposed, _FILE), "common view", "transposed"),
    Mutation("a calibration's translations in millimetres", each_camera(scaled, _FILE), "baseline", "millimetres"),
    Mutation("a camera's axis negated", each_camera(mirrored, _FILE, 1), "rotation", "mirror"),
    Mutation("a camera twice", manifest(_twice, _FILE), "camera twice", "at the place of camera"),
    Mutation("a calibration's focal length in millimetres", manifest(_focal, _FILE), "intrinsics", "millimetres"),
    Mutation("distortion of another lens model", manifest(_lens, _FILE), "distortion", "cannot be inverted"),
]
