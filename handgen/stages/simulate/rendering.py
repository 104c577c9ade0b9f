"""Rendering one chunk: its pictures, and the truth about them. Runs in any process, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handgen.geometry.camera import Camera
from handgen.io import annotations as store
from handgen.io.cutouts import Cutout
from handgen.media import images
from handgen.media.video_writer import piece_writer
from handgen.reconstruct.hand_view import PosedMesh, cut_out
from handgen.reconstruct.record_builder import add_views, build_view
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units
from handgen.segmentation.segment import Segmented, iou
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.files import TRUTH, camera_names, chunks_of, image_path, piece_path, video_path
from handgen.stages.simulate.scene import GREEN, Scene, make_scene
from handgen.storage import filesystem

_LEAST_SEEN = 0.15  # of the hand, as a share of the model's silhouette: views that show less are no good
_TOGETHER = 256  # pictures that are written and synced at once


def record_frame(
    scene: Scene, frame: int, write: Callable[[int, np.ndarray], None]
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """Render all cameras, `write(view, image)` each; gives the truth of each hand with its cutouts by key.

    The truth is of the moment that the frame should be of; masks show what the camera saw, even if its clock is off.
    """
    pixels, seen = [], []
    for i, camera in enumerate(scene.rig):
        moment, rays, background = scene.moment(frame, i), scene.rays[i], scene.backgrounds[i]
        view = moment.view(camera, rays, background)
        light = view.light
        if scene.path_tracer is not None:
            seed = int(scene.sensor_noise(frame, i).integers(2**31))
            light = scene.path_tracer.view(moment, camera, rays, background, seed)
        pixels.append(scene.sensors[i].develop(light, scene.sensor_noise(frame, i)))
        seen.append((view.hand, view.arm))
        write(i, pixels[-1])
    screen = GREEN if scene.config.background == GREEN else None
    for owner, hand in enumerate(scene.hands):
        motion = hand.path(np.array([frame / scene.config.fps]))
        posed = hand.pose(motion)
        mesh = PosedMesh(hand.model, posed.vertices[0].numpy(), posed.keypoints[0].numpy())
        views, cutouts = [], []
        for i, camera in enumerate(scene.rig):
            masks = [np.where(shown == owner, np.uint8(255), np.uint8(0)) for shown in seen[i]]
            key = f"{frame:08d}_{hand.side}_{i:02d}"
            if found := _view(camera, mesh, key, pixels[i], masks, screen):
                views.append(found[0])
                cutouts.append((key, found[1]))
        record = HandRecord(
            frame=frame,
            side=hand.side,
            subject=scene.config.subject,
            pose=motion.rotations[0].reshape(48),
            translation_m=motion.translation[0],
            keypoints_world_m=mesh.keypoints,
            accepted=True,
        )
        yield add_views(record, views, "no_view_shows_the_hand"), cutouts


def _view(
    camera: Camera, hand: PosedMesh, key: str, image: np.ndarray, masks: Sequence[np.ndarray], screen: str | None
) -> tuple[ViewRecord, Cutout] | None:
    """The truth about one hand in one view, or None where the camera cannot see it. masks: of the hand, of its arm."""
    cutout = cut_out(image, camera, hand, min_side_px=1)
    if cutout is None:
        return None
    seen, arm = (cutout.cutter.cut_mask(mask) for mask in masks)
    shown = cv2.countNonZero(cv2.bitwise_and(cutout.mesh, seen)) / max(cv2.countNonZero(cutout.mesh), 1)
    faults = {"outside_image": not cutout.inside.all(), "hidden": shown < _LEAST_SEEN}
    reasons = tuple(reason for reason, found in faults.items() if found)
    segmented = Segmented(seen, iou(cutout.mesh, seen), screen or "any", arm)
    return build_view(key, cutout, segmented, reasons)


def render_units(out: Path, config: SimulateConfig) -> Units[dict[str, Any]]:
    """The step that renders every chunk; its results are what the manifest of the truth says of a chunk's files."""
    sizes = [len(frames) for frames in chunks_of(config)]
    return Units("render", sizes, partial(_render_chunk, out, config), files=_truth_files)


def _truth_files(index: int, described: dict[str, Any]) -> dict[str, int]:
    return {f"{TRUTH}/{name}": size for name, size in store.chunk_files(index, described).items()}


def find_finished_chunks(
    out: Path, config: SimulateConfig, noted: Mapping[int, dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """The chunks whose truth and pictures are there, and what their files hold."""
    chunks = chunks_of(config)
    found = store.find_finished_chunks(out / TRUTH, len(chunks), noted)
    there = {name: set(filesystem.list_names(out / name)) for name in camera_names(config) if not config.video}

    def has_pictures(index: int) -> bool:
        if config.video:
            names = camera_names(config)
            return all(video_path(out, n).is_file() or piece_path(out, n, index).is_file() for n in names)
        names = [image_path(out, "", frame).name for frame in chunks[index]]
        return all(listed.issuperset(names) for listed in there.values())

    return {index: described for index, described in found.items() if has_pictures(index)}


@cache
def _scene(config: SimulateConfig) -> Scene:
    """One scene per process: its backgrounds take a while."""
    return make_scene(config)


def _render_chunk(out: Path, config: SimulateConfig, index: int) -> dict[str, Any]:
    """Write the pictures and the truth of one chunk; returns what the manifest says of its files."""
    scene, frames = _scene(config), chunks_of(config)[index]
    records: list[HandRecord] = []

    def cutouts(write: Callable[[int, int, np.ndarray], None]) -> Iterator[tuple[str, Cutout]]:
        for frame in advancing(frames):
            for record, found in record_frame(scene, frame, partial(write, frame)):
                records.append(record)
                yield from found

    with _pictures(out, scene, index) as write:
        return store.write_chunk(out / TRUTH, index, records, cutouts(write))


@contextmanager
def _pictures(out: Path, scene: Scene, index: int) -> Iterator[Callable[[int, int, np.ndarray], None]]:
    """A function that writes the picture of (frame, view) of one chunk, to pieces of videos or to JPEGs."""
    config, names = scene.config, scene.rig.names
    for name in names:
        (piece_path(out, name, index).parent if config.video else out / name).mkdir(parents=True, exist_ok=True)

    pictures: list[tuple[Path, bytes]] = []  # that are written together: a sync of each would take as long as rendering

    def write_jpeg(frame: int, view: int, image: np.ndarray) -> None:
        pictures.append((image_path(out, names[view], frame), images.encode_jpeg(image, config.jpeg_quality)))
        if len(pictures) >= _TOGETHER:
            filesystem.put_many(pictures)
            pictures.clear()

    if not config.video:
        yield write_jpeg
        filesystem.put_many(pictures)
        return
    with ExitStack() as stack:
        writers = [
            stack.enter_context(piece_writer(piece_path(out, name, index), config.size, config.fps, config.crf))
            for name in names
        ]
        yield lambda frame, view, image: writers[view].write(image)
