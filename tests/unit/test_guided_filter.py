import cv2
import numpy as np

from handgen.segmentation.guided_filter import guided


def test_what_is_even_stays(rng):
    guide = rng.uniform(0, 255, (40, 60)).astype(np.float32)
    even = np.full((40, 60), 3.0, np.float32)
    np.testing.assert_allclose(guided(even, guide, 3), 3.0, atol=1e-3)  # float32 of squared grey levels


def test_an_edge_is_drawn_to_the_guides_edge():
    guide = np.zeros((40, 60), np.float32)
    guide[:, 30:] = 200
    beside = np.zeros_like(guide)
    beside[:, 32:] = 1
    blurred = cv2.GaussianBlur(beside, (0, 0), 1.5)
    np.testing.assert_array_equal(guided(blurred, guide, 5) > 0.5, guide > 0)
    assert ((blurred > 0.5) != (guide > 0)).any()
