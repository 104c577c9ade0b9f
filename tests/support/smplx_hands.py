"""smplx's own layer with a hand model's arrays."""

import numpy as np
import smplx
import torch
from smplx.utils import Struct

from handgen.hand import model_files


def as_smplx(arrays: model_files.HandArrays, **options) -> smplx.MANO:
    parents = np.array([4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
    data = Struct(
        v_template=arrays.template,
        f=arrays.faces.astype(np.uint32),
        shapedirs=arrays.shapedirs,
        posedirs=arrays.posedirs,
        J_regressor=arrays.joint_regressor,
        weights=arrays.weights,
        kintree_table=np.stack([parents, np.arange(16)]),
        hands_components=arrays.pose_components,
        hands_mean=arrays.mean_pose,
    )
    return smplx.MANO(
        ".",
        data_struct=data,
        is_rhand=arrays.side == "right",
        dtype=torch.float64,
        **({"use_pca": False, "flat_hand_mean": True} | options),
    )
