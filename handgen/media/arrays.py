"""Types of pictures in memory: RGB images, and masks: how much of each pixel is of something, 0 to 255."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

Image = UInt8[np.ndarray, "height width 3"]
Mask = UInt8[np.ndarray, "height width"]
