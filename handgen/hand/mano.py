"""Put MANO's files, as users get them, into the cache: read without chumpy, checked, and mended where they are wrong.

MANO is Romero, Tzionas, Black, "Embodied Hands", SIGGRAPH Asia 2017. Its files are licensed to each user by
mano.is.tue.mpg.de, for non-commercial use; they are never shipped with handgen nor copied into its output.

Frame of MANO's template, by which its side is told: a right hand's fingers point along -x, a left hand's along +x;
of both the thumb lies towards +z and the palm faces -y.

The published left file has the right file's `shapedirs`, not mirrored: their x has the wrong sign, so that positive
betas make a left hand longer where they make a right one shorter (github.com/vchoutas/smplx/issues/48).
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.model_files import (
    BETA_COUNT,
    MANO,
    HandArrays,
    check_model,
    hand_from_npz,
    mano_path,
    npz_bytes,
    read_npz,
)
from handgen.hand.skeleton import FINGER_JOINTS, MIRROR_X, SIDES, TIP_VERTICES, VERTEX_COUNT, other_side
from handgen.hand.smplx_check import MAX_DIFFERENCE_MM, largest_difference_mm
from handgen.storage import filesystem, limits
from handgen.storage.local_copies import write_cached
from handgen.storage.numpy_files import ZIP_START, open_zip
from handgen.storage.pickles import read_pickle

WHERE_TO_GET = "get MANO_RIGHT.pkl and MANO_LEFT.pkl from mano.is.tue.mpg.de (registration; non-commercial licence)"
SAVED_KEYS = (
    *("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"),
    *("hands_mean", "hands_components"),
)
MENDED = "x of the shape directions negated: the file's have the sign fault of the published left hand"

_OTHER_MODELS = {6890: "SMPL's or SMPL+H's body", 10475: "SMPL-X's body", 5023: "FLAME's head"}  # by vertices
_FOLDERS = ("mano", "models")  # where MANO's archive and smplx's users keep the files
_MANO_NAME = re.compile(r"mano_(left|right)\.(pkl|npz)")
# Starts of what is often there in place of a file, and what happened.
_NO_MODELS = {
    b"<!doctype": "a web page, not a model: the download asked for a login",
    b"<html": "a web page, not a model: the download asked for a login",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run `git lfs pull` where it comes from",
    b"\x1f\x8b": "packed with gzip: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
}
_FINGERS = ("index", "middle", "ring", "pinky")
_PALM_M = (0.05, 0.16)  # wrist to middle knuckle; adults of 5th to 95th percentile have 0.08 to 0.11 m
_MIN_CORRELATION = 0.3  # of hand length and breadth in the population of the betas
_CLEARLY = 3.0  # how many times nearer the left's shape directions are to the right's as they are, or mirrored


@dataclass(frozen=True)
class InstalledHand:
    """A hand in the cache. note: what was changed, as it stands in the file; empty: nothing.

    remarks: what the user may want to know of where it came from. smplx_difference_mm: how far from smplx's own
    kinematics it was found when it was added; None: not compared.
    """

    side: str
    path: Path
    size_bytes: int
    note: str
    remarks: tuple[str, ...] = ()
    smplx_difference_mm: float | None = None


@dataclass(frozen=True)
class _Hand:
    source: str
    side: str
    arrays: dict[str, np.ndarray] = field(repr=False)
    shapes: int = BETA_COUNT  # shape directions of the file


def add(paths: Sequence[Path]) -> list[InstalledHand]:
    """Read MANO's right or left hand or both from the user's files, and write them into the cache.

    Takes the official pickles, pickles and `.npz` without chumpy, or folders with them. Nothing is written unless all
    are right; raises HandgenError naming the file and the fact.
    """
    hands: dict[str, _Hand] = {}
    for path in chain.from_iterable(map(_files_of, paths)):
        hand = _read(path)
        if hand.side in hands:
            raise HandgenError(f"{path}: a {hand.side} hand, like {hands[hand.side].source}; give one file per side")
        hands[hand.side] = hand
    if "right" in hands and "left" not in hands and mano_path("left").is_file():
        hands["left"] = _read_cached("left")  # judged anew, by the right hand
    right = hands.get("right") or (_read_cached("right") if mano_path("right").is_file() else None)
    contents = {side: _content(hands[side], right) for side in SIDES if side in hands}
    added = []
    for side, (data, note) in contents.items():
        path, source = mano_path(side), hands[side].source
        if path.is_file() and filesystem.read(path) == data and source == str(path):
            continue  # the cached left hand proved right
        difference_mm = _difference_from_smplx_mm(hand_from_npz(data, source, MANO, side), source)
        added.append((data, InstalledHand(side, path, len(data), note, _remarks(hands[side]), difference_mm)))
    for data, installed_hand in added:
        write_cached(installed_hand.path, data)
    return [installed_hand for _, installed_hand in added]


def _files_of(path: Path) -> list[Path]:
    """The file, or the files of MANO's hands in a folder or the one below it called `models` or `mano`."""
    if not path.is_dir():
        return [path]
    with explain_unreadable(path, WHERE_TO_GET):
        below = [path, *sorted(each for each in path.iterdir() if each.is_dir() and each.name.lower() in _FOLDERS)]
        files = [sorted(each for each in folder.iterdir() if _is_named_as_mano(each)) for folder in below]
    found = next((each for each in files if each), None)
    if found is None:
        raise HandgenError(f"{path}: holds no MANO_RIGHT.pkl or MANO_LEFT.pkl; {WHERE_TO_GET}")
    return found


def _is_named_as_mano(path: Path) -> bool:
    return path.is_file() and bool(_MANO_NAME.fullmatch(path.name.lower()))


def _difference_from_smplx_mm(arrays: HandArrays, source: str) -> float | None:
    """Return `largest_difference_mm`; None without smplx. Raises HandgenError when it is more than rounding."""
    try:
        difference_mm = largest_difference_mm(arrays)
    except ImportError:  # whoever may not use smplx can do without it
        return None
    if not difference_mm <= MAX_DIFFERENCE_MM:  # nan too
        raise HandgenError(
            f"{source}: posed by handgen and by smplx, this {arrays.side} hand differs by {difference_mm:.3g} mm; "
            "nothing was written: install smplx 0.1.28, and if that does not help, report it"
        )
    return difference_mm


def installed() -> list[InstalledHand]:
    """List MANO's hands in the cache; HandgenError if one is damaged."""
    found = []
    for side in SIDES:
        path = mano_path(side)
        if path.is_file():
            found.append(InstalledHand(side, path, path.stat().st_size, str(_read_cached(side).arrays.get("note", ""))))
    return found


def _read(path: Path) -> _Hand:
    arrays, shapes = _arrays_of(path)
    return _Hand(str(path), _side(arrays, str(path)), arrays, shapes)


def _read_cached(side: str) -> _Hand:
    try:
        return _read(mano_path(side))
    except HandgenError as error:
        raise HandgenError(f"{error}; run `handgen models add` with MANO_{side.upper()}.pkl again") from None


def _arrays_of(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """Return the checked arrays of one file, whatever its name ends in, and how many shape directions it has."""
    where = str(path)
    with explain_unreadable(path, WHERE_TO_GET), filesystem.open_read(path) as stream:
        data = stream.read(limits.HAND_MODEL.allowed + 1)
    limits.HAND_MODEL.check(len(data), where, "a hand model is about 4 MiB")
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if what := next((what for start, what in _NO_MODELS.items() if head.startswith(start)), None):
        raise HandgenError(f"{where}: {what}; {WHERE_TO_GET}")
    if data.startswith(ZIP_START):
        _refuse_the_download(data, where)
        arrays = read_npz(data, where)
    else:
        found = read_pickle(data, where)
        arrays = {key: value for key, value in found.items() if isinstance(value, np.ndarray) and key != "note"}
    vertices = len(arrays["v_template"]) if arrays.get("v_template", np.zeros(())).ndim else VERTEX_COUNT
    if vertices in _OTHER_MODELS:
        raise HandgenError(f"{where}: {_OTHER_MODELS[vertices]} ({vertices} vertices), not a hand; {WHERE_TO_GET}")
    directions, shapes = arrays.get("shapedirs"), BETA_COUNT
    if directions is not None and directions.ndim == 3 and directions.shape[2] > BETA_COUNT:
        shapes = directions.shape[2]  # the first ones are of the largest differences between people
        arrays = arrays | {"shapedirs": directions[:, :, :BETA_COUNT]}
    arrays = check_model(arrays, where)
    return arrays | {"f": arrays["faces"]}, shapes


def _refuse_the_download(data: bytes, where: str) -> None:
    """Say what to do with the archive that MANO's page gives."""
    with open_zip(io.BytesIO(data), where) as archive:
        names = [name for name in archive.namelist() if name.upper().endswith(("MANO_RIGHT.PKL", "MANO_LEFT.PKL"))]
    if names:
        raise HandgenError(f"{where}: an archive that holds MANO's files; unpack it and give those named MANO_*.pkl")


def _side(arrays: dict[str, np.ndarray], where: str) -> str:
    """Tell which hand it is by where its fingers, thumb and palm are; HandgenError if it is not in MANO's frame."""
    template = arrays["v_template"].astype(np.float64)
    joints = arrays["J_regressor"].astype(np.float64) @ template
    knuckle = {finger: joints[FINGER_JOINTS[finger][0]] for finger in _FINGERS}
    fingers = knuckle["middle"] - joints[0]
    length = float(np.linalg.norm(fingers))
    if not _PALM_M[0] <= length <= _PALM_M[1]:
        raise HandgenError(
            f"{where}: wrist and middle knuckle are {length:.3g} m apart, which is no hand; MANO's files are in metres"
        )
    mean = arrays["hands_mean"].astype(np.float64).reshape(-1, 3)
    palm = np.zeros(3)  # where the mean pose takes the fingertips
    for finger in _FINGERS:
        tip = template[TIP_VERTICES[finger]]
        for joint in FINGER_JOINTS[finger]:
            palm += np.cross(mean[joint - 1], tip - joints[joint])
    thumb = knuckle["index"] - knuckle["pinky"]
    handed = float(np.linalg.det(np.stack([_unit(fingers), _unit(thumb), _unit(palm)])))
    side = "right" if handed < 0 else "left"
    towards_x = _unit(fingers)[0] * (-1 if side == "right" else 1)
    if not min(abs(handed), towards_x, _unit(thumb)[2], -_unit(palm)[1]) >= 0.5:  # so that nan is refused
        raise HandgenError(
            f"{where}: its fingers, thumb and palm do not point as those of MANO's hands do "
            "(along -x for a right and +x for a left hand, +z and -y)"
        )
    return side


def _unit(vector: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _content(hand: _Hand, right: _Hand | None) -> tuple[bytes, str]:
    """Return the bytes of the npz to write, and its note."""
    arrays = {key: hand.arrays[key] for key in SAVED_KEYS}
    note = str(hand.arrays.get("note", ""))
    if hand.side == "left" and _has_sign_fault(hand, right):
        arrays["shapedirs"] = arrays["shapedirs"] * np.array(MIRROR_X)[:, None]
        note = "" if note == MENDED else MENDED  # a mended one that proves to have been right becomes itself
    return npz_bytes({**arrays, "note": np.array(note)} if note else arrays), note


def _has_sign_fault(left: _Hand, right: _Hand | None) -> bool:
    """Tell whether x of the left's shape directions has the wrong sign: by the right hand, or by the left's own shapes.

    In any population long hands are broad. So over the betas, which are independent and of unit variance, growth along
    the fingers (x) and across the palm (z) go together; with the fault they go against each other.
    """
    shapes = left.arrays["shapedirs"].astype(np.float64)
    if right is not None:
        from_mirrored = np.linalg.norm(shapes - right.arrays["shapedirs"] * np.array(MIRROR_X)[:, None])
        from_same = np.linalg.norm(shapes - right.arrays["shapedirs"])
        if max(from_same, from_mirrored) > _CLEARLY * min(from_same, from_mirrored):
            return bool(from_same < from_mirrored)
    centred = left.arrays["v_template"] - left.arrays["v_template"].mean(0)
    growth = np.einsum("vc,vcb->cb", centred, shapes - shapes.mean(0)) / np.square(centred).sum(0)[:, None]
    along, across = growth[0], growth[2]
    correlation = float(_unit(along) @ _unit(across))
    if abs(correlation) < _MIN_CORRELATION:
        raise HandgenError(
            f"{left.source}: whether its shape directions have the sign fault of the published left hand cannot be "
            "told from this file alone; add MANO_RIGHT.pkl and MANO_LEFT.pkl together"
        )
    return correlation < 0


def _remarks(hand: _Hand) -> tuple[str, ...]:
    """Say where a file is called after the other side, or has more betas: it is taken for what it holds."""
    name, other = Path(hand.source).name.lower(), other_side(hand.side)
    misnamed = other in name and hand.side not in name
    said = [f"{hand.source} is called {other}, but holds a {hand.side} hand"] if misnamed else []
    if hand.shapes > BETA_COUNT:
        said.append(f"the first {BETA_COUNT} of its {hand.shapes} betas are used")
    return tuple(said)
