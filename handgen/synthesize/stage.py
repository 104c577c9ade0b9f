"""The stage: annotations and backgrounds in, shards out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from handgen import __version__
from handgen.config import SynthesizeConfig
from handgen.engines.local import default_workers, map_units
from handgen.hand.layout import SIDES
from handgen.io import shards
from handgen.io.annotations import Annotations
from handgen.io.output import MANIFEST, claim_output, writing
from handgen.io.schema import schema_version
from handgen.progress import Progress
from handgen.synthesize.backgrounds import Backgrounds, FolderScan, SynthesizedBackgrounds, scan_folder
from handgen.synthesize.sample import Job, ShardUnit, make_shard, release
from handgen.synthesize.views import HandModels, load_models, order_views, usable_views


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

    def report(what: str) -> Callable[[int, int], None]:
        return partial(progress, what) if progress else lambda done, total: None

    annotations = Annotations(annotations_path)
    models = load_models(annotations, want_flips=config.flip_probability > 0)
    views = usable_views(annotations, models, config.include_rejected, report("reading annotations"))
    annotations.close()
    samples = config.samples or len(views)
    source: Backgrounds = SynthesizedBackgrounds()
    scan: FolderScan | None = None
    if backgrounds is not None:
        scan = scan_folder(backgrounds, samples, config.seed, report("looking at backgrounds"))
        source = scan.backgrounds

    job = Job(
        annotations=annotations_path,
        out=out,
        config=config,
        backgrounds=source,
        capture=_capture_name(annotations),
        model_sha256=tuple((side, arrays.sha256) for side, arrays in models.arrays.items()),
        flips=models.flips,
    )
    done, written, results = 0, 0, {}
    step = report("writing samples")
    try:
        with writing(out):
            claim_output(
                out, shards.KIND, _depends_on(annotations, models, config, samples, scan), shards.OWNED, overwrite
            )
            workers = _workers(config, out, -(-samples // config.shard_size(samples)))
            step(0, samples)
            for result in map_units(partial(make_shard, job), _units(views, samples, config), workers):
                results[result.index] = result.description
                done += result.description["samples"]
                written += result.description["samples"] * result.written
                step(done, samples)
            described = [results[index] for index in sorted(results)]
            shards.write_manifest(out, _manifest(annotations, models, config, samples, described, backgrounds, scan))
    finally:
        release()
    return Report(
        out=out,
        samples=samples,
        sides={side: sum(shard["sides"][side] for shard in described) for side in SIDES},
        shards=len(described),
        bytes=sum(shard["bytes"] for shard in described),
        views=len(views),
        written_samples=written,
        seconds=time.perf_counter() - start,
        backgrounds=len(scan.backgrounds.names) if scan else 0,
        skipped_backgrounds=scan.skipped if scan else (),
        flip_note=models.note,
    )


def _units(views: Int[np.ndarray, "views 3"], samples: int, config: SynthesizeConfig) -> Iterator[ShardUnit]:
    size = config.shard_size(samples)
    for index, first in enumerate(range(0, samples, size)):
        last = min(first + size, samples)
        yield ShardUnit(index, first, views[order_views(len(views), config.seed, first, last)])


def _workers(config: SynthesizeConfig, out: Path, units: int) -> int:
    """No more processes than shards to write."""
    there = len(list(out.glob(f"{config.split}-*.tar")))
    return max(1, min(config.workers or default_workers(), units - there))


def _capture_name(annotations: Annotations) -> str:
    return Path(annotations.manifest["capture"]["path"]).name or "capture"


def _configuration(config: SynthesizeConfig) -> dict[str, Any]:
    """The options that decide the bytes."""
    document = asdict(config)
    for name in ("workers", "samples", "samples_per_shard", "seed", "split"):  # not, or stated beside it
        del document[name]
    return document


def _depends_on(
    annotations: Annotations,
    models: HandModels,
    config: SynthesizeConfig,
    samples: int,
    scan: FolderScan | None,
) -> dict[str, Any]:
    """Everything that the bytes of the shards depend on."""
    return {
        "created_by": __version__,
        "split": config.split,
        "samples": samples,
        "samples_per_shard": config.shard_size(samples),
        "seed": config.seed,
        "configuration": _configuration(config),
        "annotations": _annotations_document(annotations, models),
        "backgrounds": {
            "source": "folder" if scan else "synthesized",
            "count": len(scan.backgrounds.names) if scan else 0,
            "sha256": scan.digest if scan else None,
        },
    }


def _annotations_document(annotations: Annotations, models: HandModels) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256((annotations.root / MANIFEST).read_bytes()).hexdigest(),
        "capture": _capture_name(annotations),
        "hand_model": {
            "name": annotations.manifest["hand_model"]["name"],
            "sha256": {side: arrays.sha256 for side, arrays in models.arrays.items()},
        },
    }


def _manifest(
    annotations: Annotations,
    models: HandModels,
    config: SynthesizeConfig,
    samples: int,
    described: list[dict[str, Any]],
    backgrounds: Path | None,
    scan: FolderScan | None,
) -> dict[str, Any]:
    """As in `shard_manifest.schema.json`."""
    return {
        "kind": shards.KIND,
        "format_version": schema_version(shards.MANIFEST_SCHEMA),
        "created_by": __version__,
        "split": config.split,
        "samples": samples,
        "shards": described,
        "seed": config.seed,
        "size_px": [config.size, config.size],
        "flips": models.flips,
        "configuration": _configuration(config),
        "annotations": _annotations_document(annotations, models) | {"path": str(annotations.root)},
        "backgrounds": {
            "source": "folder" if scan else "synthesized",
            "path": None if backgrounds is None else str(backgrounds),
            "count": len(scan.backgrounds.names) if scan else 0,
            "skipped": [{"name": name, "reason": reason} for name, reason in (scan.skipped if scan else ())],
        },
    }
