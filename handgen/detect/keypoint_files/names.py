"""Names that others give the 21 keypoints.

A name is ours (`handgen.hand.skeleton.KEYPOINT_NAMES`) in any spelling: capital letters, `_`, `-`, dots and spaces do
not matter, `finger` may be in it. Fingers have synonyms, joints are named or numbered from the palm: `thumb_1` is the
CMC joint, `Index-Finger-4` the tip. The hand may be said before or after: `left_thumb_tip`, `ring 2 R`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from handgen.errors import HandgenError
from handgen.hand.skeleton import FINGERS, KEYPOINT_NAMES, SIDES

_WRIST = ("wrist", "root", "handroot", "handwrist")
_SYNONYMS = {
    "thumb": ("thumb",),
    "index": ("index", "fore", "pointer"),
    "middle": ("middle", "long"),
    "ring": ("ring",),
    "pinky": ("pinky", "pinkie", "little", "small"),
}
_TO_PALM = (20, *(4 * finger + joint for finger in range(5) for joint in (3, 2, 1, 0)))  # the wrist last
# By the number of a whole body's keypoints the places of each hand's 21, in our order: COCO-WholeBody (mmpose,
# configs/_base_/datasets/coco_wholebody.py), and Sapiens (facebookresearch/sapiens, pose/.../goliath.py).
WHOLE_BODIES = {
    133: {"left": list(range(91, 112)), "right": list(range(112, 133))},
    308: {"left": [42 + place for place in _TO_PALM], "right": [21 + place for place in _TO_PALM]},
}
_SIDE_WORDS = {"left": "left", "l": "left", "right": "right", "r": "right"}


def _spellings() -> dict[str, str]:
    """Every bare spelling (small letters and digits) -> our name."""
    found = dict.fromkeys(_WRIST, "wrist")
    for finger in FINGERS:
        ours = [name for name in KEYPOINT_NAMES if name.startswith(f"{finger}_")]
        for number, name in enumerate(ours, 1):
            for word in _SYNONYMS[finger]:
                for joint in (name.partition("_")[2], str(number)):
                    found[word + joint] = found[f"{word}finger{joint}"] = name
    return found


_SPELLINGS = _spellings()


def side_of(text: str) -> str | None:
    """`left` or `right` if that is all that a text says (`Right`, `hand_left`, `L`), else None."""
    words = [word for word in _words(text) if word != "hand"]
    return _SIDE_WORDS.get(words[0].removesuffix("hand")) if len(words) == 1 else None


def keypoint_of(text: str) -> tuple[str, str | None] | None:
    """Our name of a keypoint, and the side if the text says one; None if it is no keypoint's name."""
    words = _words(text)
    side = None
    for place in (0, -1):
        if len(words) > 1 and words[place] in _SIDE_WORDS:
            side = _SIDE_WORDS[words.pop(place)]
            break
    bare = "".join(words)
    for said in SIDES:  # `leftThumb1` has no word of its own for the side
        if side is None and bare.startswith(said):
            side, bare = said, bare.removeprefix(said)
    name = _SPELLINGS.get(bare) or _SPELLINGS.get(bare.removeprefix("hand"))
    return None if name is None else (name, side)


def places_of(names: Sequence[str], where: str) -> dict[str | None, tuple[int, ...]]:
    """By side (None: unsaid) the places of our 21 keypoints among others' names; HandgenError naming what is wrong."""
    found: dict[str | None, dict[str, int]] = {}
    unknown, twice = [], []
    for place, text in enumerate(names):
        known = keypoint_of(text)
        if known is None:
            unknown.append(text)
            continue
        name, side = known
        if name in found.setdefault(side, {}):
            twice.append(text)
        found[side][name] = place
    missing = [
        f"{side} {name}" if side else name
        for side, places in (found or {None: {}}).items()
        for name in KEYPOINT_NAMES
        if name not in places
    ]
    if unknown or missing or twice:
        facts = (("unknown names", unknown), ("missing keypoints", missing), ("named twice", twice))
        said = "; ".join(f"{what}: {_listed(items)}" for what, items in facts if items)
        raise HandgenError(f"{where}: {said}; rename them to handgen's: {', '.join(KEYPOINT_NAMES)}")
    return {side: tuple(places[name] for name in KEYPOINT_NAMES) for side, places in found.items()}


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s._-]+", text.lower()) if word]


def _listed(items: Sequence[str], most: int = 21) -> str:
    shown = ", ".join(item if item.isprintable() and len(item) <= 40 else ascii(item[:40]) for item in items[:most])
    return shown + (", ..." if len(items) > most else "")
