"""Mutations of pickles: their objects, their opcodes, their bytes, and pickles that run something."""

from __future__ import annotations

import pickle
import pickletools
import re

import numpy as np
from support.pickle_attacks import attacks

from fuzzing import hostile_values
from fuzzing.archives import change_array
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.documents import change_document
from fuzzing.files import chance, choose

_RUNS = (
    b"cposix\nsystem\n(S'touch ran'\ntR",
    b"cbuiltins\neval\n(S'1'\ntR",
    b"c__builtin__\nexecfile\n(S'x'\ntR",
    b"(S'touch ran'\niposix\nsystem\n",
    b"cos\npopen\n(S'touch ran'\ntR",
    b"\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R",
    b"\x82\x01",
    b"P1\n",
    b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'AAAAAAAA'\ntR",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI00\nS'AAAAAAAA'\ntb",
)
_LITERALS = (
    *(
        b"N",
        b"I01\n",
        b"I-1\n",
        b"I99999999999999999999999\n",
        b"F1e999\n",
        b"Fnan\n",
        b"K\xff",
        b"(lp0\n",
        b"(dp0\n",
        b"}",
        b"]",
    ),
    *(
        b")",
        b"S''\n",
        b"U\x03abc",
        b"X\x02\x00\x00\x00\xc3\xa9",
        b"V\\ud800\n",
        b"\x8a\x01\xff",
        b"\x8b\xff\xff\xff\x7f",
        b".",
    ),
    *(
        b"g0\n",
        b"g99\n",
        b"h\x00",
        b"j\xff\xff\xff\xff",
        b"0",
        b"2",
        b"1",
        b"(",
        b"b",
        b"R",
        b"\x81",
        b"s",
        b"u",
        b"a",
        b"e",
    ),
)


def mutate_pickle(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change a pickle of one of the seeds. Only what this repository has made is unpickled here."""
    kind = rng.random()
    if gentle:
        return _gently(data, rng)
    if kind < 0.2:
        return mutate_bytes(data, rng)
    if kind < 0.3:
        attack = choose(rng, list(attacks("ran").values()))[0]
        return pickle.dumps([attack], int(choose(rng, range(6))))
    plain = _objects(data)
    if plain is not None and kind < 0.65:
        return _dumped(_change(plain, rng), rng)
    places = [position for _, position, _ in _opcodes(data)]
    if len(places) < 2:
        return mutate_bytes(data, rng)
    at = int(rng.integers(1, len(places)))
    begin, end = places[at - 1], places[at]
    if kind < 0.75:
        return data[:end] + choose(rng, _LITERALS) + data[end:]
    if kind < 0.82:
        return data[:begin] + data[end:]
    if kind < 0.9:
        return data[:begin] + choose(rng, _RUNS) + data[end:]
    if kind < 0.94:
        return data[:end] + data[begin:end] * int(choose(rng, (1, 3, 30_000))) + data[end:]
    other = int(rng.integers(1, len(places)))
    return data[:begin] + data[places[other - 1] : places[other]] + data[end:]


def _gently(data: bytes, rng: np.random.Generator) -> bytes:
    """Pickle by another protocol; of what is not unpickled here, change the last bits of numbers in an array."""
    plain = _objects(data)
    if plain is not None:
        return pickle.dumps(plain, int(choose(rng, range(6))))
    changed = bytearray(data)
    numbers = [entry[1:] for entry in _opcodes(data) if entry[0] in ("BINSTRING", "BINBYTES")]
    for position, argument in numbers:
        if isinstance(argument, str | bytes) and len(argument) > 1000 and chance(rng, 0.3):
            changed[position + 5 + 8 * int(rng.integers(len(argument) // 8))] ^= 1
            break
    return bytes(changed)


def _opcodes(data: bytes) -> list[tuple[str, int, object]]:
    """Find opcodes, their places and arguments; of texts that `pickletools` does not take, the beginnings of lines."""
    try:
        return [(opcode.name, place or 0, argument) for opcode, argument, place in pickletools.genops(data)]
    except Exception:
        return [("", match.end(), None) for match in re.finditer(rb"\n", data)]


def _objects(data: bytes) -> object:
    """Return what is pickled, of lists of labels; None for the pickles of Python 2, which name chumpy."""
    if b"chumpy" in data[:5_000_000]:
        return None
    try:
        return pickle.loads(data)
    except Exception:
        return None


def _change(value: object, rng: np.random.Generator) -> object:
    if isinstance(value, dict) and any(isinstance(item, np.ndarray) for item in value.values()):  # a network's weights
        changed = _change([value], rng)
        return changed[0] if isinstance(changed, list) and changed else changed
    if isinstance(value, list) and value and isinstance(value[0], dict) and chance(rng, 0.8):
        entry = dict(value[0])
        key = choose(rng, list(entry))
        found = entry[key]
        if isinstance(found, np.ndarray) and found.dtype != object and chance(rng, 0.7):
            entry[key] = change_array(found, rng)
        elif chance(rng, 0.3):
            del entry[key]
        else:
            entry[key] = choose(
                rng,
                (
                    hostile_values.value(rng),
                    np.array(hostile_values.text(rng)),
                    np.float32("nan"),
                    np.zeros((0, 4)),
                    np.array([{}, {}], object),
                ),
            )
        return [entry, *value[1:]]
    return change_document(value, rng)


def _dumped(value: object, rng: np.random.Generator) -> bytes:
    try:
        return pickle.dumps(value, int(choose(rng, range(6))))
    except Exception:
        return b"N."
