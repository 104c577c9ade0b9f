"""InterHand2.6M: both hands in a studio, up to 140 cameras, millimetres.

Sources: github.com/facebookresearch/InterHand2.6M, its README, `data/InterHand2.6M/dataset.py` (files, cameras),
`tool/MANO_render/render.py` and `tool/MANO_world_to_camera/convert.py` (hand parameters); its home page,
mks0601.github.io/InterHand2.6M (files, joints); Moon et al., ECCV 2020.

    annotations/skeleton.txt                          joints: name, number, parent
    annotations/SPLIT/InterHand2.6M_SPLIT_data.json   images: id, file_name, width, height, capture, subject, seq_name,
                                                      camera, frame_idx; annotations: id, image_id, bbox, joint_valid,
                                                      hand_type
    ..._camera.json              capture -> campos, camrot, focal, princpt -> camera; mm; x_cam = R (x_world - campos)
    ..._joint_3d.json            capture -> frame -> world_coord 42 x 3 (mm), joint_valid 42: right hand first, fingers
                                 from the tip to the palm, wrist last
    ..._MANO_NeuralAnnot.json    (or ..._MANO.json) capture -> frame -> right, left: null, or pose 48 (fingers relative
                                 to the mean pose), shape 10, trans 3 (m); world
    images/SPLIT/FILE_NAME

Older releases have annotations/all, machine_annot and human_annot in place of annotations/SPLIT. `trans` is smplx's
`transl`; the parameters are of smplx's MANO with the left hand's shape directions mended, as `handgen models add` does.
"""

from __future__ import annotations

from pathlib import Path

from handgen.hand.skeleton import KEYPOINT_COUNT

SPLITS = ("train", "val", "test")  # exports of handgen's own may have others
SIDE_ORDER = ("right", "left")  # of the joints
JOINT_COUNT = 2 * KEYPOINT_COUNT
HAND_TYPES = {"right": {"right"}, "left": {"left"}, "interacting": {"right", "left"}}
ANNOTATIONS, IMAGES = "annotations", "images"
OWNED = (IMAGES, ANNOTATIONS)  # by an export
SKELETON = f"{ANNOTATIONS}/skeleton.txt"
DATA, CAMERA, JOINTS, PARAMETERS, OLD_PARAMETERS = "data", "camera", "joint_3d", "MANO_NeuralAnnot", "MANO"
CAMERA_SHAPES: dict[str, tuple[int, ...]] = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}
MM_PER_M, M_PER_MM = 1000.0, 1e-3
_SUBSETS = ("all", "machine_annot", "human_annot")
_START = "InterHand2.6M_"


def labels_file(split: str, part: str) -> str:
    """The name of a split's file `DATA`, `CAMERA`, ... in the split's folder."""
    return f"{_START}{split}_{part}.json"


def labels_folder(split: str) -> str:
    """The path of a split's folder below the data set."""
    return f"{ANNOTATIONS}/{split}"


def picture_folder(split: str) -> str:
    """The path of a split's pictures below the data set."""
    return f"{IMAGES}/{split}"


def folders_of(root: Path) -> dict[str, Path]:
    """The folder of each split's files, in the order of `SPLITS`; that of its own name where there are several."""
    found: dict[str, Path] = {}
    for path in sorted(root.glob(f"{ANNOTATIONS}/*/{labels_file('*', DATA)}")):
        split = path.name.removeprefix(_START).removesuffix(f"_{DATA}.json")
        if path.parent.name == split or (path.parent.name in _SUBSETS and split not in found):
            found[split] = path.parent
    order = {split: place for place, split in enumerate(SPLITS)}
    return dict(sorted(found.items(), key=lambda entry: (order.get(entry[0], len(order)), entry[0])))


def is_interhand(root: Path) -> bool:
    """Tell whether a folder holds InterHand2.6M."""
    return any(root.glob(f"{ANNOTATIONS}/**/{labels_file('*', DATA)}"))
