"""Photometric augmentation with albumentations: transforms that change colours, never places.

Places change in `virtual_camera` alone, where the labels follow; what covers the hand is an occluder, which lowers
`visible`. So a transform that moves, erases or paints over pixels is refused when the file is loaded, by what
albumentations says of it, by name, or by a trial (`augment_checks`). docs/augmentation.md is the users' side.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from handgen.errors import HandgenError
from handgen.media.arrays import Image
from handgen.plugins import Registry
from handgen.stages.synthesize.augment_checks import Trial, first_line, read_entries

DEFAULT_FILE = Path(__file__).with_name("augment.yaml")
_COMPOSITIONS = {  # and what each takes
    "OneOf": {"transforms", "p"},
    "Sequential": {"transforms", "p"},
    "SomeOf": {"transforms", "p", "n", "replace"},
    "RandomOrder": {"transforms", "p", "n", "replace"},
}
_MAX_DEPTH = 4  # of compositions in one another
_MAX_TRANSFORMS = 64
_MOVES = "moves pixels; places change with the virtual camera alone, which the labels follow"
_PAINTS = "covers parts of the hand without the labels knowing; occluders do that"
_ALIEN = "needs other pictures, files or code; a sample has its own image alone"
_REFUSED = {
    **dict.fromkeys(("ChromaticAberration", "ZoomBlur", "GlassBlur"), _MOVES),
    **dict.fromkeys(("RandomRain", "RandomSnow", "RandomSunFlare", "RandomGravel", "Spatter"), _PAINTS),
    **dict.fromkeys(("CoarseDropout", "ConstrainedCoarseDropout", "GridDropout", "PixelDropout"), _PAINTS),
    **dict.fromkeys(("Erasing", "MaskDropout", "XYMasking", "TimeMasking", "FrequencyMasking"), _PAINTS),
    **dict.fromkeys(("FDA", "HistogramMatching", "PixelDistributionAdaptation", "TemplateTransform"), _ALIEN),
    **dict.fromkeys(("TextImage", "Mosaic", "MixUp", "OverlayElements", "Lambda"), _ALIEN),
}
TRANSFORMS: Registry[type] = Registry("transform")


def register_transform(name: str, transform: type | str) -> None:
    """Add a transform that files of `--augment` may name besides those of albumentations.

    transform: a class derived from `albumentations.ImageOnlyTransform`, or where it is, as "module:name", so that the
    library is imported only where samples are made. It is tried out like the others: colours may change, not places.
    """
    TRANSFORMS.register(name, transform)


@dataclass(frozen=True)
class Augmentation:
    """Operations on the pixels of a composite. Plain data: picklable and hashable.

    document: canonical JSON of the list of transforms; with a sample's seed it decides the bytes.
    """

    document: str

    @classmethod
    def load(cls, spec: str) -> Augmentation:
        """The augmentation named "default" or "none", or that of a YAML file, whose transforms are tried out.

        Raises HandgenError that names file, entry and fact.
        """
        if spec == "none":
            return cls("[]")
        path = DEFAULT_FILE if spec == "default" else Path(spec)
        entries = read_entries(path)
        if spec != "default":  # which tests try out; so a process that makes no sample need not load the library
            _Builder(Trial()).transforms(entries, str(path), 0)
        return cls(orjson.dumps(entries, option=orjson.OPT_SORT_KEYS).decode())

    def pipeline(self) -> Pipeline:
        """The transforms, ready to run; make it once per process."""
        entries = orjson.loads(self.document)
        return Pipeline(_Builder().transforms(entries, "augmentation", 0) if entries else [])


class Pipeline:
    """Transforms of albumentations, run in order with randomness from one generator.

    Whose turn it is is drawn here, by their `p`: a `Compose` would spend more time on asking than most transforms take.
    """

    def __init__(self, transforms: list[Any]) -> None:
        self._transforms = transforms
        self._scalars = _Scalars()

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """The image changed, or the same array when no transform's turn came. The input may be overwritten.

        All transforms share `rng`: `set_random_seed` would give each the same seed, so that transforms with equal
        probabilities would always be applied together. Raises HandgenError when a transform fails.
        """
        for transform, draw in zip(self._transforms, rng.random(len(self._transforms)), strict=True):
            if draw < transform.p:
                image = self._apply(transform, image, rng)
        return image

    def _apply(self, transform: Any, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        try:
            result = _run(transform, image, rng, self._scalars)
        except Exception as error:  # of a transform of somebody else's, given a file of the user's
            kind, reason = type(error).__name__, first_line(error)
            raise HandgenError(f"augmentation: {kind} on an image of {image.shape} ({reason})") from error
        if result.dtype != np.uint8 or result.shape != image.shape:
            raise HandgenError(f"augmentation: gave {result.dtype} of {result.shape} for an image of {image.shape}")
        return result


class _Scalars(random.Random):
    """The generator of Python's kind that albumentations wants besides numpy's, fed by numpy's.

    Seeding a `random.Random` per image would cost more than all the draws. The standard library documents `random` and
    `getrandbits` as what a subclass replaces; all else but `gauss`, which keeps a second value, depends on these two.
    """

    source: np.random.Generator

    def random(self) -> float:
        return self.source.random()

    def getrandbits(self, k: int, /) -> int:
        return int.from_bytes(self.source.bytes((k + 7) // 8), "little") >> (-k % 8)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return self.normalvariate(mu, sigma)


def _run(transform: Any, image: Image, rng: np.random.Generator, scalars: _Scalars) -> np.ndarray:
    """Apply a transform or a composition, whatever its `p`, with randomness from `rng` alone."""
    scalars.source = rng
    transform.set_random_state(rng, scalars)
    return transform(image=image, force_apply=True)["image"]


class _Builder:
    """Makes transforms of entries `{name: parameters}`, or says what is wrong with them."""

    def __init__(self, trial: Trial | None = None) -> None:
        self.trial, self.count, self.module = trial, 0, _albumentations()

    def transforms(self, entries: Any, where: str, depth: int) -> list[Any]:
        """Transforms of a list. where: begins the messages."""
        if not isinstance(entries, list) or (depth and not entries):
            raise HandgenError(f"{where}: transforms must be a list of at least one; start each with '-'")
        return [self._transform(entry, f"{where}: entry {number}", depth) for number, entry in enumerate(entries, 1)]

    def _transform(self, entry: Any, where: str, depth: int) -> Any:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise HandgenError(f"{where}: expected one transform with its parameters, `- Name: {{p: 0.5}}`")
        [(name, parameters)] = entry.items()
        where = f"{where}, {name}"
        if parameters is not None and not isinstance(parameters, dict):
            raise HandgenError(f"{where}: parameters must be named, such as {{p: 0.5}}")
        self.count += 1
        if self.count > _MAX_TRANSFORMS:
            raise HandgenError(f"{where}: more than {_MAX_TRANSFORMS} transforms; leave some out")
        if name in _COMPOSITIONS:
            return self._composition(name, parameters or {}, where, depth + 1)
        return self._single(name, parameters or {}, where)

    def _composition(self, name: str, parameters: dict[str, Any], where: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise HandgenError(f"{where}: compositions nested more than {_MAX_DEPTH} deep; flatten them")
        for key in parameters.keys() - _COMPOSITIONS[name]:
            raise HandgenError(f"{where}: no parameter {key!r}; it takes {', '.join(sorted(_COMPOSITIONS[name]))}")
        inner = self.transforms(parameters.get("transforms"), where, depth)
        p, n, replace = (parameters.get(key, value) for key, value in (("p", 0.5), ("n", 1), ("replace", False)))
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise HandgenError(f"{where}: p must be a number from 0 to 1, got {p!r}")
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(inner):
            raise HandgenError(f"{where}: n must be 1 to {len(inner)}, the number of its transforms, got {n!r}")
        if not isinstance(replace, bool):
            raise HandgenError(f"{where}: replace must be true or false, got {replace!r}")
        if name == "OneOf" and not sum(transform.p for transform in inner):
            raise HandgenError(f"{where}: the p of its transforms are weights; give at least one above 0")
        counted = {"n": n, "replace": replace} if "n" in _COMPOSITIONS[name] else {}
        return getattr(self.module, name)(inner, p=p, **counted)

    def _single(self, name: str, parameters: dict[str, Any], where: str) -> Any:
        kind = self._kind(name, where)
        if "strict" in parameters:
            raise HandgenError(f"{where}: strict is no parameter of a transform; leave it out")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # parameters that it ignores, or takes in another sense, are warnings
                transform = kind(**parameters)
        except Exception as error:  # of many kinds, from validators of somebody else's
            raise HandgenError(f"{where}: {_reason(error)}") from None
        if self.trial:
            self.trial.try_out(lambda image, rng: _run(transform, image, rng, _Scalars()), where)
        return transform

    def _kind(self, name: str, where: str) -> type:
        """The class of a transform that changes colours only, or nothing (a weight of `OneOf`)."""
        if name == "NoOp":
            return self.module.NoOp
        if name in _REFUSED:
            raise HandgenError(f"{where}: {_REFUSED[name]}; remove it")
        base = self.module.BasicTransform
        kinds = {
            key: value
            for key, value in vars(self.module).items()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ != base.__module__
        }
        kinds |= {key: TRANSFORMS[key].load() for key in TRANSFORMS.names()}
        found = kinds.get(name)
        if found is None:
            near = get_close_matches(name, [*kinds, *_COMPOSITIONS], 3, 0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else "docs/augmentation.md lists those that are taken"
            raise HandgenError(f"{where}: no such transform in albumentations; {hint}")
        if issubclass(found, self.module.DualTransform):
            raise HandgenError(f"{where}: {_MOVES}; remove it")
        return found


def _reason(error: Exception) -> str:
    """Put what a validator said on one line; pydantic says it in many."""
    details = getattr(error.__cause__, "errors", None)
    if callable(details):
        first = details()[0]
        return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
    return first_line(error) or type(error).__name__


def _albumentations() -> Any:
    """The library, imported when needed and told not to ask the network for updates.

    Where torch can be imported it brings that along, for tensors that nobody asks for here: a second, and 200 MB of
    every worker. So torch is hidden from it, unless it is there already.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # which makes its import an ImportError
    try:
        import albumentations
    finally:
        if hidden:
            del sys.modules["torch"]
    return albumentations
