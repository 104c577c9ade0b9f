"""HaMeR's training tars, for its `ImageDataset.load_tars_as_webdataset`.

    000000.tar      KEY.jpg (jpeg, png), KEY.data.pyd (a pickled list of dictionaries, one per hand), and where there
                    are masks KEY.detection.npz (`masks`, one per hand, bool); adjacent
    dataset.yaml    for `hamer/configs/datasets_tar.yaml`; of handgen's exports alone

Source of the format: github.com/geopavlakos/hamer, `hamer/datasets/image_dataset.py` and `utils.py`. 2D keypoints are
in pixels of the picture, the centre of the first one at (0, 0); 3D ones in metres, camera axes; poses full, the
orientation in the camera's frame. A left hand comes unmirrored with the left model's pose and `right` 0: the loader
mirrors picture, keypoints and pose.
"""

from __future__ import annotations

from pathlib import Path

from handgen.errors import HandgenError
from handgen.io.shards import read_groups

PICTURES = ("jpg", "jpeg", "png")
LABELS, MASKS = "data.pyd", "detection.npz"
CONFIGURATION = "dataset.yaml"
OWNED = ("[0-9][0-9][0-9][0-9][0-9][0-9].tar", CONFIGURATION)  # by an export
SURE = 0.3  # confidence below which the loader drops a keypoint
BOX_UNIT_PX = 200  # `scale` is the box's side by this
PADDING = 2.0  # box over keypoints' extent: the loader of evaluation sets pads by this `rescale_factor`, of tars not
# What a hand's dictionary must hold, and its shape.
FIELDS: dict[str, tuple[int, ...]] = {
    "keypoints_2d": (21, 3),
    "keypoints_3d": (21, 4),
    "center": (2,),
    "scale": (2,),
    "hand_pose": (48,),
    "betas": (10,),
}


def tars_in(root: Path) -> list[Path]:
    """The tars of a data set, in their order."""
    return sorted(root.glob("*.tar"))


def is_hamer(root: Path) -> bool:
    """Tell by the first tar whether a folder holds HaMeR's; a damaged one counts: its check says what is wrong."""
    tars = tars_in(root)
    if not tars:
        return False
    try:
        first = next(iter(read_groups(tars[0])), None)
    except HandgenError:
        return True
    return first is not None and any(suffix.endswith("pyd") for suffix in first[1])
