"""What a simulated capture says of itself: run.json, the manifest of its truth, capture.json."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io.annotation_manifest import AnnotatedCapture, annotation_manifest, chunk_entry
from handgen.io.camera_json import camera_document
from handgen.options import deciding_options
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.files import CALIBRATION, TRUTH, chunks_of, video_path
from handgen.stages.simulate.person import MODEL_NAME, personal_hand
from handgen.stages.simulate.scene import Scene, background_files
from handgen.stages.simulate.truth import subject_of
from handgen.storage.documents import schema_version
from handgen.version import __version__


def inputs_of_run(config: SimulateConfig) -> dict[str, Any]:
    """The options that decide the capture's bytes, as `run.json` keeps them; pictures by their content."""
    document = deciding_options(config) | {"created_by": __version__}
    if files := background_files(config):
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        document["background"] = f"pictures {digest.hexdigest()}"
    return document


def truth_manifest(
    out: Path, scene: Scene, files: Sequence[dict[str, Any]], configuration: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of the truth, whose chunks are complete. files: of each chunk, as in the manifest."""
    config, truth = scene.config, out / TRUTH
    return annotation_manifest(
        AnnotatedCapture(out.resolve().name, config.frames, config.fps, "handgen JSON"),
        [camera_document(camera) for camera in scene.rig],
        MODEL_NAME,
        {side: personal_hand(scene.person, side).sha256 for side in SIDES},
        {subject_of(config): {"betas": scene.person.betas.tolist(), "frames": config.frames}},
        configuration,
        [
            chunk_entry(index, frames, store.read_chunk(truth, index), described)
            for index, (frames, described) in enumerate(zip(chunks_of(config), files, strict=True))
        ],
        {"truth": True},
        stage="simulate",
    )


def capture_document(scene: Scene) -> dict[str, Any]:
    """The document of `capture.schema.json`."""
    config, out = scene.config, Path()
    return {
        "format_version": schema_version("capture"),
        "cameras": {name: {"file": video_path(out, name).name if config.video else name} for name in scene.rig.names},
        "calibration": CALIBRATION,
        "hands": config.hands,
        "subject": subject_of(config),
        "fps": config.fps,
    }
