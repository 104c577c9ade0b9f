import cv2
import numpy as np

from handgen.reconstruct.mask_refinement import without_contrast


def test_an_edge_that_the_picture_does_not_have_says_nothing():
    """A disc that is as dark as the right half of the background."""
    image = np.full((200, 200, 3), 200, np.uint8)
    image[:, 100:] = 60
    mask = np.zeros((200, 200), np.uint8)
    cv2.circle(mask, (100, 100), 60, 255, -1)
    image[mask > 0] = 62
    silent = without_contrast(image, mask, extent_px=170) > 0
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    left, right = edge.copy(), edge.copy()
    left[:, 90:] = False
    right[:, :110] = False
    assert silent[right].mean() > 0.95
    assert silent[left].mean() < 0.05
    assert not silent[80:120, 80:120].any()  # far from the edge nothing is said about the edge


def test_a_hand_in_front_of_a_screen_keeps_all_of_its_edge():
    image = np.full((100, 100, 3), (30, 180, 40), np.uint8)
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), 30, 255, -1)
    image[mask > 0] = (200, 150, 130)
    assert not without_contrast(image, mask, extent_px=85).any()
