"""Load one TFLite network, check its shapes, and run it on one CPU thread."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from handgen.errors import HandgenError

Shape = tuple[int, ...]


@contextlib.contextmanager
def _without_native_log() -> Iterator[None]:
    """Suppress LiteRT's start-up log, which it writes to stderr from C++, where progress bars are."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Network:
    """A TFLite network with one float32 image as input. Its outputs come in the order of their names."""

    def __init__(self, path: Path, input_shape: Shape, output_shapes: Sequence[Shape]) -> None:
        """Load `path`; HandgenError if it is no TFLite file or its inputs and outputs have other shapes."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            with _without_native_log():
                self._interpreter = Interpreter(model_path=str(path), num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown reason"
            raise HandgenError(
                f"{path}: not a TFLite network that can be loaded ({reason}); run `handgen models fetch`"
            ) from None
        inputs = self._interpreter.get_input_details()
        outputs = sorted(self._interpreter.get_output_details(), key=lambda output: output["name"])
        found = [tuple(int(n) for n in tensor["shape"]) for tensor in (*inputs, *outputs)]
        expected, is_float = [input_shape, *output_shapes], all(t["dtype"] is np.float32 for t in (*inputs, *outputs))
        if found != expected or not is_float:
            raise HandgenError(
                f"{path}: inputs and outputs have the shapes {found}, expected {expected} (float32); "
                "is it another version of the network?"
            )
        self._input = inputs[0]["index"]
        self._outputs = [output["index"] for output in outputs]

    def __call__(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for one input (float32, the shape given when loading), without their batch axis."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]
