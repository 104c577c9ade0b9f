"""Read pickled labels: lists, dictionaries, numbers, texts and numpy arrays; nothing that a file says is run.

`handgen.storage.inert_unpickler` reads them. Arrays of one Python object (`np.array({"loss": 1.0})`) are read besides
arrays of numbers, and come as such arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import numpy as np

from handgen.errors import HandgenError
from handgen.storage.inert_unpickler import Array, Contents, InertUnpickler, check_size, errors_in_one_line

MAX_BYTES = 16 * 2**20  # of the labels of one picture
_LABELS = Contents("list of labels", MAX_BYTES, 4 * MAX_BYTES, "Write lists, dictionaries and numpy arrays")
_MAX_VALUES = 100_000
_MAX_NESTING = 8
_MAX_INT_BITS = 64


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
        if self.values > _MAX_VALUES or nesting > _MAX_NESTING:
            raise HandgenError(f"{self.where}: more than {_MAX_VALUES} values, or nested too deeply; are these labels?")
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
    """Return the lists, dictionaries, numbers, texts and arrays of a pickle; tuples become lists, sets None.

    An array of one Python object is a 0-d array of type object, of these things again.

    where: the file, for messages. Raises HandgenError, in one line, if the pickle names anything else, is damaged, or
    is too large.
    """
    check_size(len(data), where, _LABELS)
    with errors_in_one_line(where):
        reader = _LabelUnpickler(data, where)
        return reader.python(reader.load())
