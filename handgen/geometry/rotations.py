"""Batched rotations in torch: the exponential map, its inverse, and alignments."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

# Row k is the cross-product matrix of the k-th unit vector.
_GENERATORS = (
    (0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
)


@cache
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the generators (3, 9) and the identity (3, 3), made once per type and device."""
    with torch.inference_mode(False):  # a cached tensor of inference mode would break every later gradient
        return torch.tensor(_GENERATORS, dtype=dtype, device=device), torch.eye(3, dtype=dtype, device=device)


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Cross-product matrices: `skew(a) @ b = a x b`."""
    return (vector @ _constants(vector.dtype, vector.device)[0]).unflatten(-1, (3, 3))


def rotation_from_axis_angle(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula (radians), exact and differentiable at zero through sinc."""
    angle = axis_angle.norm(dim=-1)[..., None, None]
    sine = torch.sinc(angle / torch.pi)
    cosine = 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    outer = axis_angle[..., None] * axis_angle[..., None, :]
    identity = _constants(axis_angle.dtype, axis_angle.device)[1]
    return torch.cos(angle) * identity + sine * skew(axis_angle) + cosine * outer


def axis_angle_from_rotation(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Inverse of `rotation_from_axis_angle`, angles in [0, pi], through the best-conditioned unit quaternion.

    Source: Shepperd, "Quaternion from rotation matrix", J. Guidance and Control 1(3), 1978.
    """
    r = rotation
    diagonal = torch.diagonal(r, dim1=-2, dim2=-1)
    trace = diagonal.sum(-1)
    x, y, z = diagonal.unbind(-1)
    wx, wy, wz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xy, xz, yz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    # Row k is 4 q_k times the quaternion (w, x, y, z); the longest row loses no digits.
    first, second = (1 + trace, wx, wy, wz), (wx, 1 + 2 * x - trace, xy, xz)
    third, fourth = (wy, xy, 1 + 2 * y - trace, yz), (wz, xz, yz, 1 + 2 * z - trace)
    rows = torch.stack([torch.stack(row, -1) for row in (first, second, third, fourth)], -2)
    best = torch.stack([trace, x, y, z], -1).argmax(-1)
    quaternion = torch.take_along_dim(rows, best[..., None, None], -2).squeeze(-2)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    length = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(length, quaternion[..., :1])
    scale = torch.where(length < 1e-12, torch.full_like(length, 2.0), angle / length.clamp(min=1e-12))
    return quaternion[..., 1:] * scale


def rotation_between(
    source: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The smallest rotation that takes unit vectors `source` to unit vectors `target`."""
    cosine = (source * target).sum(-1)[..., None, None]
    cross = skew(torch.linalg.cross(source, target))
    identity = _constants(source.dtype, source.device)[1]
    return identity + cross + (cross @ cross) / (1 + cosine).clamp(min=1e-3)


def interpolated_rotation(
    first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"], share: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch 3 3"]:
    """The rotations that are `share` of the shortest way from `first` to `second`."""
    way = axis_angle_from_rotation(second @ first.transpose(-1, -2))
    return rotation_from_axis_angle(share[..., None] * way) @ first


def procrustes_rotation(
    source: Float[Tensor, "*batch n 3"], target: Float[Tensor, "*batch n 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The rotations R that minimise `|R @ source - target|` for centred points (Kabsch, 1976)."""
    u, _, vt = torch.linalg.svd(target.transpose(-1, -2) @ source)
    sign = torch.ones(u.shape[:-1], dtype=u.dtype, device=u.device)
    sign[..., 2] = torch.linalg.det(u @ vt)
    return (u * sign[..., None, :]) @ vt
