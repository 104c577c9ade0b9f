"""Time the hand model against smplx on the same file, one thread, in one run.

    python scripts/bench/hand.py [--json]

Interleaved, medians, float32 on both sides: joints only, the 21 keypoints' analytic Jacobian, all vertices.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import smplx
import torch

from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.geometry.rotations import rotation_from_axis_angle
from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import JOINT_COUNT
from handgen.hand.smplx_check import as_smplx

ROUNDS = 30
# name -> (what, target, whether more is better)
TARGETS = {
    "joints_speedup_1": ("joints against smplx's forward, batch 1, times faster", 3.0, True),
    "joints_speedup_256": ("joints against smplx's forward, batch 256, times faster", 10.0, True),
    "jacobian_over_forward": ("Jacobian of the keypoints, times the cost of the keypoints, batch 256", 8.0, False),
    "vertices_speedup_256": ("vertices against smplx's forward, batch 256, times faster", 1.0, True),
    "smplx_difference_m": ("largest difference from smplx in double precision, m", 1e-6, False),
}


def poses(n: int, dtype: torch.dtype) -> HandPose:
    """Random poses and shapes."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    return HandPose(0.4 * normal(n, JOINT_COUNT, 3), normal(n, 3), normal(n, 10))


def run_smplx(model: smplx.MANO, pose: HandPose) -> torch.Tensor:
    """Vertices."""
    return model(
        betas=pose.betas,
        global_orient=pose.rotations[:, 0],
        hand_pose=pose.rotations[:, 1:].reshape(len(pose), 45),
        transl=pose.translation,
    ).vertices


def interleaved(*functions: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS + 3):
        for function, taken in zip(functions, times, strict=True):
            began = time.perf_counter()
            function()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken[3:]) for taken in times]


@torch.no_grad()
def measure() -> dict[str, float]:
    """All figures."""
    arrays = load_hand("open", "right")
    theirs, ours = as_smplx(arrays, dtype=torch.float32), HandModel(arrays, torch.float32)
    kinematics = KeypointKinematics(ours)
    figures = {}
    for n in (1, 256):
        pose = poses(n, torch.float32)
        state = HandState(rotation_from_axis_angle(pose.rotations), pose.translation, pose.betas)
        smplx_s, joints_s, vertices_s, keypoints_s, jacobian_s = interleaved(
            lambda pose=pose: run_smplx(theirs, pose),
            lambda pose=pose: ours.joints(pose),
            lambda pose=pose: ours(pose),
            lambda state=state: kinematics.keypoints(state),
            lambda state=state: kinematics.keypoints_and_jacobian(state),
        )
        figures[f"joints_speedup_{n}"] = smplx_s / joints_s
        figures[f"vertices_speedup_{n}"] = smplx_s / vertices_s
    figures["jacobian_over_forward"] = jacobian_s / keypoints_s
    exact = poses(64, torch.float64)
    difference = HandModel(arrays)(exact).vertices - run_smplx(as_smplx(arrays), exact)
    figures["smplx_difference_m"] = float(difference.abs().max())
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure()
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'figure':72} {'measured':>10} {'target':>10}")
    for name, (what, target, more_is_better) in TARGETS.items():
        sign = ">=" if more_is_better else "<="
        print(f"{what:72} {figures[name]:10.3g} {sign + format(target, 'g'):>10}")


if __name__ == "__main__":
    main()
