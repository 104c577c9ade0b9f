"""The files of a simulated capture, and those that are written once, when every chunk is rendered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from handgen.hand.skeleton import SIDES
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.media.video_writer import join_pieces
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.person import MODEL_NAME, personal_file, personal_hand
from handgen.stages.simulate.rig import perturbed_rig
from handgen.stages.simulate.scene import CALIBRATION_SEED, Scene
from handgen.storage.output import MANIFEST

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
        partial_path = path.with_name(path.name + ".partial")
        partial_path.write_bytes(personal_file(personal_hand(scene.person, side)))
        partial_path.replace(path)
    config = scene.config
    error_rng = np.random.default_rng((config.seed, CALIBRATION_SEED))
    save_calibration(out / CALIBRATION, perturbed_rig(scene.rig, config.calibration_error_px, error_rng))
