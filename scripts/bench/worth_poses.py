"""How near are simulated hands to real ones, in their joints' angles and in the sides they are seen from?

    python scripts/bench/worth_poses.py --real FOLDER [--json]

The real hands are those of the test set that `real_hands.py` wrote, as its annotations fit them: 20 angles each, the
flexion of all joints and the abduction of the five bases. `pose_distance_deg` is the root mean square over these
angles to the nearest of 12,000 simulated poses, mean over all crops. `view_distance_deg` is the angle between where a
crop's camera is, in the hand's own axes, and the tenth nearest of 1,536 simulated views; `..._calm` is the same for
hands that show their palms to the cameras.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from real import DESK, ROOM
from real_hands import RealHands
from scipy.spatial import cKDTree
from table import report
from worth import FIRST_PERSON, TURNS, simulate_config

from handgen.hand.model_files import OPEN_HAND, load_hand
from handgen.hand.skeleton import FINGER_JOINTS, SIDES
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord
from handgen.stages.simulate.motion import STYLES, posed
from handgen.stages.simulate.named_poses import POSES, pose_angles_deg
from handgen.stages.simulate.poses import random_angles_deg, vary_angles
from handgen.stages.simulate.scene import make_scene

POSE_COUNT, PEOPLE, FRAMES = 12_000, 16, 24
_BASES = [chain[0] - 1 for chain in FINGER_JOINTS.values()]
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "pose_distance_deg": ("nearest simulated pose, RMS over 20 angles, mean over crops", 7.0, False),
    "pose_distance_desk_deg": ("on the desk", None, False),
    "pose_distance_room_deg": ("in the room", None, False),
    "pose_distance_p90_deg": ("90th percentile", None, False),
    "view_distance_deg": ("tenth nearest simulated view, median over crops", None, False),
    "view_distance_p90_deg": ("90th percentile", None, False),
    "view_distance_calm_deg": ("the same where palms face the cameras", None, False),
    "view_distance_calm_p90_deg": ("90th percentile", None, False),
}


def twenty_angles(angles_deg: Float[np.ndarray, "15 3"]) -> Float[np.ndarray, " 20"]:
    """Flexion of all joints, abduction of the bases."""
    return np.concatenate([angles_deg[:, 0], angles_deg[_BASES, 1]])


def real_poses(real: Path, hands: RealHands) -> Float[np.ndarray, "crops 20"]:
    """The fitted pose of each crop's hand."""
    axes = {side: load_hand(OPEN_HAND, side).joint_axes for side in SIDES}
    found = {}
    for name, record in all_records(real):
        turns = record.pose.reshape(-1, 3)[1:]
        angles = np.degrees(np.einsum("jac,jc->ja", axes[record.side], turns))
        found[name, record.frame, record.side] = twenty_angles(angles)
    return np.stack([found[key] for key in keys_of(hands)])


def real_views(real: Path, hands: RealHands) -> Float[np.ndarray, "crops 3"]:
    """Return where each crop's camera is, in its hand's axes."""
    cameras = {(name, c.name): c for name in (DESK, ROOM) for c in Annotations(real / "annotations" / name).rig}
    points = {(name, r.frame, r.side): r.keypoints_world_m for name, r in all_records(real)}
    keys = keys_of(hands)
    return np.concatenate(
        [
            in_hand_axes(cameras[key[0], str(camera)].center_world[None], points[key], key[2])
            for key, camera in zip(keys, hands.camera, strict=True)
        ]
    )


def all_records(real: Path) -> Iterator[tuple[str, HandRecord]]:
    """All fitted hands of both captures."""
    for name in (DESK, ROOM):
        for _, record in Annotations(real / "annotations" / name):
            yield name, record


def keys_of(hands: RealHands) -> list[tuple[str, int, str]]:
    """Capture, frame and side of each crop."""
    sides = np.where(hands.right, "right", "left")
    return [(str(c), int(f), str(s)) for c, f, s in zip(hands.capture, hands.frame, sides, strict=True)]


def in_hand_axes(
    places_m: Float[np.ndarray, "n 3"], keypoints_m: Float[np.ndarray, "21 3"], side: str
) -> Float[np.ndarray, "n 3"]:
    """Unit directions to some places from the palm: to the fingers, to the thumb's side, out of the back.

    A left hand's are those of its mirror image, a right hand.
    """
    wrist, index, middle, pinky = keypoints_m[[0, 5, 9, 17]]
    x = (middle - wrist) / np.linalg.norm(middle - wrist)
    z = np.cross(index - wrist, pinky - wrist) * (1 if side == "right" else -1)
    z -= x * (z @ x)
    z /= np.linalg.norm(z)
    y = np.cross(z, x) * (1 if side == "right" else -1)
    towards = places_m - (wrist + index + pinky) / 3
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return towards @ np.stack([x, y, z], 1)


def simulated_poses(rng: np.random.Generator) -> Float[np.ndarray, "poses 20"]:
    """Poses as `simulate` draws them, before fingers that pass through each other are opened."""
    limits = np.degrees(load_hand(OPEN_HAND, "right").joint_limits_rad)
    named = [pose_angles_deg(pose) for pose in POSES.values()]
    found = []
    for _ in range(POSE_COUNT):
        anywhere = rng.random() < STYLES["free"].random_share
        angles = random_angles_deg(rng) if anywhere else vary_angles(named[rng.integers(len(named))], rng)
        found.append(twenty_angles(angles.clip(limits[..., 0], limits[..., 1])))
    return np.stack(found)


def simulated_views(kind: str) -> Float[np.ndarray, "views 3"]:
    """Return where the cameras of the benchmark's people are, in the hands' axes."""
    found = []
    for seed in range(FIRST_PERSON, FIRST_PERSON + PEOPLE):
        scene = make_scene(simulate_config(seed, FRAMES, kind))
        hand, centers = scene.hands[0], np.stack([camera.center_world for camera in scene.rig])
        motion = hand.path(np.arange(FRAMES) / scene.config.fps)
        for keypoints in posed(hand.model, hand.betas, motion).keypoints.numpy():
            found.append(in_hand_axes(centers, keypoints, hand.side))
    return np.concatenate(found)


def measure(real: Path) -> dict[str, float]:
    """Every figure of `TARGETS`."""
    hands = RealHands.load(real)
    desk: Bool[np.ndarray, " crops"] = hands.capture == DESK
    poses = cKDTree(simulated_poses(np.random.default_rng(1))).query(real_poses(real, hands))[0] / np.sqrt(20)
    views = real_views(real, hands)
    found = {
        "pose_distance_deg": poses.mean(),
        "pose_distance_desk_deg": poses[desk].mean(),
        "pose_distance_room_deg": poses[~desk].mean(),
        "pose_distance_p90_deg": np.percentile(poses, 90),
    }
    for name, kind in (("view_distance", ""), ("view_distance_calm", TURNS)):
        cosines = np.sort(views @ simulated_views(kind).T, axis=1)[:, -10]
        degrees = np.degrees(np.arccos(cosines.clip(-1, 1)))
        found |= {f"{name}_deg": np.median(degrees), f"{name}_p90_deg": np.percentile(degrees, 90)}
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    report(measure(options.real), TARGETS, options.json)


if __name__ == "__main__":
    main()
