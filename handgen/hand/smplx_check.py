"""Compare handgen's kinematics with smplx's own, on the same hand model.

smplx has a non-commercial licence. It is imported here alone, where a user adds MANO's files, which have such a licence
too.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np

from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS

if TYPE_CHECKING:
    import smplx

MAX_DIFFERENCE_MM = 1e-3  # rounding gives a millionth of a millimetre
_POSES = 64
_POSE_RAD, _TRANSLATION_M = 0.5, 0.3  # standard deviations


def as_smplx(arrays: HandArrays, **options: Any) -> smplx.MANO:
    """Build smplx's layer of a hand model, in double precision; options: of `smplx.MANO`, which takes full poses."""
    import smplx
    import torch
    from smplx.utils import Struct

    data = Struct(
        v_template=arrays.template,
        f=arrays.faces.astype(np.uint32),
        shapedirs=arrays.shapedirs,
        posedirs=arrays.posedirs,
        J_regressor=arrays.joint_regressor,
        weights=arrays.weights,
        kintree_table=np.array([JOINT_PARENTS, range(JOINT_COUNT)]),
        hands_components=arrays.pose_components,
        hands_mean=arrays.mean_pose,
    )
    options = {"use_pca": False, "flat_hand_mean": True, "dtype": torch.float64} | options
    with redirect_stdout(io.StringIO()):  # it prints that ten betas are few
        return smplx.MANO(".", data_struct=data, is_rhand=arrays.side == "right", **options)


def largest_difference_mm(arrays: HandArrays) -> float:
    """Return how far apart handgen and smplx put a vertex or joint at most, over random poses and shapes."""
    import torch

    from handgen.hand.model import HandModel, HandPose

    rng = np.random.default_rng(0)
    pose = HandPose(
        torch.from_numpy(rng.normal(0, _POSE_RAD, (_POSES, JOINT_COUNT, 3))),
        torch.from_numpy(rng.normal(0, _TRANSLATION_M, (_POSES, 3))),
        torch.from_numpy(rng.normal(0, 1, (_POSES, arrays.shapedirs.shape[-1]))),
    )
    with torch.no_grad():
        ours = HandModel(arrays)(pose)
        theirs = as_smplx(arrays)(
            betas=pose.betas,
            global_orient=pose.rotations[:, 0],
            hand_pose=pose.rotations[:, 1:].reshape(_POSES, -1),
            transl=pose.translation,
        )
        pairs = ((ours.vertices, theirs.vertices), (ours.joints, theirs.joints[:, :JOINT_COUNT]))
        return 1000 * max(float((a - b).norm(dim=-1).max()) for a, b in pairs)
