"""Model how a detector's keypoints depend on the side that they are seen from: their place, and how unsure it is.

A detector looks at skin, the model's joints lie inside. So a knuckle seen from its back is put elsewhere than seen from
its side, a bent finger's joints elsewhere than a straight one's, and a fingertip behind the palm is little more than a
guess. Both effects are measured on simulated hands (`scripts/measure_detector_offsets.py`) and undone by the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS, KEYPOINT_COUNT, MIRROR_X

FEATURES = 12  # of a keypoint in a view: 1, direction (3), its products (5), bend of the finger's joints (3)
_JOINTS_OF = np.zeros((KEYPOINT_COUNT, 3), int)  # the finger's joints, less 1 for the wrist
for _finger, _keypoints in FINGER_KEYPOINTS.items():
    _JOINTS_OF[list(_keypoints)] = np.array(FINGER_JOINTS[_finger]) - 1


def features_of(
    towards_camera: Float[np.ndarray, "*batch 21 3"], flexion_rad: Float[np.ndarray, "*batch 15"]
) -> Float[np.ndarray, "*batch 21 features"]:
    """Features that the bias is linear in. towards_camera: unit vectors, in axes of a right hand's carrier joints."""
    x, y, z = np.moveaxis(towards_camera, -1, 0)
    bend = flexion_rad[..., _JOINTS_OF]
    bend = np.concatenate([np.zeros_like(bend[..., :1, :]), bend[..., 1:, :]], -2)  # the wrist has no finger
    one = np.ones_like(x)
    return np.concatenate([np.stack([one, x, y, z, x * x, y * y, x * y, y * z, x * z], -1), bend], -1)


@dataclass(frozen=True)
class ViewBias:
    """Model of what a view adds to a detector's constant offsets, and by what its noise grows, for each keypoint.

    offset_m: (21, 3, features), linear in `features_of`, metres in the carrier joint's axes of a right hand. skin_m:
    (21,) flesh in front of a keypoint that is in plain sight. depth_m, noise: what flesh beyond that multiplies the
    noise by, between these points.
    """

    offset_m: Float[np.ndarray, "21 3 features"]
    skin_m: Float[np.ndarray, " 21"]
    depth_m: Float[np.ndarray, " knots"]
    noise: Float[np.ndarray, " knots"]

    def __post_init__(self) -> None:
        if self.offset_m.shape != (KEYPOINT_COUNT, 3, FEATURES) or self.skin_m.shape != (KEYPOINT_COUNT,):
            raise ValueError(
                f"ViewBias: expected (21, 3, {FEATURES}) and (21,), got {self.offset_m.shape} and {self.skin_m.shape}"
            )
        if self.depth_m.ndim != 1 or self.depth_m.shape != self.noise.shape or (self.noise < 1).any():
            raise ValueError("ViewBias: depth_m and noise must be of one length, and noise at least 1")
        if not all(np.isfinite(array).all() for array in (self.offset_m, self.skin_m, self.depth_m, self.noise)):
            raise ValueError("ViewBias: a value is not finite")

    def offsets_m(
        self, towards_camera: Float[np.ndarray, "*batch 21 3"], flexion_rad: Float[np.ndarray, "*batch 15"], side: str
    ) -> Float[np.ndarray, "*batch 21 3"]:
        """Offsets to add to the constant ones of a hand of that side, in its carrier joints' axes."""
        mirror = np.ones(3) if side == "right" else np.array(MIRROR_X)
        features = features_of(towards_camera * mirror, flexion_rad)
        return np.einsum("kcf,...kf->...kc", self.offset_m, features) * mirror

    def noise_factor(self, flesh_m: Float[np.ndarray, "*batch 21"]) -> Float[np.ndarray, "*batch 21"]:
        """Compute how much noisier keypoints are than in plain sight, by the flesh in front of them."""
        return np.interp(flesh_m - self.skin_m, self.depth_m, self.noise)

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ViewBias:
        """The inverse of `to_json`. Raises ValueError for what is none."""
        try:
            return cls(**{name: np.array(document[name], dtype=float) for name in cls.__dataclass_fields__})
        except (KeyError, TypeError) as error:
            raise ValueError(f"ViewBias: {error!r}") from None


@dataclass(frozen=True)
class DetectorCalibration:
    """A detector's `offsets_m` and `view_bias` (`handgen.detect.base.Detector`), on one person or on anybody."""

    offsets_m: Float[np.ndarray, "21 3"]
    view_bias: ViewBias | None = None
