"""The public readers: which seeds each gets, what is changed in them, and how it reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

from fuzzing.seeds import SMALL_LAYERS
from handgen.cli.main import main
from handgen.data import load_shards
from handgen.datasets.registry import get_format
from handgen.datasets.source import open_source
from handgen.detect.cpm import network
from handgen.detect.keypoint_files.detector import KeypointsDetector
from handgen.errors import HandgenError
from handgen.hand import mano
from handgen.hand.model import HandModel
from handgen.hand.model_files import load_hand
from handgen.io.annotations import Annotations
from handgen.io.calibration_files.registry import load_calibration
from handgen.io.capture.capture import load_capture
from handgen.io.capture.timestamp_files import read_timestamps
from handgen.media import images
from handgen.media.image_folder import open_image_folder
from handgen.media.video import open_video
from handgen.stages.synthesize.augment import Augmentation
from handgen.stages.validate.stage import run as validate

CAMERAS = ("cam0", "cam1")
Read = Callable[[Path, Path], None]  # the input's folder, and one where output may be written
_CONTROL = {chr(code) for code in (*range(32), 127, *range(128, 160))} - {"\n"}


class Refusal(Exception):
    """A command ended with a message, as a reader does with a HandgenError."""


class WrongEnd(Exception):
    """A command ended in a way that it must not: other lines, another status, control characters."""


@dataclass(frozen=True)
class Reader:
    """Something that reads inputs.

    seeds: their names; one that is there twice is taken twice as often. focus: patterns of the files that are changed.
    gentle: share of the cases that change next to nothing, so that enough of them are read to their end.
    """

    name: str
    seeds: tuple[str, ...]
    focus: tuple[str, ...]
    read: Read
    gentle: float = 0.62


def _calibration(folder: Path, out: Path) -> None:
    load_calibration(folder)


def _capture(folder: Path, out: Path) -> None:
    capture = load_capture(folder)
    capture.fingerprint()
    for _ in capture.read(0, 3):
        pass


def _timestamps(folder: Path, out: Path) -> None:
    read_timestamps(folder / "timestamps.csv", {name: name for name in CAMERAS}, dict.fromkeys(CAMERAS, 6))


def _keypoints(place: str = "") -> Read:
    def read(folder: Path, out: Path) -> None:
        detector = KeypointsDetector(folder / place if place else folder, CAMERAS, "right")
        for camera in CAMERAS:
            detector.start(camera).detect(None, 0)  # type: ignore[arg-type]

    return read


def _detections(folder: Path, out: Path) -> None:
    KeypointsDetector(folder, ("cam_0", "cam_1", "cam_2")).start("cam_0").detect(None, 0)  # type: ignore[arg-type]


def _mano(folder: Path, out: Path) -> None:
    mano.add([folder])


def _hand_model(folder: Path, out: Path) -> None:
    HandModel(load_hand(str(folder / "model_{side}.npz"), "right"))


def _weights(folder: Path, out: Path) -> None:
    with mock.patch.object(network, "LAYERS", SMALL_LAYERS):  # the real ones have 82 MiB
        network.load_network(folder / "weights.pickle")


def _annotations(folder: Path, out: Path) -> None:
    annotations = Annotations(folder)
    _ = annotations.rig, annotations.hand_model, annotations.capture, annotations.people("capture")
    for chunk, record in annotations:
        annotations.betas_of(record)
        for view in record.views:
            annotations.cutout(chunk, view)


def _source(folder: Path, out: Path) -> None:
    source = open_source(folder)
    for unit in range(source.units):
        source.count(unit)
        for _ in source.read(unit):
            pass


def _shards(folder: Path, out: Path) -> None:
    for _ in load_shards(str(folder), batch_size=3):
        pass


def _augmentation(folder: Path, out: Path) -> None:
    Augmentation.load(str(folder / "augment.yaml")).pipeline()


def _pictures(folder: Path, out: Path) -> None:
    """Read every picture in every way; one of them that is refused is enough."""
    refusal = None
    for path in sorted(folder.iterdir()):
        if path.suffix == ".md":
            continue
        for read in (images.read_rgb, lambda p: images.read_rgb(p, 20), images.picture_size, _grey):
            try:
                read(path)
            except HandgenError as error:
                refusal = error
    if refusal is not None:
        raise refusal
    open_image_folder(folder)


def _grey(path: Path) -> None:
    if path.is_file():
        images.decode_grey(path.read_bytes(), str(path))


def _video(folder: Path, out: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix != ".md":
            video = open_video(path)
            for _ in video.images(range(0, video.frame_count, 3)):
                pass


def _data_set(name: str) -> Read:
    def read(folder: Path, out: Path) -> None:
        models = {side: load_hand("open", side) for side in ("left", "right")}
        reader = get_format(name).open(folder, None, models)
        reader.fingerprint()
        assert reader.count >= 0 and isinstance(reader.notes, list)
        for _ in reader:
            pass

    return read


def _validate(folder: Path, out: Path) -> None:
    validate(folder, digests=True, pixels=True, workers=1)


def _command(*arguments: str) -> Read:
    """Run a command as a user does; IN and OUT in the arguments stand for the folders."""

    def read(folder: Path, out: Path) -> None:
        found = [a.replace("IN", str(folder)).replace("OUT", str(out)) for a in arguments]
        findings = arguments[0] == "validate"
        result = CliRunner().invoke(main, found)
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        check_command(result.exit_code, result.stdout, result.stderr, findings)

    return read


def _copy(source: Path, target: Path) -> None:
    """Copy a directory with its links and pipes as they are, which `shutil.copytree` follows or refuses."""
    target.mkdir(parents=True)
    for entry in os.scandir(source):
        place, status = target / entry.name, entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            place.symlink_to(os.readlink(entry.path))
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(place)
        elif stat.S_ISDIR(status.st_mode):
            _copy(Path(entry.path), place)
        else:
            place.write_bytes(Path(entry.path).read_bytes())


def _resume(folder: Path, out: Path) -> None:
    """Go on with a run in a directory that came from elsewhere."""
    _copy(folder / "shards", out / "shards")
    options = ("--samples", "4", "--samples-per-shard", "2", "--size", "32", "--workers", "1", "-q")
    _command("synthesize", str(folder / "annotations"), "--out", "OUT/shards", *options)(folder, out)


def check_command(status: int, stdout: str, stderr: str, findings: bool) -> None:
    """Raise Refusal when a command said what is wrong, WrongEnd when it ended as it must not.

    findings: whether status 1 may mean that standard output tells what was found.
    """
    errors = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    if "Traceback" in stdout + stderr:
        raise WrongEnd("a traceback was printed")
    if strange := _CONTROL.intersection(stdout + stderr):
        raise WrongEnd(f"control characters were printed: {sorted(strange)!r}")
    if findings and status == 1 and not errors and stdout:
        return
    if status not in (0, 1, 2) or len(errors) != (status != 0):
        raise WrongEnd(f"exit status {status} with {len(errors)} lines of errors: {stderr[-300:]!r}")
    if status:
        raise Refusal(errors[0])


_CALIBRATIONS = {
    "handgen": ("calibration_0",),
    "two_file": ("calibration_1",),
    "stereo_dat": ("calibration_2",),
    "caliscope": ("calibration_3",),
    "anipose": ("calibration_4",),
    "easymocap": ("calibration_5",),
}
_SETS = {
    "annotations": ("annotations", "run"),
    "shards": ("shards",),
    "hamer": ("hamer", "hamer_export"),
    "coco": ("coco", "coco_runs", "coco_export"),
    "freihand": ("freihand", "freihand_export"),
    "hanco": ("hanco",),
    "interhand": ("interhand", "interhand_export"),
    "capture": ("capture", "capture_mp4"),
}
_EXPORTS = ("hamer_export", "coco_export", "freihand_export", "interhand_export")  # which alone `inspect` knows
_JSON, _TARS = ("*.json", "*.jsonl"), ("*.tar", "*.tar", "*.json", "*.jsonl")
READERS: tuple[Reader, ...] = (
    *(Reader(f"calibration_{name}", seeds, ("*",), _calibration) for name, seeds in _CALIBRATIONS.items()),
    Reader(
        "capture", ("capture", "capture", "capture", "capture_mp4"), ("capture.json", "capture.json", "*"), _capture
    ),
    Reader("timestamps", ("capture",), ("timestamps.csv",), _timestamps),
    Reader("keypoints_jsonl", ("jsonl",), ("*",), _keypoints("keypoints.jsonl")),
    Reader("keypoints_npy", ("npy",), ("*",), _keypoints(), 0.75),
    Reader("keypoints_npz", ("npz",), ("*",), _keypoints(), 0.75),
    Reader("keypoints_openpose", ("openpose",), ("*",), _keypoints()),
    Reader("keypoints_mmpose", ("mmpose", "mmpose_images"), ("*",), _keypoints()),
    Reader("keypoints_deeplabcut", ("deeplabcut",), ("*.csv", "*.csv", "*"), _keypoints()),
    Reader("detections", ("run",), ("detections/*", "run.json"), _detections),
    Reader("mano", ("mano_2", "mano_1", "mano_2", "mano_1", "mano_2", "mano_0"), ("*",), _mano),
    Reader("hand_model", ("hand_model", "hand_model_stored"), ("*",), _hand_model, 0.8),
    Reader("weights", ("weights",), ("*",), _weights),
    Reader("annotations", _SETS["annotations"], ("manifest.json", "chunks/*.jsonl", "chunks/*.tar"), _annotations),
    Reader("shards", ("shards",), _TARS, _shards),
    Reader("sources", ("shards", "annotations"), _TARS, _source),
    Reader("augmentation", ("augment", "augment", "augment_own"), ("*",), _augmentation),
    Reader("pictures_png", ("png",), ("*",), _pictures),
    Reader("pictures_jpeg", ("jpeg", "jpeg_progressive"), ("*",), _pictures),
    Reader("pictures_tiff", ("tiff", "tiff_deflate", "tiff_lzw"), ("*",), _pictures),
    Reader("pictures_webp_gif", ("webp", "gif"), ("*",), _pictures),
    *(Reader(f"video_{name}", (name,), ("*",), _video) for name in ("mp4", "avi", "mkv", "webm")),
    *(Reader(f"import_{name}", _SETS[name], _JSON, _data_set(name)) for name in ("freihand", "hanco", "interhand")),
    *(Reader(f"validate_{name}", seeds, _TARS, _validate, 0.2) for name, seeds in _SETS.items()),
    Reader(
        "command_inspect",
        (*(name for name in ("annotations", "shards", "capture") for name in _SETS[name]), *_EXPORTS),
        _JSON,
        _command("inspect", "IN"),
    ),
    Reader(
        "command_validate",
        tuple(name for seeds in _SETS.values() for name in seeds),
        _TARS,
        _command("validate", "IN", "--workers", "1"),
        0.5,
    ),
    Reader(
        "command_annotate",
        ("rendered",),
        ("keypoints.jsonl", "capture/*"),
        _command(
            *("annotate", "IN/capture", "--detector", "keypoints", "--keypoints", "IN/keypoints.jsonl"),
            *("--out", "OUT/annotations", "--refine", "none", "--hands", "right", "--workers", "1", "--quiet"),
        ),
        0.5,
    ),
    *(
        Reader(
            f"command_import_{name}",
            (name,),
            _JSON,
            _command(
                "import",
                "IN",
                "--format",
                name,
                "--out",
                "OUT/annotations",
                "--hand-model",
                "open",
                "--workers",
                "1",
                "-q",
            ),
            0.5,
        )
        for name in ("freihand", "hanco", "interhand")
    ),
    Reader(
        "command_synthesize",
        ("annotations",),
        ("manifest.json", "chunks/*.jsonl", "chunks/*.tar"),
        _command("synthesize", "IN", "--out", "OUT/shards", "--samples", "3", "--size", "32", "--workers", "1", "-q"),
    ),
    Reader(
        "command_backgrounds",
        ("backgrounds",),
        ("pictures/*",),
        _command(
            *("synthesize", "IN/annotations", "--backgrounds", "IN/pictures", "--out", "OUT/shards", "--samples", "3"),
            *("--size", "32", "--workers", "1", "-q"),
        ),
    ),
    Reader("command_resume", ("unfinished",), ("shards/*",), _resume),
    Reader(
        "command_export",
        ("shards", "annotations"),
        _TARS,
        _command("export", "IN", "--format", "coco", "--out", "OUT/coco", "--workers", "1", "-q"),
    ),
    Reader(
        "command_evaluate",
        ("annotations",),
        ("manifest.json", "chunks/*.jsonl", "chunks/*.tar"),
        _command("evaluate", "IN", "--truth", "IN", "--workers", "1", "-q"),
    ),
    Reader("command_models_add", ("mano_2", "mano_1"), ("*",), _command("models", "add", "IN")),
)
