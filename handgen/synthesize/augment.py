"""Photometric augmentation with albumentations. Geometry changes in `virtual_camera` alone."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
from jaxtyping import UInt8


def build_pipeline() -> Any:
    """Brightness, contrast, gamma, colour, blur and noise. Every transform here leaves pixels in place."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for updates when imported
    import albumentations as A  # noqa: N812

    return A.Compose(
        [
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.6),
            A.RandomGamma(gamma_limit=(75, 130), p=0.3),
            A.HueSaturationValue(hue_shift_limit=6, sat_shift_limit=25, val_shift_limit=10, p=0.3),
            A.OneOf([A.GaussianBlur(sigma_limit=(0.4, 1.6), p=1.0), A.MotionBlur(blur_limit=(3, 7), p=1.0)], p=0.2),
            A.GaussNoise(std_range=(0.01, 0.05), noise_scale_factor=0.5, p=0.15),
        ]
    )


def augment(
    pipeline: Any, image: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Run the pipeline with randomness from `rng` alone.

    All transforms share one pair of generators: `Compose.set_random_seed` would give each the same seed, so
    that transforms with equal probabilities would always be applied together.
    """
    pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return pipeline(image=image)["image"]
