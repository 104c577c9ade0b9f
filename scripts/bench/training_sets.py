"""The captures of `training.py` and the sets of samples that are made of them.

Nobody and no room of the test is in training: every person, room, light and camera is drawn from a seed of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from training_network import Samples

from handgen.data import load_shards
from handgen.geometry.camera import Camera, resampling_maps
from handgen.geometry.rigid import Rigid
from handgen.io import shards
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.media import images
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.scene import make_scene
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.patterns import draw_pattern
from handgen.stages.synthesize.virtual_camera import draw_view, in_mirror

SIDE_PX = 64  # of what the network sees
SAMPLE_PX = 3 * SIDE_PX  # of the samples, as shards are larger than what a network sees
TRAIN_PEOPLE = (401, 402, 403, 404, 405, 406)
TEST_PEOPLE = (451, 452, 453, 454, 455, 456)
BACKGROUND_ROOMS = (471, 472, 473, 474, 475, 476, 477, 478, 479)
_VIEWS, _TEST_VIEWS, _ROOM_VIEWS = 4, 4, 6
_FPS = 3.0  # few frames, many poses
_PICTURE_PX = 480

# What a training set is made of: the whole of `synthesize`'s options, or nothing but a cut along the mask.
PLAIN = SynthesizeConfig(
    size=SAMPLE_PX,
    light_matching=0,
    shadow_probability=0,
    occluder_probability=0,
    forearm_probability=0,
    grain=False,
    blend="hard",
    augment="none",
    jpeg_quality=(95, 95),
)
FULL = SynthesizeConfig(size=SAMPLE_PX)
RECIPES = {"paste": PLAIN, "full": FULL}


@dataclass(frozen=True)
class CaptureJob:
    """One capture to simulate. truth: whether its labels are the truth, or `annotate`'s, from its pixels."""

    folder: Path
    config: SimulateConfig
    truth: bool

    @property
    def annotations(self) -> Path:
        """The directory of its labels."""
        return self.folder / "truth" if self.truth else self.folder.with_name(self.folder.name + "_annotations")


def train_captures(root: Path, people: int, frames: int) -> list[CaptureJob]:
    """People in green studios, every other one with cameras all round: the rig that composites are made for."""
    return [
        CaptureJob(
            root / f"train_{seed}",
            SimulateConfig(
                views=_VIEWS,
                frames=frames,
                fps=_FPS,
                seed=seed,
                rig="cage" if i % 2 == 0 else "ring",
                background="green",
                workers=1,
            ),
            truth=False,
        )
        for i, seed in enumerate(TRAIN_PEOPLE[:people])
    ]


def test_captures(root: Path, people: int, frames: int) -> list[CaptureJob]:
    """All in rooms."""
    return [
        CaptureJob(
            root / f"test_{seed}",
            SimulateConfig(views=_TEST_VIEWS, frames=frames, fps=_FPS, seed=seed, workers=1),
            truth=True,
        )
        for seed in TEST_PEOPLE[:people]
    ]


def make_capture(job: CaptureJob) -> Path:
    """Simulate it and annotate it, as far as that is not done."""
    simulate.run(job.folder, job.config, overwrite=True)
    if not job.truth:
        annotate.run(job.folder, job.annotations, AnnotateConfig(workers=1), overwrite=True)
    return job.folder


def make_pictures(root: Path, seed: int) -> Path:
    """Pictures of an empty room, and as many patterns, into `root`: a user's folder of backgrounds."""
    scene = make_scene(SimulateConfig(views=_ROOM_VIEWS, frames=1, seed=seed))
    root.mkdir(parents=True, exist_ok=True)
    for i, light in enumerate(scene.backgrounds):
        picture = scene.sensors[i].develop(light, scene.sensor_noise(0, i))
        pattern = draw_pattern(_PICTURE_PX, np.random.default_rng([seed, i]))
        for name, image in (("room", picture), ("pattern", pattern)):
            (root / f"{name}_{seed}_{i}.jpg").write_bytes(images.encode_jpeg(image, 92))
    return root


def composites(job: CaptureJob, backgrounds: Path, out: Path, config: SynthesizeConfig) -> Samples:
    """Samples that `synthesize` makes of a capture, as a training script reads them."""
    stage.run(job.annotations, out, backgrounds, config)
    read = list(load_shards(out))
    small = [_shrunk(sample["image"].permute(1, 2, 0).numpy()) for sample in read]
    points = np.stack([sample["keypoints_2d"].numpy() for sample in read])
    visible = np.stack([sample["visible"].numpy() for sample in read])
    return Samples(np.stack(small), _shrunk_px(points), visible)


@dataclass(frozen=True)
class Look:
    """One crop to take out of a capture: what an ideal camera at a real one's place sees, perhaps in a mirror."""

    frame: int
    source: str
    camera: Camera
    mirrored: bool
    keypoints_px: Float[np.ndarray, "21 2"]
    visible: Bool[np.ndarray, " 21"]


def looks_of_shards(root: Path) -> list[Look]:
    """The virtual cameras of the samples in a shards directory."""
    found = []
    for shard in shards.read_manifest(root)["shards"]:
        path = root / shard["name"]
        for key, group in shards.read_groups(path):
            document = shards.read_document(path, key, group)
            camera, source = document["camera"], document["source"]
            sees = Camera(
                source["camera"],
                (camera["size_px"][0], camera["size_px"][1]),
                np.array(camera["intrinsics"]),
                cam_from_world=Rigid.from_matrix(np.array(camera["cam_from_world"])),
            )
            points, visible = np.array(document["keypoints_2d"]), np.array(document["visible"], bool)
            found.append(Look(source["frame"], source["camera"], sees, document["mirrored"], points, visible))
    return found


def looks_at_truth(annotations: Annotations, seed: int) -> list[Look]:
    """One look at every hand in every view that shows it, drawn as `synthesize` draws them."""
    rng = np.random.default_rng(seed)
    found = []
    for _, record in annotations:
        for view in record.views:
            if not (record.accepted and view.accepted):
                continue
            mirrored = bool(rng.random() < FULL.flip_probability)
            drawn = draw_view(view.camera, record.keypoints_world_m, FULL, mirrored, rng)
            points, visible = drawn.camera.project_cam(drawn.points_cam(record.keypoints_world_m))
            found.append(Look(record.frame, view.camera.name, drawn.camera, mirrored, points, visible))
    return found


def crops(capture: Path, looks: Sequence[Look]) -> Samples:
    """The raw frames of a capture through `looks`, in their order."""
    by_frame = defaultdict(list)
    for place, look in enumerate(looks):
        by_frame[look.frame].append(place)
    pixels = np.zeros((len(looks), SIDE_PX, SIDE_PX, 3), np.uint8)
    opened = load_capture(capture)
    for frame, pictures in enumerate(opened.read()):
        for place in by_frame[frame]:
            camera = opened.rig.names.index(looks[place].source)
            picture = pictures[camera]
            assert picture is not None  # simulated cameras miss no frame
            pixels[place] = _seen(picture, opened.rig.cameras[camera], looks[place])
    points, visible = (np.stack([getattr(look, name) for look in looks]) for name in ("keypoints_px", "visible"))
    return Samples(pixels, _shrunk_px(points), visible)


def joined(sets: Iterable[Samples]) -> Samples:
    """All samples of several sets."""
    parts = list(sets)
    fields = ("images", "keypoints_px", "visible")
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def sheet(samples: Samples, columns: int = 12, rows: int = 8) -> UInt8[np.ndarray, "height width 3"]:
    """Samples from all over the set side by side, with their keypoints in every other row."""
    chosen = np.linspace(0, len(samples.images) - 1, columns * rows).astype(int)
    tiles = []
    for place, index in enumerate(chosen):
        tile = samples.images[index].copy()
        if place // columns % 2:
            for x, y in samples.keypoints_px[index]:
                cv2.circle(tile, (round(float(x)), round(float(y))), 1, (255, 255, 0), -1)
        tiles.append(tile)
    return np.concatenate([np.concatenate(row, 1) for row in _rows(tiles, columns)])


def _rows(tiles: list[np.ndarray], columns: int) -> Iterator[list[np.ndarray]]:
    for start in range(0, len(tiles), columns):
        yield tiles[start : start + columns]


def _seen(picture: UInt8[np.ndarray, "height width 3"], source: Camera, look: Look) -> UInt8[np.ndarray, "side side 3"]:
    camera = in_mirror(look.camera) if look.mirrored else look.camera
    width, height = camera.size_px
    maps = resampling_maps(camera.resized((2 * width, 2 * height)), source)  # then averaged, so nothing aliases
    seen = _shrunk(cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return np.ascontiguousarray(seen[:, ::-1]) if look.mirrored else seen


def _shrunk(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "side side 3"]:
    return cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def _shrunk_px(points_px: Float[np.ndarray, "n 21 2"]) -> Float[np.ndarray, "n 21 2"]:
    scale = SIDE_PX / SAMPLE_PX
    return ((points_px + 0.5) * scale - 0.5).astype(np.float32)
