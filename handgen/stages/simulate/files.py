"""The files of a simulated capture, and its documents: run.json, the manifest of its truth, capture.json."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io.annotation_manifest import AnnotatedCapture, annotation_manifest, chunk_entry
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.camera_json import camera_document
from handgen.media.video_writer import join_pieces
from handgen.options import deciding_options
from handgen.stages.simulate.cameras import perturbed_rig
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.person import MODEL_NAME, personal_file, personal_hand
from handgen.stages.simulate.scene import CALIBRATION_SEED, Scene, background_files
from handgen.storage import filesystem
from handgen.storage.documents import schema_version
from handgen.storage.output import MANIFEST
from handgen.version import __version__

TRUTH, CAPTURE, CALIBRATION, PIECES = "truth", "capture.json", "calibration.json", "pieces"
TRUTH_MANIFEST = f"{TRUTH}/{MANIFEST}"
OWNED = ("cam_[0-9]*", TRUTH, CAPTURE, CALIBRATION, PIECES)  # what a run writes besides run.json
CHUNK_FRAMES = 12  # also the distance of key frames in the videos


def chunks_of(config: SimulateConfig) -> list[range]:
    """The frames of each chunk."""
    starts = range(0, config.frames, CHUNK_FRAMES)
    return [range(start, min(start + CHUNK_FRAMES, config.frames)) for start in starts]


def camera_names(config: SimulateConfig) -> list[str]:
    """The cameras' names, in the rig's order."""
    return [f"cam_{i}" for i in range(config.views)]


def video_path(out: Path, camera: str) -> Path:
    """The file that holds the video of one camera."""
    return out / f"{camera}.mp4"


def piece_path(out: Path, camera: str, index: int) -> Path:
    """The file that holds one chunk of a camera's video, until the video is joined."""
    return out / PIECES / camera / f"{index:06d}.h264"


def image_path(out: Path, camera: str, frame: int) -> Path:
    """The file that holds one picture, if there are no videos."""
    return out / camera / f"{frame:06d}.jpg"


def join_videos(out: Path, config: SimulateConfig) -> None:
    """Make one file of the pieces of each video that is not there yet."""
    if not config.video:
        return
    for name in camera_names(config):
        video = video_path(out, name)
        if not video.is_file():
            join_pieces([piece_path(out, name, i) for i in range(len(chunks_of(config)))], video, config.fps)
    shutil.rmtree(out / PIECES, ignore_errors=True)


def write_models_and_rig(out: Path, scene: Scene) -> None:
    """Write the person's hand models, both sides so that shards of the truth can be mirrored, and the calibration."""
    for side in SIDES:
        path = out / TRUTH / MODEL_NAME.replace("{side}", side)
        filesystem.put(path, personal_file(personal_hand(scene.person, side)))
    config = scene.config
    error_rng = np.random.default_rng((config.seed, CALIBRATION_SEED))
    save_calibration(out / CALIBRATION, perturbed_rig(scene.rig, config.calibration_error_px, error_rng))


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
        {config.subject: {"betas": scene.person.betas.tolist(), "frames": config.frames}},
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
        "subject": config.subject,
        "fps": config.fps,
    }
