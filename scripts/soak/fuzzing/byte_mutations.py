"""Mutations of bytes, whatever they mean."""

from __future__ import annotations

import numpy as np

from fuzzing.files import choose

_INTERESTING = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
_HEAD = 600  # bytes in which most formats say what comes


def mutate_bytes(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Change a few bytes, or cut, splice or repeat them. start: nothing before it is changed."""
    if len(data) <= start:
        return data + bytes(rng.integers(0, 256, 4, np.uint8))
    return choose(rng, (flip, flip, overwrite, overwrite, truncate, repeat, remove, splice, insert))(data, rng, start)


def place(data: bytes, rng: np.random.Generator, start: int) -> int:
    """Choose a place: in the head, where sizes are told, or anywhere."""
    end = min(len(data), start + _HEAD) if rng.random() < 0.5 else len(data)
    return int(rng.integers(start, max(end, start + 1)))


def flip(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Flip bits of one to eight bytes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[place(data, rng, start)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Write a number that is at an edge of its type, in either byte order."""
    size, order = int(choose(rng, (1, 2, 4, 8))), choose(rng, ("little", "big"))
    at, number = place(data, rng, start), choose(rng, _INTERESTING) % (1 << 8 * size)
    written = number.to_bytes(size, order)  # type: ignore[arg-type]
    return (data[:at] + written + data[at + size :])[: max(len(data), at + size)]


def truncate(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Cut the end off."""
    return data[: int(rng.integers(start, len(data)))]


def repeat(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Write a part several times."""
    at, length = place(data, rng, start), int(choose(rng, (1, 4, 16, 64, 512, 4096)))
    part = data[at : at + length]
    return data[:at] + part * int(choose(rng, (2, 3, 10, 100))) + data[at + length :]


def remove(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Leave a part out."""
    at, length = place(data, rng, start), int(choose(rng, (1, 2, 4, 16, 512)))
    return data[:at] + data[at + length :]


def splice(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Write one part over another."""
    at, of = place(data, rng, start), place(data, rng, start)
    length = int(choose(rng, (1, 4, 16, 64, 1024)))
    part = data[of : of + length]
    return data[:at] + part + data[at + len(part) :]


def insert(data: bytes, rng: np.random.Generator, start: int = 0) -> bytes:
    """Put random bytes in between."""
    at = place(data, rng, start)
    return data[:at] + rng.integers(0, 256, int(choose(rng, (1, 2, 4, 64))), np.uint8).tobytes() + data[at:]
