"""Programs that `synthesize.py` compares with: the JPEG floor, and what a researcher writes in an afternoon.

The floor decodes what any compositor must decode and encodes what it must encode, and does nothing else. The
straightforward program uses OpenCV, albumentations and webdataset as their documentation shows them: whole frames and
whole masks from disk, colour transfer in float (Reinhard et al., "Color Transfer between Images", 2001), a float blend.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from itertools import cycle
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Float, UInt8

from handgen.geometry.camera import resampling_maps
from handgen.io.annotations import Annotations
from handgen.stages.simulate.files import TRUTH

FRAME_QUALITY, SAMPLE_QUALITY = 95, 95
SUBSAMPLING = "420"  # as cameras write it


def write_inputs(capture: Path, folder: Path, count: int) -> list[Path]:
    """Evenly chosen views of a simulated capture of one hand as the straightforward program reads them.

    Per view FOLDER/000017.jpg (whole, without distortion), 000017.png (mask of the same size) and 000017.json.
    Returns the JPEGs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = Annotations(capture / TRUTH)
    views = [(chunk, record, view) for chunk, record in truth for view in record.views if view.accepted]
    paths = []
    for number in range(min(count, len(views))):
        chunk, record, view = views[number * len(views) // min(count, len(views))]
        path = folder / f"{number:06d}.jpg"
        paths.append(path)
        if path.with_suffix(".json").is_file():
            continue
        camera = truth.rig[view.camera.name]
        ideal = camera.ideal()
        frame = cv2.imread(str(capture / camera.name / f"{record.frame:06d}.jpg"))
        frame = cv2.remap(frame, *resampling_maps(ideal, camera), cv2.INTER_CUBIC)
        path.write_bytes(simplejpeg.encode_jpeg(frame, FRAME_QUALITY, "BGR", SUBSAMPLING))
        left, top, width, height = view.box_px
        small = cv2.resize(truth.cutout(chunk, view).mask, (width, height), interpolation=cv2.INTER_NEAREST)
        shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
        mask = cv2.warpAffine(small, shift, ideal.size_px, flags=cv2.INTER_NEAREST)
        cv2.imwrite(str(path.with_suffix(".png")), mask)
        points_cam = view.camera.cam_from_world.apply(record.keypoints_world_m)
        labels = {
            "keypoints_2d": ideal.project(record.keypoints_world_m)[0].tolist(),
            "keypoints_3d": points_cam.tolist(),
            "intrinsics": ideal.intrinsics.tolist(),
            "pose": record.pose.tolist(),
            "betas": truth.betas[record.subject].tolist(),
            "box_px": view.box_px,
            "side": record.side,
        }
        path.with_suffix(".json").write_text(json.dumps(labels))
    return paths


class Floor:
    """Decode a frame and a background, encode a sample: with simplejpeg, from memory to memory.

    images: what is encoded, all of one size.
    """

    def __init__(
        self,
        frames: Sequence[Path],
        backgrounds: Sequence[Path],
        images: Sequence[UInt8[np.ndarray, "size size 3"]],
    ) -> None:
        self._frames = cycle([path.read_bytes() for path in frames])
        self._backgrounds = cycle([path.read_bytes() for path in backgrounds])
        self._images = cycle(images)

    def sample(self) -> None:
        """One sample's worth."""
        simplejpeg.decode_jpeg(next(self._frames), "BGR")
        simplejpeg.decode_jpeg(next(self._backgrounds), "BGR")
        simplejpeg.encode_jpeg(next(self._images), SAMPLE_QUALITY, "BGR", SUBSAMPLING)


def floor_rate(frames: list[Path], backgrounds: list[Path], size: int, processes: int, seconds: float = 4.0) -> float:
    """Floors per second of some processes at once."""
    context = multiprocessing.get_context("spawn")
    ready, counts = context.Barrier(processes), context.SimpleQueue()
    arguments = (frames, backgrounds, size, seconds, ready, counts)
    started = [context.Process(target=_count_floors, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    total = sum(counts.get() for _ in started)
    for process in started:
        process.join()
    return total / seconds


def _count_floors(
    frames: list[Path],
    backgrounds: list[Path],
    size: int,
    seconds: float,
    ready: Barrier,
    counts: SimpleQueue[int],
) -> None:
    """Put how often this process gets through the floor in some seconds, once all are `ready`."""
    images = [cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA) for path in frames[:4]]
    floor = Floor(frames[:16], backgrounds[:16], images)
    ready.wait()
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        floor.sample()
        count += 1
    counts.put(count)


class Straightforward:
    """Pastes hands on backgrounds and writes shards.

    usual: with the usual probabilities of augmentation; otherwise every image gets every one.
    """

    def __init__(self, frames: Sequence[Path], backgrounds: Sequence[Path], size: int, out: Path, usual: bool) -> None:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for updates when imported
        import albumentations as A  # noqa: N812
        import webdataset

        p, p_slow = (0.5, 0.3) if usual else (1.0, 1.0)
        self._augment: Any = A.Compose(
            [
                A.RandomBrightnessContrast(p=p),
                A.HueSaturationValue(p=p),
                A.GaussNoise(p=p_slow),
                A.GaussianBlur(blur_limit=(3, 5), p=p_slow),
                A.ImageCompression(quality_range=(60, 95), p=p_slow),
            ]
        )
        out.mkdir(parents=True)
        self._writer: Any = webdataset.ShardWriter(str(out / "%06d.tar"), maxcount=1000, verbose=0)
        self._frames = cycle(frames)
        self._labels = {path: json.loads(path.with_suffix(".json").read_text()) for path in frames}
        self._backgrounds = cycle(backgrounds)
        self._size = size
        self._rng = np.random.default_rng(0)
        self._index = 0

    def sample(self) -> UInt8[np.ndarray, "size size 3"]:
        """Make one and write it; returns the BGR image."""
        size, path = self._size, next(self._frames)
        frame, mask = cv2.imread(str(path)), cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
        labels = dict(self._labels[path])
        sample_from_frame = self._placement(labels["box_px"])
        hand = cv2.warpAffine(frame, sample_from_frame, (size, size))
        matte = cv2.GaussianBlur(cv2.warpAffine(mask, sample_from_frame, (size, size)), (5, 5), 0)
        background = self._background()
        hand = color_transfer(hand, background, matte)
        share = (matte.astype(np.float32) / 255)[..., None]
        image = (hand.astype(np.float32) * share + background.astype(np.float32) * (1 - share)).astype(np.uint8)
        image = self._augment(image=image)["image"]
        points = np.array(labels["keypoints_2d"])
        labels["keypoints_2d"] = (points @ sample_from_frame[:, :2].T + sample_from_frame[:, 2]).tolist()
        self._writer.write(
            {
                "__key__": f"{self._index:09d}",
                "jpg": cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, SAMPLE_QUALITY])[1].tobytes(),
                "mask.png": cv2.imencode(".png", matte)[1].tobytes(),
                "json": json.dumps(labels).encode(),
            }
        )
        self._index += 1
        return image

    def close(self) -> None:
        """Finish the last shard."""
        self._writer.close()

    def _placement(self, box_px: Sequence[int]) -> Float[np.ndarray, "2 3"]:
        """Random rotation, scale and shift that bring the hand's box into the sample."""
        left, top, width, height = box_px
        scale = self._size * self._rng.uniform(0.8, 1.4) / max(width, height)
        turn = cv2.getRotationMatrix2D((left + width / 2, top + height / 2), self._rng.uniform(-60, 60), scale)
        turn[:, 2] += self._size * (0.5 + self._rng.uniform(-0.08, 0.08, 2)) - (left + width / 2, top + height / 2)
        return turn

    def _background(self) -> UInt8[np.ndarray, "size size 3"]:
        """A random square of the next one."""
        picture = cv2.imread(str(next(self._backgrounds)))
        height, width = picture.shape[:2]
        side = int(min(height, width) * self._rng.uniform(0.5, 1.0))
        left, top = self._rng.integers(0, width - side + 1), self._rng.integers(0, height - side + 1)
        return cv2.resize(picture[top : top + side, left : left + side], (self._size, self._size))


def color_transfer(
    hand: UInt8[np.ndarray, "size size 3"],
    background: UInt8[np.ndarray, "size size 3"],
    matte: UInt8[np.ndarray, "size size"],
) -> UInt8[np.ndarray, "size size 3"]:
    """Half of the way from the hand's mean and deviation in LAB to the background's; BGR."""
    lab = cv2.cvtColor(hand, cv2.COLOR_BGR2LAB).astype(np.float32)
    there = cv2.cvtColor(background, cv2.COLOR_BGR2LAB).astype(np.float32).reshape(-1, 3)
    inside = lab[matte > 127]
    mean, std = inside.mean(0), inside.std(0)
    lab = (lab - mean) / (std + 1e-6) * (std + there.std(0)) / 2 + (mean + there.mean(0)) / 2
    return cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2BGR)
