"""Small data sets in the formats that `handgen import` reads, of the open hand in the place of MANO.

Each writer follows the format's own description: camera frames, units, orders, poses relative to the mean. It returns
what it drew: the true poses in the world.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handgen.geometry.camera import Camera
from handgen.hand import mano
from handgen.hand.conversions import relative_from_full, reorder_keypoints
from handgen.hand.model import HandPose, PosedHand
from handgen.hand.skeleton import FINGER_KEYPOINTS, FINGERS, SIDES
from handgen.media.images import encode_jpeg
from support.annotations import draw_hand, looking_at, open_hand, random_pose
from support.make_mano_pickle import mano_pickle

SIZE = (224, 224)


@dataclass(frozen=True)
class Truth:
    """A hand that was drawn: in the world of its moment."""

    side: str
    pose: HandPose
    posed: PosedHand

    @property
    def keypoints(self) -> np.ndarray:
        return self.posed.keypoints[0].numpy()

    @property
    def vertices(self) -> np.ndarray:
        return self.posed.vertices[0].numpy()

    @property
    def betas(self) -> np.ndarray:
        return self.pose.betas[0].numpy()


def install_mano(monkeypatch, folder: Path, sides=SIDES) -> None:
    """The open hand, as files of MANO's that `handgen models add` takes, in a cache of the test's own."""
    monkeypatch.setenv("HANDGEN_CACHE", str(folder / "cache"))
    paths = []
    for side in sides:
        path = folder / f"MANO_{side.upper()}.pkl"
        path.write_bytes(mano_pickle(side))
        paths.append(path)
    if paths:
        mano.add(paths)


def a_hand(side: str, rng: np.random.Generator, place=(0.0, 0.0, 0.0), betas=None) -> Truth:
    betas = rng.normal(0, 0.8, 10) if betas is None else betas
    pose = random_pose(side, rng, betas)
    pose = HandPose(pose.rotations, pose.translation + np.asarray(place), pose.betas)
    return Truth(side, pose, open_hand(side)(pose))


def relative_pose(truth: Truth) -> np.ndarray:
    return relative_from_full(truth.pose.rotations.reshape(48).numpy(), open_hand(truth.side).arrays)


def other_tips(keypoints: np.ndarray, fingers) -> np.ndarray:
    """Fingertips of a project that takes a neighbouring vertex, 2 mm away. (The open hand has no other tips.)"""
    changed = keypoints.copy()
    for finger in fingers:
        before, tip = FINGER_KEYPOINTS[finger][-2:]
        changed[tip] += (
            0.002 * (keypoints[before] - keypoints[tip]) / np.linalg.norm(keypoints[before] - keypoints[tip])
        )
    return changed


def picture(camera: Camera, hands: list[Truth]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A photo before a green wall, the nearer hand in front, and the mask of what is seen of each hand."""
    depth = [camera.cam_from_world.apply(hand.keypoints)[:, 2].mean() for hand in hands]
    image, masks = None, [np.zeros(camera.size_px[::-1], np.uint8) for _ in hands]
    for i in np.argsort(depth)[::-1]:
        drawn = draw_hand(camera, hands[i].posed, open_hand(hands[i].side).faces)
        image = drawn.image if image is None else np.where(drawn.mask[..., None] > 0, drawn.image, image)
        for mask in masks:
            mask[drawn.mask > 0] = 0
        masks[i] = drawn.mask
    return image, masks


def write_jpeg(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
    path.write_bytes(encode_jpeg(image, 92))


def write_json(path: Path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(document, default=lambda array: array.tolist()).encode())


def ring(count: int, size_px=SIZE, focal=320.0) -> list[Camera]:
    """Cameras half a metre from the origin, on the side of negative z."""
    cameras = []
    for i in range(count):
        angle = np.deg2rad(-40 + 80 * i / max(1, count - 1))
        center = 0.55 * np.array([np.sin(angle), -0.3, -np.cos(angle)])
        intrinsics = np.array([[focal, 0, size_px[0] / 2], [0, focal + 2, size_px[1] / 2 - 1], [0, 0, 1]])
        cameras.append(Camera(f"cam{i}", size_px, intrinsics, cam_from_world=looking_at(center, np.zeros(3))))
    return cameras


def write_freihand(root: Path, count: int = 4, seed: int = 0, split: str = "training") -> list[Truth]:
    """Pictures 0 and 1 have the same betas. uv_root: the true projection of keypoint 9. scale: f over its depth."""
    rng = np.random.default_rng(seed)
    truths: list[Truth] = []
    documents: dict[str, list] = {"K": [], "xyz": [], "mano": []}
    for i in range(count):
        truth = a_hand("right", rng, (0.01, -0.01, 0.55), truths[0].betas if i == 1 else None)
        intrinsics = np.array([[388.9 + i, 0, 112.0], [0, 386.7 + i, 112.0], [0, 0, 1]])
        camera = Camera("camera", SIZE, intrinsics)
        image, (mask,) = picture(camera, [truth])
        write_jpeg(root / split / "rgb" / f"{i:08d}.jpg", image)
        write_jpeg(root / split / "rgb" / f"{count + i:08d}.jpg", 255 - image)  # another version of the picture
        write_jpeg(root / split / "mask" / f"{i:08d}.jpg", mask)
        focal = (intrinsics[0, 0] + intrinsics[1, 1]) / 2
        middle = truth.keypoints[9]
        uv = camera.project(middle)[0]
        documents["K"].append(intrinsics)
        documents["xyz"].append(other_tips(truth.keypoints, ("ring", "pinky")))
        documents["mano"].append([[*relative_pose(truth), *truth.betas, *uv, focal / middle[2]]])
        truths.append(truth)
    for name, document in documents.items():
        write_json(root / f"{split}_{name}.json", document)
    return truths


def write_hanco(root: Path, frames: int = 3, cameras: int = 3, seed: int = 0) -> list[Truth]:
    """Sequences 1 and 2 of four; frame 0 of sequence 2 has no checked fit; sequence 3 is no green screen."""
    rng = np.random.default_rng(seed)
    truths: list[Truth] = []
    rig = ring(cameras)
    for sequence in (1, 2, 3):
        for frame in range(frames):
            truth = a_hand("right", rng)
            place = f"{sequence:04d}/{frame:08d}.json"
            for i, camera in enumerate(rig):
                image, (mask,) = picture(camera, [truth])
                write_jpeg(root / "rgb" / f"{sequence:04d}" / f"cam{i}" / f"{frame:08d}.jpg", image)
                if sequence != 3:
                    write_jpeg(root / "mask_hand" / f"{sequence:04d}" / f"cam{i}" / f"{frame:08d}.jpg", mask)
            matrices = [camera.cam_from_world.as_matrix() for camera in rig]
            write_json(root / "calib" / place, {"K": [camera.intrinsics for camera in rig], "M": matrices})
            write_json(root / "xyz" / place, other_tips(truth.keypoints, FINGERS))
            shape = {"poses": [relative_pose(truth)], "shapes": [truth.betas], "global_t": [truth.pose.translation]}
            write_json(root / "shape" / place, {key: np.array(value) for key, value in shape.items()})
            if sequence != 3 and (sequence, frame) != (2, 0):
                truths.append(truth)
    valid = [[True] * frames, [True] * frames, [False] + [True] * (frames - 1), [True] * frames]
    write_json(
        root / "meta.json",
        {
            "is_train": [[True] * frames] * 3 + [[False] * frames],
            "subject_id": [[number] * frames for number in (7, 7, 8, 9)],
            "is_valid": valid,
            "has_fit": [[True] * frames] * 4,
            "object_id": [[None] * frames] * 4,
        },
    )
    return truths


def write_interhand(root: Path, frames: int = 3, cameras: int = 3, seed: int = 0, split: str = "val") -> list[Truth]:
    """Capture 0, both hands of subject 5; frame 1 has a right hand alone, with `null` for the left one."""
    rng = np.random.default_rng(seed)
    rig = ring(cameras, (334, 256), focal=380.0)
    shift = np.array([0.3, 1.1, -0.7])  # of the world's origin, metres: far from the hands
    truths: list[Truth] = []
    images, joints, parameters, annotations = [], {}, {}, []
    for frame in range(frames):
        hands = [a_hand("right", rng, (-0.07, 0, 0)), a_hand("left", rng, (0.07, 0, 0.01))]
        hands = hands[:1] if frame == 1 else hands
        world, valid, entry = np.zeros((42, 3)), np.zeros((42, 1), int), {"right": None, "left": None}
        for hand in hands:
            mine = slice(0, 21) if hand.side == "right" else slice(21, 42)
            world[mine] = 1e3 * reorder_keypoints(hand.keypoints + shift, "handgen", "interhand")
            valid[mine] = 1
            trans = hand.pose.translation[0].numpy() + shift
            entry[hand.side] = {"pose": relative_pose(hand), "shape": hand.betas, "trans": trans}
        kind = "interacting" if len(hands) == 2 else "right"
        number = str(10 * frame)
        joints[number] = {"world_coord": world, "joint_valid": valid, "hand_type": kind, "hand_type_valid": True}
        parameters[number] = entry
        for i, camera in enumerate(rig):
            name = f"Capture0/0000_fist/cam40{i}/image{number}.jpg"
            write_jpeg(root / "images" / split / name, picture(camera, hands)[0])
            images.append(
                {
                    **{"id": 100 * i + frame, "file_name": name, "width": 334, "height": 256, "capture": 0},
                    **{"subject": 5, "seq_name": "0000_fist", "camera": f"40{i}", "frame_idx": int(number)},
                }
            )
            pixels = np.concatenate([camera.project(hand.keypoints)[0] for hand in hands])
            pixels = np.clip(pixels, 0, np.array(camera.size_px) - 1)
            box = [*pixels.min(0), *np.ptp(pixels, axis=0)]
            known = {"bbox": box, "joint_valid": valid, "hand_type": kind, "hand_type_valid": True}
            annotations.append({"id": len(annotations), "image_id": 100 * i + frame, **known})
        truths += hands
    images.sort(key=lambda image: image["id"])  # by camera, then by frame
    rotations = {f"40{i}": camera.cam_from_world.rotation for i, camera in enumerate(rig)}
    centers = {f"40{i}": 1e3 * (camera.center_world + shift) for i, camera in enumerate(rig)}
    focal = {f"40{i}": [camera.intrinsics[0, 0], camera.intrinsics[1, 1]] for i, camera in enumerate(rig)}
    center_px = {f"40{i}": camera.intrinsics[:2, 2] for i, camera in enumerate(rig)}
    folder = root / "annotations" / split
    start = folder / f"InterHand2.6M_{split}"
    write_json(Path(f"{start}_data.json"), {"annotations": annotations, "images": images})
    cameras_document = {"campos": centers, "camrot": rotations, "focal": focal, "princpt": center_px}
    write_json(Path(f"{start}_camera.json"), {"0": cameras_document})
    write_json(Path(f"{start}_joint_3d.json"), {"0": joints})
    write_json(Path(f"{start}_MANO_NeuralAnnot.json"), {"0": parameters})
    return [moved(truth, shift) for truth in truths]


def moved(truth: Truth, shift: np.ndarray) -> Truth:
    pose = HandPose(truth.pose.rotations, truth.pose.translation + shift, truth.pose.betas)
    return Truth(truth.side, pose, open_hand(truth.side)(pose))


def freihand_with_mano(monkeypatch, folder: Path) -> tuple[Path, list[Truth]]:
    """Write a FreiHAND set of right hands and install MANO; return the set's folder and its truth."""
    install_mano(monkeypatch, folder, ["right"])
    root = folder / "FreiHAND"
    return root, write_freihand(root)


def change_json(path: Path, change) -> None:
    """Apply a function to the document in a file."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(json.dumps(document).encode())
