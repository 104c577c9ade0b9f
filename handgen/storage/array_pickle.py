"""Reading a pickle of arrays without running anything that it says.

MANO's files are Python 2 pickles of numpy arrays, one scipy sparse matrix and two chumpy objects: `shapedirs` is a
`chumpy.reordering.Select` of a `chumpy.ch.Ch`. `pickle.load` would import chumpy, which no longer imports
(github.com/mattloper/chumpy/issues/55), and would call whatever a file names.

So this is a reader of its own, on `handgen.storage.pickle_machine`. A name in a file chooses one of the few
constructors below or is refused; it never becomes a Python object, so nothing in a file can be imported or called.
Strings of Python 2 are read as latin-1, which keeps the bytes of its arrays. Time and memory are bounded by limits on
the bytes, the opcodes and the array bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from jaxtyping import Shaped

from handgen.errors import HandgenError
from handgen.storage.pickle_machine import DamagedError, PickleMachine

_MAX_NESTING = 8  # of chumpy expressions
_MAX_AXES = 8


@dataclass(frozen=True)
class Contents:
    """What a pickle is said to hold, for its bounds and its messages.

    what: in a word or two. max_bytes: of the file. max_array_bytes: of all its arrays together. source: where the
    real file comes from, one sentence.
    """

    what: str
    max_bytes: int
    max_array_bytes: int
    source: str


HAND_MODEL = Contents("hand model", 64 * 2**20, 64 * 2**20, "Get MANO's files (about 4 MiB) from mano.is.tue.mpg.de")


class _Name(Enum):
    """The meaning of a name that a file may use."""

    RECONSTRUCT = "numpy's array, filled later"
    FROM_BUFFER = "numpy's array, filled at once"
    SCALAR = "numpy's number"
    NDARRAY = "numpy's array type"
    DTYPE = "numpy's dtype"
    CSC = "scipy's sparse matrix by columns"
    CH = "chumpy's array"
    SELECT = "chumpy's indexed array"
    RECONSTRUCTOR = "an object of Python's protocols 0 and 1"
    OBJECT = "Python's object"
    SET = "Python's set"
    BYTES = "Python's empty bytes"
    ENCODE = "bytes written as text"


_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _Name.NDARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("scipy.sparse.csc", "csc_matrix"): _Name.CSC,
    ("scipy.sparse._csc", "csc_matrix"): _Name.CSC,
    ("chumpy.ch", "Ch"): _Name.CH,
    ("chumpy.reordering", "Select"): _Name.SELECT,
    ("_codecs", "encode"): _Name.ENCODE,
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Name.RECONSTRUCT
    _NAMES[f"{_core}.multiarray", "scalar"] = _Name.SCALAR
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Name.FROM_BUFFER
for _builtins, _copyreg in (("__builtin__", "copy_reg"), ("builtins", "copyreg")):
    _NAMES[_copyreg, "_reconstructor"] = _Name.RECONSTRUCTOR
    _NAMES[_builtins, "object"] = _Name.OBJECT
    _NAMES[_builtins, "set"] = _Name.SET
    _NAMES[_builtins, "bytes"] = _Name.BYTES

_OBJECTS = (_Name.CSC, _Name.CH, _Name.SELECT)
_DTYPE_CODE = re.compile(r"[fiub][1248]")


class Array:
    """An array, empty until its state is read. object: of one that holds a Python object."""

    value: np.ndarray | None = None
    object: Any = None


class Dtype:
    """A type of numbers, and their order of bytes."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def numpy(self) -> np.dtype:
        """As numpy has it."""
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Object:
    """A sparse matrix or a chumpy object: what it is and its attributes."""

    def __init__(self, kind: _Name) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {}


def read_pickle(data: bytes, where: str, contents: Contents = HAND_MODEL) -> dict[str, np.ndarray | str]:
    """The arrays and strings of a pickled dictionary; other values are left out.

    where: the file, for messages. Raises HandgenError, in one line, if the pickle names anything but arrays, is
    damaged, or is too large.
    """
    check_size(len(data), where, contents)
    reader = ArrayReader(data, where, contents)
    try:
        top = reader.read()
        if type(top) is not dict:
            raise HandgenError(f"{where}: holds no dictionary of arrays; is it a {contents.what}?")
        plain = {key: reader.plain(value, key) for key, value in top.items()}
    except HandgenError:
        raise
    except (Exception, RecursionError) as error:  # whatever damaged bytes lead to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HandgenError(f"{where}: not a readable pickle ({reason[:200]}); is the file truncated?") from None
    return {key: value for key, value in plain.items() if value is not None}


def check_size(count: int, where: str, contents: Contents) -> None:
    """Raise a HandgenError if a file of `count` bytes cannot be what it is said to be."""
    if count > contents.max_bytes:
        raise HandgenError(
            f"{where}: larger than {contents.max_bytes >> 20} MiB; is it a {contents.what}? {contents.source}"
        )


class ArrayReader(PickleMachine):
    """Makes arrays, sparse matrices and chumpy objects, and nothing else."""

    def __init__(self, data: bytes, where: str, contents: Contents) -> None:
        super().__init__(data, where)
        self.contents = contents
        self.array_bytes = 0

    # Names and what they make

    def name(self, module: Any, name: Any) -> None:
        """One of `_NAMES`, or refused."""
        known = _NAMES.get((module, name)) if type(module) is str and type(name) is str else None
        if known is None:
            shown = ".".join(_shown(part) for part in (module, name))
            raise HandgenError(
                f"{self.where}: names {shown}, which no {self.contents.what} needs; nothing of the file was run. "
                f"{self.contents.source}"
            )
        self.push(known)

    def reduce(self) -> None:
        """By one of `_MAKERS`."""
        arguments, function = self.pop(), self.pop()
        make = _MAKERS.get(function) if isinstance(function, _Name) else None
        if make is None or type(arguments) is not tuple:
            raise DamagedError("it calls what is no function")
        self.push(getattr(self, make)(*arguments))

    def new_object(self) -> None:
        """A sparse matrix or a chumpy object."""
        arguments, kind = self.pop(), self.pop()
        if kind not in _OBJECTS or arguments != ():
            raise DamagedError("it makes an object of what is no class")
        self.push(_Object(kind))

    def build(self) -> None:
        """Of an array, a dtype or an object."""
        state, target = self.pop(), self.pop()
        if isinstance(target, Array):
            _, shape, dtype, by_columns, content = state
            target.value = self.array(shape, dtype, bool(by_columns), content)
        elif isinstance(target, Dtype):
            if type(state) is not tuple or len(state) < 4 or state[1] not in ("<", ">", "|", "="):
                raise DamagedError("a dtype has no byte order")
            target.order = state[1]
        elif isinstance(target, _Object) and type(state) is dict:
            target.state = state
        else:
            raise DamagedError("it sets attributes of what has none")
        self.push(target)

    def array(self, shape: Any, dtype: Any, by_columns: bool, content: Any) -> Shaped[np.ndarray, "..."]:
        """An array whose shape and dtype are those of the bytes that are there."""
        if type(content) is list:
            raise HandgenError(f"{self.where}: holds an array of Python objects; only numbers are read")
        if type(content) is str:
            content = content.encode("latin-1")
        if not isinstance(dtype, Dtype) or not isinstance(content, bytes):
            raise DamagedError("an array has no dtype or no content")
        shape = self.shape(shape)
        claimed = math.prod(shape) * dtype.numpy().itemsize
        if claimed != len(content):
            raise HandgenError(
                f"{self.where}: an array claims the shape {shape}, {claimed} bytes, but has {len(content)}; "
                "the file is damaged"
            )
        self.charge(claimed)
        return np.ndarray(shape, dtype.numpy(), content, order="F" if by_columns else "C")

    def shape(self, shape: Any) -> tuple[int, ...]:
        """The shape, if it is one."""
        if type(shape) is not tuple or len(shape) > _MAX_AXES or any(type(n) is not int or n < 0 for n in shape):
            raise DamagedError("a shape is no tuple of counts")
        return shape

    def charge(self, count: int) -> None:
        """Count bytes of arrays, and refuse too many."""
        self.array_bytes += count
        if self.array_bytes > self.contents.max_array_bytes:
            raise HandgenError(
                f"{self.where}: its arrays take more than {self.contents.max_array_bytes >> 20} MiB; "
                f"is it a {self.contents.what}?"
            )

    def scalar(self, dtype: Any, content: Any) -> Array:
        """A number of numpy's."""
        made = Array()
        made.value = self.array((), dtype, False, content)
        return made

    def from_buffer(self, content: Any, dtype: Any, shape: Any, order: Any) -> Array:
        """An array with its content."""
        made = Array()
        made.value = self.array(shape, dtype, order == "F", content)
        return made

    def dtype(self, code: Any, *_: Any) -> Dtype:
        """Of numbers alone."""
        if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
            raise HandgenError(f"{self.where}: holds an array of dtype {_shown(code)}; only numbers are read")
        return Dtype(code)

    def empty_array(self, kind: Any, *_: Any) -> Array:
        """An array whose state follows."""
        if kind is not _Name.NDARRAY:
            raise DamagedError("an array is of no known type")
        return Array()

    def reconstructor(self, kind: Any, base: Any, state: Any) -> _Object:
        """An object of protocols 0 and 1."""
        if kind not in _OBJECTS or base is not _Name.OBJECT or state is not None:
            raise DamagedError("it makes an object of what is no class")
        return _Object(kind)

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Bytes that are written as text."""
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise DamagedError("bytes are not written as latin-1")
        self.charge(len(text))
        return text.encode("latin-1")

    def nothing(self, items: Any = None) -> None:
        """Of a set, which is chumpy's bookkeeping."""

    def no_bytes(self) -> bytes:
        """Python 3's empty bytes."""
        return b""

    # From what was made to plain arrays

    def plain(self, value: Any, key: str, nesting: int = 0) -> Shaped[np.ndarray, "..."] | str | None:
        """Numpy's array of an array, a sparse matrix or a chumpy object; a string as it is; None for the rest."""
        if isinstance(value, Array):
            return value.value
        if not isinstance(value, _Object):
            return value if type(value) is str else None
        if nesting == _MAX_NESTING:
            raise DamagedError(f"{_shown(key)}: too deeply nested")
        if value.kind is _Name.CSC:
            return self.dense(value.state)
        if value.kind is _Name.CH:
            return self.plain(value.state["x"], key, nesting + 1)
        source = self.plain(value.state["a"], key, nesting + 1)
        chosen = self.plain(value.state["idxs"], key, nesting + 1)
        if not isinstance(source, np.ndarray) or not isinstance(chosen, np.ndarray):
            raise DamagedError(f"{_shown(key)}: selects from what is no array")
        self.charge(chosen.size * source.itemsize)
        result = source.ravel()[chosen]
        if "preferred_shape" in value.state:
            result = result.reshape(self.shape(value.state["preferred_shape"]))
        return result

    def dense(self, state: dict[str, Any]) -> Shaped[np.ndarray, "rows columns"]:
        """A sparse matrix, filled up."""
        rows, columns = self.shape(state["_shape"] if "_shape" in state else state["shape"])
        values, row_of, starts = (self.plain(state[key], key) for key in ("data", "indices", "indptr"))
        if not (isinstance(values, np.ndarray) and isinstance(row_of, np.ndarray) and isinstance(starts, np.ndarray)):
            raise DamagedError("a sparse matrix has no values")
        counts = np.diff(starts)
        fits = starts.shape == (columns + 1,) and values.shape == row_of.shape == (int(starts[-1]),) and starts[0] == 0
        if not fits or counts.min(initial=0) < 0 or row_of.min(initial=0) < 0:
            raise DamagedError("a sparse matrix's columns do not fit its values")
        self.charge(rows * columns * values.itemsize)
        dense = np.zeros((rows, columns), values.dtype)
        np.add.at(dense, (row_of, np.repeat(np.arange(columns), counts)), values)
        return dense


def _shown(text: Any) -> str:
    """A name out of a file, fit for one line of a terminal."""
    if type(text) is not str:
        return type(text).__name__
    return text if text.isprintable() and len(text) <= 80 else ascii(text[:80])


_MAKERS: dict[_Name, str] = {  # methods of `ArrayReader`
    _Name.RECONSTRUCT: "empty_array",
    _Name.FROM_BUFFER: "from_buffer",
    _Name.SCALAR: "scalar",
    _Name.DTYPE: "dtype",
    _Name.RECONSTRUCTOR: "reconstructor",
    _Name.ENCODE: "encode",
    _Name.SET: "nothing",
    _Name.BYTES: "no_bytes",
}
