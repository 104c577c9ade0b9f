"""Checks of what --augment is given: a YAML file is read into plain data of bounded size, transforms are tried out.

A trial, before millions of images go through a transform, asks whether it gives back such an image, in place. What
albumentations declares (`DualTransform`) does not tell all: some transforms of colour alone move the picture by pixels
(a motion blur to one side), return floats, or need what a composite does not bring.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.media.arrays import Image
from handgen.storage import filesystem, limits

_MAX_ITEMS = 64  # of one list or mapping
_MAX_TEXT = 64  # characters of a name or a choice
_MAX_NUMBER = 1000.0  # kernels, grids and pixels: beyond, a single image would take minutes
_MAX_KELVIN = 40_000.0  # the one larger thing: a temperature
Apply = Callable[[Image, np.random.Generator], np.ndarray]
_SHAPES = ((40, 56), (128, 96))  # small, so that the dearest parameters allowed end in seconds
_DRAWS = 8
_MAX_SHIFT_PX = 0.25  # root mean square; on the larger image all that stay in place read less than 0.15
_MAX_SECONDS, _MAX_SECONDS_IN_ALL = 1.0, 5.0  # of CPU, for one small image and all; usual are milliseconds
_MIN_LIKENESS = 0.5  # share of the result's variance explained; below, a shift cannot be told


def read_entries(path: Path) -> list[Any]:
    """The list that a YAML file holds: numbers, texts, truth values, lists and mappings alone.

    Raises HandgenError for a file that cannot be read, is too large, is no YAML, uses anchors or tags, is nested
    too deeply, says one key twice, has numbers that no transform needs, or holds no list.
    """
    text = _text(path)
    try:
        _refuse_tricks(path, text)
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise HandgenError(f"{path}: {line}not readable as YAML ({error.problem or error.context})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HandgenError(f"{path}: not readable as YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(data, list) or not data:
        raise HandgenError(
            f"{path}: expected a list of transforms, such as `- RandomGamma: {{p: 0.3}}`; for no augmentation "
            "use --augment none"
        )
    return [_plain(entry, f"{path}: entry {number}", "") for number, entry in enumerate(_bounded(data, str(path)), 1)]


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise HandgenError(f"{path}: no such file; --augment takes default, none, or the path of a YAML file")
        with filesystem.open_read(path) as file:
            data = file.read(limits.AUGMENTATIONS.allowed + 1)
    except (OSError, ValueError) as error:
        raise HandgenError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    limits.AUGMENTATIONS.check(len(data), path, "is it a list of transforms?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HandgenError(f"{path}: not text in UTF-8; save it as UTF-8") from None


def _refuse_tricks(path: Path, text: str) -> None:
    """Walk the events before anything is built: anchors multiply data, depth fills the stack."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        where = f"{path}: line {event.start_mark.line + 1}"
        if getattr(event, "anchor", None) is not None:
            raise HandgenError(f"{where}: anchors and aliases are not taken; write the entry out")
        if getattr(event, "tag", None) is not None:
            raise HandgenError(f"{where}: tags such as {event.tag!r} are not taken; remove it")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        limits.YAML_NESTING.check(depth, where, "flatten it")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """SafeLoader that refuses a key said twice, of which it would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # unhashable, which the parent says
            if key.value in seen:
                problem = f"{key.value!r} is there twice; in a list each entry starts with '-'"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _bounded(items: Any, where: str) -> Any:
    if len(items) > _MAX_ITEMS:
        raise HandgenError(f"{where}: {len(items)} items are more than the {_MAX_ITEMS} allowed; shorten it")
    return items


def _plain(value: Any, where: str, key: str) -> Any:
    """The value, every part checked. key: the parameter that it belongs to."""
    if isinstance(value, dict):
        for name in _bounded(value, where):
            if not isinstance(name, str) or len(name) > _MAX_TEXT:
                raise HandgenError(f"{where}: {str(name)[:_MAX_TEXT]!r} is no name; write it as text")
        return {name: _plain(part, f"{where}, {name}", name) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part, where, key) for part in _bounded(value, where)]
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise HandgenError(f"{where}: a text of {len(value)} characters; the longest allowed has {_MAX_TEXT}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        largest = _MAX_KELVIN if key == "temperature_limit" else _MAX_NUMBER
        if not abs(value) <= largest:  # so that NaN is refused too
            raise HandgenError(f"{where}: {_quote(value)} is beyond {largest:g}; choose a smaller number")
    if value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise HandgenError(f"{where}: a {kind} is not taken; write numbers, texts, true, false or lists")
    return value


def _quote(value: float) -> str:
    """A number short enough for a message: an integer may have thousands of digits."""
    return f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) > 10**12 else f"{value:g}"


class Trial:
    """The transforms of a list, tried out on small images. What they take is bounded for each, and for all together."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def try_out(self, apply: Apply, where: str) -> None:
        """Apply a transform to small images, some times.

        where: begins the messages. Raises HandgenError when it fails, takes seconds, gives anything but uint8 of the
        same shape, is not a function of its randomness, or moves the contents.
        """
        for shape in _SHAPES:
            image = _blobs(*shape)
            results = [self._result(apply, image, draw, where) for draw in range(_DRAWS)]
            if (results[0] != self._result(apply, image, 0, where)).any():
                raise HandgenError(
                    f"{where}: two runs with one seed differ, so shards could not be made again; remove it"
                )
        shifts = [displacement_px(_blobs(*_SHAPES[-1]), result) for result in results]
        shift = float(np.sqrt(np.mean(np.square(shifts))))
        if shift > _MAX_SHIFT_PX:
            raise HandgenError(
                f"{where}: moves the picture by {shift:.1f} px, which the labels would not follow; make it symmetric, "
                "as docs/augmentation.md says, or remove it"
            )

    def _result(self, apply: Apply, image: Image, seed: int, where: str) -> np.ndarray:
        started, size = time.process_time(), f"{image.shape[1]}x{image.shape[0]}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = apply(image.copy(), np.random.default_rng(seed))
        except Exception as error:  # whatever a transform of somebody else's raises for parameters that do not fit
            raise HandgenError(f"{where}: failed on an image of {size} px ({first_line(error)})") from None
        seconds = time.process_time() - started
        self._seconds += seconds
        if seconds > _MAX_SECONDS:
            raise HandgenError(f"{where}: took {seconds:.1f} s on {size} px; lower its numbers")
        if self._seconds > _MAX_SECONDS_IN_ALL:
            what = f"took {self._seconds:.0f} s with the entries before it on small images"
            raise HandgenError(f"{where}: {what}; lower its numbers, or theirs")
        if not isinstance(result, np.ndarray) or result.dtype != np.uint8 or result.shape != image.shape:
            kind = f"{result.dtype} of {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise HandgenError(f"{where}: gave {kind} for uint8 of {image.shape}; samples are 8-bit RGB: remove it")
        return result


def first_line(error: Exception) -> str:
    """Shorten a message that may have many lines."""
    return (str(error).splitlines() or [""])[0][:200]


def displacement_px(before: Image, after: Image) -> float:
    """Measure how far the contents moved as a whole, px; 0 where the two have too little in common.

    To first order after(x) = gain * before(x - shift) + ramp(x), so the gradients' coefficients of a linear fit are
    -gain * shift (Lucas and Kanade 1981, with a gain and a ramp of light).
    """
    source, target = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (before, after))
    rows, columns = np.mgrid[: source.shape[0], : source.shape[1]] / max(source.shape)
    by_row, by_column = np.gradient(source)
    inner = (slice(4, -4), slice(4, -4))  # borders are filled in, by each transform in its way
    terms = [np.ones_like(source), rows, columns, source, by_row, by_column]
    design = np.stack([term[inner].ravel() for term in terms], axis=1)
    values = target[inner].ravel()
    solution, *_ = np.linalg.lstsq(design, values, rcond=None)
    explained = 1 - np.var(values - design @ solution) / max(np.var(values), 1e-9)
    gain = abs(solution[3])
    return 0.0 if explained < _MIN_LIKENESS or gain < 0.05 else float(np.hypot(solution[4], solution[5]) / gain)


def _blobs(height: int, width: int) -> Image:
    """Soft spots of colour: gradients everywhere, no value at the ends of the range."""
    noise: Float[np.ndarray, "height width 3"] = np.random.default_rng(0).standard_normal((height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0, borderType=cv2.BORDER_REFLECT_101)
    return np.clip(120 + 40 * smooth / smooth.std(), 20, 235).astype(np.uint8)
