"""hand3d's PoseNet, the detector of the original system."""
