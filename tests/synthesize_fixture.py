"""Makers of samples over the annotations of `annotations_fixture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgen.config import SynthesizeConfig
from handgen.io.annotations import Annotations
from handgen.synthesize.augment import Augmentation
from handgen.synthesize.backgrounds import Background
from handgen.synthesize.models import load_models
from handgen.synthesize.sample import Job, SampleMaker, ShardUnit
from handgen.synthesize.views import usable_views

GREY = 128
PLAIN = SynthesizeConfig(
    augment="none",
    light_matching=0.0,
    shadow_probability=0.0,
    occluder_probability=0.0,
    grain=False,
    jpeg_quality=(95, 95),
)


class GreyBackgrounds:
    def picks(self, shard, first, count):
        return np.arange(first, first + count)

    def draw(self, pick, size, rng):
        return Background(np.full((size, size, 3), GREY, np.uint8), "grey")


def maker_of(root: Path, config: SynthesizeConfig, backgrounds=None) -> tuple[SampleMaker, ShardUnit]:
    """A maker, and the unit of all usable views in their order."""
    annotations = Annotations(root)
    models = load_models(annotations, True)
    table = usable_views(annotations, models, config.include_rejected)
    job = Job(
        annotations=root,
        out=root,
        config=config,
        backgrounds=backgrounds or GreyBackgrounds(),
        augmentation=Augmentation.load(config.augment),
        capture="drawn",
        subjects=table.subjects,
        cameras=table.cameras,
        model_sha256=tuple((side, arrays.sha256) for side, arrays in models.arrays.items()),
        flips=models.flips,
    )
    places = np.arange(len(table))
    return SampleMaker(job), ShardUnit.of(table, 0, 0, places, places)
