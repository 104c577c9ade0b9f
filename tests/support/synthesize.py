"""Makers of samples over the annotations of `annotations_fixture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgen.stages.synthesize.augment import Augmentation
from handgen.stages.synthesize.backgrounds import Background
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.sample import SampleMaker, ShardUnit, SynthesizeJob
from handgen.stages.synthesize.sources import open_sources
from handgen.stages.synthesize.views import usable_views

GREY = 128
PLAIN = SynthesizeConfig(
    augment="none",
    light_matching=0.0,
    shadow_probability=0.0,
    occluder_probability=0.0,
    spectrum_probability=0.0,
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
    opened = open_sources([root], want_flips=True)
    table = usable_views(opened, config.include_rejected)
    job = SynthesizeJob(
        sources=tuple(entry.source for entry in opened),
        out=root,
        config=config,
        backgrounds=(backgrounds or GreyBackgrounds(),),
        augmentation=Augmentation.load(config.augment),
    )
    places = np.arange(len(table))
    return SampleMaker(job), ShardUnit.of(table, 0, (0, "train", 0), 0, places, places)
