"""Small valid sets, and what people do to them: each change is one that `validate` must name."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handgen.hand.model import single_pose
from handgen.hand.skeleton import SIDES
from handgen.storage.tar import write_tar
from support.annotations import open_hand

Document = dict[str, Any]
Members = dict[str, bytes]


@dataclass(frozen=True)
class Mutation:
    """A change of a set: `done` in words, `change` to its directory. check: that names it; says: its words."""

    done: str
    change: Callable[[Path], None]
    check: str
    says: str


def members_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def rewrite(path: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    """Change the members of a shard, and what the manifest says of it: only its content is wrong then."""
    members = change(members_of(path))
    written = write_tar(path, members)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    entry = next(entry for entry in manifest["shards"] if entry["name"] == path.name)
    entry["bytes"], entry["sha256"] = written.bytes, written.sha256
    sides = Counter(json.loads(data)["side"] for name, data in members if name.endswith(".json"))
    entry["sides"] = {side: sides[side] for side in SIDES}
    (path.parent / "manifest.json").write_text(json.dumps(manifest))


def each_sample(change: Callable[[Document, Members], None], only: int | None = None) -> Callable[[Path], None]:
    """Change the labels (by name of the field) and the members (by suffix) of all samples, or of one of them."""

    def changed_tar(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        groups: dict[str, Members] = {}
        for name, data in members:
            key, _, suffix = name.partition(".")
            groups.setdefault(key, {})[suffix] = data
        for group in groups.values():
            document = json.loads(group["json"])
            if only is None or document["index"] == only:
                change(document, group)
                group["json"] = json.dumps(document).encode()
        return [(f"{key}.{suffix}", data) for key, group in groups.items() for suffix, data in group.items()]

    def change_set(root: Path) -> None:
        for path in sorted(root.glob("*.tar")):
            rewrite(path, changed_tar)

    return change_set


def hands_of(document: Document) -> list[Document]:
    """The sample's hand and, where there is one, the other."""
    return [document, *([document["other_hand"]] if document.get("other_hand") else [])]


def labels(change: Callable[[Document], None], only: int | None = None) -> Callable[[Path], None]:
    """Change the labels of every hand of all samples, or of one sample."""

    def each_hand(document: Document, _: Members) -> None:
        for hand in hands_of(document):
            change(hand)

    return each_sample(each_hand, only)


def field(name: str, change: Callable[[np.ndarray], np.ndarray], only: int | None = None) -> Callable[[Path], None]:
    """Change an array of every hand: `keypoints_2d`, or with its parameters' path, `hand/pose`."""

    def set_field(hand: Document) -> None:
        *path, last = name.split("/")
        for part in path:
            hand = hand[part]
        hand[last] = change(np.array(hand[last], float)).tolist()

    return labels(set_field, only)


def keypoints_of(side: str, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The open hand's keypoints, metres."""
    return open_hand(side)(single_pose(pose, translation, betas)).keypoints[0].numpy()


def vertices_of(side: str, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The open hand's vertices, metres."""
    return open_hand(side)(single_pose(pose, translation, betas)).vertices[0].numpy()


def inside(pixels: np.ndarray, document: Document) -> np.ndarray:
    """Which points lie in a sample's picture."""
    width, height = document["camera"]["size_px"]
    return (pixels > -0.5).all(1) & (pixels < (width - 0.5, height - 0.5)).all(1)


def made_anew(document: Document, betas: np.ndarray) -> None:
    """Give a sample another shape: parameters, 3D and 2D keypoints agree with each other."""
    k = np.array(document["camera"]["intrinsics"])
    for hand in hands_of(document):
        hand["hand"]["betas"] = betas.tolist()
        pose, translation = (np.array(hand["hand"][name]) for name in ("pose", "translation_m"))
        points = np.round(keypoints_of(hand["side"], pose, betas, translation), 7)
        pixels = (points @ k.T)[:, :2] / points[:, 2:]
        hand["keypoints_3d"], hand["keypoints_2d"] = points.tolist(), np.round(pixels, 4).tolist()
        hand["visible"] = (np.array(hand["visible"]) * inside(pixels, document)).tolist()
