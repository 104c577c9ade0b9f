"""The stage: annotations and backgrounds in, shards out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from handgen import __version__
from handgen.config import SynthesizeConfig
from handgen.engines.local import default_workers, map_units, one_thread
from handgen.hand.layout import SIDES
from handgen.io import shards
from handgen.io.annotations import Annotations
from handgen.io.output import MANIFEST, claim_output, writing
from handgen.io.schema import schema_version
from handgen.progress import Progress
from handgen.synthesize.augment import Augmentation
from handgen.synthesize.backgrounds import Backgrounds, FolderScan, SynthesizedBackgrounds, scan_folder
from handgen.synthesize.models import HandModels, load_models
from handgen.synthesize.sample import Job, SampleMaker, ShardUnit
from handgen.synthesize.shard import make_shard, release
from handgen.synthesize.views import ViewTable, order_views, spread, usable_views

PREVIEW_SAMPLES = 24


@dataclass(frozen=True)
class Report:
    """What a run did.

    samples, shards, bytes, sides: of the whole directory. written_samples: by this run; the rest was there
    already.
    flip_note: why no sample is mirrored, or empty. skipped_backgrounds: name and reason of unusable files.
    """

    out: Path
    samples: int
    sides: dict[str, int]
    shards: int
    bytes: int
    views: int
    written_samples: int
    seconds: float
    backgrounds: int
    skipped_backgrounds: tuple[tuple[str, str], ...]
    flip_note: str

    @property
    def samples_per_s(self) -> float:
        """Of what this run wrote, preparation included."""
        return self.written_samples / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        document = asdict(self) | {"out": str(self.out), "samples_per_s": round(self.samples_per_s, 2)}
        document["seconds"] = round(self.seconds, 3)
        document["skipped_backgrounds"] = [
            {"name": name, "reason": reason} for name, reason in self.skipped_backgrounds
        ]
        return document


def run(
    annotations_path: Path,
    out: Path,
    backgrounds: Path | None,
    config: SynthesizeConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Report:
    """Turn accepted views into shards of training samples.

    backgrounds: a folder of pictures, or None to synthesize them. progress: called with what is being done and
    how much of it. overwrite: replace the shards of a different run in `out`.

    Raises HandgenError when the annotations, the backgrounds or the directory `out` cannot be used.
    """
    start = time.perf_counter()
    plan = _planned(annotations_path, out, backgrounds, config, progress)
    scan, samples, problems = plan.scan, plan.samples, dict[str, str]()
    done, written, results = 0, 0, {}
    step = _reporter(progress, "writing samples")
    try:
        with writing(out):
            claim_output(out, shards.KIND, _depends_on(plan), shards.OWNED, overwrite)
            workers = _workers(config, out, -(-samples // config.shard_size(samples)))
            step(0, samples)
            for result in map_units(partial(make_shard, plan.job), _units(plan), workers):
                results[result.index] = result.description
                problems.update(result.problems)
                done += result.description["samples"]
                written += result.description["samples"] * result.written
                step(done, samples)
            described = [results[index] for index in sorted(results)]
            skipped = tuple(sorted({**dict(scan.skipped if scan else ()), **problems}.items()))
            shards.write_manifest(out, _manifest(plan, described, backgrounds, skipped))
    finally:
        release()
    return Report(
        out=out,
        samples=samples,
        sides={side: sum(shard["sides"][side] for shard in described) for side in SIDES},
        shards=len(described),
        bytes=sum(shard["bytes"] for shard in described),
        views=len(plan.views),
        written_samples=written,
        seconds=time.perf_counter() - start,
        backgrounds=len(scan.backgrounds.names) if scan else 0,
        skipped_backgrounds=skipped,
        flip_note=plan.models.note,
    )


def preview(
    annotations_path: Path,
    backgrounds: Path | None,
    config: SynthesizeConfig,
    count: int = PREVIEW_SAMPLES,
    progress: Progress | None = None,
) -> list[shards.Sample]:
    """The first samples that `run` with the same options would write, or fewer if it writes fewer.

    Raises HandgenError as `run` does.
    """
    plan = _planned(annotations_path, Path(), backgrounds, config, progress)
    maker, step = SampleMaker(plan.job), _reporter(progress, "drawing the preview")
    found: list[shards.Sample] = []
    count = min(count, plan.samples)
    with one_thread():
        for unit in _units(plan):
            for place in range(min(count - len(found), len(unit.views))):
                found.append(maker.sample(unit, place))
                step(len(found), count)
            if len(found) == count:
                break
    return found


@dataclass(frozen=True)
class _Plan:
    """What a run is about to do."""

    annotations: Annotations
    models: HandModels
    views: ViewTable
    scan: FolderScan | None
    job: Job
    samples: int

    @property
    def config(self) -> SynthesizeConfig:
        return self.job.config


def _planned(
    annotations_path: Path, out: Path, backgrounds: Path | None, config: SynthesizeConfig, progress: Progress | None
) -> _Plan:
    augmentation = Augmentation.load(config.augment)
    annotations = Annotations(annotations_path)
    models = load_models(annotations, want_flips=config.flip_probability > 0)
    views = usable_views(annotations, models, config.include_rejected, _reporter(progress, "reading annotations"))
    annotations.close()
    samples = config.samples or len(views)
    source: Backgrounds = SynthesizedBackgrounds()
    scan: FolderScan | None = None
    if backgrounds is not None:
        scan = scan_folder(backgrounds, samples, config.seed, _reporter(progress, "looking at backgrounds"))
        source = scan.backgrounds
    job = Job(
        annotations=annotations_path,
        out=out,
        config=config,
        backgrounds=source,
        augmentation=augmentation,
        capture=_capture_name(annotations),
        subjects=views.subjects,
        cameras=views.cameras,
        model_sha256=tuple((side, arrays.sha256) for side, arrays in models.arrays.items()),
        flips=models.flips,
    )
    return _Plan(annotations, models, views, scan, job, samples)


def _reporter(progress: Progress | None, what: str) -> Callable[[int, int], None]:
    return partial(progress, what) if progress else lambda done, total: None


def _units(plan: _Plan) -> Iterator[ShardUnit]:
    size = plan.config.shard_size(plan.samples)
    for index, first in enumerate(range(0, plan.samples, size)):
        last = min(first + size, plan.samples)
        order = order_views(len(plan.views), plan.samples, plan.config.seed, first, last)
        picks = plan.job.backgrounds.picks(index, first, last - first)
        yield ShardUnit.of(plan.views, index, first, spread(order, picks), picks)


def _workers(config: SynthesizeConfig, out: Path, units: int) -> int:
    """No more processes than shards to write."""
    there = len(list(out.glob(f"{config.split}-*.tar")))
    return max(1, min(config.workers or default_workers(), units - there))


def _capture_name(annotations: Annotations) -> str:
    return Path(annotations.manifest["capture"]["path"]).name or "capture"


def _configuration(plan: _Plan) -> dict[str, Any]:
    """The options that decide the bytes."""
    document = asdict(plan.config)
    for name in ("workers", "samples", "samples_per_shard", "seed", "split"):  # not, or stated beside it
        del document[name]
    return document | {"augment": plan.job.augmentation.document}


def _depends_on(plan: _Plan) -> dict[str, Any]:
    """Everything that the bytes of the shards depend on."""
    return {
        "created_by": __version__,
        "split": plan.config.split,
        "samples": plan.samples,
        "samples_per_shard": plan.config.shard_size(plan.samples),
        "seed": plan.config.seed,
        "configuration": _configuration(plan),
        "annotations": _annotations_document(plan),
        "backgrounds": {
            "source": "folder" if plan.scan else "synthesized",
            "count": len(plan.scan.backgrounds.names) if plan.scan else 0,
            "sha256": plan.scan.digest if plan.scan else None,
        },
    }


def _annotations_document(plan: _Plan) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256((plan.annotations.root / MANIFEST).read_bytes()).hexdigest(),
        "capture": plan.job.capture,
        "hand_model": {
            "name": plan.annotations.manifest["hand_model"]["name"],
            "sha256": {side: arrays.sha256 for side, arrays in plan.models.arrays.items()},
        },
    }


def _manifest(
    plan: _Plan,
    described: list[dict[str, Any]],
    backgrounds: Path | None,
    skipped: tuple[tuple[str, str], ...],
) -> dict[str, Any]:
    """As in `shard_manifest.schema.json`."""
    return {
        "kind": shards.KIND,
        "format_version": schema_version(shards.MANIFEST_SCHEMA),
        "created_by": __version__,
        "split": plan.config.split,
        "samples": plan.samples,
        "shards": described,
        "seed": plan.config.seed,
        "size_px": [plan.config.size, plan.config.size],
        "flips": plan.models.flips,
        "configuration": _configuration(plan),
        "annotations": _annotations_document(plan) | {"path": str(plan.annotations.root)},
        "backgrounds": {
            "source": "folder" if plan.scan else "synthesized",
            "path": None if backgrounds is None else str(backgrounds),
            "count": len(plan.scan.backgrounds.names) if plan.scan else 0,
            "skipped": [{"name": name, "reason": reason} for name, reason in skipped],
        },
    }
