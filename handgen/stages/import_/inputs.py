"""The data set and the hand model that a run of `import` works on, checked before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handgen.datasets.reader import declared_models
from handgen.datasets.registry import get_format
from handgen.errors import HandgenError
from handgen.hand.model_files import MANO, OPEN_HAND, HandArrays, load_hand, mano_path
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.stages.import_.chunk import ImportJob
from handgen.stages.import_.config import ImportConfig
from handgen.storage.filesystem import Location
from handgen.version import __version__

_PACKAGES = ("numpy", "torch", "opencv", "simplejpeg")  # that make the bytes


def open_job(root: Path, out: Location, config: ImportConfig, show: Progress) -> ImportJob:
    """Read the index and choose the hand model. HandgenError for another format, or parameters of another model."""
    show("read the index", 0, 1)
    hand_model, models, fitted = _choose_hand_model(root, config)
    reader = get_format(config.format).open(root, config.split, {} if fitted else models)
    show("read the index", 1, 1)
    count = min(reader.moment_count, config.limit or reader.moment_count)
    return ImportJob(reader, out, config, hand_model, fitted, count)


def inputs_of_run(job: ImportJob, models: dict[str, str]) -> dict[str, Any]:
    """Everything that the content of the chunks depends on, as `run.json` keeps it."""
    configuration = deciding_options(job.config) | {"split": job.reader.split, "hand_model": job.hand_model}
    return {
        "created_by": __version__,
        "computed": reproducibility.fingerprint(_PACKAGES),
        "data_set": job.reader.fingerprint(),
        "configuration": configuration,
        "hand_model": models,
    }


def _choose_hand_model(root: Path, config: ImportConfig) -> tuple[str, dict[str, HandArrays], bool]:
    """Name of the hand model (an export names its own), its arrays by side, and whether it is fitted to keypoints."""
    sides = get_format(config.format).sides
    declared = declared_models(root)
    named = set(declared.values())
    name = config.hand_model
    if name is None:
        name = MANO if all(mano_path(side).is_file() for side in sides) and named <= {MANO} else OPEN_HAND
    if "://" in name:
        raise HandgenError(f"{name}: a hand model must be a file of this machine; copy it, both sides")
    models = {side: load_hand(name, side) for side in sides}
    is_declared = len(named) == 1 and any(arrays.sha256 in declared for arrays in models.values())
    if declared and not is_declared and name != OPEN_HAND:
        raise HandgenError(
            f"{root}: its hand parameters are of {', '.join(sorted(named))}, not of this {name}; give --hand-model "
            "with that model, or open to fit the open hand to the keypoints"
        )
    return name, models, name == OPEN_HAND and not is_declared
