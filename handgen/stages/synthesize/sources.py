"""The annotations directories that a run makes samples of, and who is who in them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.stages.synthesize.models import HandModels, load_models
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST


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
    found = []
    for root in roots:
        annotations = Annotations(root)
        digest = hashlib.sha256(filesystem.read(root / MANIFEST)).hexdigest()
        found.append((annotations.capture, digest, annotations))
    found.sort(key=lambda entry: entry[:2])
    opened: list[OpenSource] = []
    seen: Counter[str] = Counter()
    taken = {name for name, _, _ in found}
    for (name, digest, annotations), before in zip(found, [None, *found], strict=False):
        if before is not None and before[:2] == (name, digest):
            raise HandgenError(f"{annotations.root}: the same annotations as {before[2].root}; name them once")
        seen[name] += 1
        if seen[name] > 1:
            while f"{name}-{seen[name]}" in taken:
                seen[name] += 1
            name = f"{name}-{seen[name]}"
        opened.append(_opened(annotations, name, digest, want_flips))
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
