"""Files of 2D keypoints that other programs wrote."""
