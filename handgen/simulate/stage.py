"""The simulate stage: a configuration -> a capture and the truth about it, chunk by chunk.

    OUT/cam_0/000000.jpg    one folder of images per camera
    OUT/run.json            what decides the bytes (`handgen.io.output`); written first
    OUT/calibration.json    the rig
    OUT/capture.json        which folder is which camera, which hands are in view; written last
    OUT/truth/              the truth, in the format of annotations; no stage but `evaluate` may read it

The content of a chunk depends on the configuration and its index alone, not on the number of processes. A
rerun skips the chunks that are complete.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import handgen
from handgen.cameras import Camera
from handgen.config import SimulateConfig
from handgen.cutout import Cutter
from handgen.engines.local import default_workers, map_units
from handgen.hand.assets import OPEN_HAND
from handgen.io import annotations as store
from handgen.io import images
from handgen.io.annotations import Cutout, HandRecord, ViewRecord
from handgen.io.calibration import save_calibration
from handgen.io.cameras import camera_document
from handgen.io.capture import KIND
from handgen.io.output import claim_output, writing
from handgen.io.schema import schema_version, write_json
from handgen.progress import Progress
from handgen.raster import mesh_mask
from handgen.simulate.scene import Scene, SimulatedHand, make_scene

TRUTH, CAPTURE, CALIBRATION = "truth", "capture.json", "calibration.json"
SUBJECT = "0"
CHUNK_FRAMES = 8
_OWNED = ("cam_[0-9]*", TRUTH, CAPTURE, CALIBRATION)  # what a run writes besides run.json
_LEAST_SEEN = 0.15  # of the hand, as a share of the model's silhouette: views that show less are no good


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
    report_progress = progress or (lambda *_: None)
    with writing(out):
        claim_output(out, KIND, _configuration(config), _OWNED, overwrite)
        chunks = [_frames(config, index) for index in range(-(-config.frames // CHUNK_FRAMES))]
        truth = out / TRUTH
        missing = [i for i in range(len(chunks)) if not store.chunk_is_complete(truth, i)]
        done = config.frames - sum(len(chunks[i]) for i in missing)
        written = 0
        report_progress("render", done, config.frames)
        workers = min(config.workers or default_workers(), max(len(missing), 1))
        for frames in map_units(partial(_render_chunk, out, config), missing, workers):
            done, written = done + frames, written + frames
            report_progress("render", done, config.frames)
        scene = make_scene(config)
        save_calibration(out / CALIBRATION, scene.rig)
        store.write_manifest(truth, _manifest(scene, chunks, out))
        capture = {
            "format_version": schema_version("capture"),
            "cameras": {name: {"file": name} for name in scene.rig.names},
            "calibration": CALIBRATION,
            "hands": config.hands,
        }
        write_json(out / CAPTURE, capture, "capture")
    return Report(
        out=out,
        truth=truth,
        frames=config.frames,
        cameras=config.views,
        hands=tuple(hand.side for hand in scene.hands),
        views=config.frames * config.views,
        written_views=written * config.views,
        seconds=time.perf_counter() - began,
    )


def _configuration(config: SimulateConfig) -> dict[str, Any]:
    """The options that decide the capture's bytes, as JSON has them."""
    document = asdict(config) | {"size": list(config.size), "created_by": handgen.__version__}
    document.pop("workers")
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

    def cutouts() -> Iterator[tuple[str, Cutout]]:
        for frame in frames:
            for record, found in _render_frame(out, scene, frame):
                records.append(record)
                yield from found

    store.write_chunk(out / TRUTH, index, records, cutouts())
    return len(frames)


def _render_frame(out: Path, scene: Scene, frame: int) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """Write the images of all cameras; gives the truth of each hand with its cutouts by key."""
    moment = scene.moment(frame)
    pixels, labels = [], []
    for i, camera in enumerate(scene.rig):
        view = moment.view(camera, scene.rays[i], scene.backgrounds[i])
        image = scene.sensors[i].develop(view.light, scene.sensor_noise(frame, i))
        path = out / camera.name / f"{frame:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(images.encode_jpeg(image, scene.config.jpeg_quality))
        pixels.append(image)
        labels.append(view.hand)
    for owner, hand in enumerate(scene.hands):
        views, cutouts = [], []
        for i, camera in enumerate(scene.rig):
            mask = np.where(labels[i] == owner, 255, 0).astype(np.uint8)
            key = f"{frame:08d}_{hand.side}_{i:02d}"
            found = _view(camera, hand, frame, key, pixels[i], mask)
            if found:
                views.append(found[0])
                cutouts.append((key, found[1]))
        ious = [view.mask_iou for view in views if view.accepted and view.mask_iou is not None]
        record = HandRecord(
            frame=frame,
            side=hand.side,
            subject=SUBJECT,
            pose=hand.motion.rotations[frame].reshape(48),
            translation_m=hand.motion.translation[frame],
            keypoints_world_m=hand.posed.keypoints[frame].cpu().numpy(),
            accepted=bool(ious),
            reasons=() if ious else ("no_view_shows_the_hand",),
            mask_iou=round(float(np.median(ious)), 4) if ious else None,
            views=tuple(views),
        )
        yield record, cutouts


def _view(
    camera: Camera, hand: SimulatedHand, frame: int, key: str, image: np.ndarray, mask: np.ndarray
) -> tuple[ViewRecord, Cutout] | None:
    """The truth about one hand in one view, or None where the camera cannot see it."""
    vertices = hand.posed.vertices[frame].cpu().numpy()
    _, inside = camera.project(hand.posed.keypoints[frame].cpu().numpy())
    if not inside.any():
        return None
    cutter = Cutter(camera, vertices)
    cut_mask = np.where(cutter.cut(mask) > 127, 255, 0)
    cutout = Cutout(cutter.cut(image), cut_mask.astype(np.uint8))
    target = cutter.camera
    model = mesh_mask(target.project(vertices)[0], hand.model.faces, target.size_px)
    both = cv2.countNonZero(cv2.bitwise_and(model, cutout.mask))
    either = cv2.countNonZero(cv2.bitwise_or(model, cutout.mask))
    seen = both / max(cv2.countNonZero(model), 1) >= _LEAST_SEEN
    record = ViewRecord(
        camera=target,
        cutout=key,
        box_px=cutter.box_px,
        detected_px=None,
        reprojection_px=None,
        mask_iou=round(both / max(either, 1), 4),
        accepted=bool(seen and inside.all()),
        reasons=(() if inside.all() else ("outside_image",)) + (() if seen else ("hidden",)),
    )
    return record, cutout


def _manifest(scene: Scene, chunks: list[range], out: Path) -> dict[str, Any]:
    described = []
    for index, frames in enumerate(chunks):
        records = store.read_chunk(out / TRUTH, index)
        described.append(
            {
                "index": index,
                "first_frame": frames.start,
                "frames": len(frames),
                "records": len(records),
                "accepted": sum(record.accepted for record in records),
            }
        )
    return {
        "kind": store.KIND,
        "format_version": schema_version(store.MANIFEST_SCHEMA),
        "created_by": f"{handgen.__version__} (simulate)",
        "capture": {
            "path": out.resolve().name,
            "frame_count": scene.config.frames,
            "fps": scene.config.fps,
            "calibration_format": "handgen JSON",
            "scale": "calibrated",
            "metres_per_unit": 1.0,
        },
        "cameras": [camera_document(camera) for camera in scene.rig],
        "hand_model": {
            "name": OPEN_HAND,
            "sha256": {hand.side: hand.model.arrays.sha256 for hand in scene.hands},
        },
        "subjects": {SUBJECT: {"betas": scene.betas.tolist(), "frames": scene.config.frames}},
        "configuration": _configuration(scene.config),
        "chunks": described,
        "summary": {"truth": True},
    }
