"""Weights in hand3d's layout, random, and their files as Python 2 and 3 pickle them."""

import numpy as np

from handgen.detect.cpm.network import LAYERS

SIGMA_PX = 25.0  # of hand3d's target maps: exp(-d^2 / 25^2)


def random_arrays(rng, gain=1.0):
    """Weights of a size that keeps activations alive through 31 layers."""
    arrays = {}
    for name, (size, inputs, outputs) in LAYERS.items():
        weights = rng.standard_normal((size, size, inputs, outputs), np.float32)
        arrays[f"PoseNet2D/{name}/weights"] = weights * np.float32(gain * np.sqrt(2 / (size * size * inputs)))
        arrays[f"PoseNet2D/{name}/biases"] = 0.1 * rng.standard_normal(outputs, np.float32)
    # As in the real file, and never looked at.
    arrays["PosePrior/conv_pose_0_1/weights"] = np.zeros((3, 3, 21, 32), np.float32)
    arrays["ViewpointNet/fc_vp_ux/biases"] = np.zeros(1, np.float32)
    return arrays


def flat_arrays():
    """Zeros that take no memory."""
    shapes = {}
    for name, (size, inputs, outputs) in LAYERS.items():
        shapes[f"PoseNet2D/{name}/weights"] = (size, size, inputs, outputs)
        shapes[f"PoseNet2D/{name}/biases"] = (outputs,)
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


def target_maps(crop_px, size=32):
    """Draw what hand3d trains towards, at the pixels that cells stand for; crop_px: (21, 2)."""
    at = 8.0 * np.arange(size)
    squares = np.square(at[None, None] - crop_px[:, 0, None, None]) + np.square(at[:, None] - crop_px[:, 1, None, None])
    return np.exp(-squares / SIGMA_PX**2)
