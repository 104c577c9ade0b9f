"""From light to pixels: what one camera's sensor does."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from handgen.media.arrays import Image
from handgen.stages.simulate.texture import srgb_from_linear


@dataclass(frozen=True)
class Sensor:
    """From light to the pixels of one camera.

    gain: exposure and white balance. blur_px: sigma. shot_noise, read_noise: variance per unit of light, and deviation.
    """

    gain: Float[np.ndarray, " 3"]
    blur_px: float
    shot_noise: float
    read_noise: float

    def develop(self, light: Float[np.ndarray, "height width 3"], rng: np.random.Generator) -> Image:
        """The RGB image of linear light: blur, noise, sRGB's curve."""
        exposed = cv2.GaussianBlur((light * self.gain).astype(np.float32), (0, 0), self.blur_px)
        deviation = np.sqrt(self.shot_noise * exposed.clip(0) + self.read_noise**2)
        exposed = exposed + deviation * rng.standard_normal(exposed.shape, dtype=np.float32)
        # A soft shoulder keeps lit skin from clipping.
        exposed = np.where(exposed > 0.8, 0.8 + 0.2 * np.tanh((exposed - 0.8) / 0.2), exposed)
        return _CURVE[(exposed * (len(_CURVE) - 1)).clip(0, len(_CURVE) - 1).astype(np.int32)]


_CURVE = np.round(srgb_from_linear(np.linspace(0, 1, 8192)) * 255).astype(np.uint8)


def make_sensor(rng: np.random.Generator) -> Sensor:
    """A webcam like its neighbours, but not quite."""
    gain = rng.uniform(0.85, 1.15) * np.array([rng.uniform(0.96, 1.04), 1.0, rng.uniform(0.96, 1.04)])
    return Sensor(gain, rng.uniform(0.5, 0.75), rng.uniform(1e-4, 5e-4), rng.uniform(0.001, 0.004))
