"""COCO keypoints of hands, as in OneHand10K and COCO-WholeBody."""
