"""The directories that `evaluate` compares, and what its figures depend on."""

from __future__ import annotations

import hashlib
from typing import Any

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.options import deciding_options
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.results import Source
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST
from handgen.version import __version__

TRUTH = "truth"  # where a simulated capture keeps it


def open_truth(path: Location) -> Annotations:
    """The truth in `path`, or in its folder `truth`. HandgenError when there is none."""
    root = path if filesystem.size_of(path / TRUTH / MANIFEST) is None else path / TRUTH
    if filesystem.size_of(root / MANIFEST) is None:
        raise HandgenError(
            f"{path}: holds no truth (no {MANIFEST}, no {TRUTH}/{MANIFEST}); give the folder that `handgen simulate` "
            "wrote, or annotations to compare with"
        )
    return Annotations(root)


def source_of(annotations: Annotations) -> Source:
    """Describe a directory for the report."""
    manifest = annotations.manifest
    return Source(
        path=str(annotations.root),
        capture=manifest["capture"]["path"],
        hand_model=manifest["hand_model"]["name"],
        frame_count=manifest["capture"]["frame_count"],
        fps=manifest["capture"]["fps"],
        cameras=annotations.rig.names,
    )


def inputs_of_run(annotated: Annotations, truth: Annotations | None, config: EvaluateConfig) -> dict[str, Any]:
    """Everything that the figures of a report depend on, as `run.json` keeps it."""

    def digest(source: Annotations) -> str:
        return hashlib.sha256(filesystem.read(source.root / MANIFEST)).hexdigest()

    return {
        "created_by": __version__,
        "annotations": digest(annotated),
        "truth": digest(truth) if truth else None,
        "configuration": deciding_options(config) | {"capture": config.capture is not None},
    }
