"""Make the test set of real hands: crops of the two real captures, with keypoints of several views' fits as teacher.

    python scripts/bench/real_hands.py --out FOLDER [--annotations FOLDER] [--json]

Annotates both captures as `real.py` does (or takes its `--keep` folder) and cuts every accepted hand out of every
view in which its teacher is sure: sigma of each keypoint from the fit's covariance, in pixels of the crop. Crops are
squares of an ideal camera at the real one's place, turned by the quarter turns after which the hand points up the most
(hands on a desk point anywhere; networks want them up, and get the same boxes); the box around the 21 keypoints fills
0.7 of the side. Left out: hands whose median sigma is above 0.02 of that box or that reproject badly, views with
keypoints outside the picture, the room's camera 1, whose pictures are late, and two of three frames of the desk, which
follow each other within 33 ms.

Writes `real_hands.npz` (images, masks, keypoints_px, sigma_px, capture, camera, frame, right) and a contact sheet, and
prints what MediaPipe's landmark network finds on the same boxes: PCK within 0.1 of the box's longer side.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from real import ANNOTATE_OPTIONS, DESK, ROOM, annotate, captures_folder
from table import report
from training_network import box_sides, pck

from handgen.detect.mediapipe.landmarks import LandmarkNetwork, Region
from handgen.geometry.camera import Camera, resampling_maps
from handgen.hand.skeleton import MIDDLE_MCP, WRIST
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.media import images
from handgen.records.annotation import HandRecord, ViewRecord

LATE = {(ROOM, "cam_1")}
KEEP_EVERY = {DESK: 3, ROOM: 1}
SIDE_PX = 224
HAND_SHARE = 0.7  # of the crop's side, that the box around the keypoints fills
MAX_SIGMA_SHARE = 0.02  # median sigma of a sure teacher, in parts of the hand's box
MAX_REPROJECTION_SHARE = 0.05
NPZ = "real_hands.npz"
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "crops": ("crops", None, True),
    "desk_crops": ("of the desk", None, True),
    "room_crops": ("of the room", None, True),
    "sigma_share": ("median sigma of the teacher, in parts of the hand's box", None, False),
    "mediapipe_pck10": ("PCK@.1 of MediaPipe on the same boxes", None, True),
    "mediapipe_pck10_desk": ("the desk", None, True),
    "mediapipe_pck10_room": ("the room", None, True),
    "mediapipe_palm_flipped": ("palms that MediaPipe turns over, share", None, False),
}


@dataclass(frozen=True)
class RealHands:
    """Crops of real hands. Pixels of the crop, centre of the first pixel at 0.

    masks: 0 to 255. sigma_px: of the teacher, per keypoint, mean over both axes. right: whether it is a right hand.
    """

    images: UInt8[np.ndarray, "n side side 3"]
    masks: UInt8[np.ndarray, "n side side"]
    keypoints_px: Float[np.ndarray, "n 21 2"]
    sigma_px: Float[np.ndarray, "n 21"]
    capture: Shaped[np.ndarray, " n"]
    camera: Shaped[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    right: Bool[np.ndarray, " n"]

    def save(self, folder: Path) -> None:
        """Write the arrays, and a sheet of crops from all over the set."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / NPZ, **{field.name: getattr(self, field.name) for field in fields(self)})
        (folder / "real_hands.jpg").write_bytes(images.encode_jpeg(contact_sheet(self), 90))

    @classmethod
    def load(cls, folder: Path) -> RealHands:
        """Read what `save` wrote."""
        with np.load(folder / NPZ, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def palms_flipped(
    found_px: Float[np.ndarray, "n 21 2"], truth_px: Float[np.ndarray, "n 21 2"]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Mark the hands whose palm triangle (wrist, index and pinky knuckle) is turned over, and those that are counted.

    Hands seen edge-on, whose triangle covers less than 3 % of their box, are not counted: nothing decides there.
    """
    truth, found = _palm_area(truth_px), _palm_area(found_px)
    clear = np.abs(truth) > 0.03 * box_sides(truth_px) ** 2
    return clear & (np.sign(truth) != np.sign(found)), clear


def palm_flipped(found_px: Float[np.ndarray, "n 21 2"], truth_px: Float[np.ndarray, "n 21 2"]) -> float:
    """Return the share of the hands that `palms_flipped` counts whose palm is turned over."""
    flipped, clear = palms_flipped(found_px, truth_px)
    return float(flipped[clear].mean()) if clear.any() else float("nan")


def _palm_area(points: Float[np.ndarray, "n 21 2"]) -> Float[np.ndarray, " n"]:
    index, pinky = points[:, 5] - points[:, 0], points[:, 17] - points[:, 0]
    return (index[:, 0] * pinky[:, 1] - index[:, 1] * pinky[:, 0]) / 2


def contact_sheet(hands: RealHands, columns: int = 14, rows: int = 8) -> UInt8[np.ndarray, "height width 3"]:
    """Crops from all over the set, every other row with the teacher's keypoints."""
    chosen = np.linspace(0, len(hands.images) - 1, columns * rows).astype(int).reshape(rows, columns)
    tiles = [[hands.images[i].copy() for i in row] for row in chosen]
    for row, line in list(zip(chosen, tiles, strict=True))[1::2]:
        for index, tile in zip(row, line, strict=True):
            for x, y in hands.keypoints_px[index]:
                cv2.circle(tile, (round(float(x)), round(float(y))), 2, (255, 255, 0), -1, cv2.LINE_AA)
    sheet = np.concatenate([np.concatenate(line, 1) for line in tiles])
    return cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def keypoint_sigma_px(camera: Camera, record: HandRecord) -> Float[np.ndarray, " 21"]:
    """Project the fit's covariances into an ideal camera: sigma per keypoint, mean of both axes, px."""
    assert record.covariance_mm2 is not None
    points = camera.cam_from_world.apply(record.keypoints_world_m)
    x, y, z = points.T
    f, zero = camera.intrinsics[0, 0], np.zeros_like(z)
    jacobian = np.stack([np.stack([f / z, zero, -f * x / z**2], -1), np.stack([zero, f / z, -f * y / z**2], -1)], 1)
    jacobian = jacobian @ camera.cam_from_world.rotation
    covariance = jacobian @ (record.covariance_mm2 * 1e-6) @ jacobian.transpose(0, 2, 1)
    return np.sqrt(np.trace(covariance, axis1=1, axis2=2) / 2)


def crop_camera(camera: Camera, keypoints_world_m: Float[np.ndarray, "21 3"]) -> Camera:
    """Return the ideal camera of the upright square around a hand, `SIDE_PX` wide."""
    points, _ = camera.project(keypoints_world_m)
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) / HAND_SHARE
    corner = (low + high) / 2 - side / 2
    scale = SIDE_PX / side
    move = np.array([[scale, 0, -scale * corner[0] - 0.5], [0, scale, -scale * corner[1] - 0.5], [0, 0, 1]])
    return Camera(camera.name, (SIDE_PX, SIDE_PX), move @ camera.intrinsics, cam_from_world=camera.cam_from_world)


def sure_views(name: str, record: HandRecord, cameras: dict[str, Camera]) -> Iterator[tuple[ViewRecord, Camera]]:
    """Yield the views of a record that its teacher is sure of, with the camera of their crop."""
    if not record.accepted or record.covariance_mm2 is None:
        return
    for view in record.views:
        if not view.accepted or view.detected_px is None or (name, view.camera.name) in LATE:
            continue
        source = cameras[view.camera.name]
        seen, valid = source.project(record.keypoints_world_m)
        if not (valid & source.contains(seen)).all():
            continue
        camera = crop_camera(view.camera, record.keypoints_world_m)
        box = HAND_SHARE * SIDE_PX
        sigma = float(np.median(keypoint_sigma_px(camera, record)))
        scale = camera.intrinsics[0, 0] / source.intrinsics[0, 0]
        off = np.inf if view.reprojection_px is None else view.reprojection_px * scale
        if sigma < MAX_SIGMA_SHARE * box and off < MAX_REPROJECTION_SHARE * box:
            yield view, camera


def cut(captures: Path, annotations: Path, name: str) -> RealHands:
    """Cut the sure hands of one capture out of its pictures."""
    labels = Annotations(annotations / name)
    by_frame: dict[int, list[tuple[int, HandRecord]]] = {}
    for chunk, record in labels:
        if record.frame % KEEP_EVERY[name] == 0:
            by_frame.setdefault(record.frame, []).append((chunk, record))
    cameras = {camera.name: camera for camera in labels.rig}
    found: dict[str, list[object]] = {field.name: [] for field in fields(RealHands)}
    capture = load_capture(captures / name, metres_per_unit=None if name == ROOM else "auto")
    order = capture.cameras.names
    for frame, pictures in enumerate(capture.read()):
        for chunk, record in by_frame.get(frame, ()):
            for view, camera in sure_views(name, record, cameras):
                picture = pictures[order.index(view.camera.name)]
                assert picture is not None  # its detection was found there
                keypoints, _ = camera.project(record.keypoints_world_m)
                turns = quarter_turns(keypoints)
                found["images"].append(np.rot90(look(picture, cameras[view.camera.name], camera), turns))
                mask = look_at_mask(labels.cutout(chunk, view).mask, view.camera, camera)
                found["masks"].append(np.rot90(mask, turns))
                found["keypoints_px"].append(turned(keypoints, turns))
                found["sigma_px"].append(keypoint_sigma_px(camera, record))
                for key, value in (("capture", name), ("camera", camera.name), ("frame", frame)):
                    found[key].append(value)
                found["right"].append(record.side == "right")
    return RealHands(**{key: np.array(values) for key, values in found.items()})


def quarter_turns(keypoints_px: Float[np.ndarray, "21 2"]) -> int:
    """Return how many counter-clockwise quarter turns bring the middle knuckle above the wrist."""
    x, y = keypoints_px[MIDDLE_MCP] - keypoints_px[WRIST]
    return round(float(np.arctan2(x, -y)) / (np.pi / 2)) % 4


def turned(points_px: Float[np.ndarray, "n 2"], turns: int) -> Float[np.ndarray, "n 2"]:
    """Return where points of a crop are after `np.rot90(crop, turns)`."""
    for _ in range(turns):
        points_px = np.stack([points_px[:, 1], SIDE_PX - 1 - points_px[:, 0]], -1)
    return points_px


def look(picture: UInt8[np.ndarray, "h w 3"], source: Camera, camera: Camera) -> UInt8[np.ndarray, "side side 3"]:
    """Resample a picture into a crop; where it is made smaller, twice as many pixels are averaged."""
    width, height = camera.size_px
    finer = camera.resized((2 * width, 2 * height))
    seen = cv2.remap(picture, *resampling_maps(finer, source), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA)


def look_at_mask(mask: UInt8[np.ndarray, "h w"], source: Camera, camera: Camera) -> UInt8[np.ndarray, "side side"]:
    """Resample a cutout's mask into a crop of the same place."""
    affine = (source.intrinsics @ np.linalg.inv(camera.intrinsics))[:2]
    return cv2.warpAffine(mask, affine, camera.size_px, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def joined(parts: list[RealHands]) -> RealHands:
    """Put several sets together."""
    return RealHands(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(RealHands)))


def mediapipe_px(hands: RealHands) -> Float[np.ndarray, "n 21 2"]:
    """Find the keypoints by MediaPipe's landmark network in the whole upright crop."""
    network = LandmarkNetwork()
    region = Region(np.full(2, (SIDE_PX - 1) / 2), float(SIDE_PX), 0.0)
    return np.stack([network.find(image, region).keypoints_px for image in hands.images])


def figures(hands: RealHands) -> dict[str, float]:
    """Every figure of `TARGETS`."""
    found = mediapipe_px(hands)
    right = pck(found, hands.keypoints_px)
    desk = hands.capture == DESK
    return {
        "crops": len(hands.images),
        "desk_crops": int(desk.sum()),
        "room_crops": int((~desk).sum()),
        "sigma_share": float(np.median(hands.sigma_px)) / (HAND_SHARE * SIDE_PX),
        "mediapipe_pck10": float(right.mean()),
        "mediapipe_pck10_desk": float(right[desk].mean()),
        "mediapipe_pck10_room": float(right[~desk].mean()),
        "mediapipe_palm_flipped": palm_flipped(found, hands.keypoints_px),
    }


def main() -> None:
    """Annotate, cut, save, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the test set goes")
    parser.add_argument("--annotations", type=Path, metavar="FOLDER", help="what `real.py --keep` wrote")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    captures, annotations = captures_folder(), options.annotations
    if annotations is None:
        annotations = options.out / "annotations"
        for name, extra in ANNOTATE_OPTIONS.items():
            if not (annotations / name / "manifest.json").is_file():
                annotate(captures / name, annotations / name, *extra)
    hands = joined([cut(captures, annotations, name) for name in (DESK, ROOM)])
    hands.save(options.out)
    report(figures(hands), TARGETS, options.json)


if __name__ == "__main__":
    main()
