"""Read pickled dictionaries of arrays, such as MANO's files, and pickled labels; nothing that a file says is run.

MANO's files are Python 2 pickles of numpy arrays, one scipy sparse matrix and two chumpy objects: `shapedirs` is a
`chumpy.reordering.Select` of a `chumpy.ch.Ch`. `pickle.load` would import chumpy, which no longer imports
(github.com/mattloper/chumpy/issues/55), and would call whatever a file names. `handgen.storage.inert_unpickler` does
neither; what its stand-ins for scipy's and chumpy's objects hold is worked out here.

Labels are lists, dictionaries, numbers, texts and arrays, also arrays of one Python object (`np.array({"loss": 1.0})`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import numpy as np
from jaxtyping import Shaped

from handgen.errors import HandgenError
from handgen.storage import limits
from handgen.storage.inert_unpickler import (
    Array,
    Class,
    Contents,
    InertUnpickler,
    StatefulObject,
    check_size,
    errors_in_one_line,
    shown,
)

_INDEX_BYTES = 8  # numpy turns every index into one of so many bytes
HAND_MODEL = Contents(
    "hand model", limits.HAND_MODEL, limits.HAND_MODEL, "Get MANO's files (about 4 MiB) from mano.is.tue.mpg.de"
)
_LABELS = Contents("list of labels", limits.LABELS, limits.LABEL_ARRAYS, "Write lists, dictionaries and numpy arrays")
_MAX_INT_BITS = 64


def read_pickle(data: bytes, where: str, contents: Contents = HAND_MODEL) -> dict[str, np.ndarray | str]:
    """Return a pickled dictionary's arrays and strings, without the rest; HandgenError naming `where` if it is none."""
    check_size(len(data), where, contents)
    with errors_in_one_line(where):
        reader = _ArrayUnpickler(data, where, contents)
        top = reader.load()
        if type(top) is not dict:
            raise HandgenError(f"{where}: holds no dictionary of arrays; is it a {contents.what}?")
        plain = {key: reader.plain(value, key) for key, value in top.items()}
    return {key: value for key, value in plain.items() if value is not None}


class _ArrayUnpickler(InertUnpickler):
    """Gives plain arrays."""

    def plain(self, value: Any, key: str, nesting: int = 0) -> Shaped[np.ndarray, "..."] | str | None:
        """Return the array of a value, worked out and charged for once; a string as it is; None for the rest."""
        if isinstance(value, Array):
            return value.value
        if not isinstance(value, StatefulObject):
            return value if type(value) is str else None
        limits.PICKLE_NESTING.check(nesting + 1, f"{self.where}: {shown(key)}: too deeply nested")
        if value.value is None:
            if value.kind is Class.CSC:
                value.value = self._dense(value.state)
            elif value.kind is Class.CH:
                value.value = self._numbers(value.state["x"], key, nesting + 1)
            else:
                value.value = self._selection(value.state, key, nesting + 1)
        return value.value

    def _numbers(self, value: Any, key: str, nesting: int, kinds: str = "fiub") -> Shaped[np.ndarray, "..."]:
        """Return `plain`, which must be an array; kinds: of numpy's dtypes."""
        found = self.plain(value, key, nesting)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in kinds:
            raise UnpicklingError(f"{shown(key)}: made of what is no array")
        return found

    def _selection(self, state: dict[str, Any], key: str, nesting: int) -> Shaped[np.ndarray, "..."]:
        """Evaluate chumpy's `Select`."""
        source = self._numbers(state["a"], key, nesting)
        chosen = self._numbers(state["idxs"], key, nesting, "iu")
        self.charge(source.nbytes + chosen.size * max(source.itemsize, _INDEX_BYTES))
        result = source.ravel()[chosen]
        return result.reshape(self.shape(state["preferred_shape"])) if "preferred_shape" in state else result

    def _dense(self, state: dict[str, Any]) -> Shaped[np.ndarray, "rows columns"]:
        """Fill a sparse matrix up."""
        rows, columns = self.shape(state["_shape"] if "_shape" in state else state["shape"])
        values = self._numbers(state["data"], "data", 1)
        row_of, starts = (self._numbers(state[key], key, 1, "iu") for key in ("indices", "indptr"))
        fits = values.ndim == 1 and row_of.shape == values.shape and starts.shape == (columns + 1,)
        # compared before anything is subtracted, which could wrap around
        fits = fits and starts[0] == 0 and starts[-1] == len(values) and bool((starts[:-1] <= starts[1:]).all())
        if not fits or row_of.min(initial=0) < 0:
            raise UnpicklingError("a sparse matrix's columns do not fit its values")
        self.charge(rows * columns * values.itemsize + 2 * _INDEX_BYTES * len(values))
        dense = np.zeros((rows, columns), values.dtype)
        column_of = np.repeat(np.arange(columns), (starts[1:] - starts[:-1]).astype(np.intp))
        np.add.at(dense, (row_of, column_of), values)
        return dense


class _ObjectDtype:
    """The dtype of Python objects. It is no `Dtype`, so no bytes of a file can become an array of it."""


@dataclass(frozen=True)
class _OneObject:
    """The item of an array of one Python object, which may be None."""

    item: Any


class _LabelUnpickler(InertUnpickler):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data, where, _LABELS)
        self.values = 0
        self.most_values, self.most_nesting = limits.PICKLE_VALUES.allowed, limits.PICKLE_NESTING.allowed

    def dtype(self, code: Any, *rest: Any) -> Any:
        return _ObjectDtype() if code == "O8" else super().dtype(code, *rest)

    def fill(self, target: Any, state: Any) -> None:
        """Give what was made its state; an array of Python objects must be a list of one, and of no axes."""
        if isinstance(target, _ObjectDtype):
            return
        if type(state) is tuple and len(state) == 5 and isinstance(state[2], _ObjectDtype):
            _, shape, _, _, content = state
            if type(target) is not Array or shape != () or type(content) is not list or len(content) != 1:
                raise HandgenError(f"{self.where}: holds an array of several Python objects; write a list")
            target.object = _OneObject(content[0])
        else:
            super().fill(target, state)

    def python(self, value: Any, nesting: int = 0) -> Any:
        """Return the value with numpy's arrays in it."""
        self.values += 1
        if self.values > self.most_values:
            limits.PICKLE_VALUES.check(self.values, self.where, "are these labels?")
        if nesting > self.most_nesting:
            limits.PICKLE_NESTING.check(nesting, f"{self.where}: nested too deeply", "are these labels?")
        if isinstance(value, Array):
            if value.object is not None:
                one = np.empty((), object)
                one[()] = self.python(value.object.item, nesting + 1)
                return one
            if value.value is None:
                raise UnpicklingError("an array has no content")
            return value.value if value.value.shape else value.value[()]
        if type(value) is dict:
            return {key: self.python(item, nesting + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [self.python(item, nesting + 1) for item in value]
        if type(value) is int and value.bit_length() > _MAX_INT_BITS:
            raise UnpicklingError("a number is too long")
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise UnpicklingError(f"it holds a {type(value).__name__.strip('_').lower()}")


def read_labels(data: bytes, where: str) -> Any:
    """Return a pickle's lists, dictionaries, numbers, texts and arrays; HandgenError naming `where` for anything else.

    Tuples become lists, sets None; an array of one Python object is a 0-d array of type object, of these things again.
    """
    check_size(len(data), where, _LABELS)
    with errors_in_one_line(where):
        reader = _LabelUnpickler(data, where)
        return reader.python(reader.load())
