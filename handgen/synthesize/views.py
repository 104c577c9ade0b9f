"""Which views of an annotations directory become samples, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.cameras import Camera
from handgen.errors import HandgenError
from handgen.hand.assets import HandArrays, load_hand
from handgen.hand.layout import SIDES
from handgen.io.annotations import Annotations, HandRecord, ViewRecord
from handgen.synthesize.labels import sides_mirror
from handgen.synthesize.virtual_camera import in_front

MODEL_TOLERANCE_M = 5e-5
_ORDER = 0x71  # sets this generator's seeds apart from those of samples


@dataclass(frozen=True)
class HandModels:
    """Arrays of the sides that can be had. note: why samples are not mirrored, or empty."""

    arrays: dict[str, HandArrays]
    flips: bool
    note: str


def load_models(annotations: Annotations, want_flips: bool) -> HandModels:
    """The hand model that the annotations were made with.

    Raises HandgenError when it cannot be had, or is not the same file.
    """
    said = annotations.manifest["hand_model"]
    arrays: dict[str, HandArrays] = {}
    missing = ""
    for side in SIDES:
        try:
            arrays[side] = load_hand(annotations.hand_model, side)
        except HandgenError as error:
            if side in said["sha256"]:
                raise
            missing = str(error)
            continue
        if said["sha256"].get(side, arrays[side].sha256) != arrays[side].sha256:
            raise HandgenError(
                f"{annotations.root}: made with another version of the {side} hand model {said['name']!r}; "
                "bring that model file back, or run `handgen annotate` again"
            )
    if not want_flips:
        return HandModels(arrays, False, "not asked for")
    if missing:
        return HandModels(arrays, False, f"one side of the hand model is missing ({missing})")
    if not sides_mirror(arrays["right"], arrays["left"]):
        return HandModels(arrays, False, f"the left hand of {said['name']!r} is not the mirror image of its right")
    return HandModels(arrays, True, "")


def usable_views(
    annotations: Annotations,
    models: HandModels,
    include_rejected: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Int[np.ndarray, "views 3"]:
    """Chunk, record in it, and view in that, of every view that may become a sample.

    Accepted views of accepted records; with `include_rejected` all that have a mask. A hand that is not in
    front of the view's camera is never used.

    Raises HandgenError when a record does not fit the hand model or the cameras, or no view is left.
    """
    found: list[tuple[int, int, int]] = []
    records_seen = 0
    for chunk in range(annotations.chunk_count):
        records = annotations.records(chunk)
        records_seen += len(records)
        _check_model(annotations, models, chunk, records)
        for i, record in enumerate(records):
            for j, view in enumerate(record.views):
                accepted = record.accepted and view.accepted
                if not accepted and not (include_rejected and view.mask_iou):
                    continue
                capture_camera(annotations, view)  # an error now rather than in the middle of the samples
                if in_front(view.camera, record.keypoints_world_m):
                    found.append((chunk, i, j))
        if progress:
            progress(chunk + 1, annotations.chunk_count)
    if not found:
        hint = "look at the reasons in its records, or use --include-rejected" if records_seen else "is a hand in view?"
        raise HandgenError(f"{annotations.root}: no accepted view among {records_seen} records; {hint}")
    return np.array(found, dtype=np.int32)


def order_views(count: int, seed: int, first: int, last: int) -> Int[np.ndarray, " samples"]:
    """Views of the samples `first` to `last` - 1: every round over the views has its own seeded order."""
    picks = []
    for turn in range(first // count, -(-last // count)):
        order = np.random.default_rng([seed, _ORDER, turn]).permutation(count)
        picks.append(order[max(0, first - turn * count) : last - turn * count])
    return np.concatenate(picks)


def subject_betas(annotations: Annotations, record: HandRecord) -> Float[np.ndarray, " 10"]:
    """The betas of a record's subject. Raises HandgenError when the manifest does not know it."""
    if record.subject not in annotations.betas:
        raise HandgenError(
            f"{annotations.root}: frame {record.frame} is of subject {record.subject!r}, "
            "whom the manifest does not list; run `handgen annotate` again"
        )
    return annotations.betas[record.subject]


def capture_camera(annotations: Annotations, view: ViewRecord) -> Camera:
    """The capture's camera that a view was cut from. Raises HandgenError when the manifest does not list it."""
    if view.camera.name not in annotations.rig.names:
        raise HandgenError(
            f"{annotations.root}: {view.cutout} is of camera {view.camera.name!r}, "
            "which the manifest does not list; run `handgen annotate` again"
        )
    return annotations.rig[view.camera.name]


def _check_model(annotations: Annotations, models: HandModels, chunk: int, records: list[HandRecord]) -> None:
    """The model must give the records' keypoints: labels built from either would otherwise disagree."""
    import torch

    from handgen.hand.model import HandModel, HandPose

    for side in SIDES:
        mine = [record for record in records if record.side == side]
        if not mine:
            continue
        if side not in models.arrays:
            raise HandgenError(f"{annotations.root}: chunk {chunk} has {side} hands, but no {side} hand model")
        pose = HandPose(
            torch.tensor(np.stack([record.pose for record in mine])).reshape(-1, 16, 3),
            torch.tensor(np.stack([record.translation_m for record in mine])),
            torch.tensor(np.stack([subject_betas(annotations, record) for record in mine])),
        )
        keypoints = HandModel(models.arrays[side])(pose).keypoints.numpy()
        miss = np.abs(keypoints - np.stack([record.keypoints_world_m for record in mine])).max((1, 2))
        worst = int(miss.argmax())
        if miss[worst] > MODEL_TOLERANCE_M:
            raise HandgenError(
                f"{annotations.root}: frame {mine[worst].frame}, {side} hand: the hand model's keypoints are "
                f"{1000 * miss[worst]:.2f} mm from the record's; run `handgen annotate` again"
            )
