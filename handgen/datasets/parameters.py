"""Parameters of hands in other frames, without torch: an export of them is over before that is imported."""

from __future__ import annotations

from dataclasses import replace

from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import moved_hand, rest_wrist
from handgen.hand.model_files import HandArrays
from handgen.records.labelled_image import HandParameters


def move_parameters(parameters: HandParameters, b_from_a: Rigid, arrays: HandArrays) -> HandParameters:
    """Move parameters of a hand model, with a translation, into another frame."""
    assert parameters.translation_m is not None
    wrist = rest_wrist(parameters.betas, arrays)
    pose, translation = moved_hand(parameters.pose, parameters.translation_m, wrist, b_from_a)
    return replace(parameters, pose=pose, translation_m=translation)
