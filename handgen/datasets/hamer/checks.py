"""The layout of HaMeR's training tars: what its loader asks for without saying so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handgen.datasets.hamer import reader as hamer
from handgen.errors import HandgenError
from handgen.io.shards import read_groups
from handgen.label_checks.checks import Part, examine
from handgen.label_checks.evidence import Fault, Models, Tolerances
from handgen.label_checks.findings import Findings
from handgen.label_checks.hands import HUGE
from handgen.records.labelled_image import MIN_KEYPOINTS, LabelledImage
from handgen.storage.plain_pickle import read_labels

LEFT_OUT = ("intrinsics", "reprojection", "box", "visible", "world", "betas per person", "translation")
_BATCH = 200
_MOST_LOSS = 31000
_CENTRE = 0.5  # of the keypoints' extent, the box's centre from theirs
_SIDE = (0.8, 8.0)  # box by the keypoints' extent
_PADDED = 1.25  # median of that; HaMeR's own boxes are padded by 2
Entry = dict[str, Any]


@dataclass
class TarCheck:
    """What one tar holds. paddings: sides of the boxes by the keypoints' extents."""

    findings: Findings = field(default_factory=Findings)
    looked_at: Counter[str] = field(default_factory=Counter)
    parts: list[Part] = field(default_factory=list)
    paddings: list[float] = field(default_factory=list)
    pictures: int = 0
    hands: int = 0


def _arrays(entry: Entry, _: dict[str, bytes]) -> Fault | None:
    for name, shape in hamer.FIELDS.items():
        value = entry.get(name)
        if value is None:
            return Fault(f"has no {name}", f"write a float32 array of shape {shape}")
        if not isinstance(value, np.ndarray) or value.shape != shape:
            got = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
            hint = " (x, y, z and confidence)" if name == "keypoints_3d" else ""
            return Fault(f"{name} is {got}", f"write a float32 array of shape {shape}{hint}")
        if value.dtype != np.float32:
            return Fault(f"{name} is of type {value.dtype}", "write float32")
        if not np.isfinite(value).all():
            hint = "write a number, also where the confidence is 0: the loss is their product, and 0 times NaN is NaN"
            return Fault(f"{name} has a value that is not finite", hint)
    return None


def _numbers(entry: Entry, _: dict[str, bytes]) -> Fault | None:
    for name in ("has_hand_pose", "has_betas"):
        if not isinstance(entry.get(name), np.generic):
            return Fault(f"{name} is {type(entry.get(name)).__name__}", "write np.float32(1) or np.float32(0)")
        if not np.isfinite(hamer.number_of(entry[name]) or 0.0):
            return Fault(f"{name} is not finite", "write np.float32(1) or np.float32(0)")
    if hamer.number_of(entry.get("right")) not in (0, 1):
        return Fault(f"right is {str(entry.get('right'))[:40]!r}", "write 1 for a right hand, 0 for a left one")
    return None


def _enough(entry: Entry, _: dict[str, bytes]) -> Fault | None:
    sure = int((entry["keypoints_2d"][:, 2] >= hamer.SURE).sum())
    if sure >= MIN_KEYPOINTS:
        return None
    return Fault(
        f"{sure} keypoints have a confidence of {hamer.SURE} and more",
        f"leave the hand out: {MIN_KEYPOINTS} are asked for",
    )


def _box(entry: Entry, _: dict[str, bytes]) -> Fault | None:
    low, extent = _extent(entry)
    if not 2 <= extent.max() < HUGE:
        return None
    off = np.abs(entry["center"] - low - extent / 2) / extent.max()
    share = 200 * float(entry["scale"].max()) / float(extent.max())
    if _SIDE[0] <= share / 200 <= _SIDE[1]:
        return Fault(
            f"scale is {share / 200:.3g} times the keypoints' extent: it looks like pixels", "divide it by 200"
        )
    if not _SIDE[0] <= share <= _SIDE[1]:
        return Fault(
            f"the box is {share:.3g} times as large as the keypoints' extent", "write the padded box's side / 200"
        )
    if off.max() > _CENTRE:
        return Fault("center is not in the middle of the keypoints", "write the box's centre, pixels")
    return None


def _mask_index(entry: Entry, members: dict[str, bytes]) -> Fault | None:
    if hamer.MASKS not in members:
        return None
    info = entry.get("extra_info")
    number = info.get("detection_npz_idx") if isinstance(info, dict) else None
    if not isinstance(number, int | np.integer):
        return Fault(
            f"there is a {hamer.MASKS}, but no extra_info['detection_npz_idx']", "say which mask is this hand's"
        )
    try:
        shape = hamer.mask_shape(members[hamer.MASKS], hamer.MASKS)
        _, (width, height) = hamer.picture_in(members, "the picture")
    except HandgenError as error:
        return Fault(str(error), "write the masks, or the picture, again")
    if len(shape) != 3 or shape[1:] != (height, width):
        return Fault(f"the masks are of shape {shape}", f"write n x {height} x {width}, as the picture is")
    if not 0 <= number < shape[0]:
        return Fault(f"detection_npz_idx is {number}, but there are {shape[0]} masks", "count the masks from 0")
    return None


def _loss(entry: Entry, _: dict[str, bytes]) -> Fault | None:
    info = entry.get("extra_info")
    if not isinstance(info, dict) or "fitting_loss" not in info:
        return None
    loss = info["fitting_loss"]
    is_array = isinstance(loss, np.ndarray) and loss.shape == () and loss.dtype == object
    losses = loss.item() if is_array else None
    value = losses.get("reprojection_loss", 0.0) if isinstance(losses, dict) else None  # {} is the loader's default
    if not isinstance(value, int | float | np.number):
        return Fault("fitting_loss is no np.array({'reprojection_loss': x})", "write that, or leave it out")
    if not value < _MOST_LOSS:
        return Fault(f"its reprojection_loss is {value:g}", f"the loader drops hands from {_MOST_LOSS} on")
    return None


def _extent(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    sure = entry["keypoints_2d"][entry["keypoints_2d"][:, 2] >= hamer.SURE, :2]
    if len(sure) < 2:
        return np.zeros(2), np.zeros(2)
    return sure.min(0), np.ptp(sure, axis=0)


LAYOUT: dict[str, tuple[str, Callable[[Entry, dict[str, bytes]], Fault | None]]] = {
    "hamer arrays": ("finite float32 arrays of the shapes that the loader takes: keypoints_3d is (21, 4)", _arrays),
    "hamer numbers": ("has_hand_pose and has_betas are np.float32, right is 1 or 0", _numbers),
    "hamer confidence": ("five keypoints or more have a confidence of 0.3 or more", _enough),
    "hamer box": ("center and scale (box / 200) are of the box around the keypoints", _box),
    "hamer mask": (
        "where there are masks, detection_npz_idx says which is the hand's, and they are of the picture's size",
        _mask_index,
    ),
    "hamer loss": ("fitting_loss, if there, is a 0-d array of a dictionary, below 31000", _loss),
}
LIST, PADDING = "hamer list", "hamer padding"


def check_tar(path: Path, known: dict[str, str], model: str | None, tolerances: Tolerances) -> TarCheck:
    """One tar. model: of the parameters, if the manifest says so; known: files of models, by name."""
    found, models = TarCheck(), Models(known)
    batch: list[LabelledImage] = []

    def look() -> None:
        if batch:
            found.parts.append(examine(batch, f"{path}, ", models, tolerances, LEFT_OUT))
            batch.clear()

    try:
        for key, members in read_groups(path):
            if hamer.LABELS in members:
                found.pictures += 1
                image = _check_group(found, f"{path}, {key}", key, members, model)
                batch += [] if image is None else [image]
                if len(batch) == _BATCH:
                    look()
    except HandgenError as error:
        found.findings.add("damaged tar", str(path), str(error), "write the tar again")
    look()
    return found


def _check_group(
    found: TarCheck, where: str, key: str, members: dict[str, bytes], model: str | None
) -> LabelledImage | None:
    """The picture, where its labels can be looked at."""
    found.looked_at[LIST] += 1
    try:
        entries = read_labels(members[hamer.LABELS], f"{where}.{hamer.LABELS}")
    except HandgenError as error:
        found.findings.add(LIST, where, str(error), "write pickle.dumps of a list of dictionaries")
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        what = f"{hamer.LABELS} holds a {type(entries).__name__}, not a list of dictionaries"
        found.findings.add(LIST, where, what, "write a list with one dictionary per hand, also for one hand")
        return None
    found.hands += len(entries)
    has_masks = True
    for entry in entries:
        for name, (_, check) in LAYOUT.items():
            found.looked_at[name] += 1
            fault = check(entry, members)
            if fault is not None:
                found.findings.add(name, where, fault.what, fault.next)
                if name == "hamer arrays":
                    return None
                has_masks &= name != "hamer mask"
        _, extent = _extent(entry)
        if 2 <= extent.max() < HUGE:
            found.paddings.append(200 * float(entry["scale"].max()) / float(extent.max()))
    try:
        return hamer.labelled(key, members, entries, where, model, with_mask=has_masks)
    except HandgenError as error:
        found.findings.add("picture", where, str(error), "write the picture, or its masks, again")
        return None


def padding_fault(paddings: list[float]) -> Fault | None:
    """Over all hands: whether boxes are padded, as the loader takes them to be."""
    if not paddings or np.median(paddings) >= _PADDED:
        return None
    what = f"boxes are {np.median(paddings):.2f} times the keypoints' extent (median)"
    return Fault(
        what, "pad them before dividing by 200: HaMeR's own are padded by 2, and its loader of tars pads no more"
    )
