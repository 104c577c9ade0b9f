"""The simulate stage: a configuration -> a capture and the truth about it, chunk by chunk.

    OUT/run.json            what decides the bytes (`handgen.storage.output`); written first
    OUT/cam_0.mp4           one video per camera, or a folder cam_0/ of JPEGs; until then OUT/pieces/
    OUT/calibration.json    the rig, as well as it is calibrated
    OUT/capture.json        which file is which camera, which hands are in view; written last
    OUT/truth/              the truth, in the format of annotations, with the person's own hand model; no stage but
                            `evaluate` may read it

The content of a chunk depends on the configuration and its index alone, not on the number of processes. A
rerun skips the chunks that are complete.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import handgen
from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import KIND
from handgen.io.cutouts import Cutout
from handgen.media import images
from handgen.media.video_writer import join_pieces, piece_writer
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.records.annotation import HandRecord
from handgen.runtime.local import default_workers, map_units
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.person import MODEL_NAME, personal_file, personal_hand
from handgen.stages.simulate.photoreal import load_mitsuba
from handgen.stages.simulate.rig import perturbed_rig
from handgen.stages.simulate.scene import CALIBRATION_SEED, Scene, background_files, make_scene
from handgen.stages.simulate.truth import manifest_of, record_frame, subject_of
from handgen.storage.documents import schema_version, write_json
from handgen.storage.output import claim_output

TRUTH, CAPTURE, CALIBRATION, PIECES = "truth", "capture.json", "calibration.json", "pieces"
CHUNK_FRAMES = 12  # also the distance of key frames in the videos
_OWNED = ("cam_[0-9]*", TRUTH, CAPTURE, CALIBRATION, PIECES)  # what a run writes besides run.json


@dataclass(frozen=True)
class Report:
    """What a run did. views: images of the capture; written_views: by this run, the rest was there."""

    out: Path
    truth: Path
    frames: int
    cameras: int
    hands: tuple[str, ...]
    views: int
    written_views: int
    seconds: float

    @property
    def views_per_s(self) -> float:
        """Of what this run wrote, preparation included."""
        return self.written_views / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        paths = {"out": str(self.out), "truth": str(self.truth), "hands": list(self.hands)}
        rounded = {"seconds": round(self.seconds, 3), "views_per_s": round(self.views_per_s, 2)}
        return asdict(self) | paths | rounded


def run(out: Path, config: SimulateConfig, progress: Progress | None = None, overwrite: bool = False) -> Report:
    """Render the capture that `config` describes into directory `out`, with its truth in `out/truth`.

    overwrite: replace a capture that was simulated with other options. Raises HandgenError when `out` holds one and
    it is not to be replaced, or something else.
    """
    began = time.perf_counter()
    if config.renderer == "mitsuba":
        load_mitsuba()  # a missing extra is said before anything is written
    report_progress = progress or (lambda *_: None)
    with claim_output(out, KIND, _configuration(config), _OWNED, overwrite):
        chunks = [_frames(config, index) for index in range(-(-config.frames // CHUNK_FRAMES))]
        missing = [i for i in range(len(chunks)) if not _is_there(out, config, i)]
        done = config.frames - sum(len(chunks[i]) for i in missing)
        written = 0
        report_progress("render", done, config.frames)
        workers = min(config.workers or default_workers(), max(len(missing), 1))
        for frames in map_units(partial(_render_chunk, out, config), missing, workers):
            done, written = done + frames, written + frames
            report_progress("render", done, config.frames)
        scene = make_scene(config)
        _finish(out, scene, chunks)
    return Report(
        out=out,
        truth=out / TRUTH,
        frames=config.frames,
        cameras=config.views,
        hands=tuple(hand.side for hand in scene.hands),
        views=config.frames * config.views,
        written_views=written * config.views,
        seconds=time.perf_counter() - began,
    )


def _finish(out: Path, scene: Scene, chunks: list[range]) -> None:
    """Everything that comes after the last chunk: videos, models, calibration, manifest, capture.json."""
    config = scene.config
    if config.video:
        for name in scene.rig.names:
            video = _video(out, name)
            if not video.is_file():
                join_pieces([_piece(out, name, index) for index in range(len(chunks))], video, config.fps)
        shutil.rmtree(out / PIECES, ignore_errors=True)
    for side in SIDES:  # both, so that shards of the truth can be mirrored
        path = out / TRUTH / MODEL_NAME.replace("{side}", side)
        partial_path = path.with_name(path.name + ".partial")
        partial_path.write_bytes(personal_file(personal_hand(scene.person, side)))
        partial_path.replace(path)
    error_rng = np.random.default_rng((config.seed, CALIBRATION_SEED))
    save_calibration(out / CALIBRATION, perturbed_rig(scene.rig, config.calibration_error_px, error_rng))
    store.write_manifest(out / TRUTH, manifest_of(scene, chunks, out / TRUTH, _configuration(scene.config)))
    capture = {
        "format_version": schema_version("capture"),
        "cameras": {name: {"file": _video(out, name).name if config.video else name} for name in scene.rig.names},
        "calibration": CALIBRATION,
        "hands": config.hands,
        "subject": subject_of(config),
        "fps": config.fps,
    }
    write_json(out / CAPTURE, capture, "capture")


def _video(out: Path, camera: str) -> Path:
    return out / f"{camera}.mp4"


def _piece(out: Path, camera: str, index: int) -> Path:
    return out / PIECES / camera / f"{index:06d}.h264"


def _is_there(out: Path, config: SimulateConfig, index: int) -> bool:
    """Whether a chunk's truth and its pictures have been written."""
    names = [f"cam_{i}" for i in range(config.views)]
    videos = not config.video or all(_video(out, n).is_file() or _piece(out, n, index).is_file() for n in names)
    return videos and store.chunk_is_complete(out / TRUTH, index)


def _configuration(config: SimulateConfig) -> dict[str, Any]:
    """The options that decide the capture's bytes, as JSON has them; pictures by their content."""
    document = deciding_options(config) | {"created_by": handgen.__version__}
    if files := background_files(config):
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        document["background"] = f"pictures {digest.hexdigest()}"
    return document


def _frames(config: SimulateConfig, index: int) -> range:
    return range(index * CHUNK_FRAMES, min((index + 1) * CHUNK_FRAMES, config.frames))


@cache
def _scene(config: SimulateConfig) -> Scene:
    """One scene per process: its backgrounds take a while."""
    return make_scene(config)


def _render_chunk(out: Path, config: SimulateConfig, index: int) -> int:
    """Write the images and the truth of one chunk; returns its number of frames."""
    scene, frames = _scene(config), _frames(config, index)
    records: list[HandRecord] = []

    def cutouts(write: Callable[[int, int, np.ndarray], None]) -> Iterator[tuple[str, Cutout]]:
        for frame in frames:
            for record, found in record_frame(scene, frame, partial(write, frame)):
                records.append(record)
                yield from found

    with _pictures(out, scene, index) as write:
        store.write_chunk(out / TRUTH, index, records, cutouts(write))
    return len(frames)


@contextmanager
def _pictures(out: Path, scene: Scene, index: int) -> Iterator[Callable[[int, int, np.ndarray], None]]:
    """What writes the image of (frame, view) of one chunk, to pieces of videos or to JPEGs."""
    config, names = scene.config, scene.rig.names
    for name in names:
        (_piece(out, name, index).parent if config.video else out / name).mkdir(parents=True, exist_ok=True)

    def write_jpeg(frame: int, view: int, image: np.ndarray) -> None:
        path = out / names[view] / f"{frame:06d}.jpg"
        path.write_bytes(images.encode_jpeg(image, config.jpeg_quality))

    if not config.video:
        yield write_jpeg
        return
    with ExitStack() as stack:
        writers = [
            stack.enter_context(piece_writer(_piece(out, name, index), config.size, config.fps, config.crf))
            for name in names
        ]
        yield lambda frame, view, image: writers[view].write(image)
