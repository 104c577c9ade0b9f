"""Model files -> arrays: the bundled open hand, or an `.npz` in MANO's format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float, Int

from handgen.errors import HandgenError
from handgen.hand.layout import JOINT_COUNT, JOINT_PARENTS, SIDES, VERTEX_COUNT

OPEN_HAND = "open"
BETA_COUNT = 10
_MAX_FILE_BYTES = 64 * 2**20

_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (VERTEX_COUNT, 3),
    "shapedirs": (VERTEX_COUNT, 3, BETA_COUNT),
    "posedirs": (VERTEX_COUNT, 3, 9 * (JOINT_COUNT - 1)),
    "J_regressor": (JOINT_COUNT, VERTEX_COUNT),
    "weights": (VERTEX_COUNT, JOINT_COUNT),
    "hands_mean": (3 * (JOINT_COUNT - 1),),
    "hands_components": (3 * (JOINT_COUNT - 1), 3 * (JOINT_COUNT - 1)),
}


@dataclass(frozen=True)
class HandArrays:
    """A hand model in MANO's format. Metres; joints in MANO's order (`handgen.hand.layout`).

    `joint_axes[j]` holds, for joint j + 1, the rows flexion, abduction, twist axis in rest-pose model axes: a pose's
    axis-angle vector times these rows is (flexion, abduction, twist) in radians, positive flexion towards the palm.
    `joint_limits_rad[j]` holds their smallest and largest values.
    """

    name: str
    side: str
    sha256: str
    template: Float[np.ndarray, "778 3"]
    faces: Int[np.ndarray, "faces 3"]
    shapedirs: Float[np.ndarray, "778 3 10"]
    posedirs: Float[np.ndarray, "778 3 135"]
    joint_regressor: Float[np.ndarray, "16 778"]
    weights: Float[np.ndarray, "778 16"]
    mean_pose: Float[np.ndarray, " 45"]
    pose_components: Float[np.ndarray, "45 45"]
    joint_axes: Float[np.ndarray, "15 3 3"]
    joint_limits_rad: Float[np.ndarray, "15 3 2"]


def _read_npz(file: IO[bytes], where: str) -> dict[str, np.ndarray]:
    """The arrays of an npz, never unpickled."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise HandgenError(f"{where}: not a readable npz hand model ({error})") from None


def _checked(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    for key, shape in _SHAPES.items():
        if key not in arrays:
            raise HandgenError(f"{where}: has no {key!r}; a hand model must be in MANO's format")
        if arrays[key].shape != shape:
            raise HandgenError(f"{where}: {key} must have shape {shape}, got {arrays[key].shape}")
        if not np.isfinite(arrays[key]).all():
            raise HandgenError(f"{where}: {key} holds a value that is not finite")
    parents = arrays["kintree_table"][0].astype(np.int64)[1:]
    if tuple(parents) != JOINT_PARENTS[1:]:
        raise HandgenError(f"{where}: the joints' parents are {parents.tolist()}, not MANO's {list(JOINT_PARENTS[1:])}")
    return arrays


def _bundled(name: str) -> bytes:
    return resources.files("handgen.hand.data").joinpath(name).read_bytes()


def surface_bytes(side: str) -> bytes:
    """The npz of the open hand's full-resolution mesh with forearm and nails, for rendering."""
    return _bundled(f"open_hand_surface_{side}.npz")


@cache
def load_hand(model: str, side: str) -> HandArrays:
    """The hand model `model` ("open", or the path of an `.npz` with `{side}` in its name) for one side.

    Raises HandgenError when the file is missing or not in MANO's format.
    """
    import io

    if side not in SIDES:
        raise ValueError(f"side must be one of {SIDES}, got {side!r}")
    if model == OPEN_HAND:
        where, data = f"bundled open hand ({side})", _bundled(f"open_hand_{side}.npz")
    else:
        path = Path(model.replace("{side}", side))
        where = str(path)
        if not path.is_file():
            raise HandgenError(
                f"{path}: no such hand model; use `open`, or the path of an .npz in MANO's format, "
                "with {side} where `left` or `right` goes"
            )
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise HandgenError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB; a hand model is about 4 MiB")
        data = path.read_bytes()
    arrays = _checked(_read_npz(io.BytesIO(data), where), where)
    if "joint_axes" in arrays:
        axes, limits = arrays["joint_axes"], arrays["joint_limits_rad"]
    else:  # MANO's files say nothing of anatomy; its joints and frame are the open hand's
        anatomy = load_hand(OPEN_HAND, side)
        axes, limits = anatomy.joint_axes, anatomy.joint_limits_rad
    return HandArrays(
        name=model,
        side=side,
        sha256=hashlib.sha256(data).hexdigest(),
        template=arrays["v_template"].astype(np.float64),
        faces=(arrays["faces"] if "faces" in arrays else arrays["f"]).astype(np.int64),
        shapedirs=arrays["shapedirs"].astype(np.float64),
        posedirs=arrays["posedirs"].astype(np.float64),
        joint_regressor=arrays["J_regressor"].astype(np.float64),
        weights=arrays["weights"].astype(np.float64),
        mean_pose=arrays["hands_mean"].astype(np.float64),
        pose_components=arrays["hands_components"].astype(np.float64),
        joint_axes=axes.astype(np.float64),
        joint_limits_rad=limits.astype(np.float64),
    )
