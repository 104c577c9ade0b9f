"""Whose keypoints a file holds: every detector puts, say, the wrist elsewhere, and the fit must know by how much."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.detect.mediapipe.detector import load_offsets_m, load_view_bias
from handgen.detect.view_bias import ViewBias
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.storage.documents import read_json

RUN_FILE = "run.json"
MODEL, MEDIAPIPE, OPENPOSE = "model", "mediapipe", "openpose"
_MOST_OFFSET_M = 0.05  # no detector puts a keypoint farther off
_CHUNK_NAME = re.compile(r"\d{6,}\.jsonl")


@dataclass(frozen=True)
class Convention:
    """Offsets, view bias and noise of the detector that made keypoints. note: for the user, where it was assumed."""

    offsets_m: Float[np.ndarray, "21 3"]
    view_bias: ViewBias | None = None
    note: str | None = None


def chunks_of_run(path: Path, cameras: tuple[str, ...]) -> list[Path]:
    """The chunks `000000.jsonl` ... of a run's folder of detections; none where files are named after cameras."""
    if not path.is_dir():
        return []
    files = sorted(entry for entry in path.iterdir() if entry.suffix == ".jsonl")
    chunks = bool(files) and all(_CHUNK_NAME.fullmatch(file.name) and file.stem not in cameras for file in files)
    return files if chunks else []


def convention_of(path: Path, keypoints_of: str, kinds: set[str]) -> Convention:
    """The convention that was asked for, or for "auto" the one that the files say.

    kinds: formats of the files. Raises HandgenError for a run whose `run.json` beside the files cannot be read.
    """
    if keypoints_of == MODEL:
        return _of_model()
    if keypoints_of in (MEDIAPIPE, OPENPOSE):
        return _of_mediapipe()
    places = (path / RUN_FILE, path.parent / RUN_FILE) if path.is_dir() else (path.parent.parent / RUN_FILE,)
    if run := next((place for place in places if kinds == {"chunks"} and place.is_file()), None):
        return _of_run(run)
    if kinds == {OPENPOSE}:
        return _of_mediapipe(f"{path.name}: taken for OpenPose's keypoints; else give --keypoints-of")
    note = (
        f"{path.name}: taken for the model's own joints; give --keypoints-of mediapipe or openpose if those made them"
    )
    return _of_model(note)


def _of_model(note: str | None = None) -> Convention:
    return Convention(np.zeros((KEYPOINT_COUNT, 3)), None, note)


def _of_mediapipe(note: str | None = None) -> Convention:
    """MediaPipe's, for OpenPose as well: people's labels trained both, and OpenPose's own have not been measured."""
    return Convention(load_offsets_m(), load_view_bias(), note)


def _of_run(path: Path) -> Convention:
    """The convention of the detector of an earlier run, as its `run.json` keeps it."""
    try:
        described: Any = read_json(path)["depends_on"]["detector"]
        offsets_m = np.array(described["offsets_m"], float)
        bias = described["view_bias"]
        view_bias = None if bias is None else ViewBias.from_json(bias)
        if offsets_m.shape != (KEYPOINT_COUNT, 3) or not (np.abs(offsets_m) <= _MOST_OFFSET_M).all():
            raise ValueError(f"offsets_m must be 21 x 3 numbers of {_MOST_OFFSET_M:g} m at most")
    except (KeyError, TypeError, ValueError) as error:
        raise HandgenError(
            f"{path}: does not say what the run's detector was like ({error}); say it: --keypoints-of"
        ) from None
    return Convention(offsets_m, view_bias)
