"""Amplitude-spectrum augmentation: the slow part of a picture's light and colour changes, its outlines stay.

What says where things are lies in the phase of a picture's Fourier transform; low amplitudes say how it is lit and
coloured, and tell renders from photographs. They are scaled at random and the phase is kept, as in Yang, Soatto, "FDA:
Fourier domain adaptation for semantic segmentation", CVPR 2020, where another picture's amplitudes take their place.
"""

from __future__ import annotations

import cv2
import numpy as np

from handgen.media.arrays import Image

_SMALL_PX = 32  # side at which low frequencies are seen whole
_HIGHEST = (1.0, 6.0)  # cycles per picture, to which amplitudes change
_STRENGTH = (0.1, 0.4)  # deviation of their logarithm
_SHARED = 0.9  # of its variance that all three colours have in common
_MEAN_STRENGTH = 0.12  # of the mean's


def vary_spectrum(image: Image, rng: np.random.Generator) -> Image:
    """Return a picture with other low amplitudes; of the same size."""
    small = cv2.resize(image, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    spectrum = np.fft.rfft2(small, axes=(0, 1))
    rows, columns = np.fft.fftfreq(_SMALL_PX) * _SMALL_PX, np.arange(_SMALL_PX // 2 + 1)
    distance = np.hypot(rows[:, None], columns[None])
    strength = rng.uniform(*_STRENGTH) * (distance <= rng.uniform(*_HIGHEST))
    strength[0, 0] = _MEAN_STRENGTH
    noise = np.sqrt(_SHARED) * rng.standard_normal((*distance.shape, 1))
    noise = noise + np.sqrt(1 - _SHARED) * rng.standard_normal(spectrum.shape)
    change = np.fft.irfft2(spectrum * (np.exp(strength[..., None] * noise) - 1), (_SMALL_PX, _SMALL_PX), axes=(0, 1))
    height, width = image.shape[:2]
    slow = cv2.resize(change.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(image, slow, dtype=cv2.CV_8U)
