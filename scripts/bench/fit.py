"""Time the fit, the tracker, triangulation and silhouettes against what others use, one thread, in one run.

    python scripts/bench/fit.py [--json] [--peer-python VENV/bin/python]

Fits: 256 frames of random poses of one unknown hand in 8 views; every method gets the same pixels. Ours: triangulation,
closed-form start and Levenberg-Marquardt with the betas shared. The others: smplx in torch, started from the palm's
rigid pose, by LBFGS (100 iterations, what EasyMocap does) and by Adam (1000 steps of 64 frames, what the original
annotator does); both minimise the same reprojection. Triangulation: 0.5 px of noise, a tenth of all pixels 60 px off.

aniposelib needs another OpenCV, so it runs in an environment of its own: `python -m venv peer && peer/bin/pip install
aniposelib`, then `--peer-python peer/bin/python`. Without it that line is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from table import print_figures
from torch import Tensor

from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.silhouette.mask_edges import MaskView
from handgen.fit.silhouette.term import SilhouetteTerm, refine
from handgen.fit.solver import Problem, solve_shared
from handgen.fit.surface import SurfaceKinematics
from handgen.fit.tracker import Tracker
from handgen.geometry.camera import Camera, Rig
from handgen.geometry.meshes import mesh_mask
from handgen.geometry.rigid import Rigid
from handgen.geometry.rotations import axis_angle_from_rotation, procrustes_rotation, rotation_from_axis_angle
from handgen.geometry.triangulation import triangulate
from handgen.hand.model import HandModel
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import FINGERS, KEYPOINTS_FROM_JOINTS_AND_TIPS, MCP_KEYPOINTS, TIP_VERTICES, WRIST
from handgen.hand.smplx_check import as_smplx

FRAMES = 256
STEPS = 4
ROUNDS = 7
LBFGS_ITERATIONS, ADAM_STEPS, ADAM_FRAMES, ADAM_RATE = 100, 1000, 64, 0.02
ASSUMED_NOISE_PX = 0.5
NOISE_PX, OUTLIERS, OUTLIER_PX = 0.5, 0.1, 60.0
TRACKED_FRAMES = 240
MASK_SIDE_PX, MASK_FRAMES, MASK_STEPS = 160, 32, 4
# name -> (what, target, whether more is better)
TARGETS = {
    "frames_per_s": ("frames/s fitted, 8 views, batch of 256, betas unknown and shared", 2000, True),
    "over_lbfgs": ("times as fast as smplx + LBFGS", 20, True),
    "over_adam": ("times as fast as smplx + Adam", 300, True),
    "mean_mm": ("mean keypoint error, mm", 0.1, False),
    "lbfgs_mean_mm": ("the same of LBFGS", None, False),
    "adam_mean_mm": ("the same of Adam", None, False),
    "within_0p1mm": ("share of noise-free frames with every keypoint within 0.1 mm", 0.98, True),
    "views_30_over_2": ("time with 30 views over time with 2", 1.5, False),
    "double_frames_per_s": ("frames/s in double precision", None, True),
    "tracker_frames_per_s": ("frames/s of the tracker, 8 views, one by one", 500, True),
    "tracker_mean_mm": ("its mean keypoint error with 1 px of noise, mm", 1.0, False),
    "triangulation_frames_per_s": ("frames/s triangulated", 5000, True),
    "triangulation_p99_mm": ("99th percentile of the error with a tenth of outliers, mm", 1.0, False),
    "triangulation_over_ransac": ("times as fast as aniposelib's RANSAC", 1000, True),
    "ransac_p99_mm": ("the same percentile of aniposelib's RANSAC, mm", None, False),
    "silhouette_views_per_s": (
        "views/s refined by their silhouettes (4 steps, with their preparation)",
        400,
        True,
    ),
    "silhouette_mm": ("mean keypoint error after that, from 13 mm, mm", 2.5, False),
}


def ring(views: int, radius_m: float = 0.7, focal_px: float = 800.0) -> Rig:
    """Cameras about the origin, at different heights."""
    cameras = []
    for i in range(views):
        angle = 2 * np.pi * i / views
        center = np.array([radius_m * np.cos(angle), 0.2 + 0.2 * np.sin(2 * angle), radius_m * np.sin(angle)])
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        intrinsics = np.array([[focal_px, 0, 319.5], [0, focal_px, 239.5], [0, 0, 1]])
        cameras.append(Camera(str(i), (640, 480), intrinsics, cam_from_world=Rigid(rotation, -rotation @ center)))
    return Rig(tuple(cameras))


def poses(model: HandModel, n: int, seed: int) -> HandState:
    """Random poses within the joints' limits, turned any way, of one random hand."""
    rng = np.random.default_rng(seed)
    limits, axes = torch.as_tensor(model.arrays.joint_limits_rad), torch.as_tensor(model.arrays.joint_axes)
    angles = limits[..., 0] + torch.as_tensor(rng.uniform(0.1, 0.9, (n, 15, 3))) * (limits[..., 1] - limits[..., 0])
    vectors = torch.zeros(n, 16, 3, dtype=torch.float64)
    vectors[:, 1:] = torch.einsum("jka,njk->nja", axes, angles)
    vectors[:, 0] = torch.as_tensor(rng.normal(0, 1.0, (n, 3)))
    translation = torch.as_tensor(rng.uniform(-0.05, 0.05, (n, 3))) - model.rest_joints[0]
    betas = torch.as_tensor(rng.normal(0, 1, 10)).expand(n, 10)
    return HandState(rotation_from_axis_angle(vectors), translation, betas)


def seen(rig: Rig, points: Tensor, noise_px: float = 0.0, seed: int = 0) -> Float[np.ndarray, "n views 21 2"]:
    """Pixels of keypoints in every camera."""
    pixels = np.stack([camera.project(points.numpy())[0] for camera in rig], 1)
    return pixels + np.random.default_rng(seed).normal(0, noise_px, pixels.shape) if noise_px else pixels


def projections(rig: Rig) -> Float[np.ndarray, "views 3 4"]:
    """Projections of all cameras."""
    return np.stack([camera.ideal_px_from_world for camera in rig])


def ours(kinematics: KeypointKinematics, prior: PosePrior, rig: Rig, pixels: np.ndarray, steps: int) -> HandState:
    """The whole fit, from pixels to poses and betas."""
    like = kinematics.offsets
    n, views = pixels.shape[:2]
    flat = pixels.transpose(1, 0, 2, 3).reshape(views, -1, 2)
    found = triangulate(projections(rig), flat, np.ones(flat.shape[:2]), 4 * ASSUMED_NOISE_PX)
    points = torch.as_tensor(found.points_world.reshape(n, 21, 3)).to(like)
    betas = betas_from_lengths(kinematics, rigid_lengths(points).median(0).values)
    weight = torch.full((n, views, 21), ASSUMED_NOISE_PX**-2)
    observations = Observations(*(torch.as_tensor(a).to(like) for a in (projections(rig), pixels, weight)))
    problem = Problem(kinematics, observations, prior)
    (state,) = solve_shared([problem], [start(kinematics, points, betas)], betas_weight=1e-3, steps=steps)
    return state


class Theirs:
    """smplx in torch: the palm's rigid pose to start with, then gradient descent on the reprojection."""

    def __init__(self, rig: Rig, pixels: np.ndarray) -> None:
        self._model = as_smplx(load_hand("open", "right"), dtype=torch.float32)
        self._order = list(KEYPOINTS_FROM_JOINTS_AND_TIPS)
        self._tips = [TIP_VERTICES[finger] for finger in FINGERS]
        self._projections = torch.as_tensor(projections(rig)).float()
        self._pixels = torch.as_tensor(pixels).float()
        n, views = pixels.shape[:2]
        flat = pixels.transpose(1, 0, 2, 3).reshape(views, -1, 2)
        points = triangulate(projections(rig), flat, np.ones(flat.shape[:2]), 2.0).points_world.reshape(n, 21, 3)
        palm = [WRIST, *MCP_KEYPOINTS]
        with torch.no_grad():
            zero = {"hand_pose": torch.zeros(1, 45), "betas": torch.zeros(1, 10)}
            rest = self.keypoints(torch.zeros(1, 3), torch.zeros(1, 3), **zero)[0, palm]
            target = torch.as_tensor(points[:, palm]).float()
            turn = procrustes_rotation((rest - rest.mean(0)).expand(n, -1, -1), target - target.mean(1, keepdim=True))
            wrist = self._model().joints[0, 0]
            shift = target.mean(1) - (turn @ (rest.mean(0) - wrist)) - wrist
        self.parameters = [
            torch.nn.Parameter(tensor)
            for tensor in (axis_angle_from_rotation(turn), shift, torch.zeros(n, 45), torch.zeros(1, 10))
        ]

    def keypoints(self, turn: Tensor, shift: Tensor, hand_pose: Tensor, betas: Tensor) -> Tensor:
        """The 21 keypoints in the world."""
        n = len(turn)
        out = self._model(global_orient=turn, transl=shift, hand_pose=hand_pose, betas=betas.expand(n, 10))
        return torch.cat([out.joints[:, :16], out.vertices[:, self._tips]], 1)[:, self._order]

    def found(self) -> Tensor:
        """Return where they are now."""
        with torch.no_grad():
            return self.keypoints(*self.parameters).double()

    def loss(self) -> Tensor:
        """Squared reprojection, and hardly any pull on the pose and the shape."""
        points = self.keypoints(*self.parameters)
        homogeneous = torch.einsum("vij,nkj->nvki", self._projections[:, :, :3], points)
        homogeneous = homogeneous + self._projections[:, None, :, 3]
        error = homogeneous[..., :2] / homogeneous[..., 2:] - self._pixels
        pull = 1e-3 * (self.parameters[2].square().sum() + self.parameters[3].square().sum())
        return error.square().sum() + pull

    def lbfgs(self) -> None:
        """Solve as EasyMocap does: strong Wolfe line search."""
        optimizer = torch.optim.LBFGS(self.parameters, max_iter=LBFGS_ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]

    def adam(self) -> None:
        """A fixed number of steps."""
        optimizer = torch.optim.Adam(self.parameters, lr=ADAM_RATE)
        for _ in range(ADAM_STEPS):
            optimizer.zero_grad()
            self.loss().backward()
            optimizer.step()


def seconds(function: Callable[[], object]) -> float:
    """Time of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def interleaved(functions: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Median seconds of each, run in turn after one round to warm up."""
    taken = [[seconds(function) for function in functions] for _ in range(rounds + 1)][1:]
    return [statistics.median(times) for times in zip(*taken, strict=True)]


def mean_mm(found: Tensor, truth: Tensor) -> float:
    """Mean keypoint error."""
    return float((found.double() - truth).norm(dim=-1).mean() * 1e3)


def bench_fits() -> dict[str, float]:
    """The fit against LBFGS and Adam, its accuracy, and what views cost."""
    exact = HandModel.load("open", "right")
    truth_kinematics = KeypointKinematics(exact)
    single = HandModel.load("open", "right", dtype=torch.float32)
    kinematics, prior = KeypointKinematics(single), PosePrior.of(single)
    double_prior = PosePrior.of(exact)
    truth = truth_kinematics.keypoints(poses(exact, FRAMES, seed=0))
    rigs = {views: ring(views) for views in (2, 8, 30)}
    pixels = {views: seen(rig, truth) for views, rig in rigs.items()}
    with torch.no_grad():
        at_8, at_2, at_30, double = interleaved(
            [
                *(lambda v=views: ours(kinematics, prior, rigs[v], pixels[v], STEPS) for views in (8, 2, 30)),
                lambda: ours(truth_kinematics, double_prior, rigs[8], pixels[8], STEPS),
            ]
        )
        worst_mm = []
        for seed in range(4):
            truth_here = truth_kinematics.keypoints(poses(exact, FRAMES, seed))
            state = ours(kinematics, prior, rigs[8], seen(rigs[8], truth_here), STEPS)
            error_mm = (kinematics.keypoints(state).double() - truth_here).norm(dim=-1) * 1e3
            worst_mm.append(error_mm.amax(1))
        found = kinematics.keypoints(ours(kinematics, prior, rigs[8], pixels[8], STEPS))
    ours_s, lbfgs_s, adam_s = [], [], []
    for _ in range(3):
        lbfgs, adam = Theirs(rigs[8], pixels[8]), Theirs(rigs[8], pixels[8][:ADAM_FRAMES])
        with torch.no_grad():
            ours_s.append(seconds(lambda: ours(kinematics, prior, rigs[8], pixels[8], STEPS)))
        lbfgs_s.append(seconds(lbfgs.lbfgs))
        adam_s.append(seconds(adam.adam))
    rate = FRAMES / statistics.median(ours_s)  # in turn with the others, which the ratios are of
    return {
        "frames_per_s": FRAMES / at_8,
        "over_lbfgs": rate / (FRAMES / statistics.median(lbfgs_s)),
        "over_adam": rate / (ADAM_FRAMES / statistics.median(adam_s)),
        "mean_mm": mean_mm(found, truth),
        "lbfgs_mean_mm": mean_mm(lbfgs.found(), truth),
        "adam_mean_mm": mean_mm(adam.found(), truth[:ADAM_FRAMES]),
        "within_0p1mm": float((torch.cat(worst_mm) < 0.1).double().mean()),
        "views_30_over_2": at_30 / at_2,
        "double_frames_per_s": FRAMES / double,
    }


def bench_tracker() -> dict[str, float]:
    """A hand that goes from pose to pose, one frame after the other."""
    model = HandModel.load("open", "right")
    kinematics, rig = KeypointKinematics(model), ring(8)
    ends = poses(model, 2, seed=5)
    share = torch.as_tensor(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(TRACKED_FRAMES) / 60))[:, None]
    way = axis_angle_from_rotation(ends.rotations[1] @ ends.rotations[0].transpose(1, 2))
    rotations = rotation_from_axis_angle(0.3 * share[..., None] * way) @ ends.rotations[0]
    translation = torch.lerp(ends.translation[0], ends.translation[1], share)
    truth = kinematics.keypoints(HandState(rotations, translation, ends.betas[:1].expand(TRACKED_FRAMES, 10)))
    pixels = seen(rig, truth, noise_px=1.0)
    confidence = np.ones(pixels.shape[1:3])
    rates = []
    for _ in range(3):
        tracker = Tracker(kinematics, rig, ends.betas[0].numpy())
        tracker.update(pixels[0], confidence)
        began = time.perf_counter()
        found = [tracker.update(frame, confidence) for frame in pixels[1:]]
        rates.append((TRACKED_FRAMES - 1) / (time.perf_counter() - began))
        errors = [
            np.linalg.norm(h.keypoints - t, axis=1).mean() * 1e3
            for h, t in zip(found, truth[1:].numpy(), strict=True)
            if h
        ]
    return {"tracker_frames_per_s": statistics.median(rates), "tracker_mean_mm": float(np.mean(errors))}


def bench_triangulation(peer_python: Path | None) -> dict[str, float]:
    """Keypoints of 256 frames with outliers."""
    model = HandModel.load("open", "right")
    rig, rng = ring(8), np.random.default_rng(1)
    points = KeypointKinematics(model).keypoints(poses(model, FRAMES, seed=1)).numpy().reshape(-1, 3)
    pixels = np.stack([camera.project(points)[0] for camera in rig])
    pixels += rng.normal(0, NOISE_PX, pixels.shape)
    wrong = rng.random(pixels.shape[:2]) < OUTLIERS
    pixels[wrong] += rng.normal(0, OUTLIER_PX, (int(wrong.sum()), 2))
    run = lambda: triangulate(projections(rig), pixels, np.ones(pixels.shape[:2]), 4.0)  # noqa: E731
    (taken,) = interleaved([run])
    error_mm = np.linalg.norm(run().points_world - points, axis=1) * 1e3
    figures = {
        "triangulation_frames_per_s": FRAMES / taken,
        "triangulation_p99_mm": float(np.percentile(error_mm, 99)),
    }
    if peer_python is not None:
        figures |= against_ransac(peer_python, rig, pixels, points, FRAMES / taken)
    return figures


def against_ransac(python: Path, rig: Rig, pixels: np.ndarray, points: np.ndarray, rate: float) -> dict[str, float]:
    """Aniposelib's RANSAC on some of the same points, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "points.npz"
        cameras = {
            "intrinsics": np.stack([c.intrinsics for c in rig]),
            "rotation": np.stack([c.cam_from_world.rotation for c in rig]),
            "translation": np.stack([c.cam_from_world.translation for c in rig]),
        }
        np.savez(given, pixels=pixels, size_px=rig.cameras[0].size_px, **cameras)
        script = Path(__file__).with_name("peer_aniposelib.py")
        done = subprocess.run([str(python), str(script), str(given)], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    count = answer["points"]
    error_mm = np.linalg.norm(np.array(answer["found"]) - points[:count], axis=1) * 1e3
    return {
        "triangulation_over_ransac": rate / (count / 21 / answer["seconds"]),
        "ransac_p99_mm": float(np.percentile(error_mm, 99)),
    }


def bench_silhouettes() -> dict[str, float]:
    """Poses 6 degrees per joint and 10 mm off, refined by exact masks in 8 views."""
    model = HandModel.load("open", "right")
    kinematics, rig = KeypointKinematics(model), ring(8)
    truth = poses(model, MASK_FRAMES, seed=3)
    views = []
    for frame, vertices in enumerate(SurfaceKinematics(model).vertices(truth).numpy()):
        for camera in rig:
            pixels = camera.project(vertices)[0]
            low, high = pixels.min(0), pixels.max(0)
            margin = 0.3 * (high - low).max()
            left, top = np.floor(low - margin).astype(int).tolist()
            width, height = np.ceil(high - low + 2 * margin).astype(int).tolist()
            crop = camera.cropped(left, top, width, height)
            scale = MASK_SIDE_PX / max(width, height)
            crop = crop.resized((round(width * scale), round(height * scale)))
            mask = mesh_mask(crop.project(vertices)[0], model.faces, crop.size_px)
            views.append(MaskView(frame, crop, mask))
    rng = np.random.default_rng(4)
    step = torch.zeros(MASK_FRAMES, 51, dtype=torch.float64)
    step[:, :48] = torch.as_tensor(rng.normal(0, np.radians(6.5) / np.sqrt(3), (MASK_FRAMES, 48)))
    shift = rng.normal(size=(MASK_FRAMES, 3))
    step[:, 48:] = torch.as_tensor(shift / np.linalg.norm(shift, axis=1, keepdims=True) * 0.01)
    first = truth.moved(step)
    nothing = Observations(
        torch.as_tensor(projections(rig)),
        torch.zeros(MASK_FRAMES, 8, 21, 2, dtype=torch.float64),
        torch.zeros(MASK_FRAMES, 8, 21, dtype=torch.float64),
    )
    prior = Problem(kinematics, nothing, PosePrior.of(model))
    run = lambda: refine(SilhouetteTerm(model, views, MASK_FRAMES), [prior], first, MASK_STEPS)  # noqa: E731
    (taken,) = interleaved([run], rounds=5)
    error = mean_mm(kinematics.keypoints(run()), kinematics.keypoints(truth))
    return {"silhouette_views_per_s": len(views) / taken, "silhouette_mm": error}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--peer-python", type=Path, help="the Python of an environment that has aniposelib")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    figures = bench_fits()
    with torch.no_grad():
        figures |= bench_tracker() | bench_triangulation(options.peer_python) | bench_silhouettes()
    if options.json:
        print(json.dumps(figures))
        return
    print_figures(figures, TARGETS)


if __name__ == "__main__":
    main()
