"""Pickled labels: lists, dictionaries, numbers, texts and numpy arrays, without running anything that a file says.

The reader of model files (`handgen.storage.array_pickle`) with two things more: values of any kind within lists and
dictionaries, and numpy's arrays of one Python object (`np.array({"loss": 1.0})`), which come as such arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handgen.errors import HandgenError
from handgen.storage.array_pickle import Array, ArrayReader, Contents, Dtype, check_size
from handgen.storage.pickle_machine import DamagedError

MAX_BYTES = 16 * 2**20  # of the labels of one picture
_LABELS = Contents("list of labels", MAX_BYTES, 4 * MAX_BYTES, "Write lists, dictionaries and numpy arrays")
_MAX_VALUES = 100_000
_MAX_NESTING = 8
_OBJECT = "O8"


@dataclass(frozen=True)
class _One:
    """What an array of one Python object holds."""

    item: Any


class _LabelReader(ArrayReader):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data, where, _LABELS)
        self.values = 0

    def dtype(self, code: Any, *rest: Any) -> Dtype:
        return Dtype(_OBJECT) if code == _OBJECT else super().dtype(code, *rest)

    def build(self) -> None:
        """As of model files; an array of one Python object takes the place of the empty array that it fills."""
        state, target = self.pop(), self.pop()
        is_array = type(target) is Array and type(state) is tuple and len(state) == 5
        if is_array and isinstance(state[2], Dtype) and state[2].code == _OBJECT:
            if state[1] != () or type(state[4]) is not list or len(state[4]) != 1:
                raise HandgenError(f"{self.where}: holds an array of several Python objects; write a list")
            target.object = _One(state[4][0])
            self.push(target)
        else:
            self.push(target)
            self.push(state)
            super().build()

    def python(self, value: Any, nesting: int = 0) -> Any:
        """The value with numpy's arrays in it."""
        self.values += 1
        if self.values > _MAX_VALUES or nesting > _MAX_NESTING:
            raise HandgenError(f"{self.where}: more than {_MAX_VALUES} values, or nested too deeply; are these labels?")
        if isinstance(value, Array):
            if value.object is not None:
                one = np.empty((), object)
                one[()] = self.python(value.object.item, nesting + 1)
                return one
            if value.value is None:
                raise DamagedError("an array has no content")
            return value.value if value.value.shape else value.value[()]
        if type(value) is dict:
            return {key: self.python(item, nesting + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [self.python(item, nesting + 1) for item in value]
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise DamagedError(f"it holds a {type(value).__name__.strip('_').lower()}")


def read_labels(data: bytes, where: str) -> Any:
    """The lists, dictionaries, numbers, texts and arrays of a pickle; tuples become lists, sets None.

    An array of one Python object is a 0-d array of type object, of these things again.

    where: the file, for messages. Raises HandgenError, in one line, if the pickle names anything else, is damaged, or
    is too large.
    """
    check_size(len(data), where, _LABELS)
    reader = _LabelReader(data, where)
    try:
        return reader.python(reader.read())
    except HandgenError:
        raise
    except (Exception, RecursionError) as error:  # whatever damaged bytes lead to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HandgenError(f"{where}: not a readable pickle ({reason[:200]}); is the file truncated?") from None
