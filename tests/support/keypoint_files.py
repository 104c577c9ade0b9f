"""Files of keypoints as OpenPose, MMPose and DeepLabCut write them."""

import csv
import json

import numpy as np

from handgen.detect.keypoint_files.detector import KeypointsDetector
from handgen.hand.skeleton import KEYPOINT_NAMES

CAMERAS = ("cam0", "cam1")
# Kept in 32 bit; MMPose and DeepLabCut write all digits, OpenPose six: 1000 px to within 0.005.
EXACT_PX, OPENPOSE_PX = 1e-4, 6e-3
MMPOSE_NAMES = ["wrist"] + [
    f"{finger}{k}"
    for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    for k in range(1, 5)
]


def hand(rng):
    """x, y, score."""
    return np.concatenate([rng.uniform(0, 999, (21, 2)), rng.uniform(0.1, 1, (21, 1))], -1)


def detector(path, side=None, cameras=CAMERAS, frames=None):
    return KeypointsDetector(path, cameras, side, frames)


def assert_hand(found, values, right, atol=EXACT_PX):
    np.testing.assert_allclose(found.keypoints_px, values[:, :2], atol=atol)
    np.testing.assert_allclose(found.confidence, values[:, 2], atol=1e-5)
    assert found.right == right


def openpose_person(left=None, right=None):
    hands = {"left": left, "right": right}
    return {"person_id": [-1], "pose_keypoints_2d": [0] * 75, "face_keypoints_2d": []} | {
        f"hand_{side}_keypoints_2d": [] if h is None else [float(f"{v:.6g}") for v in np.ravel(h)]
        for side, h in hands.items()
    }


def openpose_file(folder, frame, *people, name="GOPR0001"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{frame:012d}_keypoints.json"
    path.write_text(json.dumps({"version": 1.3, "people": people}))
    return path


def mmpose_instance(values, **more):
    return {
        "keypoints": values[:, :2].tolist(),
        "keypoint_scores": values[:, 2].tolist(),
        "bbox": [[0.0, 0.0, 9.0, 9.0]],
        "bbox_score": 0.9,
    } | more


def mmpose_video(frames, first, names=MMPOSE_NAMES, dataset="onehand10k"):
    """Write it as the demos (first = 1) and the inferencer (first = 0) do."""
    meta = {
        "dataset_name": dataset,
        "num_keypoints": len(names),
        "keypoint_id2name": {str(i): name for i, name in enumerate(names)},
        "sigmas": {"__ndarray__": [0.1], "dtype": "float32", "shape": [1]},
    }
    entries = [{"frame_id": first + i, "instances": instances} for i, instances in enumerate(frames)]
    return {"meta_info": meta, "instance_info": entries}


def whole_body(left, right):
    values = np.full((133, 3), 5.0)
    values[91:112], values[112:133] = left, right
    return values


def dlc_csv(path, hands, names=KEYPOINT_NAMES, individuals=None, coords=("x", "y", "likelihood"), order=None):
    """hands: per frame one array (21 values per row) per individual."""
    whose = individuals or [None]
    columns = [(person, k, c) for person in range(len(whose)) for k in order or range(21) for c in range(len(coords))]
    rows = [["scorer", *["DLC_resnet50"] * len(columns)]]
    if individuals:
        rows.append(["individuals", *(individuals[person] for person, _, _ in columns)])
    rows.append(["bodyparts", *(names[k] for _, k, _ in columns)])
    rows.append(["coords", *(coords[c] for _, _, c in columns)])
    for frame, people in hands.items():
        cells = (people[person][k, c] for person, k, c in columns)
        rows.append([frame, *("" if np.isnan(value) else repr(float(value)) for value in cells)])
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path
