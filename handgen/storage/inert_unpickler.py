"""Run the opcodes of a pickle of arrays without importing or calling anything that it names.

The standard library parses the opcodes. A name in a file chooses an inert entry of `_NAMES` or is refused, and every
opcode that would make, call or change an object is answered here. `pickle._Unpickler`, which joblib subclasses too, is
the Python twin of `pickle.Unpickler`: the latter, in C, hashes whatever a file uses as a key, sets attributes of what
`find_class` returned and allocates what a file claims before any code of ours is asked. `pickletools.genops` cannot
scan a file beforehand: it fails on Python 2's strings of protocol 0, which are read as latin-1 here.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pickle import UnpicklingError
from typing import Any

import numpy as np
from jaxtyping import Shaped

from handgen.errors import HandgenError
from handgen.storage import limits
from handgen.storage.limits import Share

_MAX_AXES = 8
_DTYPE_CODE = re.compile(r"[fiub][1248]")
_BYTE_ORDERS = ("<", ">", "|", "=")


@dataclass(frozen=True)
class Contents:
    """Bounds of one kind of pickle, and its words in messages. source: one sentence on where the real file is.

    file, arrays: what the pickle and its arrays may take.
    """

    what: str
    file: Share
    arrays: Share
    source: str


class Class(Enum):
    """Classes that a file may name."""

    NDARRAY = auto()
    OBJECT = auto()
    CSC = auto()  # scipy's sparse matrix by columns
    CH = auto()  # chumpy's array
    SELECT = auto()  # chumpy's indexed array


_MADE_EMPTY = (Class.CSC, Class.CH, Class.SELECT)  # objects whose attributes follow


@dataclass(frozen=True)
class _Function:
    """A function that a file may call. method: of `InertUnpickler`, which is called in its place."""

    method: str


_NAMES: dict[str, Class | _Function] = {
    "numpy.ndarray": Class.NDARRAY,
    "numpy.dtype": _Function("dtype"),
    "scipy.sparse.csc.csc_matrix": Class.CSC,
    "scipy.sparse._csc.csc_matrix": Class.CSC,
    "chumpy.ch.Ch": Class.CH,
    "chumpy.reordering.Select": Class.SELECT,
    "_codecs.encode": _Function("_encode"),
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray._reconstruct"] = _Function("_empty_array")
    _NAMES[f"{_core}.multiarray.scalar"] = _Function("_scalar")
    _NAMES[f"{_core}.numeric._frombuffer"] = _Function("_array_from_buffer")
for _builtins, _copyreg in (("__builtin__", "copy_reg"), ("builtins", "copyreg")):
    _NAMES[f"{_copyreg}._reconstructor"] = _Function("_reconstruct")
    _NAMES[f"{_builtins}.object"] = Class.OBJECT
    _NAMES[f"{_builtins}.set"] = _Function("_ignore_set")  # chumpy's bookkeeping
    _NAMES[f"{_builtins}.bytes"] = _Function("_empty_bytes")


class Array:
    """An array, empty until its state is read. object: the item of an array that holds one Python object."""

    value: np.ndarray | None = None
    object: Any = None


class Dtype:
    """A type of numbers, and their order of bytes."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class StatefulObject:
    """A sparse matrix or a chumpy object: its class and attributes. value: its array, once that is known."""

    def __init__(self, kind: Class) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {}
        self.value: np.ndarray | None = None


def check_size(count: int, where: str, contents: Contents) -> None:
    """Raise a HandgenError if a file of `count` bytes cannot be what it is said to be."""
    contents.file.check(count, where, f"is it a {contents.what}? {contents.source}")


@contextmanager
def errors_in_one_line(where: str) -> Iterator[None]:
    """Turn whatever damaged bytes lead to into a HandgenError that names the file."""
    try:
        yield
    except HandgenError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise HandgenError(
            f"{where}: not a readable pickle ({shown(reason, 200)}); is it truncated, or of another kind?"
        ) from None


class InertUnpickler(pickle._Unpickler):
    """Makes arrays, sparse matrices and chumpy objects, and nothing else."""

    stack: list[Any]  # the standard library's, like the two methods; mypy does not know them
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, where: str, contents: Contents) -> None:
        super().__init__(io.BytesIO(data), encoding="latin-1")
        self.dispatch = _Opcodes(_HANDLERS, where)  # type: ignore[misc]
        self.where, self.contents = where, contents
        self.array_bytes = 0

    def find_class(self, module: str, name: str) -> Class | _Function:
        """Return an entry of `_NAMES`, or refuse the name."""
        known = _NAMES.get(f"{module}.{name}")
        if known is None:
            raise HandgenError(
                f"{self.where}: names {shown(module)}.{shown(name)}, which no {self.contents.what} needs; nothing of "
                f"the file was run. {self.contents.source}"
            )
        return known

    # What the functions that a file calls make

    def dtype(self, code: Any, *_: Any) -> Any:
        """Make a dtype of numbers."""
        if type(code) is not str or not _DTYPE_CODE.fullmatch(code):
            raise HandgenError(f"{self.where}: holds an array of dtype {shown(code)}; only numbers are read")
        return Dtype(code)

    def _empty_array(self, kind: Any, *_: Any) -> Array:
        if kind is not Class.NDARRAY:
            raise UnpicklingError("an array is of no known type")
        return Array()

    def _array_from_buffer(self, content: Any, dtype: Any, shape: Any, order: Any) -> Array:
        made = Array()
        made.value = self.array(shape, dtype, order == "F", content)
        return made

    def _scalar(self, dtype: Any, content: Any) -> Array:
        return self._array_from_buffer(content, dtype, (), "C")

    def _reconstruct(self, kind: Any, base: Any, state: Any) -> StatefulObject:
        if not isinstance(kind, Class) or kind not in _MADE_EMPTY or base is not Class.OBJECT or state is not None:
            raise UnpicklingError("it makes an object of what is no class")
        return StatefulObject(kind)

    def _encode(self, text: Any, encoding: Any) -> bytes:
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise UnpicklingError("bytes are not written as latin-1")
        self.charge(len(text))
        return text.encode("latin-1")

    def _ignore_set(self, items: Any = None) -> None:
        return None

    def _empty_bytes(self) -> bytes:
        return b""

    def fill(self, target: Any, state: Any) -> None:
        """Give an array, a dtype or an object its state."""
        if isinstance(target, Array) and type(state) is tuple:
            _, shape, dtype, by_columns, content = state
            target.value = self.array(shape, dtype, bool(by_columns), content)
        elif isinstance(target, Dtype):
            if type(state) is not tuple or len(state) < 4 or state[1] not in _BYTE_ORDERS:
                raise UnpicklingError("a dtype has no byte order")
            target.order = state[1]
        elif isinstance(target, StatefulObject) and type(state) is dict:
            target.state = state
        else:
            raise UnpicklingError("it sets attributes of what has none")

    def array(self, shape: Any, dtype: Any, by_columns: bool, content: Any) -> Shaped[np.ndarray, "..."]:
        """Make an array of numbers whose shape and dtype are those of the bytes that are there."""
        if type(content) is list:
            raise HandgenError(f"{self.where}: holds an array of Python objects; only numbers are read")
        if type(content) is str:
            content = content.encode("latin-1")
        if not isinstance(dtype, Dtype) or not isinstance(content, bytes):
            raise UnpicklingError("an array has no dtype of numbers, or no content")
        shape = self.shape(shape)
        kind = np.dtype(dtype.code).newbyteorder(dtype.order)  # type: ignore[arg-type]
        claimed = math.prod(shape) * kind.itemsize
        if claimed != len(content):
            raise HandgenError(
                f"{self.where}: an array claims the shape {shape}, {claimed} bytes, but has {len(content)}; "
                "the file is damaged"
            )
        self.charge(claimed)
        made = np.ndarray(shape, kind, content, order="F" if by_columns else "C")
        # numpy counts on bytes of 0 and 1 where it indexes with them
        return np.asarray(made.view(np.uint8) != 0) if kind.kind == "b" else made

    def shape(self, shape: Any) -> tuple[int, ...]:
        """Return the shape, if it is one."""
        is_shape = type(shape) is tuple and len(shape) <= _MAX_AXES
        if not is_shape or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
            raise UnpicklingError("a shape is no tuple of counts")
        return shape

    def charge(self, count: int) -> None:
        """Count bytes of arrays, and refuse too many."""
        self.array_bytes += count
        self.contents.arrays.check(self.array_bytes, self.where, f"is it a {self.contents.what}?")


class _Opcodes(dict[int, Callable[[Any], Any]]):
    """The functions that answer opcodes; asking for more than a pickle's share of steps raises."""

    def __init__(self, handlers: dict[int, Callable[[Any], Any]], where: str) -> None:
        super().__init__(handlers)
        self.where = where
        self.allowed = limits.PICKLE_STEPS.allowed
        self.steps = 0

    def __getitem__(self, code: int) -> Callable[[Any], Any]:
        self.steps += 1
        if self.steps > self.allowed:
            limits.PICKLE_STEPS.check(self.steps, self.where)
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Callable[[Any], Any]:
        raise UnpicklingError(f"opcode {bytes([code])!r} has no place in it")


# Opcodes that the standard library would answer by calling, hashing or allocating what a file says


def _reduce(reader: InertUnpickler) -> None:
    arguments, function = reader.stack.pop(), reader.stack.pop()
    if not isinstance(function, _Function) or type(arguments) is not tuple:
        raise UnpicklingError("it calls what is no function")
    reader.append(getattr(reader, function.method)(*arguments))


def _new_object(reader: InertUnpickler) -> None:
    arguments, kind = reader.stack.pop(), reader.stack.pop()
    reader.append(reader._reconstruct(kind, Class.OBJECT, None if arguments == () else arguments))


def _build(reader: InertUnpickler) -> None:
    state = reader.stack.pop()
    reader.fill(reader.stack[-1], state)


def _set_items(reader: InertUnpickler, items: list[Any]) -> None:
    """Set keys and values, in turn; keys other than strings could take for ever to hash."""
    target = reader.stack[-1]
    if type(target) is not dict or len(items) % 2 or any(type(key) is not str for key in items[::2]):
        raise UnpicklingError("it sets items of what is no dictionary, or a key is no string")
    target.update(zip(items[::2], items[1::2], strict=True))


def _set_item(reader: InertUnpickler) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    _set_items(reader, [key, value])


def _dictionary(reader: InertUnpickler) -> None:
    items = reader.pop_mark()
    reader.append({})
    _set_items(reader, items)


# Protocols 0 to 5 but for objects of protocol 0 (INST, OBJ), persistent identifiers, extension codes, frozen sets,
# buffers outside the file and NEWOBJ_EX: https://docs.python.org/3/library/pickletools.html
_OPCODES = (
    b"(.012BCFGIJKLMNRSTUVX]abcdeghjlpqrstu})\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x93\x94\x95\x96"
)
_HANDLERS: dict[int, Callable[[Any], Any]] = {code: pickle._Unpickler.dispatch[code] for code in _OPCODES} | {
    pickle.REDUCE[0]: _reduce,
    pickle.NEWOBJ[0]: _new_object,
    pickle.BUILD[0]: _build,
    pickle.SETITEM[0]: _set_item,
    pickle.SETITEMS[0]: lambda reader: _set_items(reader, reader.pop_mark()),
    pickle.DICT[0]: _dictionary,
    pickle.EMPTY_SET[0]: lambda reader: reader.append(None),  # chumpy's bookkeeping
    pickle.ADDITEMS[0]: lambda reader: reader.pop_mark(),
    pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],  # which allocates nothing beforehand
}


def shown(text: Any, most: int = 80) -> str:
    """Return text out of a file, fit for one line of a terminal."""
    if type(text) is not str:
        return type(text).__name__
    return text if text.isprintable() and len(text) <= most else ascii(text[:most])
