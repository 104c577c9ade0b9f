"""Pictures of a hand and its forearm over backgrounds."""

import cv2
import numpy as np
import pytest

from handgen.geometry.meshes import mesh_mask
from handgen.hand.skeleton import MCP_KEYPOINTS
from handgen.segmentation.segment import forearm_mask, guides_of
from support.cameras import look_at
from support.hands import natural_poses

SIZE = (240, 240)


@pytest.fixture(scope="module")
def scene(hand):
    """The masks of a forearm and of its hand in a crop of 240 px."""
    rng = np.random.default_rng(5)
    posed = hand(natural_poses(hand, 1, rng))
    center = posed.keypoints[0].mean(0).numpy()
    camera = look_at("c", center + (0.0, 0.05, 0.6), center, focal=560, size_px=SIZE)
    vertices = posed.vertices[0].numpy()
    palm = posed.keypoints[0, list(MCP_KEYPOINTS)].mean(0).numpy()
    forearm = forearm_mask(camera, vertices[hand.wrist_border], palm)
    return forearm, mesh_mask(camera.project(vertices)[0], hand.faces, SIZE)


def painted(scene, background, rng, hand_shift=(0, 0)):
    """An image of the hand and its forearm over `background`, with noise; the hand may lie off its mesh."""
    forearm, mask = scene
    shifted = cv2.warpAffine(mask, np.float32([[1, 0, hand_shift[0]], [0, 1, hand_shift[1]]]), SIZE)
    skin = cv2.bitwise_or(shifted, forearm)
    image = np.where(skin[..., None] > 0, np.array([205, 150, 125]), background).astype(float)
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + rng.normal(0, 5, image.shape)
    return image.clip(0, 255).astype(np.uint8), shifted


def guides(scene, hand, **options):
    forearm, mask = scene
    return guides_of(mask, forearm, np.full_like(mask, 255), **options)


def textured(rng):
    coarse = rng.uniform(20, 130, (15, 15, 3))
    return cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
