"""Types of pictures and masks, as every part of the library hands them on."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

Image = UInt8[np.ndarray, "height width 3"]  # RGB
Mask = UInt8[np.ndarray, "height width"]  # how much of each pixel belongs to something, 0 to 255; often only 0 and 255
