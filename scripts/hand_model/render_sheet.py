"""Render the bundled open hand in test poses and shapes, to look at.

    python scripts/hand_model/render_sheet.py sheet.png [--side right] [--mesh surface] [--size 256]

Above: eight poses from the palm, the back and the thumb's side. Below: every beta at -3 and +3.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hand_model.anatomy import rotations_from_angles
from hand_model.kinematics import skin, skinning_transforms, unit
from PIL import Image, ImageDraw
from scipy.optimize import minimize

from handgen.hand.skeleton import FINGER_JOINTS, TIP_VERTICES

DATA = Path(__file__).resolve().parents[2] / "handgen" / "hand" / "data"
FIELD_M = 0.26  # width of one picture
SKIN_RGB, NAIL_RGB, BACKGROUND = np.array([225, 180, 155]), np.array([235, 190, 185]), 255
PAD_ROUND_M = 0.0055  # pads stand out this far beyond the mean of their vertices
FINGERS = ("index", "middle", "ring", "pinky")


@dataclass(frozen=True)
class HandFiles:
    """The MANO arrays and the mesh to draw: vertices, faces, weights, shapedirs, posedirs, nail_mask."""

    mano: dict[str, np.ndarray]
    mesh: dict[str, np.ndarray]
    side: str

    def posed(self, angles: np.ndarray, betas: np.ndarray, mesh: dict[str, np.ndarray]) -> np.ndarray:
        """Vertices (n, 3) for anatomical angles (15, 3), radians, and betas (10,)."""
        mano = self.mano
        joints = mano["J_regressor"] @ (mano["v_template"] + mano["shapedirs"] @ betas)
        rotations = np.concatenate([np.eye(3)[None], rotations_from_angles(angles, mano["joint_axes"])])
        transforms, _ = skinning_transforms(joints, rotations)
        rest = mesh["vertices"] + mesh["shapedirs"] @ betas
        if "posedirs" in mesh:
            rest = rest + mesh["posedirs"] @ (rotations[1:] - np.eye(3)).reshape(-1)
        return skin(rest, mesh["weights"], transforms)


def load_hand(side: str, mesh: str) -> HandFiles:
    """Read the bundled files of one side; `mesh` is `surface` or `mano`."""
    mano = dict(np.load(DATA / f"open_hand_{side}.npz"))
    as_mesh = mano | {"vertices": mano["v_template"], "faces": mano["f"]}
    drawn = dict(np.load(DATA / f"open_hand_surface_{side}.npz")) if mesh == "surface" else as_mesh
    return HandFiles(mano, drawn, side)


def pose(
    fingers: dict[str, tuple[float, float, float]],
    thumb: tuple[tuple[float, ...], float, float],
    spread: float = 0,
):
    """Angles (15, 3), radians: flexion of each finger's joints and of the thumb, degrees."""
    angles = np.zeros((15, 3))
    for finger, flexions in fingers.items():
        for joint, flexion in zip(FINGER_JOINTS[finger], flexions, strict=True):
            angles[joint - 1, 0] = flexion
        angles[FINGER_JOINTS[finger][0] - 1, 1] = spread * {"index": 8, "middle": 0, "ring": -6, "pinky": -12}[finger]
    base, knuckle, hinge = (joint - 1 for joint in FINGER_JOINTS["thumb"])
    angles[base, : len(thumb[0])] = thumb[0]
    angles[knuckle, 0], angles[hinge, 0] = thumb[1:]
    return np.radians(angles)


def pinch(hand: HandFiles) -> np.ndarray:
    """Thumb and index with their pads together, within the limits, found by search."""
    mano = hand.mano
    bent = {"middle": (25, 25, 12), "ring": (20, 22, 10), "pinky": (15, 20, 10)}
    start = pose(bent | {"index": (45, 45, 25)}, ((15, 20, 8), 20, 20))
    free = [(joint - 1, 0) for joint in FINGER_JOINTS["index"]] + [(joint - 1, 0) for joint in FINGER_JOINTS["thumb"]]
    free += [(FINGER_JOINTS["thumb"][0] - 1, 1), (FINGER_JOINTS["thumb"][0] - 1, 2)]
    limits = np.array([mano["joint_limits_rad"][entry] for entry in free])
    points = {"vertices": mano["v_template"], "shapedirs": mano["shapedirs"], "weights": mano["weights"]}
    pads = [pad_vertices(mano, finger) for finger in ("thumb", "index")]

    natural = np.array([start[entry] for entry in free])

    def with_values(values: np.ndarray) -> np.ndarray:
        angles = start.copy()
        for entry, value in zip(free, values, strict=True):
            angles[entry] = value
        return angles

    def gap_mm(values: np.ndarray) -> float:
        vertices = hand.posed(with_values(values), np.zeros(10), points)
        normals = trimesh.Trimesh(vertices, mano["f"].astype(np.int64), process=False).vertex_normals
        touching = [vertices[pad].mean(0) + PAD_ROUND_M * unit(normals[pad].mean(0)) for pad in pads]
        return float(1e3 * np.linalg.norm(touching[0] - touching[1]))

    def cost(values: np.ndarray) -> float:
        return gap_mm(values) ** 2 + 3 * ((values - natural) ** 2).sum()

    best = minimize(cost, natural, bounds=limits, method="L-BFGS-B")
    print(f"pinch: pads {gap_mm(best.x):.1f} mm apart; angles {np.degrees(best.x).round()} degrees")
    return with_values(best.x)


def pad_vertices(mano: dict[str, np.ndarray], finger: str) -> np.ndarray:
    """A few vertices around the middle of a fingertip's pad."""
    joint = FINGER_JOINTS[finger][2]
    start = mano["J"][joint]
    bone = mano["v_template"][TIP_VERTICES[finger]] - start
    palmar = unit(np.cross(mano["joint_axes"][joint - 1][0], bone))
    aim = start + 0.6 * bone + 0.02 * palmar
    return np.argsort(np.linalg.norm(mano["v_template"] - aim, axis=1))[:4]


def sheet_poses(hand: HandFiles) -> dict[str, np.ndarray]:
    """Anatomical angles of the poses shown."""
    fist, straight = (84, 90, 64), (3, 3, 2)
    over = ((10, 15, 2), 46, 48)

    def every(flexions: tuple[float, float, float]) -> dict[str, tuple[float, float, float]]:
        return dict.fromkeys(FINGERS, flexions)

    return {
        "flat": np.zeros((15, 3)),
        "spread": pose(every((-8, 0, 0)), ((-20, 10, 0), -5, -10), spread=1.4),
        "fist": pose(every(fist), over),
        "point": pose(every(fist) | {"index": straight}, over),
        "peace": pose(every(fist) | {"index": straight, "middle": straight}, over, spread=0.8),
        "pinch": pinch(hand),
        "grasp": pose(every((40, 45, 25)), ((0, 25, 10), 10, 20)),
        "thumb up": pose(every(fist), ((-25, -10, 0), -5, -15)),
    }


def draw(vertices: np.ndarray, hand: HandFiles, rows: np.ndarray, size: int) -> Image.Image:
    """An orthographic picture. rows: its right, up and towards-the-viewer axes in the hand's frame."""
    view = vertices @ rows.T
    mesh = trimesh.Trimesh(view, hand.mesh["faces"].astype(np.int64), process=False)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * FIELD_M
    x, y = np.meshgrid(steps, -steps)
    centre = np.array([-0.075, 0.0, 0.0]) * (1 if hand.side == "right" else [-1, 1, 1]) @ rows.T
    origins = np.stack([x, y, np.full_like(x, 0.5)], -1).reshape(-1, 3) + centre * [1, 1, 0]
    down = np.tile([0.0, 0.0, -1.0], (len(origins), 1))
    places, rays, faces = mesh.ray.intersects_location(origins, down, multiple_hits=False)
    image = np.full((size * size, 3), BACKGROUND, np.float64)
    if len(rays):
        corners = mesh.faces[faces]
        shares = trimesh.triangles.points_to_barycentric(view[corners], places)
        normals = unit(np.einsum("rk,rkc->rc", shares, mesh.vertex_normals[corners]))
        nail = np.einsum("rk,rk->r", shares, hand.mesh["nail_mask"][corners])[:, None]
        light = 0.25 + 0.75 * np.clip(normals @ unit(np.array([0.5, 0.5, 1.0])), 0, 1)
        image[rays] = light[:, None] * (SKIN_RGB + nail * (NAIL_RGB - SKIN_RGB))
    return Image.fromarray(image.reshape(size, size, 3).clip(0, 255).astype(np.uint8))


def views(side: str) -> dict[str, np.ndarray]:
    """Picture axes of the views, fingers upwards."""
    distal = np.array([-1.0 if side == "right" else 1.0, 0, 0])
    palm, thumb = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    return {
        name: np.stack([np.cross(distal, out), distal, out])
        for name, out in (("palm", palm), ("back", -palm), ("thumb", thumb), ("tips", unit(thumb + palm)))
    }


def make_sheet(hand: HandFiles, size: int) -> Image.Image:
    """All pictures with their captions."""
    axes = views(hand.side)
    zero = np.zeros(10)
    cells = []
    poses = sheet_poses(hand)
    for view in axes:
        cells += [(f"{name}, {view}", angles, zero, view) for name, angles in poses.items()]
    for k in range(10):
        for amount in (-3.0, 3.0):
            betas = zero.copy()
            betas[k] = amount
            cells.append((f"beta {k} {amount:+.0f}", poses["flat"], betas, "back"))
    columns = len(poses)
    sheet = Image.new("RGB", (columns * size, -(-len(cells) // columns) * size), "white")
    for k, (caption, angles, betas, view) in enumerate(cells):
        picture = draw(hand.posed(angles, betas, hand.mesh), hand, axes[view], size)
        ImageDraw.Draw(picture).text((4, 4), caption, fill=(0, 0, 0))
        sheet.paste(picture, (k % columns * size, k // columns * size))
    return sheet


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", choices=("right", "left"), default="right")
    parser.add_argument("--mesh", choices=("surface", "mano"), default="surface")
    parser.add_argument("--size", type=int, default=256, help="pixels per picture")
    arguments = parser.parse_args()
    make_sheet(load_hand(arguments.side, arguments.mesh), arguments.size).save(arguments.out)


if __name__ == "__main__":
    main()
