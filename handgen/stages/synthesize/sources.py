"""The annotations directories that a run makes samples of: who is who in them, and their hand models."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from handgen.errors import HandgenError
from handgen.hand.conversions import sides_mirror
from handgen.hand.model_files import HandArrays, load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST

MODEL_TOLERANCE_M = 5e-5


@dataclass(frozen=True)
class Source:
    """One annotations directory, as workers need it. Hashable and picklable.

    capture: its name, which no other source of the run has. sha256: of its manifest. subjects: names as its records
    have them; subject_names: those of the same people in the run. cameras: of its rig. model: name of its hand model.
    model_sha256: (side, digest) of the sides that samples may show. flips: whether samples may be mirrored.
    shapes_vary: whether somebody has several shapes: data sets that were imported may give them frame by frame.
    """

    root: Location
    capture: str
    sha256: str
    subjects: tuple[str, ...]
    subject_names: tuple[str, ...]
    cameras: tuple[str, ...]
    model: str
    model_sha256: tuple[tuple[str, str], ...]
    flips: bool
    shapes_vary: bool = False

    def document(self) -> dict[str, Any]:
        """Describe it for manifests, without saying where it lies."""
        document = {
            "sha256": self.sha256,
            "capture": self.capture,
            "hand_model": {"name": self.model, "sha256": dict(self.model_sha256)},
        }
        return document | ({"shapes_vary": True} if self.shapes_vary else {})


@dataclass(frozen=True)
class OpenSource:
    """A source with what is read of it once, when a run is planned."""

    source: Source
    annotations: Annotations
    models: HandModels

    @cached_property
    def subject_numbers(self) -> dict[str, int]:
        """The place of each subject by its name in the records."""
        return {name: number for number, name in enumerate(self.source.subjects)}


def open_sources(roots: Sequence[Location], want_flips: bool) -> list[OpenSource]:
    """Open annotations, in an order that does not depend on the order of `roots`: by capture, then by content.

    Captures of the same name are told apart by a number. Subjects whom a capture does not name are taken for other
    people than those of every other capture. Raises HandgenError when one cannot be used, or is given twice.
    """
    every = [Annotations(root) for root in roots]
    digests = [hashlib.sha256(filesystem.read(a.root / MANIFEST, limits.JSON_TEXT)).hexdigest() for a in every]
    found = sorted(zip([a.capture for a in every], digests, every, strict=True), key=lambda entry: entry[:2])
    opened: list[OpenSource] = []
    seen: Counter[str] = Counter()
    taken = {name for name, _, _ in found}
    for (name, digest, mine), before in zip(found, [None, *found], strict=False):
        if before is not None and before[:2] == (name, digest):
            raise HandgenError(f"{mine.root}: the same annotations as {before[2].root}; name them once")
        seen[name] += 1
        if seen[name] > 1:
            while f"{name}-{seen[name]}" in taken:
                seen[name] += 1
            name = f"{name}-{seen[name]}"
        opened.append(_opened(mine, name, digest, want_flips))
    return opened


def _opened(annotations: Annotations, name: str, digest: str, want_flips: bool) -> OpenSource:
    models = load_models(annotations, want_flips)
    subjects = tuple(sorted(annotations.betas))
    people = annotations.people(name)
    source = Source(
        root=annotations.root,
        capture=name,
        sha256=digest,
        subjects=subjects,
        subject_names=tuple(people[subject] for subject in subjects),
        cameras=annotations.rig.names,
        model=annotations.manifest["hand_model"]["name"],
        model_sha256=tuple((side, arrays.sha256) for side, arrays in models.arrays.items()),
        flips=models.flips,
        shapes_vary=len(set(people.values())) < len(people),
    )
    return OpenSource(source, annotations, models)


@dataclass(frozen=True)
class HandModels:
    """Arrays of the sides that can be had. note: why samples are not mirrored, or empty."""

    arrays: dict[str, HandArrays]
    flips: bool
    note: str


def load_models(annotations: Annotations, want_flips: bool) -> HandModels:
    """The hand model of the annotations. Raises HandgenError when it cannot be had, or is not the same file."""
    said = annotations.manifest["hand_model"]
    arrays: dict[str, HandArrays] = {}
    missing = ""
    for side in SIDES:
        try:
            arrays[side] = load_hand(annotations.hand_model, side)
        except HandgenError as error:
            if side in said["sha256"]:
                raise
            missing = str(error)
            continue
        if said["sha256"].get(side, arrays[side].sha256) != arrays[side].sha256:
            raise HandgenError(
                f"{annotations.root}: made with another version of the {side} hand model {said['name']!r}; "
                "bring that model file back, or run `handgen annotate` again"
            )
    if not want_flips:
        return HandModels(arrays, False, "not asked for")
    if missing:
        return HandModels(arrays, False, f"one side of the hand model is missing ({missing})")
    if not sides_mirror(arrays["right"], arrays["left"]):
        return HandModels(arrays, False, f"the left hand of {said['name']!r} is not the mirror image of its right")
    return HandModels(arrays, True, "")


def check_model(annotations: Annotations, models: HandModels, chunk: int, records: list[HandRecord]) -> None:
    """The model must give the records' keypoints: labels built from either would otherwise disagree.

    Raises HandgenError where it does not, or where a record's subject or side is not known.
    """
    import torch

    from handgen.hand.model import HandModel, HandPose

    for side in SIDES:
        mine = [record for record in records if record.side == side]
        if not mine:
            continue
        if side not in models.arrays:
            raise HandgenError(f"{annotations.root}: chunk {chunk} has {side} hands, but no {side} hand model")
        pose = HandPose(
            torch.tensor(np.stack([record.pose for record in mine])).reshape(-1, 16, 3),
            torch.tensor(np.stack([record.translation_m for record in mine])),
            torch.tensor(np.stack([annotations.betas_of(record) for record in mine])),
        )
        keypoints = HandModel(models.arrays[side])(pose).keypoints.numpy()
        miss = np.abs(keypoints - np.stack([record.keypoints_world_m for record in mine])).max((1, 2))
        worst = int(miss.argmax())
        if not miss[worst] <= MODEL_TOLERANCE_M:  # nor what is no number
            raise HandgenError(
                f"{annotations.root}: frame {mine[worst].frame}, {side} hand: the hand model's keypoints are "
                f"{1000 * miss[worst]:.4g} mm from the record's; run `handgen annotate` again"
            )
