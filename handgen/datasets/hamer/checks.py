"""Checks of HaMeR's training tars: all that its loader asks for without saying so, and the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handgen.datasets.checks import CheckContext
from handgen.datasets.hamer import reader as hamer
from handgen.datasets.hamer.layout import BOX_UNIT_PX, FIELDS, LABELS, MASKS, SURE, tars_in
from handgen.datasets.hamer.layout import PADDING as USUAL_PADDING
from handgen.errors import HandgenError
from handgen.io.shards import read_groups
from handgen.label_checks.checks import BatchExaminer, Part, conclude_parts
from handgen.label_checks.evidence import Fault, HandModels, Tolerances
from handgen.label_checks.findings import Checked, Findings
from handgen.label_checks.hands import HUGE
from handgen.records.labelled_image import MIN_KEYPOINTS, LabelledImage
from handgen.storage import limits
from handgen.storage.pickles import read_labels

LEFT_OUT = ("intrinsics", "reprojection", "box", "visible", "world", "betas per person", "translation")
_BATCH = 200
_MOST_LOSS = 31000
_CENTRE = 0.5  # of the keypoints' extent, the box's centre from theirs
_SIDE = (0.8, 8.0)  # box by the keypoints' extent
_PADDED = 1.25  # median of that
Entry = dict[str, Any]
_Masks = tuple[tuple[int, ...], tuple[int, int]] | Fault | None  # shape of the array, width and height of the picture


@dataclass
class TarCheck:
    """The contents of one tar. paddings: sides of the boxes by the keypoints' extents."""

    findings: Findings = field(default_factory=Findings)
    parts: list[Part] = field(default_factory=list)
    paddings: list[float] = field(default_factory=list)
    pictures: int = 0
    hands: int = 0


def _arrays(entry: Entry, _: _Masks) -> Fault | None:
    for name, shape in FIELDS.items():
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


def _numbers(entry: Entry, _: _Masks) -> Fault | None:
    for name in ("has_hand_pose", "has_betas"):
        if not isinstance(entry.get(name), np.generic):
            return Fault(f"{name} is {type(entry.get(name)).__name__}", "write np.float32(1) or np.float32(0)")
        if not np.isfinite(hamer.number_of(entry[name]) or 0.0):
            return Fault(f"{name} is not finite", "write np.float32(1) or np.float32(0)")
    if hamer.number_of(entry.get("right")) not in (0, 1):
        return Fault(f"right is {str(entry.get('right'))[:40]!r}", "write 1 for a right hand, 0 for a left one")
    return None


def _enough(entry: Entry, _: _Masks) -> Fault | None:
    sure = int((entry["keypoints_2d"][:, 2] >= SURE).sum())
    what = f"{sure} keypoints have a confidence of {SURE} and more"
    return None if sure >= MIN_KEYPOINTS else Fault(what, f"leave the hand out: {MIN_KEYPOINTS} are asked for")


def _box(entry: Entry, _: _Masks) -> Fault | None:
    low, extent = _extent(entry)
    if not 2 <= extent.max() < HUGE:
        return None
    off = np.abs(entry["center"] - low - extent / 2) / extent.max()
    share = BOX_UNIT_PX * float(entry["scale"].max()) / float(extent.max())
    if _SIDE[0] <= share / BOX_UNIT_PX <= _SIDE[1]:
        what = f"scale is {share / BOX_UNIT_PX:.3g} times the keypoints' extent: it looks like pixels"
        return Fault(what, f"divide it by {BOX_UNIT_PX}")
    if not _SIDE[0] <= share <= _SIDE[1]:
        what = f"the box is {share:.3g} times as large as the keypoints' extent"
        return Fault(what, f"write the padded box's side / {BOX_UNIT_PX}")
    if off.max() > _CENTRE:
        return Fault("center is not in the middle of the keypoints", "write the box's centre, pixels")
    return None


def _masks_in(members: dict[str, bytes]) -> _Masks:
    """Read the sizes of masks and picture once for all hands of it."""
    if MASKS not in members:
        return None
    try:
        return hamer.mask_shape(members[MASKS], MASKS), hamer.picture_in(members, "the picture")[1]
    except HandgenError as error:
        return Fault(str(error), "write the masks, or the picture, again")


def _mask_index(entry: Entry, masks: _Masks) -> Fault | None:
    if masks is None:
        return None
    info = entry.get("extra_info")
    number = info.get("detection_npz_idx") if isinstance(info, dict) else None
    if not isinstance(number, int | np.integer):
        return Fault(f"there is a {MASKS}, but no extra_info['detection_npz_idx']", "say which mask is this hand's")
    if isinstance(masks, Fault):
        return masks
    shape, (width, height) = masks
    if len(shape) != 3 or shape[1:] != (height, width):
        return Fault(f"the masks are of shape {shape}", f"write n x {height} x {width}, as the picture is")
    if not 0 <= number < shape[0]:
        return Fault(f"detection_npz_idx is {number}, but there are {shape[0]} masks", "count the masks from 0")
    return None


def _loss(entry: Entry, _: _Masks) -> Fault | None:
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
    sure = entry["keypoints_2d"][entry["keypoints_2d"][:, 2] >= SURE, :2]
    return (sure.min(0), np.ptp(sure, axis=0)) if len(sure) > 1 else (np.zeros(2), np.zeros(2))


ENTRY_CHECKS: dict[str, tuple[str, Callable[[Entry, _Masks], Fault | None]]] = {
    "hamer arrays": ("finite float32 arrays of the shapes that the loader takes: keypoints_3d is (21, 4)", _arrays),
    "hamer numbers": ("has_hand_pose and has_betas are np.float32, right is 1 or 0", _numbers),
    "hamer confidence": (f"five keypoints or more have a confidence of {SURE} or more", _enough),
    "hamer box": (f"center and scale (box / {BOX_UNIT_PX}) are of the box around the keypoints", _box),
    "hamer mask": (
        "where there are masks, detection_npz_idx says which is the hand's, and they are of the picture's size",
        _mask_index,
    ),
    "hamer loss": (f"fitting_loss, if there, is a 0-d array of a dictionary, below {_MOST_LOSS}", _loss),
}
LIST, PADDING = "hamer list", "hamer padding"
ABOUT = {name: about for name, (about, _) in ENTRY_CHECKS.items()}


def check(root: Path, context: CheckContext) -> Checked:
    """Check all tars of a data set."""
    tars, manifest = tars_in(root), context.manifest
    whole = TarCheck()
    context.show("reading tars", 0, len(tars))
    check_one = partial(check_tar, known=manifest.known, model=manifest.model, tolerances=context.tolerances())
    for done, found in enumerate(context.engine.map_units(check_one, tars, len(tars)), 1):
        whole.findings.extend(found.findings)
        whole.parts += found.parts
        whole.paddings += found.paddings
        whole.pictures += found.pictures
        whole.hands += found.hands
        context.show("reading tars", done, len(tars))
    if whole.paddings:
        whole.findings.looked_at[PADDING] = len(whole.paddings)
        whole.findings.add_fault(PADDING, f"{root}, all hands", padding_fault(whole.paddings))
    facts = {"pictures": whole.pictures, "hands": whole.hands, "tars": len(tars)}
    return conclude_parts(root, whole.findings, whole.parts, facts)


def check_tar(path: Path, known: dict[str, str], model: str | None, tolerances: Tolerances) -> TarCheck:
    """Check one tar. model: of the parameters, if the manifest says so; known: files of models, by name."""
    found, examiner = TarCheck(), BatchExaminer(f"{path}, ", HandModels(known), tolerances, LEFT_OUT, _BATCH)
    try:
        for key, members in read_groups(path):
            if LABELS in members:
                found.pictures += 1
                image = _check_group(found, f"{path}, {key}", key, members, model)
                if image is not None:
                    examiner.add(image)
    except HandgenError as error:
        found.findings.add("damaged tar", str(path), str(error), "write the tar again")
    found.parts = examiner.finish()
    return found


def _check_group(
    found: TarCheck, where: str, key: str, members: dict[str, bytes], model: str | None
) -> LabelledImage | None:
    """Check one picture; return it where its labels can be looked at."""
    found.findings.looked_at[LIST] += 1
    try:
        entries = read_labels(members[LABELS], f"{where}.{LABELS}")
        limits.PEOPLE.check(len(entries) if isinstance(entries, list) else 0, f"{where}.{LABELS}")
    except HandgenError as error:
        found.findings.add(LIST, where, str(error), "write pickle.dumps of a list of dictionaries")
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        what = f"{LABELS} holds a {type(entries).__name__}, not a list of dictionaries"
        found.findings.add(LIST, where, what, "write a list with one dictionary per hand, also for one hand")
        return None
    found.hands += len(entries)
    has_masks, masks = True, _masks_in(members)
    for entry in entries:
        for name, (_, check) in ENTRY_CHECKS.items():
            found.findings.looked_at[name] += 1
            fault = check(entry, masks)
            if fault is not None:
                found.findings.add(name, where, fault.what, fault.fix)
                if name == "hamer arrays":
                    return None
                has_masks &= name != "hamer mask"
        _, extent = _extent(entry)
        if 2 <= extent.max() < HUGE:
            found.paddings.append(BOX_UNIT_PX * float(entry["scale"].max()) / float(extent.max()))
    try:
        return hamer.label_picture(key, members, entries, where, model, with_mask=has_masks)
    except HandgenError as error:
        found.findings.add("picture", where, str(error), "write the picture, or its masks, again")
        return None


def padding_fault(paddings: list[float]) -> Fault | None:
    """Find whether boxes are padded less, over all hands (one at least), than the loader takes them to be."""
    if np.median(paddings) >= _PADDED:
        return None
    what = f"boxes are {np.median(paddings):.2f} times the keypoints' extent (median)"
    usual = f"HaMeR's own are padded by {USUAL_PADDING:g}, and its loader of tars pads no more"
    return Fault(what, f"pad them before dividing by {BOX_UNIT_PX}: {usual}")
