"""A tiny hand, a four-camera rig, and where the real captures are. No network, GPU or licence needed."""

import os
import sys

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handgen.geometry.camera import Camera, Rig
from handgen.geometry.rigid import Rigid
from handgen.hand.model import HandModel
from handgen.hand.model_files import HandArrays, load_hand
from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_PARENTS, TIP_VERTICES

torch.set_num_threads(1)
cv2.setNumThreads(1)


def random_hand_arrays(seed: int = 0, side: str = "right") -> HandArrays:
    """A MANO-format model of random numbers: every term (pose correctives, blended tips) is far from zero."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((16, 3))
    for i, finger in enumerate(FINGERS):
        direction = np.array([-1.0, rng.normal(0, 0.1), 0.5 - 0.25 * i])
        for k, joint in enumerate(FINGER_JOINTS[finger]):
            joints[joint] = (0.08 + 0.03 * k) * direction / np.linalg.norm(direction)
    owner = rng.integers(0, 16, 778)
    template = joints[owner] + rng.normal(0, 0.008, (778, 3))
    weights = rng.random((778, 16)) * 0.05 + np.eye(16)[owner]
    for finger in FINGERS:
        last = FINGER_JOINTS[finger][-1]
        tip = TIP_VERTICES[finger]
        template[tip] = joints[last] + 0.025 * joints[last] / np.linalg.norm(joints[last])
        weights[tip] = 0.9 * np.eye(16)[last] + 0.1 * np.eye(16)[JOINT_PARENTS[last]]
    regressor = np.zeros((16, 778))
    for joint in range(16):
        nearest = np.argsort(np.linalg.norm(template - joints[joint], axis=1))[:20]
        system = np.vstack([template[nearest].T, np.ones(20)])
        regressor[joint, nearest] = np.linalg.pinv(system) @ np.append(joints[joint], 1)
    return HandArrays(
        name="random",
        side=side,
        sha256="0" * 64,
        template=template,
        faces=rng.integers(0, 778, (1534, 3)),
        shapedirs=np.einsum("vc,cdb->vdb", template, rng.normal(0, 0.03, (3, 3, 10))),
        posedirs=rng.normal(0, 5e-4, (778, 3, 135)),
        joint_regressor=regressor,
        weights=weights / weights.sum(1, keepdims=True),
        mean_pose=rng.normal(0, 0.1, 45),
        pose_components=np.linalg.qr(rng.normal(size=(45, 45)))[0],
        joint_axes=np.linalg.qr(rng.normal(size=(15, 3, 3)))[0],
        joint_limits_rad=np.tile([-0.6, 1.2], (15, 3, 1)),
    )


@pytest.fixture(scope="session")
def random_model() -> HandModel:
    return HandModel(random_hand_arrays())


@pytest.fixture(scope="session")
def hand() -> HandModel:
    return HandModel(load_hand("open", "right"))


def look_at(name: str, center, target, focal: float = 800.0, size_px=(640, 480), distortion=()) -> Camera:
    """A camera at `center` looking at `target`, world y up."""
    forward = np.asarray(target, float) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    width, height = size_px
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(
        name, size_px, intrinsics, np.array(distortion, float), "pinhole", Rigid(rotation, -rotation @ center)
    )


def ring(views: int, radius: float = 0.7, distortion=()) -> Rig:
    """Cameras around the origin, at different heights."""
    angles = 2 * np.pi * np.arange(views) / views
    return Rig(
        tuple(
            look_at(
                f"cam{i}",
                np.array([radius * np.cos(a), 0.2 + 0.2 * np.sin(2 * a), radius * np.sin(a)]),
                np.zeros(3),
                distortion=distortion,
            )
            for i, a in enumerate(angles)
        )
    )


@pytest.fixture(scope="session")
def rig() -> Rig:
    return ring(4)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of real captures, or a skip that says where it was looked for."""
    path = Path(os.environ.get("HANDGEN_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))
    if not path.is_dir():
        pytest.skip(f"no real captures at {path}; set HANDGEN_CAPTURES")
    return path


@pytest.fixture(scope="session")
def shards_to_export(tmp_path_factory):
    from export_fixture import make_shards

    return make_shards(tmp_path_factory.mktemp("to_export"))


@pytest.fixture(scope="session")
def samples_to_export(shards_to_export):
    from export_fixture import read_samples

    return read_samples(shards_to_export)


@pytest.fixture(scope="session")
def numpy_1_python():
    """An environment with numpy 1, for readers that do not know numpy 2 (`make check` makes it)."""
    python = Path(sys.prefix) / "numpy1" / "bin" / "python"
    if not python.exists():
        pytest.skip("no environment with numpy 1: `make .venv/numpy1/.ready`")
    return str(python)
