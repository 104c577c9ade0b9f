"""One sample, and one shard of them: the unit of work of `synthesize`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int

from handgen.config import SynthesizeConfig
from handgen.errors import HandgenError
from handgen.hand.assets import load_hand
from handgen.hand.layout import SIDES
from handgen.io import images, shards
from handgen.io.annotations import Annotations, HandRecord, ViewRecord, chunk_path
from handgen.synthesize.augment import augment, build_pipeline
from handgen.synthesize.backgrounds import Backgrounds
from handgen.synthesize.composite import composite
from handgen.synthesize.labels import RestWrist, Source, sample_document
from handgen.synthesize.views import capture_camera, subject_betas
from handgen.synthesize.virtual_camera import draw_view


@dataclass(frozen=True)
class Job:
    """What all shards of a run share. Hashable and picklable.

    model_sha256: (side, digest) of the sides that samples may show. flips: whether samples may be mirrored.
    """

    annotations: Path
    out: Path
    config: SynthesizeConfig
    backgrounds: Backgrounds
    capture: str
    model_sha256: tuple[tuple[str, str], ...]
    flips: bool


@dataclass(frozen=True)
class ShardUnit:
    """One shard to write. first: index of its first sample. views: chunk, record and view of each."""

    index: int
    first: int
    views: Int[np.ndarray, "samples 3"]


@dataclass(frozen=True)
class ShardResult:
    """What became of a unit. description: as in the manifest. written: False where it was there already."""

    index: int
    description: dict[str, Any]
    written: bool


def make_shard(job: Job, unit: ShardUnit) -> ShardResult:
    """Write one shard, unless it is there already and whole."""
    path = job.out / shards.shard_name(job.config.split, unit.index)
    if path.is_file():
        try:
            description = shards.describe_shard(path)
            if description["samples"] == len(unit.views):
                return ShardResult(unit.index, description, False)
        except HandgenError:
            pass  # damaged since: written anew
    maker = _maker(job)
    made: dict[int, shards.Sample] = {}
    for place in np.argsort(unit.views[:, 0], kind="stable"):  # each chunk of annotations is read once per shard
        made[int(place)] = maker.sample(unit, int(place))
    try:
        shards.write_shard(path, (made[place] for place in range(len(made))))
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); what is finished is kept") from None
    return ShardResult(unit.index, shards.describe_shard(path), True)


@lru_cache(maxsize=1)
def _maker(job: Job) -> SampleMaker:
    """One per process and run: it keeps files open and pictures decoded."""
    return SampleMaker(job)


def release() -> None:
    """Forget what this process keeps of a run, whose files may change before the next."""
    _maker.cache_clear()


class SampleMaker:
    """Makes samples. Each depends on the job and its place alone."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.annotations = Annotations(job.annotations)
        model = self.annotations.hand_model
        self.model = self.annotations.manifest["hand_model"]["name"]
        self.model_sha256 = dict(job.model_sha256)
        self.rest_wrists = {side: RestWrist.of(load_hand(model, side)) for side in SIDES if side in self.model_sha256}
        self._chunk = -1
        self._records: list[HandRecord] = []

    @cached_property
    def pipeline(self) -> Any:
        """The photometric augmentation."""
        return build_pipeline()

    def sample(self, unit: ShardUnit, place: int) -> shards.Sample:
        """Sample `place` of a shard.

        Raises HandgenError when its cutout cannot be read or has an empty mask.
        """
        config = self.job.config
        seed = [config.seed, unit.index, place]
        rng = np.random.default_rng(seed)
        chunk, record, view = self._look_up(unit.views[place])
        mirrored = bool(rng.random() < config.flip_probability) and self.job.flips
        virtual = draw_view(view.camera, record.keypoints_world_m, config, mirrored, rng)
        index = unit.first + place
        background, background_name = self.job.backgrounds.draw(index, config.size, rng)
        cutout = self.annotations.cutout(chunk, view)
        try:
            image, mask = composite(cutout, background, virtual.sample_px_from_cutout_px, config.light_matching, rng)
        except HandgenError as error:
            raise HandgenError(f"{chunk_path(self.job.annotations, chunk, '.tar')}: {view.cutout}: {error}") from None
        if config.augment != "none":
            image = augment(self.pipeline, image, rng)
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
        source = Source(
            self.job.capture,
            self.model,
            self.model_sha256,
            record,
            view,
            capture_camera(self.annotations, view),
            subject_betas(self.annotations, record),
        )
        key = f"{config.split}_{index:09d}"
        document = sample_document(source, virtual, self.rest_wrists[record.side], key, index, seed, background_name)
        document["box_px"] = list(cv2.boundingRect(mask))
        return shards.Sample(key, images.encode_jpeg(image, quality), images.encode_mask_png(mask), document)

    def _look_up(self, place: Int[np.ndarray, " 3"]) -> tuple[int, HandRecord, ViewRecord]:
        chunk, record, view = (int(i) for i in place)
        if chunk != self._chunk:
            self._chunk, self._records = chunk, self.annotations.records(chunk)
        return chunk, self._records[record], self._records[record].views[view]
