"""Read hand models into arrays: those with a name (`NAMED_MODELS`), or an `.npz` in MANO's format."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from handgen.errors import HandgenError
from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS, SIDES, VERTEX_COUNT
from handgen.storage import filesystem, limits
from handgen.storage.local_copies import cache_folder
from handgen.storage.numpy_files import ObjectArray, read_arrays

OPEN_HAND, MANO = "open", "mano"  # names of models
_BUNDLED = Path(__file__).parent / "data"
BETA_COUNT = 10
MOST_BETA = 3.0  # standard deviations; HaMeR's loader drops the labels of shapes beyond

FIELDS = {  # of `HandArrays`, by MANO's names
    **{"v_template": "template", "shapedirs": "shapedirs", "posedirs": "posedirs", "J_regressor": "joint_regressor"},
    **{"weights": "weights", "hands_mean": "mean_pose", "hands_components": "pose_components"},
}
KINTREE = np.array([JOINT_PARENTS, range(JOINT_COUNT)])
_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (VERTEX_COUNT, 3),
    "shapedirs": (VERTEX_COUNT, 3, BETA_COUNT),
    "posedirs": (VERTEX_COUNT, 3, 9 * (JOINT_COUNT - 1)),
    "J_regressor": (JOINT_COUNT, VERTEX_COUNT),
    "weights": (VERTEX_COUNT, JOINT_COUNT),
    "hands_mean": (3 * (JOINT_COUNT - 1),),
    "hands_components": (3 * (JOINT_COUNT - 1), 3 * (JOINT_COUNT - 1)),
}
_ANATOMY_SHAPES: dict[str, tuple[int, ...]] = {  # handgen's own, in a file together or not at all
    "joint_axes": (JOINT_COUNT - 1, 3, 3),
    "joint_limits_rad": (JOINT_COUNT - 1, 3, 2),
}
_KINTREE, _FACES = "kintree_table", ("f", "faces")
_NOTE = "note"  # handgen's own: what was changed in the user's file
_MAX_NOTE_LENGTH = 500
_MOST_FACES = 4 * VERTEX_COUNT  # twice as many as a closed surface has
_LARGEST = 1e4  # of any value: metres, radians, weights
_KEYS = (*_SHAPES, *_ANATOMY_SHAPES, _KINTREE, *_FACES, _NOTE)  # nothing else in a file is read


@dataclass(frozen=True)
class HandArrays:
    """A hand model in MANO's format. Metres; joints in MANO's order (`handgen.hand.skeleton`).

    `joint_axes[j]` holds, for joint j + 1, the rows flexion, abduction, twist axis in rest-pose model axes. A joint's
    angles are its axis-angle vector times these rows: (flexion, abduction, twist) in radians, positive flexion towards
    the palm. So the angles add up in one rotation vector; turned about one axis alone they are exactly that axis's
    angle, and no order of turns is implied. `joint_limits_rad[j]` holds their smallest and largest values.
    `note` tells what was changed in the file that the model came from; empty: nothing.
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
    note: str = ""


def read_npz(data: bytes, where: str) -> dict[str, np.ndarray]:
    """Return the arrays of an npz that a hand model has, never unpickled."""
    try:
        return read_arrays(data, where, limits.HAND_MODEL, lambda names: [key for key in _KEYS if key in names])
    except ObjectArray as error:
        raise HandgenError(f"{error}, such as J_regressor.toarray(), or give the .pkl") from None


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an uncompressed npz whose bytes depend on the values alone: double precision, fixed times and order."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            kind = {"f": np.dtype("<f8"), "i": np.dtype("<i8"), "u": np.dtype("<i8")}.get(array.dtype.kind, array.dtype)
            member = io.BytesIO()
            np.lib.format.write_array(member, np.array(array, kind, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    return packed.getvalue()


def check_model(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Return the arrays, faces as `faces`; HandgenError naming the first that does not fit."""
    anatomy = {key: shape for key, shape in _ANATOMY_SHAPES.items() if _ANATOMY_SHAPES.keys() & arrays.keys()}
    for key, shape in (_SHAPES | anatomy).items():
        _check_array(arrays, key, shape, "fiu", where)
    faces = next((key for key in _FACES if key in arrays), _FACES[0])
    _check_array(arrays, faces, (-1, 3), "iu", where)
    if len(arrays[faces]) > _MOST_FACES:
        raise HandgenError(f"{where}: {faces} has {len(arrays[faces])} triangles; MANO has 1538")
    if arrays[faces].min() < 0 or arrays[faces].max() >= VERTEX_COUNT:
        wrong = arrays[faces][(arrays[faces] < 0) | (arrays[faces] >= VERTEX_COUNT)][0]
        raise HandgenError(f"{where}: {faces} names vertex {wrong}, but there are {VERTEX_COUNT}")
    _check_array(arrays, _KINTREE, (2, JOINT_COUNT), "fiu", where)
    parents = arrays[_KINTREE][0, 1:]
    if tuple(parents) != JOINT_PARENTS[1:]:
        raise HandgenError(f"{where}: the joints' parents are {parents.tolist()}, not MANO's {list(JOINT_PARENTS[1:])}")
    note = arrays.get(_NOTE, np.array(""))
    if note.dtype.kind != "U" or note.ndim or len(str(note)) > _MAX_NOTE_LENGTH or not str(note).isprintable():
        raise HandgenError(f"{where}: {_NOTE} must be one line of text")
    return arrays | {"faces": arrays[faces]}


def _check_array(arrays: dict[str, np.ndarray], key: str, shape: tuple[int, ...], kinds: str, where: str) -> None:
    """Raise a HandgenError unless there are numbers of `shape` (-1: one or more); kinds: of numpy's dtypes."""
    if key not in arrays:
        raise HandgenError(f"{where}: has no {key!r}; a hand model must be in MANO's format")
    array = arrays[key]
    if array.dtype.kind not in kinds:
        wanted = "numbers" if "f" in kinds else "whole numbers"
        raise HandgenError(f"{where}: {key} must hold {wanted}, got {array.dtype}")
    if array.ndim != len(shape) or any(n != m if m >= 0 else n < 1 for n, m in zip(array.shape, shape, strict=True)):
        wanted = "(" + ", ".join("n" if n < 0 else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise HandgenError(f"{where}: {key} must have shape {wanted}, got {array.shape}")
    if not np.isfinite(array).all():
        raise HandgenError(f"{where}: {key} holds a value that is not finite")
    if key != _KINTREE and array.dtype.kind == "f" and np.abs(array).max() > _LARGEST:
        raise HandgenError(f"{where}: {key} holds {array.flat[np.abs(array).argmax()]:g}; is it in metres and radians?")


def surface_bytes(side: str) -> bytes:
    """Return the npz of the open hand's full-resolution mesh with forearm and nails, for rendering."""
    return (_BUNDLED / f"open_hand_surface_{side}.npz").read_bytes()


def mano_path(side: str) -> Path:
    """Return where `handgen models add` puts MANO's hand of one side."""
    return cache_folder() / "models" / f"mano_{side}.npz"


@dataclass(frozen=True)
class NamedModel:
    """A hand model that users choose by its name.

    path: where the `.npz` in MANO's format of a side is. how_to_get: what to do if there is none, for `{SIDE}`.
    """

    path: Callable[[str], Path]
    how_to_get: str


NAMED_MODELS = {
    OPEN_HAND: NamedModel(lambda side: _BUNDLED / f"open_hand_{side}.npz", "install handgen again"),
    MANO: NamedModel(mano_path, "run `handgen models add MANO_{SIDE}.pkl` with the file from mano.is.tue.mpg.de"),
}


def load_hand(model: str, side: str) -> HandArrays:
    """Load one side of a model of `NAMED_MODELS`, or of the `.npz` at a path with `{side}` in its name.

    Raises HandgenError when the file is missing or not in MANO's format. Read once, as long as the file stays the same.
    """
    if side not in SIDES:
        raise ValueError(f"side must be one of {SIDES}, got {side!r}")
    named = NAMED_MODELS.get(model)
    path = named.path(side) if named else Path(model.replace("{side}", side))
    if not path.is_file():
        if named:
            how = named.how_to_get.replace("{SIDE}", side.upper())
            raise HandgenError(f"{path}: the {side} hand of model {model!r} is not there; {how}")
        names = ", ".join(f"`{name}`" for name in NAMED_MODELS)
        raise HandgenError(
            f"{path}: no such hand model; use {names}, or the path of an .npz in MANO's format, "
            "with {side} where `left` or `right` goes"
        )
    status = path.stat()
    limits.HAND_MODEL.check(status.st_size, path, "a hand model is about 4 MiB")
    return _load(model, side, path, status.st_mtime_ns)


@cache
def _load(model: str, side: str, path: Path, stamp: int) -> HandArrays:
    """Read a file; stamp: its time, so that a new one is read."""
    return hand_from_npz(filesystem.read(path), str(path), model, side)


def hand_from_npz(data: bytes, where: str, model: str, side: str) -> HandArrays:
    """Read a hand model out of an npz in MANO's format.

    where: the file, for messages. Raises HandgenError naming the first array that is missing or does not fit.
    """
    arrays = check_model(read_npz(data, where), where)
    if "joint_axes" in arrays:
        axes, limits = arrays["joint_axes"], arrays["joint_limits_rad"]
    else:  # MANO's files say nothing of anatomy; its joints and frame are the open hand's
        anatomy = load_hand(OPEN_HAND, side)
        axes, limits = anatomy.joint_axes, anatomy.joint_limits_rad
    return HandArrays(
        name=model,
        side=side,
        sha256=hashlib.sha256(data).hexdigest(),
        faces=arrays["faces"].astype(np.int64),
        **{field: arrays[key].astype(np.float64) for key, field in FIELDS.items()},
        joint_axes=axes.astype(np.float64),
        joint_limits_rad=limits.astype(np.float64),
        note=str(arrays.get(_NOTE, "")),
    )
