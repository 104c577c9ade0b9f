"""Pictures and masks against labels. Decoding costs time, so of each part of a set some pictures are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from handgen.errors import HandgenError
from handgen.geometry.meshes import mesh_mask
from handgen.hand.model import HandPose
from handgen.hand.skeleton import JOINT_COUNT
from handgen.label_checks.evidence import Evidence, Fault
from handgen.label_checks.hands import HUGE
from handgen.media import images
from handgen.media.arrays import Image, Mask
from handgen.records.labelled_image import LabelledHand, LabelledImage

_ENOUGH = 5  # visible keypoints
_REACH = 0.03  # of the hand's extent: fitted joints near an edge, tips at the end
_LITTLE, _MUCH = 2e-4, 0.98  # of the picture, a mask that is as good as empty or full


SHIFT_PX = 16  # pictures are tried moved by as much
_EDGE_POINTS = 400  # of a mask's edge that the moved pictures are compared at
# What makes a picture fit its mask, by what is wrong with it. The first changes nothing.
TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they should be": lambda a: a,
    "mirrored": lambda a: a[:, ::-1],
    "upside down (mirrored in y)": lambda a: a[::-1],
    "rotated by 180 degrees": lambda a: a[::-1, ::-1],
    "rotated by 90 degrees, clockwise": lambda a: np.rot90(a, 1),
    "rotated by 90 degrees, anticlockwise": lambda a: np.rot90(a, -1),
    "transposed (x and y swapped)": lambda a: a.swapaxes(0, 1),
    "transposed and rotated by 180 degrees": lambda a: a[::-1, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True)
class Edges:
    """Mean difference of colour across a mask's edge, in the picture flipped and moved.

    turned: by `TURNS`; NaN where the picture would get another size. moved: by dy, dx, from -SHIFT_PX to SHIFT_PX, over
    their mean: how strong the edges are that lie so far from the mask's.
    """

    turned: Float[np.ndarray, " turns"]
    moved: Float[np.ndarray, "dy dx"]


@dataclass(frozen=True)
class MaskOverlap:
    """A mask against the projected mesh. turned: of the mask, by `TURNS`, their overlap's share of the smaller one.

    The smaller one, since occluders hide part of a mesh and some masks go on along the forearm. offset_px: of the
    mask's middle from the mesh's.
    """

    turned: Float[np.ndarray, " turns"]
    offset_px: Float[np.ndarray, " 2"]


@dataclass(frozen=True)
class ProjectedMesh:
    """A hand's surface in its picture, pixels."""

    vertices_px: Float[np.ndarray, "n 2"]
    faces: Int[np.ndarray, "faces 3"]


@dataclass(frozen=True)
class PictureEvidence:
    """One picture that was decoded. faults: by the check's name.

    red_over_blue: mean difference within the mask; None without a mask. edges: how strong the picture's are along the
    mask's. held: share of the visible keypoints in the mask, as it is and mirrored. covered: by the projected mesh.
    """

    name: str
    faults: dict[str, Fault]
    red_over_blue: float | None = None
    edges: Edges | None = None
    held: tuple[float, float] | None = None
    covered: MaskOverlap | None = None


def choose_pictures(evidence: Evidence) -> list[int]:
    """The numbers of the pictures of this part that are looked at: always the same ones."""
    pictures = [number for number, image in enumerate(evidence.hands.images) if image.image is not None]
    count = evidence.tolerances.pixels_per_part
    if count is None or len(pictures) <= count:
        return pictures
    rng = np.random.default_rng(len(pictures))
    return [pictures[i] for i in np.sort(rng.choice(len(pictures), count, replace=False))]


def meshes_in(evidence: Evidence, pictures: Sequence[int]) -> dict[int, ProjectedMesh]:
    """Compute, by the picture's number, the mesh of its first hand, which is the one that its mask shows.

    Hands whose model is not here, or whose labels have a fault already, are left out.
    """
    hands, found = evidence.hands, {}
    sound = hands.has_pose & hands.has_camera & np.isfinite(hands.translation_m).all(1) & (hands.number == 0)
    sound &= ~np.any([np.zeros(len(hands), bool), *evidence.wrong.values()], axis=0)
    for hand in np.flatnonzero(sound & np.isin(hands.image_of, np.array(pictures, int))).tolist():
        labels = hands.labels(hand)
        assert labels.parameters is not None
        name, sha256 = labels.parameters.model, labels.parameters.model_sha256
        side = None if name is None and sha256 is None else evidence.models.sides(name, sha256)
        if side is None or labels.side not in side:
            continue
        model = side[labels.side].model
        pose = HandPose(
            torch.tensor(hands.pose[hand]).reshape(1, JOINT_COUNT, 3),
            torch.tensor(hands.translation_m[hand])[None],
            torch.tensor(hands.betas[hand])[None],
        )
        rays = model(pose).vertices[0].numpy() @ hands.intrinsics[hand].T
        if (rays[:, 2] > 0).all():
            found[int(hands.image_of[hand])] = ProjectedMesh(rays[:, :2] / rays[:, 2:], model.arrays.faces)
    return found


def inspect_picture(image: LabelledImage, in_mask: float = 0.5, mesh: ProjectedMesh | None = None) -> PictureEvidence:
    """Decode a picture and its mask. in_mask: as in `Tolerances`. mesh: of the hand that the mask shows."""
    assert image.image is not None
    where = f"{image.name}.{image.suffix}"
    try:
        pixels = images.decode_rgb(image.image, where)
    except HandgenError as error:
        fault = Fault(str(error).removeprefix(f"{where}: "), "write the picture again")
        return PictureEvidence(image.name, {"picture": fault})
    height, width = pixels.shape[:2]
    if (width, height) != image.size_px:
        what = f"the picture is {width}x{height}, its labels say {image.size_px[0]}x{image.size_px[1]}"
        return PictureEvidence(image.name, {"picture": Fault(what, "write the picture's own size")})
    if image.mask is None or not image.hands:
        return PictureEvidence(image.name, {})
    try:
        mask = images.decode_grey(image.mask, f"the mask of {where}")
    except HandgenError as error:
        return PictureEvidence(image.name, {"mask": Fault(str(error), "write the mask again")})
    if mask.shape != (height, width):
        what = f"the mask is {mask.shape[1]}x{mask.shape[0]}, the picture {width}x{height}"
        return PictureEvidence(image.name, {"mask": Fault(what, "write the mask of this picture")})
    inside = mask > 127
    points = _seen_points(image.hands[0])
    reach = max(1, round(_REACH * float(np.ptp(points, axis=0).max()))) if len(points) else 1
    mask_fault = _mask_fault(inside, mask, points, reach, in_mask)
    is_plain = _LITTLE < inside.mean() < 0.5  # neither empty nor inverted, which is another fault
    covered = overlap_of(mesh, inside) if mesh is not None and (mask_fault is None or is_plain) else None
    if mask_fault is not None:
        return PictureEvidence(image.name, {"mask": mask_fault}, covered=covered)
    held = None
    if len(points):
        held = share_inside(inside, points, reach), share_inside(inside[:, ::-1], points, reach)
    core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    red, _, blue = pixels[core if core.any() else inside].astype(np.float32).mean(0)
    return PictureEvidence(image.name, {}, float(red - blue), edges_along(pixels, inside), held, covered)


def _seen_points(hand: LabelledHand) -> Float[np.ndarray, "n 2"]:
    """The visible keypoints, if there are enough of them."""
    seen = hand.visible & hand.labelled & (np.abs(hand.keypoints_px) < HUGE).all(1)
    return hand.keypoints_px[seen] if seen.sum() >= _ENOUGH else np.zeros((0, 2))


def _mask_fault(
    inside: Bool[np.ndarray, "height width"], mask: Mask, points: Float[np.ndarray, "n 2"], reach: int, in_mask: float
) -> Fault | None:
    share = float(inside.mean())
    if share < _LITTLE:
        if mask.max() > 0:
            return Fault(f"the mask's values end at {mask.max()}", "write 0 outside and 255 inside")
        return Fault("the mask is empty", "write 255 where the hand is, or leave this picture out")
    if share > _MUCH:
        return Fault("the mask is full", "write 0 where the hand is not")
    if not len(points):
        return None
    held = share_inside(inside, points, reach)
    if held >= in_mask:
        return None
    what = f"{held:.0%} of the visible keypoints lie in the mask"
    for flipped, name in ((inside[:, ::-1], "mirrored in x"), (inside[::-1], "upside down")):
        if share_inside(flipped, points, reach) > 0.9:
            return Fault(f"{what}; it looks {name}", "mirror picture, mask and labels together")
    if share_inside(~inside, points, 0) > 0.8 and share > 0.5:
        return Fault(f"{what}; it looks inverted", "write 255 where the hand is, 0 elsewhere")
    return Fault(f"{what}; is it another picture's?", "write the mask of this hand in this picture")


def share_inside(inside: Bool[np.ndarray, "height width"], points: Float[np.ndarray, "n 2"], reach: int) -> float:
    """The share of points that have a pixel of the mask within `reach`."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    wide = cv2.dilate(inside.astype(np.uint8), disc) > 0
    height, width = inside.shape
    columns = np.clip(np.round(points[:, 0]).astype(int), 0, width - 1)
    rows = np.clip(np.round(points[:, 1]).astype(int), 0, height - 1)
    return float(wide[rows, columns].mean())


def _turned(picture: np.ndarray, measure: Callable[[np.ndarray], float]) -> Float[np.ndarray, " turns"]:
    others = [turn(picture) for turn in TURNS.values()]
    return np.array([measure(other) if other.shape == picture.shape else np.nan for other in others], float)


def overlap_of(mesh: ProjectedMesh, inside: Bool[np.ndarray, "height width"]) -> MaskOverlap | None:
    """Compare a mask with the projected mesh; None where the mesh lies outside the picture."""
    drawn = mesh_mask(mesh.vertices_px, mesh.faces, (inside.shape[1], inside.shape[0])) > 0
    if not drawn.any():
        return None
    smaller = min(int(drawn.sum()), int(inside.sum()))
    turned = _turned(inside, lambda other: (other & drawn).sum() / smaller)
    middles = [np.argwhere(area)[:, ::-1].mean(0) for area in (inside, drawn)]
    return MaskOverlap(turned, middles[0] - middles[1])


def edges_along(pixels: Image, inside: Bool[np.ndarray, "height width"]) -> Edges | None:
    """Measure how much colours change along the mask's edge; None where there is hardly an edge to look at."""
    smooth = cv2.blur(pixels, (3, 3)).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    grown, shrunk = cv2.dilate(inside.astype(np.uint8), kernel), cv2.erode(inside.astype(np.uint8), kernel)
    edge = (grown > 0) & (shrunk == 0)
    edge[[0, 1, -2, -1]] = edge[:, [0, 1, -2, -1]] = False
    if edge.sum() < 20:
        return None
    strength = (np.abs(cv2.Sobel(smooth, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(smooth, cv2.CV_32F, 0, 1))).sum(-1)
    turned = _turned(strength, lambda other: other[edge].mean())
    rows, columns = np.nonzero(edge)
    every = max(1, len(rows) // _EDGE_POINTS)
    padded = np.pad(strength, SHIFT_PX, constant_values=float(strength.mean()))
    steps = np.arange(2 * SHIFT_PX + 1)
    at = padded[rows[::every] + steps[:, None, None], columns[::every] + steps[None, :, None]].mean(2)
    return Edges(turned, (at / max(float(at.mean()), 1e-3)).astype(np.float32))
