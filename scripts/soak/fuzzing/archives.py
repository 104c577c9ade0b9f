"""Mutations of numpy's files and of zip archives."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from functools import lru_cache

import numpy as np
from support.hostile_files import npy_header, npz_of_zeros

from fuzzing import hostile_values
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.files import chance, choose

_SHAPES = (
    *("()", "(0,)", "(1,)", "(-1, 21, 3)", "(10, 21, 3)", "(1000000000, 21, 3)", "(2**40,)", "(99999999999999999999,)"),
    *(
        "(0, 99999999999, 21, 3)",
        "(1,) * 70",
        "(1, 1, 1, 1, 1, 1, 21, 3)",
        "(True, 21, 3)",
        "(10.0, 21, 3)",
        "('a',)",
        "10",
    ),
    *("(" + "1," * 100 + ")", "(9223372036854775807, 2, 21, 3)", "[10, 21, 3]", "(10, 21, 3", "((10, 21), 3)", "None"),
)
_DTYPES = (
    *(
        "'|O'",
        "'O8'",
        "'<f2'",
        "'<f16'",
        "'<c16'",
        "'<U5'",
        "'|S5'",
        "'<M8[ns]'",
        "'<i4'",
        "'|b1'",
        "'|V8'",
        "'<f7'",
        "''",
    ),
    *(
        "[('a', '<f8')]",
        "[('a', '|O')]",
        "'<f8,<f8'",
        "('<f8', (1000000,))",
        "'i' * 1000",
        "None",
        "8",
        "'>f8'",
        "'float'",
    ),
    *("{'names': ['a'], 'formats': ['O']}", "'<U99999999'", "'|V0'", "'|S0'"),
)
_KINDS = ("<f8", "<f4", ">f8", "<f2", "<i8", "<i2", "|u1", "|b1", "<c16", "<U3", "|S3", "<M8[s]")


def mutate_npy(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change an array, its header, or its bytes."""
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception:
        return mutate_bytes(data, rng)
    if gentle:
        return _packed(_nearly(array, rng), int(choose(rng, (1, 2, 3))))
    kind = rng.random()
    if kind < 0.3:
        return _other_header(array, rng)
    if kind < 0.4:
        return mutate_bytes(data, rng)
    if kind < 0.5:
        return data[: int(rng.integers(len(data)))]
    return _packed(change_array(array, rng), 1)


def change_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array of other values, another shape or another type."""
    kind = int(rng.integers(7))
    with np.errstate(all="ignore"):
        if kind < 3 and array.size and array.dtype.kind in "fiu":
            changed = array.astype(float)
            some = changed.reshape(-1)
            number = hostile_values.number(rng)
            count = int(choose(rng, (1, 3, len(some))))
            some[rng.integers(0, len(some), count)] = number if abs(number) < 1e308 else float("inf")
            return changed.astype(array.dtype) if chance(rng, 0.5) else changed
        if kind == 3:
            return array.astype(choose(rng, _KINDS if array.dtype.kind in "fiub" else ("<U3", "|S3", "<U9")))
        if kind == 4:
            return choose(
                rng, (array[None], array[..., None], array.T, array[:0], array[..., :-1] if array.ndim else array)
            )
        if kind == 5:
            return choose(rng, (array.ravel(), np.zeros(()), np.zeros((0, 21, 3)), np.zeros((3, 21, 2)), array[::-1]))
        return array * 0 + 1e30 if array.dtype.kind == "f" else array


def mutate_zip(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change the members of a zip of arrays, or how they are packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:
        return mutate_bytes(data, rng)
    kind = rng.random()
    if gentle:
        at = int(rng.integers(len(members)))
        if kind < 0.6:
            members[at] = members[at][0], mutate_npy(members[at][1], rng, True)
        elif kind < 0.8:
            members.append(("unknown.npy", _packed(np.zeros(3), 1)))
        return _zipped(members, int(choose(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))))
    if kind < 0.2:
        return mutate_bytes(data, rng)
    at = int(rng.integers(len(members)))
    name, content = members[at]
    if kind < 0.6:
        members[at] = name, mutate_npy(content, rng, False)
    elif kind < 0.68:
        del members[at]
    elif kind < 0.76:
        members.insert(at, (name, content if chance(rng, 0.5) else mutate_npy(content, rng, False)))
    elif kind < 0.84:
        members[at] = (
            choose(rng, (f"../{name}", f"/{name}", name.upper(), hostile_values.text(rng)[:300] + ".npy", "a/" + name)),
            content,
        )
    elif kind < 0.845:
        return _bomb(name)
    elif kind < 0.92:
        members += [(f"more{i}.npy", b"") for i in range(int(choose(rng, (10, 2_000))))]
    else:
        return _wrong_sizes(_zipped(members, zipfile.ZIP_DEFLATED), rng)
    return _zipped(members, int(choose(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))))


@lru_cache(maxsize=2)
def _bomb(name: str) -> bytes:
    return npz_of_zeros(name)


def _zipped(members: list[tuple[str, bytes]], method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode("utf-8"), (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            _add(archive, info, content)
    return packed.getvalue()


def _add(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        archive.writestr(info, content)


def _wrong_sizes(data: bytes, rng: np.random.Generator) -> bytes:
    """Write another size or place into a directory entry."""
    changed = bytearray(data)
    at = data.find(b"PK\1\2", int(rng.integers(len(data) // 2)))
    at = at if at >= 0 else data.find(b"PK\1\2")
    field = int(choose(rng, (8, 10, 16, 20, 24, 28, 30, 32, 42)))
    changed[at + field : at + field + 4] = struct.pack("<I", int(choose(rng, (0, 1, 2**31 - 1, 2**32 - 1, 99, 2**30))))
    return bytes(changed)


def _packed(array: np.ndarray, version: int) -> bytes:
    packed = io.BytesIO()
    np.lib.format.write_array(packed, np.asarray(array), (version, 0), allow_pickle=True)
    return packed.getvalue()


def _other_header(array: np.ndarray, rng: np.random.Generator) -> bytes:
    dtype, shape = repr(array.dtype.str), repr(array.shape)
    kind = int(rng.integers(5))
    if kind == 0:
        shape = choose(rng, _SHAPES)
    elif kind == 1:
        dtype = choose(rng, _DTYPES)
    elif kind == 2:
        header = npy_header(dtype, shape, choose(rng, ("True", "None", "1", "__import__('os').system('touch ran')")))
        return header + array.tobytes()
    elif kind == 3:
        texts = (
            "{",
            "{}",
            "[1]",
            "{'descr': '<f8'}",
            "(" * 500,
            "{'a': " * 300,
            "x" * 9000,
            "9" * 6000,
            "\x00",
            "'''",
            "\\",
        )
        text = choose(rng, texts).encode()
        version = choose(rng, (b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
        return (
            b"\x93NUMPY"
            + version
            + struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
            + text
            + array.tobytes()
        )
    else:
        dtype, shape = choose(rng, _DTYPES), choose(rng, _SHAPES)
    return npy_header(dtype, shape) + array.tobytes()


def _nearly(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the array with a value that is a little different, or in another order in memory."""
    if array.dtype.kind == "f" and array.size and chance(rng, 0.7):
        changed = array.copy()
        changed.reshape(-1)[int(rng.integers(array.size))] *= 1 + 1e-7
        return changed
    return np.asfortranarray(array) if chance(rng, 0.5) else array
