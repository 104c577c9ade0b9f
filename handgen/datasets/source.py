"""handgen's own directories as labelled pictures: the samples of shards, or the accepted views of annotations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

import cv2

from handgen.errors import HandgenError
from handgen.hand.model_files import HandArrays, load_hand
from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io import shards
from handgen.io.annotations import Annotations
from handgen.io.labelled import label_hand, label_sample
from handgen.io.places import looks_like_capture, no_annotations
from handgen.media import images
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.records.labelled_image import LabelledHand, LabelledImage
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of


def open_source(root: Location, split: str | None = None, include_rejected: bool = False) -> Source:
    """Open shards (of one split) or annotations. HandgenError where there are none, or a split must be named."""
    kind = kind_of(root)
    if kind == shards.KIND:
        if include_rejected:
            raise HandgenError(f"{root}: shards hold no rejected views; --include-rejected is for annotations")
        return _open_shards(root, split)
    if kind == store.KIND:
        if split is not None:
            raise HandgenError(f"{root}: annotations have no splits; leave --split out, or give shards")
        Annotations(root)  # finished, and what they should be
        return AnnotationSource(root, _digest(root), include_rejected)
    if looks_like_capture(root, kind):
        raise no_annotations(root)
    what = f"holds {kind}" if kind else f"no output of handgen (no {MANIFEST})"
    raise HandgenError(f"{root}: {what}; give a directory of shards or of annotations")


def _digest(root: Location) -> str:
    return hashlib.sha256(filesystem.read(root / MANIFEST, limits.JSON_TEXT)).hexdigest()


def _open_shards(root: Location, split: str | None) -> ShardSource:
    manifest = shards.read_manifest(root)
    splits = [entry["name"] for entry in manifest["splits"]]
    if split is None and len(splits) > 1:
        raise HandgenError(f"{root}: holds the splits {', '.join(splits)}; name one of them with --split")
    if split is not None and split not in splits:
        raise HandgenError(f"{root}: has no split {split!r}; there are {', '.join(splits)}")
    return ShardSource(root, _digest(root), split or splits[0])


@dataclass(frozen=True)
class ShardSource:
    """One split of shards. sha256: of the manifest. Units are shards, numbered from 0."""

    root: Location
    sha256: str
    split: str
    kind = shards.KIND

    @property
    @lru_cache(maxsize=2)  # noqa: B019 - read once per process, and not kept by the source, which is sent to others
    def _manifest(self) -> dict[str, Any]:
        return shards.read_manifest(self.root)

    @property
    @lru_cache(maxsize=2)  # noqa: B019
    def _shards(self) -> list[dict[str, Any]]:
        return [entry for entry in self._manifest["shards"] if entry["name"].rpartition("-")[0] == self.split]

    @property
    def units(self) -> int:
        """The number of shards."""
        return len(self._shards)

    def count(self, unit: int) -> dict[str, int]:
        """Count the samples of a shard by side, as the manifest says."""
        return self._shards[unit]["sides"]

    def read(self, unit: int) -> Iterator[LabelledImage]:
        """Read the samples of a shard. HandgenError where it is damaged, or not what the manifest says."""
        path = self.root / self._shards[unit]["name"]
        found: Counter[str] = Counter()
        for key, members in shards.read_groups(path):
            document = shards.read_document(path, key, members)
            found[document["side"]] += 1
            try:
                image = label_sample(key, document, members)
            except ValueError as error:
                raise HandgenError(f"{path}, sample {key}: {error}; the shards were changed or damaged") from None
            yield image
        if {side: found[side] for side in SIDES} != self.count(unit):
            raise HandgenError(
                f"{path}: holds other samples than the manifest says; run `handgen validate {self.root}`"
            )

    @property
    def subjects(self) -> Sequence[str]:
        """The names of everybody in the split, sorted."""
        groups = next(entry["groups"] for entry in self._manifest["splits"] if entry["name"] == self.split)
        return tuple(sorted({name for group in groups for name in group["subjects"]}))

    @property
    def models(self) -> dict[str, str]:
        """The name of every hand model by the SHA-256 of its file."""
        entries = (entry["hand_model"] for entry in self._manifest["annotations"])
        return {sha256: entry["name"] for entry in entries for sha256 in entry["sha256"].values()}

    def arrays(self, sha256: str, side: str) -> HandArrays:
        """Load one side of the model that a file of this digest is of. HandgenError where it is gone or another."""
        for entry in self._manifest["annotations"]:
            said = entry["hand_model"]["sha256"]
            if sha256 in said.values():
                name = entry["hand_model"]["name"]
                if name.endswith(".npz"):  # it may lie beside the annotations, which need not be there any more
                    name = _model_beside(self._place_of(entry["path"]), name)
                return _require_digest(load_hand(name, side), said, str(self.root))
        raise HandgenError(f"{self.root}: names a {side} hand model that its manifest does not; make the shards again")

    def _place_of(self, annotations: str) -> Location:
        """Return the place that a manifest names; no network is asked for it unless the shards lie there, too."""
        store = "/".join(annotations.split("/", 3)[:3])  # s3://bucket
        is_local = "://" not in annotations or store in ("file://", "local://")
        if not is_local and not str(self.root).startswith(f"{store}/"):
            raise HandgenError(
                f"{self.root}: was made of {annotations}, which is not on the same machine or in the same store; "
                "copy both to one place and make the shards again, or choose a format that needs no hand model "
                "(hamer, coco)"
            )
        return filesystem.location(annotations)


@lru_cache(maxsize=8)  # asked for with every hand
def _model_beside(annotations: Location, name: str) -> str:
    if filesystem.size_of(annotations / MANIFEST) is None:
        raise HandgenError(
            f"{annotations}: the shards were made of these annotations and their hand model {name}, and they are gone; "
            "bring them back, or choose a format that needs no hand model (hamer, coco)"
        )
    return Annotations(annotations).hand_model


def _require_digest(arrays: HandArrays, said: dict[str, str], where: str) -> HandArrays:
    if said.get(arrays.side, arrays.sha256) != arrays.sha256:
        raise HandgenError(
            f"{where}: made with another version of the {arrays.side} hand model {arrays.name!r}; "
            "bring that model file back"
        )
    return arrays


@dataclass(frozen=True)
class AnnotationSource:
    """The cutouts of annotations, accepted records and views or all. Units are chunks, numbered from 0."""

    root: Location
    sha256: str
    include_rejected: bool
    split: str = "train"
    kind = store.KIND

    @property
    @lru_cache(maxsize=2)  # noqa: B019 - read once per process, and not kept by the source, which is sent to others
    def _annotations(self) -> Annotations:
        return Annotations(self.root)

    @property
    def units(self) -> int:
        """The number of chunks."""
        return self._annotations.chunk_count

    def count(self, unit: int) -> dict[str, int]:
        """Count the cutouts of a chunk by side."""
        counts = Counter(record.side for record, _ in self._views(self._annotations.records(unit)))
        return {side: counts[side] for side in SIDES}

    def _views(self, records: Sequence[HandRecord]) -> Iterator[tuple[HandRecord, ViewRecord]]:
        for record in records:
            if record.accepted or self.include_rejected:
                yield from ((record, view) for view in record.views if view.accepted or self.include_rejected)

    def read(self, unit: int) -> Iterator[LabelledImage]:
        """Read the cutouts of a chunk. HandgenError where a record or a cutout is damaged."""
        records = self._annotations.records(unit)
        spans = [(unit, view.cutout_span) for _, view in self._views(records) if view.cutout_span is not None]
        self._annotations.fetch(spans)
        capture = self._annotations.capture
        people = self._annotations.people(capture)
        for _, group in groupby(records, lambda record: record.frame):
            present = list(group)
            for record, view in self._views(present):
                others = [one for one in present if one.side != record.side and (one.accepted or self.include_rejected)]
                first, *more = (self._hand(one, view) for one in (record, *others))
                image, mask = self._annotations.read_encoded_cutout(unit, view)
                left, top, width, height = cv2.boundingRect(mask)
                yield LabelledImage(
                    name=view.cutout,
                    size_px=view.camera.size_px,
                    hands=(replace(first, box_px=(left, top, width, height) if width else None), *more),
                    image=image,
                    mask=images.encode_mask_png(mask),
                    intrinsics=view.camera.intrinsics,
                    cam_from_world=view.camera.cam_from_world,
                    capture=capture,
                    subject=people[record.subject],
                    camera=view.camera.name,
                    frame=record.frame,
                )

    def _hand(self, record: HandRecord, view: ViewRecord) -> LabelledHand:
        sha256 = self._annotations.manifest["hand_model"]["sha256"].get(record.side, "")
        return label_hand(record, view, self._annotations.betas_of(record), self.arrays(sha256, record.side))

    @property
    def subjects(self) -> Sequence[str]:
        """The names of everybody in it, sorted."""
        return tuple(sorted(set(self._annotations.people(self._annotations.capture).values())))

    @property
    def models(self) -> dict[str, str]:
        """The name of the hand model by the SHA-256 of its files."""
        entry = self._annotations.manifest["hand_model"]
        return dict.fromkeys(entry["sha256"].values(), entry["name"])

    def arrays(self, sha256: str, side: str) -> HandArrays:
        """Load one side of the hand model."""
        said = self._annotations.manifest["hand_model"]["sha256"]
        return _require_digest(load_hand(self._annotations.hand_model, side), said, str(self.root))


Source = ShardSource | AnnotationSource  # hashable and picklable, so that any process can have it
