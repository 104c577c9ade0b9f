"""Say in words which views of a hand disagree, by how much, and why no hand is sure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from handgen.fit.subject import SURE_ERROR_SHARE
from handgen.geometry.camera import CameraSet
from handgen.multiview.association import MATCH_SHARE, MultiviewHand, least_disagreement
from handgen.multiview.consensus import MOST_OFF_FINGER_SHARE, MOST_OFF_SHARE
from handgen.records.detection import Detection
from handgen.wording import count_of

_MOST_NAMED = 12  # notes on single views: more are counted


def why_none_sure(
    rig: CameraSet, hands: Mapping[str, Sequence[MultiviewHand]], frames: Iterable[Sequence[Sequence[Detection]]]
) -> str:
    """The fact that keeps hands from being sure. hands: by side, none of them sure. frames: detections by camera."""
    found = [hand for seen in hands.values() for hand in seen]
    if not found:
        shares = [share for seen in frames if (share := least_disagreement(rig, seen)) is not None]
        if not shares:
            return "no hand was seen by two cameras"
        return (
            f"two cameras or more saw hands in {count_of(len(shares), 'frame')}, but none agree where: they miss each "
            f"other by {100 * min(shares):.0f} % of a hand or more (limit {100 * MATCH_SHARE:g} %)"
        )
    shares = [hand.error_share for hand in found if hand.view_count >= 2 and np.isfinite(hand.error_share)]
    if not shares:
        return "no hand was seen by two cameras"
    if min(shares) >= SURE_ERROR_SHARE:
        return (
            f"the cameras that see {count_of(len(shares), 'hand')} disagree by {100 * min(shares):.2g} % of the hand "
            f"or more (limit {100 * SURE_ERROR_SHARE:g} %)"
        )
    return f"of {count_of(len(shares), 'hand')} that two cameras saw, none is without a camera that contradicts"


def notes_left_out(hands: Mapping[str, Sequence[MultiviewHand]], names: Sequence[str]) -> list[str]:
    """A line for each view, or finger in a view, that was left out. hands: by side. names: of the cameras."""
    lines = []
    for side, seen in hands.items():
        for hand in seen:
            for out in hand.left_out:
                what = names[out.view] if out.finger is None else f"{names[out.view]}'s {out.finger}"
                fate = "it is left out" if out.sure else "which of them is right cannot be told from so few views"
                limit = MOST_OFF_FINGER_SHARE if out.finger is not None and out.sure else MOST_OFF_SHARE
                lines.append(
                    f"frame {hand.frame}, {side} hand: {what} contradicts the other views by {100 * out.share:.2g} % "
                    f"of the hand (limit {100 * limit:g} %): {fate}"
                )
    more = len(lines) - _MOST_NAMED
    return lines if more <= 0 else [*lines[:_MOST_NAMED], f"{more} more such views are left out or unsure"]
