"""The synthesize stage: annotations and backgrounds -> shards of training samples.

    1. plan        every view, split and shard is decided before the first sample is made     `plan`
    2. shards      every shard -> NAME-000000.tar                   (parallel, resumable)     `shard`, `sample`
    3. manifest    written last: the shards are complete when it is there                     `manifest`

A shard's bytes depend on the annotations, the backgrounds, the configuration and its number alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handgen.io import shards
from handgen.progress import Progress
from handgen.runtime.engines import create_engine
from handgen.runtime.local import limit_threads
from handgen.runtime.resumable_run import resumable_run
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.manifest import build_manifest, build_report
from handgen.stages.synthesize.plan import plan_run
from handgen.stages.synthesize.report import SynthesizeReport
from handgen.stages.synthesize.sample import SampleMaker
from handgen.stages.synthesize.shard import ShardResult, forget_run, shard_files, shard_units
from handgen.storage.filesystem import Location

PREVIEW_SAMPLES = 24


def run(
    annotations: Location | Sequence[Location],
    out: Location,
    backgrounds: Location | None,
    config: SynthesizeConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> SynthesizeReport:
    """Turn accepted views into shards of training samples.

    annotations: directories, in whatever order. backgrounds: a folder of pictures, or None to synthesize them.
    progress: called with what is being done and how much of it. overwrite: replace the shards of a different run in
    `out`. Raises HandgenError when the annotations, the backgrounds or the directory `out` cannot be used.
    """
    began = time.perf_counter()
    inputs = [*_several(annotations), *([] if backgrounds is None else [backgrounds])]
    plan = plan_run(_several(annotations), out, backgrounds, config, progress)
    engine = create_engine(config.engine, config.workers, config.engine_options)
    depends_on = plan.depends_on()
    try:
        with resumable_run(
            out, shards.KIND, depends_on, shards.OWNED, overwrite, engine, progress, inputs=inputs
        ) as resumable:
            noted = resumable.noted_as(ShardResult.from_json)
            results = resumable.complete(shard_units(plan), resumable.in_place(noted, shard_files))
            manifest = build_manifest(plan, results, backgrounds)
            resumable.finish(manifest, shards.MANIFEST_SCHEMA)
    finally:
        forget_run()
    return replace(build_report(plan, results, manifest), seconds=time.perf_counter() - began)


def preview(
    annotations: Location | Sequence[Location],
    backgrounds: Location | None,
    config: SynthesizeConfig,
    count: int = PREVIEW_SAMPLES,
    progress: Progress | None = None,
) -> list[shards.Sample]:
    """The first samples that `run` would write, or all if fewer. Raises HandgenError as `run` does."""
    plan = plan_run(_several(annotations), Path(), backgrounds, config, progress)
    maker, show = SampleMaker(plan.job), progress or (lambda *_: None)
    found: list[shards.Sample] = []
    count = min(count, sum(plan.shard_sizes))
    with limit_threads():
        for unit in map(plan.unit, range(len(plan.shard_sizes))):
            maker.begin(unit)
            for place in range(min(count - len(found), len(unit.views))):
                found.append(maker.sample(unit, place))
                show("drawing the preview", len(found), count)
            if len(found) == count:
                break
    return found


def _several(annotations: Location | Sequence[Location]) -> Sequence[Location]:
    return annotations if isinstance(annotations, Sequence) else [annotations]
