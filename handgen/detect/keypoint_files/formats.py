"""Files of 2D keypoints that others have made: one module per format, each known by its content.

One file for all cameras (`jsonl`, `arrays`), the folder `detections/` of an earlier run (`000000.jsonl` ...), or a
folder that holds one file or folder per camera, named after it:

| module | of a camera `cam0` |
| --- | --- |
| `jsonl` | `cam0.jsonl`, handgen's own |
| `arrays` | `cam0.npy`, `cam0.npz` |
| `openpose` | a folder `cam0/` or `cam0_json/`; also Pose2Sim's, rtmlib's and DWPose's |
| `mmpose` | `cam0.json` or `results_cam0.json`, or a folder with a file per image; also Sapiens's |
| `deeplabcut` | `cam0.csv` or `cam0DLC_....csv` |

Frames are those of each camera's own video (or images), from 0, whatever offsets or timestamps the capture has; a file
of one image belongs to the picture of its name. Where no file has a camera's exact name, one that has it in its own, or
its number, is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from handgen.detect.base import CameraFrames
from handgen.detect.keypoint_files import arrays, deeplabcut, jsonl, mmpose, openpose
from handgen.detect.keypoint_files.conventions import chunks_of_run
from handgen.detect.keypoint_files.hands import CameraHands
from handgen.errors import HandgenError, explain_unreadable
from handgen.io.capture.camera_names import name_matches
from handgen.storage import filesystem

__all__ = ["CameraHands", "Source", "read", "sources"]

Source = tuple[str | None, Path]  # the camera, or None for all, and its file or folder

_SUFFIXES = (jsonl.SUFFIX, *arrays.SUFFIXES, mmpose.SUFFIX, ".csv")
_HDF5_SUFFIXES = (".h5", ".hdf5")  # DeepLabCut writes them beside the CSV; they are told, not read
_HDF5_START = b"\x89HDF"
_HEAD_BYTES = 2**16
_BOM = b"\xef\xbb\xbf"
_MAX_LOOKED_AT = 50  # files of a folder that do not tell what they are
_DETECTIONS = "detections"  # where a run of annotate puts them
_LOOKED_FOR = (
    "handgen's JSONL, a numpy array (.npy, .npz), a JSON file of MMPose, a CSV of DeepLabCut, or a folder with one of "
    "these, or one folder of OpenPose's files, per camera"
)


def sources(path: Path, cameras: tuple[str, ...]) -> tuple[Source, ...]:
    """The one file of all cameras, or each camera's own in a folder. Raises HandgenError for what has no partner.

    A folder that holds the chunks of an earlier run is of all cameras, as is the run that it belongs to.
    """
    for folder in (path, path / _DETECTIONS):
        if chunks_of_run(folder, cameras):
            return ((None, folder),)
    return tuple(_camera_sources(path, cameras).items()) if path.is_dir() else ((None, path),)


def read(
    found: tuple[Source, ...],
    cameras: tuple[str, ...],
    side: str | None,
    frames: Mapping[str, CameraFrames] | None = None,
) -> dict[str, CameraHands]:
    """The hands of every camera. side: of files that do not say it. Raises HandgenError for what does not fit."""
    known = frames or {}
    by_camera: dict[str, CameraHands] = {}
    for camera, path in found:
        if camera is None:
            by_camera |= _read_all(path, cameras, side)
        else:
            by_camera[camera] = _read_one(path, camera, side, known.get(camera))
    for camera, own in known.items():
        last = int(max(by_camera[camera].frames, default=0))
        if last - own.count > max(2, own.count // 100):  # decoders may differ by some frames at the end
            where = dict(found).get(camera) or dict(found)[None]
            raise HandgenError(
                f"{where}: has keypoints of frame {last}, but camera {camera} only {own.count} frames; give those of "
                "this video, frames numbered from 0"
            )
    return by_camera


def kinds(found: tuple[Source, ...]) -> set[str]:
    """The formats of files; "chunks": detections of an earlier run."""
    return {"chunks" if camera is None and path.is_dir() else _kind(path) for camera, path in found}


def _read_all(path: Path, cameras: tuple[str, ...], side: str | None) -> dict[str, CameraHands]:
    """The one file of all cameras, or the chunks of a run."""
    if path.is_dir():
        return jsonl.read_all(chunks_of_run(path, cameras), cameras)
    kind = _kind(path)
    if kind == "jsonl":
        return jsonl.read_all([path], cameras)
    if kind == "arrays":
        return arrays.read_all(path, cameras, side)
    if len(cameras) == 1:
        return {cameras[0]: _read_one(path, cameras[0], side)}
    raise HandgenError(
        f"{path}: a file of one camera, but there are {len(cameras)}; give a folder with one per camera: "
        f"{cameras[0]}{path.suffix}, {cameras[1]}{path.suffix} ..."
    )


def _read_one(path: Path, camera: str, side: str | None, frames: CameraFrames | None = None) -> CameraHands:
    """The file or folder of one camera."""
    kind = _kind(path)
    if kind == "jsonl":
        return jsonl.read_all([path], (camera,))[camera]
    if kind == "openpose":
        named = any(entry.name.lower().endswith(openpose.SUFFIX) for entry in path.iterdir())
        return openpose.read(path, openpose.SUFFIX if named else mmpose.SUFFIX, frames)
    if kind == "mmpose":
        return mmpose.read(path, side, frames)
    return {"arrays": arrays.read, "deeplabcut": deeplabcut.read}[kind](path, side)


def _kind(path: Path) -> str:
    """The module that reads a file or folder; HandgenError if none does."""
    if path.is_dir():
        return _folder_kind(path)
    if not path.exists():
        raise HandgenError(f"{path}: not found")
    if not path.is_file():
        raise HandgenError(f"{path}: not a file")  # a pipe would be waited for
    if path.suffix.lower() == jsonl.SUFFIX:
        return "jsonl"
    with explain_unreadable(path), filesystem.open_read(path) as stream:
        head = stream.read(_HEAD_BYTES)
    if path.suffix.lower() in arrays.SUFFIXES:
        return "arrays"
    if head.startswith(_HDF5_START):
        raise HandgenError(
            f"{path}: HDF5 is not read; export DeepLabCut's keypoints as CSV "
            "(analyze_videos(..., save_as_csv=True), or analyze_videos_converth5_to_csv)"
        )
    if head.removeprefix(_BOM).startswith(deeplabcut.START):
        return "deeplabcut"
    if all(key in head.split(b"\n", 1)[0] for key in jsonl.KEYS):
        return "jsonl"
    if openpose.KEY in head:
        raise HandgenError(
            f"{path}: OpenPose's file of one frame; give a folder that holds a folder of them per camera"
        )
    if any(key in head for key in mmpose.KEYS):
        return "mmpose"
    raise HandgenError(f"{path}: not a file of keypoints; expected {_LOOKED_FOR}")


def _folder_kind(folder: Path) -> str:
    """The module that reads a folder with a file per frame, by the contents of the first that tell it."""
    files = sorted(entry for entry in folder.iterdir() if entry.name.lower().endswith(mmpose.SUFFIX))
    for file in files[:_MAX_LOOKED_AT]:
        if not file.is_file():
            continue
        with explain_unreadable(file), filesystem.open_read(file) as stream:
            head = stream.read(_HEAD_BYTES).removeprefix(_BOM).lstrip()
        if openpose.KEY in head:
            return "openpose"
        if any(key in head for key in mmpose.KEYS):
            return "mmpose"
        if head.rstrip() != b"[]":  # an image in which MMPose saw nobody
            raise HandgenError(
                f"{file}: neither `people` (OpenPose, Pose2Sim, DWPose) nor `keypoint_scores` (MMPose, Sapiens) in it; "
                "take away what is no file of keypoints"
            )
    if files:
        return "mmpose"
    raise HandgenError(
        f"{folder}: no files {openpose.SUFFIX} of OpenPose in it, and no JSON of MMPose; see its contents"
    )


def _camera_sources(folder: Path, cameras: tuple[str, ...]) -> dict[str, Path]:
    """The one file or folder of each camera."""
    found: dict[str, Path] = {}
    hdf5: dict[str, Path] = {}
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    known = _cameras_of(entries, cameras)
    for entry in entries:
        camera = known.get(entry)
        if entry.suffix.lower() in _HDF5_SUFFIXES:
            hdf5 |= {camera: entry} if camera else {}
        elif entry.is_dir() or entry.suffix.lower() in _SUFFIXES:
            if camera is None and entry.is_dir():
                continue  # whatever it holds
            if camera is None:
                _complain_of_name(entry, cameras)
            elif camera in found:
                raise HandgenError(f"{folder}: {found[camera].name} and {entry.name} are of one camera; remove one")
            else:
                found[camera] = entry
    found = hdf5 | found
    missing = [camera for camera in cameras if camera not in found]
    if missing:
        others = [entry.name for entry in entries if entry.is_dir() and entry not in found.values()]
        raise HandgenError(
            f"{folder}: no keypoints of camera {', '.join(missing)}; expected a file {missing[0]} with one of the "
            f"endings {', '.join(_SUFFIXES)}, or a folder {missing[0]}"
            + (f" (there are the folders {', '.join(others[:20])})" if others else "")
        )
    return {camera: found[camera] for camera in cameras}


def _cameras_of(entries: Sequence[Path], cameras: tuple[str, ...]) -> dict[Path, str]:
    """The camera that each file or folder is named after, with what the tools add to a video's name.

    Where that gives none to any entry, whatever of the cameras' names or numbers stands in the entries' names.
    """
    stems = {entry: entry.name if entry.is_dir() else entry.stem for entry in entries}
    exact: dict[Path, str] = {}
    for entry, stem in stems.items():
        short = stem.removesuffix("_json").removeprefix(mmpose.PREFIX).partition(deeplabcut.MARK)[0]
        known = [spelling for spelling in (stem, short) if spelling in cameras]
        exact |= {entry: known[0]} if known else {}
        stems[entry] = short
    if exact:
        return exact
    of_keypoints = [
        entry
        for entry in entries
        if (entry.suffix.lower() in _SUFFIXES and not entry.name.lower().endswith(openpose.SUFFIX))
        or (entry.is_dir() and any(child.suffix.lower() == mmpose.SUFFIX for child in entry.iterdir()))
    ]
    found = max(name_matches(cameras, [stems[entry] for entry in of_keypoints]), key=len)
    return {of_keypoints[index]: camera for camera, index in found.items()}


def _complain_of_name(file: Path, cameras: tuple[str, ...]) -> None:
    if file.name.endswith(openpose.SUFFIX):
        raise HandgenError(
            f"{file.parent}: holds OpenPose's files of one camera itself; put them into a folder per camera: "
            f"{', '.join(f'{camera}/' for camera in cameras[:3])} ..."
        )
    raise HandgenError(f"{file}: no camera is called {file.stem!r}; the cameras are {', '.join(cameras)}")
