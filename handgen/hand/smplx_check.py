"""Compare handgen's kinematics with smplx's own, on the same hand model.

smplx has a non-commercial licence. It is imported here alone, where a user adds MANO's files, which have one too.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np

from handgen.hand.model_files import FIELDS, KINTREE, HandArrays
from handgen.hand.skeleton import JOINT_COUNT

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

    named = {key: getattr(arrays, field) for key, field in FIELDS.items()}
    data = Struct(**named, f=arrays.faces.astype(np.uint32), kintree_table=KINTREE.copy())
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
        orientation, fingers = pose.rotations[:, 0], pose.rotations[:, 1:].reshape(_POSES, -1)
        smplx_pose = {"global_orient": orientation, "hand_pose": fingers, "transl": pose.translation}
        theirs = as_smplx(arrays)(betas=pose.betas, **smplx_pose)
        pairs = ((ours.vertices, theirs.vertices), (ours.joints, theirs.joints[:, :JOINT_COUNT]))
        return 1000 * max(float((a - b).norm(dim=-1).max()) for a, b in pairs)
