"""One sample: a view of the annotations becomes a picture with its labels."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Int

from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.io import shards
from handgen.io.annotations import Annotations, chunk_path
from handgen.io.cutouts import DamagedCutout
from handgen.media import images
from handgen.records.sample import SampleCamera, SampleLabels
from handgen.stages.synthesize.augment import Augmentation
from handgen.stages.synthesize.backgrounds import Backgrounds
from handgen.stages.synthesize.composite import composite
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.labels import Labeller, RestWrist
from handgen.stages.synthesize.noise_matching import draw_jpeg_history
from handgen.stages.synthesize.occluders import MOST_HIDDEN, draw_occluder, hidden_share, point_on
from handgen.stages.synthesize.sources import Source
from handgen.stages.synthesize.spectrum import vary_spectrum
from handgen.stages.synthesize.views import NO_ROW, SourceView, ViewTable, source_view, span_of
from handgen.stages.synthesize.virtual_camera import VirtualView, are_in_front, draw_view
from handgen.stages.synthesize.warping import Homography, Pixels, Placed, PlacedHand, magnification, place_hand
from handgen.storage.filesystem import Location
from handgen.storage.json_fields import to_document
from handgen.storage.tar import Span

Samples = Int[np.ndarray, " samples"]
_SOURCES = 256  # views whose rows are remembered
_CUTOUT_CACHE_BYTES = 64 * 2**20  # of decoded cutouts, per process
_ENLARGED = 1.25  # as much may a reduced cutout be: edges in video are softer than that
_FOREIGN_SIZE = (0.6, 1.3)  # of such a hand, in sizes of the sample's
_OTHER_CUTOUT_SHARE = 0.15  # of occluders: another hand of the same shard


@dataclass(frozen=True)
class SynthesizeJob:
    """Everything that all shards of a run share. Hashable and picklable. backgrounds: of each split."""

    sources: tuple[Source, ...]
    out: Location
    config: SynthesizeConfig
    backgrounds: tuple[Backgrounds, ...]
    augmentation: Augmentation


@dataclass(frozen=True)
class ShardUnit:
    """One shard to write. number: in the run. split: number and name, and which shard of it this is.

    first: index of its first sample in the split. rows: of `handgen.stages.synthesize.views.ROW`, each once, for that
    is what is sent to a process. hands: of each sample, which row is its hand; others_at: which one is the other hand
    beside it, or NO_ROW. picks: each sample's background, as `Backgrounds.draw` takes it.
    """

    number: int
    split: tuple[int, str, int]
    first: int
    rows: np.ndarray
    hands: Samples
    others_at: Samples
    picks: Samples

    @classmethod
    def of(
        cls, table: ViewTable, number: int, split: tuple[int, str, int], first: int, places: Samples, picks: Samples
    ) -> ShardUnit:
        """The shard whose samples show these rows of the table."""
        used = np.unique(places)
        beside = table.rows[used]["other"]
        wanted = np.union1d(used, beside[beside != NO_ROW])
        rows = table.rows[wanted]
        hands = np.searchsorted(wanted, places)
        beside = rows["other"][hands]
        others_at = np.where(beside == NO_ROW, NO_ROW, np.searchsorted(wanted, beside))
        return cls(number, split, first, rows, hands, others_at, picks)

    @cached_property
    def views(self) -> np.ndarray:
        """The row of each sample's hand."""
        return self.rows[self.hands]

    @cached_property
    def others(self) -> np.ndarray:
        """The row of the other hand beside it; the chunk is NO_ROW where there is none."""
        found = self.rows[np.maximum(self.others_at, 0)]
        found["chunk"] = np.where(self.others_at == NO_ROW, NO_ROW, found["chunk"])
        return found

    @property
    def name(self) -> str:
        """SHA-256 of its file."""
        _, split, index = self.split
        return shards.shard_name(split, index)


class SampleMaker:
    """Makes samples. Each depends on the job, its shard and its place alone."""

    def __init__(self, job: SynthesizeJob) -> None:
        self.job = job
        self._opened: dict[int, tuple[Annotations, Labeller]] = {}  # sources, when the first sample shows them
        self.augment = job.augmentation.pipeline()
        self.problems: dict[str, str] = {}  # backgrounds that proved unreadable, and why
        self.damaged: dict[str, str] = {}  # likewise cutouts
        self._cutouts: OrderedDict[tuple[int, int, str, int], list[Pixels]] = OrderedDict()
        self._cutout_bytes = 0
        self._sources: dict[tuple[int, int, bytes], SourceView] = {}

    def begin(self, unit: ShardUnit) -> None:
        """Get ready for the samples of a shard; what was found wrong is of it alone from here on."""
        self.problems.clear()
        self.damaged.clear()
        places: dict[int, set[tuple[int, Span]]] = {}
        for row in unit.rows:
            if (span := span_of(row)) is not None:
                places.setdefault(int(row["source"]), set()).add((int(row["chunk"]), span))
        for source, wanted in places.items():
            self._open(source)[0].fetch(sorted(wanted))

    def sample(self, unit: ShardUnit, place: int) -> shards.Sample:
        """Sample `place` of a shard. Raises DamagedCutout when its cutout cannot be used."""
        config, seed = self.job.config, (self.job.config.seed, unit.number, place)
        rng, source = np.random.default_rng(seed), self._source(unit.views[place])
        mirrored = bool(rng.random() < config.flip_probability) and self.job.sources[source.source].flips
        view = draw_view(source.camera, source.keypoints_world_m, config, mirrored, rng)
        split, split_name, _ = unit.split
        background = self.job.backgrounds[split].draw(int(unit.picks[place]), config.size, rng)
        self.problems.update(background.problems)

        with_arm = bool(rng.random() < config.forearm_probability)
        # What a capture hid of a hand may leave nothing of it in a narrow view: then the mask is empty.
        homography = view.sample_px_from_cutout_px(source.camera)
        hand = self._place(source, homography, with_arm) or PlacedHand.nothing((config.size, config.size))
        sources, hands, own = [source], [hand], 0
        other = self._other(unit, place, view, with_arm)
        if other is not None:
            own = 0 if _depth(other[0], view) < _depth(source, view) else 1  # the farther one comes first
            sources.insert(1 - own, other[0])
            hands.insert(1 - own, other[1])

        occluder = None
        if rng.random() < config.occluder_probability:
            if rng.random() < _OTHER_CUTOUT_SHARE:
                occluder = self._foreign_hand(unit, hand.layer, rng)
            else:
                occluder = draw_occluder(hand.layer, background.image, rng)
        scale = magnification(homography, _middle(source))
        made = composite(hands, occluder, background.image, scale, config, rng)
        image, mask = self.augment(made.image, rng), made.masks[own]
        if rng.random() < config.spectrum_probability:
            image = vary_spectrum(image, rng)
        if config.grain:
            image = draw_jpeg_history(image, rng)

        index = unit.first + place
        key = f"{split_name}_{index:09d}"
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
        _, labeller = self._open(source.source)
        labels = [labeller.hand(s, view, covered) for s, covered in zip(sources, made.covered, strict=True)]
        camera, (left, top, width, height) = view.camera, cv2.boundingRect(mask)
        document = to_document(
            SampleLabels(
                key=key,
                own_hand=labels[own],
                other_hand=labels[1 - own] if len(labels) == 2 else None,
                box_px=(left, top, width, height),
                camera=SampleCamera(camera.size_px, camera.intrinsics, camera.cam_from_world),
                mirrored=view.mirrored,
                source=labeller.source(source),
                background=background.name,
                index=index,
                seed=seed,
            )
        )
        return shards.Sample(key, images.encode_jpeg(image, quality, "420"), images.encode_mask_png(mask), document)

    def _source(self, row: np.void) -> SourceView:
        """Read what a row says; the rows read last are remembered."""
        key = (int(row["source"]), int(row["chunk"]), row["cutout"])
        if key not in self._sources:
            if len(self._sources) >= _SOURCES:
                self._sources.clear()
            self._sources[key] = source_view(row, self.job.sources[key[0]], self._open(key[0])[0].betas)
        return self._sources[key]

    def _open(self, number: int) -> tuple[Annotations, Labeller]:
        if number not in self._opened:
            source = self.job.sources[number]
            annotations, digests = Annotations(source.root), dict(source.model_sha256)
            wrists = {side: RestWrist.of(load_hand(annotations.hand_model, side)) for side in digests}
            self._opened[number] = annotations, Labeller(source.capture, source.model, digests, wrists)
        return self._opened[number]

    def name_of(self, source: int, cutout: str) -> str:
        """Name a cutout for reports: `CAPTURE/CUTOUT`."""
        return f"{self.job.sources[source].capture}/{cutout}"

    def _place(self, source: SourceView, sample_px_from_cutout_px: Homography, with_arm: bool) -> PlacedHand | None:
        """A hand in the sample's picture; None outside it."""
        size_px = (self.job.config.size,) * 2
        scale = magnification(sample_px_from_cutout_px, _middle(source))
        pixels, reduced = self._pixels(source, scale)
        # A block of `reduced` pixels becomes one: its centre lies between theirs.
        offset = (reduced - 1) / 2
        large_from_small = np.array([[reduced, 0, offset], [0, reduced, offset], [0, 0, 1.0]])
        try:
            return place_hand(pixels, sample_px_from_cutout_px @ large_from_small, size_px, with_arm)
        except HandgenError as error:
            tar = chunk_path(self.job.sources[source.source].root, source.chunk, ".tar")
            raise DamagedCutout(f"{tar}: {source.cutout}: {error}") from None

    def _place_beside(self, source: SourceView, homography: np.ndarray, with_arm: bool) -> PlacedHand | None:
        """Read a hand that the sample can do without: None, too, where its cutout is damaged, which is noted."""
        try:
            return self._place(source, homography, with_arm)
        except DamagedCutout as error:
            self.damaged[self.name_of(source.source, source.cutout)] = str(error)
            return None

    def _other(
        self, unit: ShardUnit, place: int, view: VirtualView, with_arm: bool
    ) -> tuple[SourceView, PlacedHand] | None:
        """The other hand of the same frame, as the same camera sees it."""
        row = unit.others[place]
        if not self.job.config.other_hand or row["chunk"] == NO_ROW:
            return None
        source = self._source(row)
        if not are_in_front(view.points_cam(source.keypoints_world_m)):
            return None
        hand = self._place_beside(source, view.sample_px_from_cutout_px(source.camera), with_arm)
        return None if hand is None else (source, hand)

    def _foreign_hand(self, unit: ShardUnit, hand: Placed, rng: np.random.Generator) -> Placed | None:
        """Another cutout of the shard over a part of the hand; None where it would hide more than half of it."""
        source = self._source(unit.views[int(rng.integers(len(unit.views)))])
        target = point_on(hand, rng)
        if target is None:
            return None
        middle = np.array(_middle(source)) - 0.5
        size = np.sqrt(hand.alpha.size) * rng.uniform(*_FOREIGN_SIZE)
        turn = rng.uniform(0, 2 * np.pi)
        center = target + rng.uniform(0.25, 0.5) * size * np.array([np.cos(turn), np.sin(turn)])
        matrix = cv2.getRotationMatrix2D(tuple(middle), rng.uniform(0, 360), size / max(source.camera.size_px))
        matrix[:, 2] += center - middle
        homography = np.concatenate([matrix, [[0.0, 0.0, 1.0]]])
        found = self._place_beside(source, homography, with_arm=True)
        return None if found is None or hidden_share(hand, found.layer) > MOST_HIDDEN else found.layer

    def _pixels(self, source: SourceView, scale: float) -> tuple[Pixels, int]:
        """A view's pixels and the power of two by which they are reduced, as far as `scale` allows.

        It is read once for all samples that show it about now: at the size that the largest needs, halved for others.
        """
        config = self.job.config
        largest = max(scale, config.hand_share[1] * config.size / max(source.longer_side_px, 1.0))
        base, reduced = _power_of_two(_ENLARGED / largest), _power_of_two(_ENLARGED / scale)
        key = (source.source, source.chunk, source.cutout, base)
        levels = self._cutouts.get(key)
        if levels is None:
            which = (source.chunk, source.cutout, source.camera.size_px, source.span)
            cutout = self._open(source.source)[0].named_cutout(*which, base, config.forearm_probability > 0)
            edge = replace(source.edge, blur_px=source.edge.blur_px / base)
            levels = self._cutouts[key] = [Pixels(cutout, edge, config.blend == "hard")]
            self._cutout_bytes += levels[0].nbytes
        self._cutouts.move_to_end(key)
        while base << (len(levels) - 1) < reduced:
            levels.append(levels[-1].halve())
            self._cutout_bytes += levels[-1].nbytes
        while self._cutout_bytes > _CUTOUT_CACHE_BYTES and len(self._cutouts) > 1:
            self._cutout_bytes -= sum(level.nbytes for level in self._cutouts.popitem(last=False)[1])
        return levels[(reduced // base).bit_length() - 1], reduced


def _power_of_two(most: float) -> int:
    """1, 2, 4 or 8: the largest that is at most `most`."""
    return next(power for power in (8, 4, 2, 1) if power <= max(most, 1))


def _middle(source: SourceView) -> tuple[float, float]:
    return source.camera.size_px[0] / 2, source.camera.size_px[1] / 2


def _depth(source: SourceView, view: VirtualView) -> float:
    """Return a hand's depth, metres along the sample camera's axis."""
    return float(np.median(view.points_cam(source.keypoints_world_m)[:, 2]))
