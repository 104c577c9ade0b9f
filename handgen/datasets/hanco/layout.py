"""HanCo: the videos that FreiHAND was taken from. Right hands, eight cameras, 224 x 224 px crops.

Source: github.com/lmb-freiburg/contra-hand, `show_dataset.py` (files), `manopth/manolayer.py` and
`utils/mano_utils.py` (hand parameters), `DatasetUnsupervisedMV.py` (masks); Zimmermann et al., "Contrastive
Representation Learning for Hand Shape Estimation", GCPR 2021.

    meta.json                        is_train (green screen), subject_id, is_valid (the fit was checked), has_fit,
                                     object_id: lists per sequence of lists per frame
    rgb/SEQ/camN/FRAME.jpg           SEQ of four digits, FRAME of eight
    mask_hand/SEQ/camN/FRAME.jpg     of the hand, where there is a green screen
    calib/SEQ/FRAME.json             K and M per camera; M is world -> camera, metres
    xyz/SEQ/FRAME.json               21 x 3, world, metres; manopth's fingertips
    shape/SEQ/FRAME.json             poses 48 (fingers relative to the mean pose), shapes 10, global_t 3: world, metres

manopth there turns the hand about its wrist and adds global_t at the end, as smplx does with `transl`.
"""

from __future__ import annotations

from pathlib import Path

SPLITS = ("train", "test")
META = "meta.json"
PICTURES, MASKS, CALIBRATION, KEYPOINTS, PARAMETERS = "rgb", "mask_hand", "calib", "xyz", "shape"


def sequence_name(sequence: int) -> str:
    """The name of a sequence's folder."""
    return f"{sequence:04d}"


def picture_file(sequence: int, camera: int, frame: int) -> str:
    """The path of a picture, and of its mask, in its folder."""
    return f"{sequence_name(sequence)}/cam{camera}/{frame:08d}.jpg"


def frame_file(sequence: int, frame: int) -> str:
    """The path of a frame's calibration, keypoints and parameters in their folders."""
    return f"{sequence_name(sequence)}/{frame:08d}.json"


def is_hanco(root: Path) -> bool:
    """Tell whether a folder holds HanCo."""
    return (root / META).is_file() and (root / KEYPOINTS).is_dir()
