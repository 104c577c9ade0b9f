"""Types of pictures in memory: RGB images, and masks: how much of each pixel is of something, 0 to 255.

A plane has any number at each pixel; light is linear RGB.
"""

import numpy as np
from jaxtyping import Float, UInt8

Image = UInt8[np.ndarray, "height width 3"]
Mask = UInt8[np.ndarray, "height width"]
Plane = Float[np.ndarray, "height width"]
Light = Float[np.ndarray, "height width 3"]
