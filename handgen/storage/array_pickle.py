"""Read pickled dictionaries of arrays: MANO's files, and others of arrays alone.

MANO's files are Python 2 pickles of numpy arrays, one scipy sparse matrix and two chumpy objects: `shapedirs` is a
`chumpy.reordering.Select` of a `chumpy.ch.Ch`. `pickle.load` would import chumpy, which no longer imports
(github.com/mattloper/chumpy/issues/55), and would call whatever a file names. `handgen.storage.inert_unpickler` does
neither; what its stand-ins for scipy's and chumpy's objects hold is worked out here.
"""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import numpy as np
from jaxtyping import Shaped

from handgen.errors import HandgenError
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

_MAX_NESTING = 8  # of chumpy expressions
_INDEX_BYTES = 8  # numpy turns every index into one of so many bytes
HAND_MODEL = Contents("hand model", 64 * 2**20, 64 * 2**20, "Get MANO's files (about 4 MiB) from mano.is.tue.mpg.de")


def read_pickle(data: bytes, where: str, contents: Contents = HAND_MODEL) -> dict[str, np.ndarray | str]:
    """Return the arrays and strings of a pickled dictionary; other values are left out.

    where: the file, for messages. Raises HandgenError, in one line, if the pickle names anything but arrays, is
    damaged, or is too large.
    """
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
        """Return numpy's array of an array, a sparse matrix or a chumpy object; a string as it is; None for the rest.

        What a file uses many times is worked out, and charged for, once.
        """
        if isinstance(value, Array):
            return value.value
        if not isinstance(value, StatefulObject):
            return value if type(value) is str else None
        if nesting == _MAX_NESTING:
            raise UnpicklingError(f"{shown(key)}: too deeply nested")
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
