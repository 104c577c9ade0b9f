"""Valid inputs of every kind, made by code: what is changed must be read as it is."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from support import calibration_files, keypoint_files
from support.annotate import rendered_with_keypoints
from support.annotations import write_annotations
from support.captures import make_capture, small_rig, write_images, write_video
from support.data_sets import write_freihand, write_hanco, write_interhand
from support.export_sets import pictures_of, write_coco, write_hamer
from support.make_mano_pickle import clean_state, mano_pickle

from handgen.hand.model_files import npz_bytes
from handgen.io.annotations import Annotations
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.detections import write_detections
from handgen.options import make_config
from handgen.records.detection import DetectionRecord
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.export import stage as export
from handgen.stages.export.config import ExportConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.augment import DEFAULT_FILE
from handgen.stages.synthesize.config import SynthesizeConfig

CAMERAS = ("cam0", "cam1")
SMALL_LAYERS = {"conv1_1": (3, 3, 2), "conv5_2": (1, 2, 21), "conv7_7": (1, 2, 21)}  # kernel, channels in and out
_FRAMES = 6
_SIZE = (96, 72)


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _capture(folder: Path, suffix: str = ".png") -> None:
    """Write two cameras, a calibration, capture.json and times, with every member that capture.json may have."""
    rig = small_rig(*CAMERAS)
    settings = {
        "calibration": "calibration.json",
        "metres_per_unit": 1.0,
        "hands": "right",
        "subject": "somebody",
        "timestamps": {"file": "timestamps.csv", "tolerance_s": 0.5},
        "fps": 25.0,
        "cameras": {name: {"file": name if suffix == ".png" else f"{name}{suffix}"} for name in CAMERAS},
    }
    if suffix == ".png":
        for number, name in enumerate(CAMERAS):
            write_images(folder / name, number, _FRAMES)
        save_calibration(folder / "calibration.json", rig)
        (folder / "capture.json").write_text(json.dumps({"format_version": 1, **settings}))
    else:
        folder.mkdir(parents=True)
        make_capture(folder, (_FRAMES, _FRAMES), list(CAMERAS), suffix, settings, rig)
    rows = [f"{name},{frame},{frame / 25:.6f}" for name in CAMERAS for frame in range(_FRAMES)]
    (folder / "timestamps.csv").write_text("camera,frame,time_s\n" + "\n".join(rows) + "\n")


def _calibration(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        calibration_files.WRITERS[name](folder, small_rig("cam0", "cam1", "cam2"))

    return make


def _detection_rows(cameras: tuple[str, ...] = CAMERAS) -> list[DetectionRecord]:
    rng = _rng()
    return [
        DetectionRecord(camera, frame, rng.uniform(5, 90, (21, 2)), rng.uniform(0.2, 1, 21), float(frame % 2))
        for frame in range(4)
        for camera in cameras
    ]


def _jsonl(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_detections(folder / "keypoints.jsonl", _detection_rows())


def _arrays(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        for camera in CAMERAS:
            values = np.concatenate([_rng().uniform(5, 90, (4, 21, 2)), _rng().uniform(0.2, 1, (4, 21, 1))], -1)
            if suffix == ".npy":
                np.save(folder / f"{camera}.npy", values)
            else:
                np.savez_compressed(folder / f"{camera}.npz", keypoints_px=values, other=np.arange(3))

    return make


def _openpose(folder: Path) -> None:
    rng = _rng()
    for camera in CAMERAS:
        for frame in range(3):
            person = keypoint_files.openpose_person(keypoint_files.hand(rng), keypoint_files.hand(rng))
            keypoint_files.openpose_file(folder / camera, frame, person, person, name=camera)


def _mmpose(folder: Path) -> None:
    rng = _rng()
    folder.mkdir(parents=True)
    for camera in CAMERAS:
        frames = [[keypoint_files.mmpose_instance(keypoint_files.hand(rng))] for _ in range(3)]
        (folder / f"results_{camera}.json").write_text(json.dumps(keypoint_files.mmpose_video(frames, 1)))


def _mmpose_images(folder: Path) -> None:
    rng = _rng()
    for camera in CAMERAS:
        (folder / camera).mkdir(parents=True)
        for frame in range(3):
            body = keypoint_files.whole_body(keypoint_files.hand(rng), keypoint_files.hand(rng))
            instances = [keypoint_files.mmpose_instance(body)]
            (folder / camera / f"{frame:04d}.json").write_text(json.dumps(instances))


def _deeplabcut(folder: Path) -> None:
    """Write a CSV for each camera, one with two individuals, and the HDF5 that DeepLabCut leaves beside them."""
    rng = _rng()
    folder.mkdir(parents=True)
    for number, camera in enumerate(CAMERAS):
        people = ["left", "right"][: number + 1]
        hands = {frame: [keypoint_files.hand(rng) for _ in people] for frame in range(3)}
        individuals = people if number else None
        keypoint_files.dlc_csv(folder / f"{camera}DLC_resnet50.csv", hands, individuals=individuals)
        (folder / f"{camera}DLC_resnet50.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))


def _mano(protocol: int, sides: tuple[str, ...] = ("right",)) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        for side in sides:
            (folder / f"MANO_{side.upper()}.pkl").write_bytes(mano_pickle(side, protocol))

    return make


def _hand_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model_right.npz").write_bytes(npz_bytes(clean_state("right")))


def _annotations(folder: Path) -> None:
    write_annotations(folder, frames=3, cameras=2, accept_all=True, apart_m=0.1)


def _shards(folder: Path) -> None:
    source = folder.with_name("annotations")
    config = SynthesizeConfig(samples=8, samples_per_shard=4, size=64, workers=1, seed=5)
    synthesize.run(source, folder, None, config)


def _freihand_export(folder: Path) -> None:
    export.run(folder.with_name("shards"), folder, make_config(ExportConfig, format="freihand", workers=1))


def _interhand_export(folder: Path) -> None:
    export.run(folder.with_name("annotations"), folder, make_config(ExportConfig, format="interhand", workers=1))


def _coco_export(folder: Path) -> None:
    export.run(folder.with_name("shards"), folder, make_config(ExportConfig, format="coco", workers=1))


def _hamer_export(folder: Path) -> None:
    export.run(folder.with_name("shards"), folder, make_config(ExportConfig, format="hamer", workers=1))


def _coco_runs(folder: Path) -> None:
    """Write COCO's with masks as run lengths, as text and as lists."""
    from pycocotools import mask as coco_mask

    def change(document: dict) -> None:
        sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
        for number, annotation in enumerate(document["annotations"]):
            height, width = sizes[annotation["image_id"]]
            packed = coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], height, width))
            packed["counts"] = packed["counts"].decode()
            mask = coco_mask.decode(packed).ravel(order="F")
            edges = np.flatnonzero(np.diff(mask)) + 1
            runs = np.diff([0, *edges, len(mask)]).tolist()
            runs = runs if mask[0] == 0 else [0, *runs]
            annotation["segmentation"] = {"size": [height, width], "counts": packed["counts"] if number % 2 else runs}

    write_coco(folder, pictures_of(folder.with_name("shards"))[:4], change)


def _weights(folder: Path) -> None:
    """Write weights of a network with hand3d's names, of SMALL_LAYERS, in the protocols of both Pythons."""
    folder.mkdir(parents=True)
    rng = _rng()
    arrays = {"PosePrior/fc_rel0/weights": rng.normal(size=(3, 4)).astype(np.float32)}
    for name, (size, inputs, outputs) in SMALL_LAYERS.items():
        arrays[f"PoseNet2D/{name}/weights"] = rng.normal(size=(size, size, inputs, outputs)).astype(np.float32)
        arrays[f"PoseNet2D/{name}/biases"] = rng.normal(size=outputs).astype(np.float32)
    (folder / "weights.pickle").write_bytes(pickle.dumps(arrays, 2))


def _rendered(folder: Path) -> None:
    rendered_with_keypoints(folder, 2)
    shutil.rmtree(folder / "capture" / "truth")


def _run(folder: Path) -> None:
    """Write annotations that a run made, with run.json, detections/ and chunks/."""
    source = folder.with_name("rendered")
    config = make_config(
        AnnotateConfig, detector="keypoints", keypoints=str(source / "keypoints.jsonl"), hands="right", workers=1
    )
    annotate.run(source / "capture", folder, config)
    assert Annotations(folder).chunk_count == 1


def _augmentation(folder: Path) -> None:
    folder.mkdir(parents=True)
    lines = (
        "- RandomGamma: {gamma_limit: [80, 120], p: 0.3}",
        "- OneOf:",
        "    p: 0.5",
        "    transforms:",
        "    - GaussianBlur: {p: 0.5}",
        "    - NoOp: {p: 0.5}",
    )
    (folder / "augment.yaml").write_text("\n".join(lines) + "\n")


def _augmentation_own(folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copy(DEFAULT_FILE, folder / "augment.yaml")


def _picture(suffix: str, modes: tuple[str, ...] = ("RGB",), **options: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        x, y = np.meshgrid(np.arange(_SIZE[0]), np.arange(_SIZE[1]))
        image = np.stack([x * 2, y * 3, (x + y) % 256], -1).astype(np.uint8)
        for number, mode in enumerate(modes):
            picture = Image.fromarray(image).convert("L") if mode == "I;16" else Image.fromarray(image).convert(mode)
            if mode == "I;16":
                picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
            picture.save(folder / f"{number}{suffix}", **options)

    return make


def _backgrounds(folder: Path) -> None:
    """Write annotations, and pictures to lay behind their hands."""
    shutil.copytree(folder.with_name("annotations"), folder / "annotations")
    for name in ("png", "jpeg", "webp"):
        shutil.copytree(folder.with_name(name), folder / "pictures", dirs_exist_ok=True)


def _unfinished(folder: Path) -> None:
    """Write annotations, and shards of them that a run has not finished."""
    shutil.copytree(folder.with_name("annotations"), folder / "annotations")
    make = {"samples": 4, "samples_per_shard": 2, "size": 32, "workers": 1}
    synthesize.run(folder / "annotations", folder / "shards", None, SynthesizeConfig(**make))
    (folder / "shards" / "manifest.json").unlink()
    (folder / "shards" / "train-000001.tar").unlink()


def _video(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        write_video(folder / f"video{suffix}", 0, 8, _SIZE)

    return make


def _hand_model_stored(folder: Path) -> None:
    """Write a hand model as numpy does, member by member."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "model_right.npz", "w") as archive:
        for name, array in clean_state("right").items():
            packed = io.BytesIO()
            np.lib.format.write_array(packed, np.asarray(array, order="C"))
            archive.writestr(f"{name}.npy", packed.getvalue())


SEEDS: dict[str, Callable[[Path], object]] = {
    "capture": _capture,
    "capture_mp4": lambda folder: _capture(folder, ".mp4"),
    **{f"calibration_{i}": _calibration(name) for i, name in enumerate(calibration_files.WRITERS)},
    "jsonl": _jsonl,
    "npy": _arrays(".npy"),
    "npz": _arrays(".npz"),
    "openpose": _openpose,
    "mmpose": _mmpose,
    "mmpose_images": _mmpose_images,
    "deeplabcut": _deeplabcut,
    **{f"mano_{protocol}": _mano(protocol) for protocol in (0, 1, 2)},
    "hand_model": _hand_model,
    "hand_model_stored": _hand_model_stored,
    "weights": _weights,
    "annotations": _annotations,
    "shards": _shards,
    "hamer": lambda folder: write_hamer(folder, pictures_of(folder.with_name("shards"))),
    "hamer_export": _hamer_export,
    "coco": lambda folder: write_coco(folder, pictures_of(folder.with_name("shards"))[:4]),
    "coco_runs": _coco_runs,
    "coco_export": _coco_export,
    "freihand": lambda folder: write_freihand(folder, 3),
    "freihand_export": _freihand_export,
    "hanco": lambda folder: write_hanco(folder, 2, 2),
    "interhand": lambda folder: write_interhand(folder, 2, 2),
    "interhand_export": _interhand_export,
    "rendered": _rendered,
    "run": _run,
    "augment": _augmentation,
    "augment_own": _augmentation_own,
    "png": _picture(".png", modes=("RGB", "L", "RGBA", "I;16", "P")),
    "jpeg": _picture(".jpg", modes=("RGB", "L", "CMYK"), quality=80),
    "jpeg_progressive": _picture(".jpg", progressive=True),
    "tiff": _picture(".tif", modes=("RGB", "L", "I;16")),
    "tiff_deflate": _picture(".tif", modes=("RGB", "RGBA"), compression="tiff_adobe_deflate"),
    "tiff_lzw": _picture(".tif", compression="tiff_lzw"),
    "webp": _picture(".webp", modes=("RGB", "RGBA")),
    "gif": _picture(".gif", modes=("P",)),
    "backgrounds": _backgrounds,
    "unfinished": _unfinished,
    **{suffix[1:]: _video(suffix) for suffix in (".mp4", ".avi", ".mkv", ".webm")},
}


def make_seeds(root: Path, names: set[str]) -> None:
    """Make the seeds of these names, and those that they are made of, in folders of `root`."""
    needs = {"shards": {"annotations"}, "run": {"rendered"}, "interhand_export": {"annotations"}}
    needs["unfinished"] = {"annotations"}
    needs["backgrounds"] = {"annotations", "png", "jpeg", "webp"}
    of_shards = ("hamer", "hamer_export", "coco", "coco_runs", "coco_export", "freihand_export")
    needs |= dict.fromkeys(of_shards, {"shards"})
    wanted = set(names)
    while more := set().union(*(needs.get(name, set()) for name in wanted)) - wanted:
        wanted |= more
    cv2.setNumThreads(1)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    for name, make in SEEDS.items():
        if name in wanted:
            make(root / name)
