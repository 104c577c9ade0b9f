"""Drawings for people: skeletons, outlines, grids of views, contact sheets.

Images are RGB uint8; pixel (0, 0) is the centre of the first pixel. Every function returns a new image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_COUNT, KEYPOINT_PARENTS, WRIST
from handgen.io import shards
from handgen.media import images
from handgen.media.arrays import Image, Mask
from handgen.wording import printable

Color = tuple[int, int, int]
FINGER_COLORS: dict[str, Color] = {
    "thumb": (255, 92, 80),
    "index": (255, 190, 50),
    "middle": (90, 215, 90),
    "ring": (70, 190, 255),
    "pinky": (190, 120, 255),
}
WRIST_COLOR: Color = (240, 240, 240)
ACCEPTED_COLOR: Color = (60, 200, 90)
REJECTED_COLOR: Color = (235, 70, 60)
NEUTRAL_COLOR: Color = (150, 150, 150)
OUTLINE_COLOR: Color = (0, 255, 220)

_FINGER_OF = {keypoint: finger for finger, keypoints in FINGER_KEYPOINTS.items() for keypoint in keypoints}
_KEYPOINT_COLORS = [FINGER_COLORS.get(_FINGER_OF.get(k, ""), WRIST_COLOR) for k in range(KEYPOINT_COUNT)]

_SHIFT = 4  # sub-pixel bits of the coordinates OpenCV draws with
_HIDDEN_SHADE = 0.45  # keypoints and bones that are not visible are drawn darker
_LABEL_HEIGHT_PX = 18


@dataclass(frozen=True)
class ViewLabel:
    """Text over one view, and how good the fit is where that is known. accepted: green bar, red, or grey for None."""

    camera: str
    reprojection_px: float | None = None
    mask_iou: float | None = None
    accepted: bool | None = None

    def text(self) -> str:
        """`cam_0  2.1 px  IoU 0.93`."""
        error = "" if self.reprojection_px is None else f"  {self.reprojection_px:.1f} px"
        return self.camera + error + ("" if self.mask_iou is None else f"  IoU {self.mask_iou:.2f}")

    @property
    def color(self) -> Color:
        """Colour of the label's bar."""
        return {None: NEUTRAL_COLOR, True: ACCEPTED_COLOR, False: REJECTED_COLOR}[self.accepted]


@dataclass(frozen=True)
class SheetSample:
    """One training sample, as `contact_sheet` draws it.

    keypoints_px: pixels of `image`. visible: which keypoints to draw bright. mask: 0 or 255, or None.
    """

    image: Image
    keypoints_px: Float[np.ndarray, "21 2"]
    visible: Bool[np.ndarray, " 21"]
    mask: Mask | None
    label: str


def draw_skeleton(
    image: Image,
    keypoints_px: Float[np.ndarray, "21 2"],
    visible: Bool[np.ndarray, " 21"] | None = None,
    color: Color | None = None,
) -> Image:
    """A copy of `image` with bones and keypoints, one colour per finger; those not visible are darker.

    color: of everything instead. Keypoints that are not finite are left out. Raises ValueError when there are not 21
    of them.
    """
    if keypoints_px.shape != (KEYPOINT_COUNT, 2):
        raise ValueError(f"draw_skeleton: expected (21, 2) keypoints, got {keypoints_px.shape}")
    canvas = image.copy()
    scale = max(1.0, max(image.shape[:2]) / 480)
    thickness, radius = max(1, round(1.3 * scale)), round(2.4 * scale * (1 << _SHIFT))
    bright = np.ones(KEYPOINT_COUNT, bool) if visible is None else np.asarray(visible, bool)
    drawable = np.isfinite(keypoints_px).all(1) & (np.abs(np.nan_to_num(keypoints_px)) < 1e5).all(1)
    fixed = np.round(np.where(drawable[:, None], keypoints_px, 0.0) * (1 << _SHIFT)).astype(int)

    def color_of(keypoint: int, is_bright: bool) -> Color:
        red, green, blue = color or _KEYPOINT_COLORS[keypoint]
        shade = 1.0 if is_bright else _HIDDEN_SHADE
        return int(red * shade), int(green * shade), int(blue * shade)

    for keypoint, parent in enumerate(KEYPOINT_PARENTS):
        if parent >= 0 and drawable[keypoint] and drawable[parent]:
            tone = color_of(keypoint, bool(bright[keypoint] and bright[parent]))
            a, b = fixed[keypoint].tolist(), fixed[parent].tolist()
            cv2.line(canvas, a, b, tone, thickness, cv2.LINE_AA, _SHIFT)
    for keypoint in range(KEYPOINT_COUNT - 1, WRIST - 1, -1):  # the wrist on top of the five bones it ends
        if drawable[keypoint]:
            tone = color_of(keypoint, bool(bright[keypoint]))
            cv2.circle(canvas, fixed[keypoint].tolist(), radius, tone, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return canvas


def draw_mask_outline(image: Image, mask: Mask, color: Color = OUTLINE_COLOR) -> Image:
    """A copy of `image` with the borders of `mask`, holes too. Raises ValueError when the sizes differ."""
    if mask.shape != image.shape[:2]:
        raise ValueError(f"draw_mask_outline: the image is {image.shape[:2]}, the mask {mask.shape}")
    canvas = image.copy()
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, color, max(1, round(max(mask.shape) / 640)), cv2.LINE_AA)
    return canvas


def overlay_views(
    views: Sequence[Image],
    labels: Sequence[ViewLabel],
    columns: int | None = None,
    cell_px: tuple[int, int] = (480, 360),
) -> Image:
    """One image with all views of a frame, each under a bar with its label.

    views: of any sizes; each is fitted into a cell. columns: by default the squarest grid. cell_px: its size.
    """
    labelled = zip(views, labels, strict=True)
    cells = [_label(_fit_into(view, cell_px), label.text(), label.color) for view, label in labelled]
    return _grid(cells, columns or math.ceil(math.sqrt(len(cells))))


def contact_sheet(samples: Sequence[SheetSample], columns: int = 8, cell_px: int = 192, twice: bool = False) -> Image:
    """A grid of training samples with their keypoints and the outline of their masks.

    twice: every sample also without anything drawn on it, to the left of itself.
    """
    cells = []
    for sample in samples:
        height, width = sample.image.shape[:2]
        plain = drawn = _fit_into(sample.image, (cell_px, cell_px))
        scale = min(cell_px / width, cell_px / height)
        margin_px = (np.array([cell_px, cell_px]) - np.round(np.array([width, height]) * scale)) // 2
        if sample.mask is not None:
            drawn = draw_mask_outline(drawn, _fit_into(sample.mask, (cell_px, cell_px)))
        keypoints_px = (sample.keypoints_px + 0.5) * scale - 0.5 + margin_px
        drawn = draw_skeleton(drawn, keypoints_px, sample.visible)
        if twice:
            drawn = np.concatenate([plain, drawn], 1)
        cells.append(_label(drawn, sample.label, NEUTRAL_COLOR))
    return _grid(cells, min(columns, max(1, len(cells))))


def read_sheet(shards_dir: Path, count: int = 48) -> list[SheetSample]:
    """At most `count` samples taken at even steps from all shards of a directory, in order.

    Raises HandgenError when the shards are not finished, or one is damaged.
    """
    manifest = shards.read_manifest(shards_dir)
    total = manifest["samples"]
    wanted = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    samples: list[SheetSample] = []
    first = 0
    for shard in manifest["shards"]:
        here = wanted & set(range(first, first + shard["samples"]))
        path = shards_dir / shard["name"]
        for index, (key, group) in enumerate(shards.read_groups(path), first) if here else ():
            if index in here:
                document = shards.read_document(path, key, group)
                where = f"{path}, sample {key}"
                samples.append(_sheet_sample(document, group[shards.IMAGE], group[shards.MASK], where))
        first += shard["samples"]
    return samples


def sheet_samples(samples: Sequence[shards.Sample]) -> list[SheetSample]:
    """Samples that were just made, as `contact_sheet` takes them."""
    return [_sheet_sample(s.document, s.image_jpeg, s.mask_png, f"sample {s.key}") for s in samples]


def _sheet_sample(document: dict[str, Any], image: bytes, mask: bytes, where: str) -> SheetSample:
    return SheetSample(
        image=images.decode_rgb(image, f"{where}.{shards.IMAGE}"),
        keypoints_px=np.array(document["keypoints_2d"], dtype=float),
        visible=np.array(document["visible"], dtype=bool),
        mask=images.decode_grey(mask, f"{where}.{shards.MASK}"),
        label=f"{document['key']} {document['side']}",
    )


def _fit_into(image: np.ndarray, cell_px: tuple[int, int]) -> np.ndarray:
    """`image` scaled to fit into the middle of a dark cell of (width, height)."""
    height, width = image.shape[:2]
    scale = min(cell_px[0] / width, cell_px[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cell = np.zeros((cell_px[1], cell_px[0], *image.shape[2:]), np.uint8)
    left, top = (cell_px[0] - size[0]) // 2, (cell_px[1] - size[1]) // 2
    cell[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=way)
    return cell


def _label(cell: np.ndarray, text: str, color: Color) -> np.ndarray:
    bar = np.full((_LABEL_HEIGHT_PX, cell.shape[1], 3), 28, np.uint8)
    bar[:, :5] = color
    cv2.putText(bar, printable(text), (10, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([bar, cell], 0)


def _grid(cells: list[np.ndarray], columns: int) -> np.ndarray:
    if not cells:
        return np.zeros((_LABEL_HEIGHT_PX, 64, 3), np.uint8)
    blank = np.zeros_like(cells[0])
    cells = cells + [blank] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)], 0)
