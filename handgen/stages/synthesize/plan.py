"""The plan of a run of `synthesize`: views, splits and shards, all decided before the first sample."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.stages.synthesize.augment import Augmentation
from handgen.stages.synthesize.backgrounds import Backgrounds, FolderScan, SynthesizedBackgrounds, scan_folder
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.sample import ShardUnit, SynthesizeJob
from handgen.stages.synthesize.sources import OpenSource, open_sources
from handgen.stages.synthesize.splits import assign, divided, groups_of
from handgen.stages.synthesize.views import ViewTable, order_views, spread, usable_views
from handgen.storage.filesystem import Location
from handgen.version import __version__

_PACKAGES = ("numpy", "scipy", "opencv", "pillow", "simplejpeg", "albumentations", "albucore")  # that make the bytes


@dataclass(frozen=True)
class PlannedSplit:
    """One split. share: as asked. samples, views: how many. groups: what belongs together, as in the manifest.

    runs: (first row, number of rows) of its views in the table, one per source. first_shard: number of its first shard
    in the run. shard_size: samples per shard.
    """

    name: str
    share: float
    samples: int
    views: int
    groups: tuple[dict[str, Any], ...]
    runs: tuple[tuple[int, int], ...]
    first_shard: int
    shard_size: int

    @property
    def shards(self) -> int:
        """The number of its shards."""
        return -(-self.samples // self.shard_size)

    @property
    def uses(self) -> tuple[int, int]:
        """The number of samples that show a view, at least and at most."""
        return self.samples // self.views, -(-self.samples // self.views)

    def shard_samples(self, index: int) -> int:
        """The number of samples of one of its shards."""
        return min(self.shard_size, self.samples - index * self.shard_size)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Rows of the table that the split's views `places` are."""
        firsts, counts = np.array(self.runs).T
        ends = np.cumsum(counts)
        run = np.searchsorted(ends, places, side="right")
        return places - (ends - counts)[run] + firsts[run]


@dataclass(frozen=True)
class Plan:
    """Everything that a run is about to do. notes: what a user should know of it."""

    opened: tuple[OpenSource, ...]
    table: ViewTable
    splits: tuple[PlannedSplit, ...]
    scan: FolderScan | None
    job: SynthesizeJob
    notes: tuple[str, ...]

    @property
    def config(self) -> SynthesizeConfig:
        """The options."""
        return self.job.config

    @property
    def shard_sizes(self) -> list[int]:
        """The number of samples of each shard of the run."""
        return [split.shard_samples(index) for split in self.splits for index in range(split.shards)]

    def unit(self, shard: int) -> ShardUnit:
        """Choose what is in one shard of the run."""
        number = bisect_right([split.first_shard for split in self.splits], shard) - 1
        split = self.splits[number]
        index = shard - split.first_shard
        first = index * split.shard_size
        last = first + split.shard_samples(index)
        order = order_views(split.views, split.samples, self.config.seed, first, last)
        picks = self.job.backgrounds[number].picks(index, first, last - first)
        rows = split.rows(spread(order, picks))
        return ShardUnit.of(self.table, shard, (number, split.name, index), first, rows, picks)

    def depends_on(self) -> dict[str, Any]:
        """Everything that the bytes of the shards depend on."""
        return {
            "created_by": __version__,
            "computed": reproducibility.fingerprint(_PACKAGES),
            "splits": {
                split.name: {
                    "share": split.share,
                    "samples": split.samples,
                    "samples_per_shard": split.shard_size,
                    "first_shard": split.first_shard,
                }
                for split in self.splits
            },
            "seed": self.config.seed,
            "configuration": self.configuration(),
            "annotations": {opened.source.capture: opened.source.document() for opened in self.opened},
            "backgrounds": self.backgrounds() | {"sha256": self.scan.digest if self.scan else None},
        }

    def backgrounds(self) -> dict[str, Any]:
        """The kind and number of the backgrounds, as the manifest describes them."""
        names = self.scan.backgrounds.names if self.scan else ()
        return {"source": "folder" if self.scan else "synthesized", "count": len(names)}

    def configuration(self) -> dict[str, Any]:
        """The options that decide the bytes."""
        document = deciding_options(self.config)
        for name in ("samples", "samples_per_shard", "seed", "split"):  # stated beside it
            del document[name]
        return document | {"augment": self.job.augmentation.document}


def plan_run(
    annotations: Sequence[Location],
    out: Location,
    backgrounds: Location | None,
    config: SynthesizeConfig,
    progress: Progress | None,
) -> Plan:
    """Read the annotations and decide what is made of them.

    Raises HandgenError when annotations or backgrounds cannot be used, or not be divided as asked.
    """
    augmentation = Augmentation.load(config.augment)
    opened = open_sources(annotations, want_flips=config.flip_probability > 0)
    table = usable_views(opened, config.include_rejected, _reporter(progress, "reading annotations"))
    splits = _splits(opened, table, config)
    samples = sum(split.samples for split in splits)
    shown: tuple[Backgrounds, ...] = (SynthesizedBackgrounds(),) * len(splits)
    scan: FolderScan | None = None
    if backgrounds is not None:
        scan = scan_folder(backgrounds, samples, config.seed, _reporter(progress, "looking at backgrounds"))
        shown = scan.backgrounds.divided([split.share for split in splits])
    job = SynthesizeJob(tuple(entry.source for entry in opened), out, config, shown, augmentation)
    return Plan(tuple(opened), table, splits, scan, job, tuple(_notes(opened, splits, scan, config)))


def _reporter(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return partial(progress, what) if progress else None


def _splits(opened: Sequence[OpenSource], table: ViewTable, config: SynthesizeConfig) -> tuple[PlannedSplit, ...]:
    names, shares = zip(*config.splits(), strict=True)
    counts = [count for _, count in table.runs]
    used = [number for number, count in enumerate(counts) if count]  # a sequence without views is in no split
    subjects = [opened[number].source.subject_names for number in used]
    groups = groups_of(subjects, [counts[number] for number in used], config.split_by)
    chosen = assign(groups, shares, config.seed, names, config.split_by)
    parts = [[group for g, group in zip(chosen, groups, strict=True) if g == s] for s in range(len(names))]
    views = [sum(group.views for group in part) for part in parts]
    samples = divided(config.samples, shares) if config.samples else views
    found, first_shard = [], 0
    for s, part in enumerate(parts):
        described = tuple(
            {
                "subjects": list(group.subjects),
                "sequences": [opened[used[i]].source.capture for i in group.members],
                "views": group.views,
            }
            for group in part
        )
        runs = tuple(table.runs[number] for number in sorted(used[i] for group in part for i in group.members))
        size = config.shard_size(samples[s])
        found.append(PlannedSplit(names[s], shares[s], samples[s], views[s], described, runs, first_shard, size))
        first_shard += found[-1].shards
    return tuple(found)


def _notes(
    opened: Sequence[OpenSource], splits: Sequence[PlannedSplit], scan: FolderScan | None, config: SynthesizeConfig
) -> Iterator[str]:
    several = len(opened) > 1
    for entry in opened:
        if entry.models.note:
            which = f" of {entry.source.capture}" if several else ""
            yield f"no sample{which} is mirrored: {entry.models.note}"
    if len({entry.source.model_sha256 for entry in opened}) > 1:
        yield "the sequences have different hand models: poses and betas of samples belong to the model that they name"
    subjects = [{name for group in split.groups for name in group["subjects"]} for split in splits]
    shared = sorted(set.intersection(*subjects)) if len(splits) > 1 else []
    if shared:
        yield f"in all splits, since they are by sequence: {', '.join(shared)}"
    if scan and len(splits) > 1 and len(scan.backgrounds.names) < 2 * len(splits):
        yield "the splits share their backgrounds: there are fewer than two pictures for each"
