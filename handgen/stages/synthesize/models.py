"""The hand model of annotations: had again, the same file, and giving the keypoints that the records hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgen.errors import HandgenError
from handgen.hand.conversions import sides_mirror
from handgen.hand.model_files import HandArrays, load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord

MODEL_TOLERANCE_M = 5e-5


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


def check_model(annotations: Annotations, models: HandModels, chunk: int, records: list[HandRecord]) -> None:
    """The model must give the records' keypoints: labels built from either would otherwise disagree.

    Raises HandgenError where it does not, or where a record's subject or side is not known.
    """
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
            torch.tensor(np.stack([annotations.betas_of(record) for record in mine])),
        )
        keypoints = HandModel(models.arrays[side])(pose).keypoints.numpy()
        miss = np.abs(keypoints - np.stack([record.keypoints_world_m for record in mine])).max((1, 2))
        worst = int(miss.argmax())
        if miss[worst] > MODEL_TOLERANCE_M:
            raise HandgenError(
                f"{annotations.root}: frame {mine[worst].frame}, {side} hand: the hand model's keypoints are "
                f"{1000 * miss[worst]:.2f} mm from the record's; run `handgen annotate` again"
            )
