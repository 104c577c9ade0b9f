"""How deep two hands are in each other."""

import numpy as np

from handgen.geometry.meshes import Mesh
from handgen.stages.simulate.penetration import mutual_depth_m


def contact_depth_mm(models, vertices):
    """The depth at each moment, millimetres. vertices: per side (times, 778, 3), metres."""
    (first, second) = models
    borders = models[first].wrist_border, models[second].wrist_border
    pairs = zip(vertices[first], vertices[second], strict=True)
    return np.array(
        [1e3 * mutual_depth_m(Mesh(a, models[first].faces), Mesh(b, models[second].faces), *borders) for a, b in pairs]
    )
