"""Writes files in MANO's format as Python 2 wrote them, chumpy objects and all, out of the open hand's own arrays.

    python tests/support/make_mano_pickle.py OUT [--protocol 0|1|2] [--sign-fault]

Neither chumpy nor Python 2 is needed: a pickler for which stand-ins carry the names and the state of the originals.
What chumpy writes was looked up by running chumpy 0.69 with Python 2.7.18, numpy 1.16.6 and scipy 1.2.3: `Ch` and
`Select` are made by `copy_reg._reconstructor` (protocols 0, 1) or `__newobj__` (2) and given their `__dict__` less
`_parents` and `_cache`; names are `numpy.core.multiarray`, `scipy.sparse.csc`, `copy_reg`, `__builtin__`; an array's
bytes are a string. MANO's `shapedirs` is a `Select` of the first 10 of 20 directions of a `Ch`.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from handgen.hand.model_files import HandArrays, load_hand  # noqa: E402

PARENTS = [4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]  # -1 as uint32, as in MANO's files


class Ch:
    """Stands for `chumpy.ch.Ch`: an array."""

    name = "chumpy.ch Ch"

    def __init__(self, x: np.ndarray) -> None:
        self.state = bookkeeping() | {"x": x}


class Select:
    """Stands for `chumpy.reordering.Select`: `a.ravel()[idxs].reshape(preferred_shape)`."""

    name = "chumpy.reordering Select"

    def __init__(self, a: Ch, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
        self.state = bookkeeping() | {"a": a, "idxs": idxs, "preferred_shape": preferred_shape}


class Csc:
    """Stands for scipy's sparse matrix by columns."""

    name = "scipy.sparse.csc csc_matrix"

    def __init__(self, dense: np.ndarray) -> None:
        columns, rows = np.nonzero(dense.T)
        self.state = {
            "_shape": dense.shape,
            "maxprint": 50,
            "data": dense[rows, columns],
            "indices": rows.astype(np.int32),
            "indptr": np.searchsorted(columns, np.arange(dense.shape[1] + 1)).astype(np.int32),
        }


class Call:
    """A call that a hostile file asks for, such as `posix system` with one argument."""

    def __init__(self, name: str, argument: str) -> None:
        self.name, self.argument = name, argument


def bookkeeping() -> dict[str, Any]:
    """The attributes that every chumpy object is pickled with."""
    return {
        "_dirty_vars": set(),
        "_itr": None,
        "_make_dense": False,
        "_make_sparse": False,
        "_depends_on_deps": {},
        "_status": "new",
    }


class Python2Pickler:
    """Protocols 0, 1 and 2 as Python 2 writes them, without its memo of strings."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.memo: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no id is used twice

    def dumps(self, value: Any) -> bytes:
        head = b"\x80\x02" if self.protocol == 2 else b""
        return head + self.save(value) + b"."

    def save(self, value: Any) -> bytes:
        if id(value) in self.memo:
            return self.get(self.memo[id(value)])
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return (b"I00\n", b"I01\n")[value] if self.protocol < 2 else (b"\x89", b"\x88")[value]
        if isinstance(value, int):
            return b"I%d\n" % value if self.protocol == 0 else b"J" + struct.pack("<i", value)
        if isinstance(value, str):
            return self.string(value.encode("latin-1"))
        if isinstance(value, bytes):
            return self.string(value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.save, value)) + b"t"
        if isinstance(value, set):
            assert not value
            return self.name("__builtin__ set") + b"((ltR"
        if isinstance(value, dict):
            items = b"".join(self.save(key) + self.save(item) + b"s" for key, item in value.items())
            return b"(d" + items
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, Call):
            return self.name(value.name) + b"(" + self.save(value.argument) + b"tR"
        return self.object(value.name, value.state) + self.put(value)

    def string(self, content: bytes) -> bytes:
        if self.protocol == 0:
            body = "".join(
                chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in content
            )  # as repr writes a str of Python 2
            return b"S'" + body.encode() + b"'\n"
        if len(content) < 256:
            return b"U" + struct.pack("<B", len(content)) + content
        return b"T" + struct.pack("<i", len(content)) + content

    def name(self, name: str) -> bytes:
        return b"c" + name.replace(" ", "\n").encode() + b"\n"

    def get(self, key: int) -> bytes:
        return b"g%d\n" % key if self.protocol == 0 else b"j" + struct.pack("<I", key)

    def put(self, value: Any) -> bytes:
        key = self.memo[id(value)] = len(self.memo)
        self.kept.append(value)
        return b"p%d\n" % key if self.protocol == 0 else b"r" + struct.pack("<I", key)

    def object(self, name: str, state: dict[str, Any]) -> bytes:
        if self.protocol == 2:
            made = self.name(name) + b")\x81"
        else:
            made = self.name("copy_reg _reconstructor") + b"("
            made += self.name(name) + self.name("__builtin__ object") + b"NtR"
        return made + self.save(state) + b"b"

    def dtype(self, dtype: np.dtype) -> bytes:
        made = self.name("numpy dtype") + self.save((dtype.str[1:], 0, 1)) + b"R"
        order = "|" if dtype.itemsize == 1 else "<"
        return made + self.save((3, order, None, None, None, -1, -1, 0)) + b"b"

    def array(self, value: np.ndarray) -> bytes:
        made = self.name("numpy.core.multiarray _reconstruct") + b"(" + self.name("numpy ndarray")
        made += self.save((0,)) + self.save("b") + b"tR" + self.put(value)
        by_columns = value.ndim > 1 and value.flags.f_contiguous
        content = value.tobytes("F" if by_columns else "C")
        state = b"(" + self.save(1) + self.save(tuple(value.shape)) + self.dtype(value.dtype)
        return made + state + self.save(by_columns) + self.save(content) + b"tb"


def mano_state(arrays: HandArrays, sign_fault: bool = False) -> dict[str, Any]:
    """Return what an official file holds, of another hand: same keys, shapes, dtypes and kinds of objects."""
    directions = arrays.shapedirs * (np.array([-1.0, 1.0, 1.0])[:, None] if sign_fault else 1.0)
    twenty = np.concatenate([directions, 0.1 * directions[..., ::-1]], 2)
    chosen = np.arange(twenty.size).reshape(twenty.shape)[..., :10].ravel()
    return {
        "hands_components": arrays.pose_components,
        "f": arrays.faces.astype(np.uint32),
        "J_regressor": Csc(arrays.joint_regressor),
        "kintree_table": np.array([PARENTS, range(16)]),
        "J": arrays.joint_regressor @ arrays.template,
        "hands_coeffs": np.zeros((3, 45)),
        "weights": arrays.weights,
        "posedirs": np.asfortranarray(arrays.posedirs),
        "hands_mean": arrays.mean_pose,
        "v_template": arrays.template,
        "shapedirs": Select(Ch(twenty), chosen, (778, 3, 10)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def mano_pickle(side: str, protocol: int = 2, sign_fault: bool = False, **changes: Any) -> bytes:
    """The bytes of a file in the format of MANO_RIGHT.pkl; changes: other values of its keys, None to leave one out."""
    state = mano_state(load_hand("open", side), sign_fault) | changes
    return Python2Pickler(protocol).dumps({key: value for key, value in state.items() if value is not None})


def clean_state(side: str) -> dict[str, np.ndarray]:
    """Return it without chumpy, as others' converters leave it."""
    state = mano_state(load_hand("open", side))
    plain = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    arrays = load_hand("open", side)
    return plain | {"J_regressor": arrays.joint_regressor, "shapedirs": arrays.shapedirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--protocol", type=int, choices=(0, 1, 2), default=2)
    parser.add_argument("--sign-fault", action="store_true", help="give the left hand the published file's fault")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for side in ("right", "left"):
        path = arguments.out / f"MANO_{side.upper()}.pkl"
        path.write_bytes(mano_pickle(side, arguments.protocol, arguments.sign_fault and side == "left"))
        print(path)


if __name__ == "__main__":
    main()
