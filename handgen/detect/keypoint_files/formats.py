"""Files of 2D keypoints that others have made: one module per format, each known by its content.

One file for all cameras (`jsonl`, `arrays`), the folder `detections/` of an earlier run (`000000.jsonl` ...), or a
folder that holds one file or folder per camera, named after it:

| module | of a camera `cam0` |
| --- | --- |
| `jsonl` | `cam0.jsonl`, handgen's own |
| `arrays` | `cam0.npy`, `cam0.npz` |
| `openpose` | a folder `cam0/` or `cam0_json/` |
| `mmpose` | `cam0.json` or `results_cam0.json`, or a folder with a file per image |
| `deeplabcut` | `cam0.csv` or `cam0DLC_....csv` |

Frames are those of each camera's own video (or images), from 0, whatever offsets or timestamps the capture has.
"""

from __future__ import annotations

from pathlib import Path

from handgen.detect.keypoint_files import arrays, deeplabcut, jsonl, mmpose, openpose
from handgen.detect.keypoint_files.conventions import chunks_of_run
from handgen.detect.keypoint_files.hands import CameraHands
from handgen.errors import HandgenError, explain_unreadable

__all__ = ["CameraHands", "Source", "read", "sources"]

Source = tuple[str | None, Path]  # the camera, or None for all, and its file or folder

_SUFFIXES = (jsonl.SUFFIX, *arrays.SUFFIXES, mmpose.SUFFIX, ".csv")
_HDF5_SUFFIXES = (".h5", ".hdf5")  # DeepLabCut writes them beside the CSV; they are told, not read
_HDF5_START = b"\x89HDF"
_HEAD_BYTES = 2**16
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


def read(found: tuple[Source, ...], cameras: tuple[str, ...], side: str | None) -> dict[str, CameraHands]:
    """The hands of every camera. side: of files that do not say it. Raises HandgenError for what does not fit."""
    by_camera: dict[str, CameraHands] = {}
    for camera, path in found:
        by_camera |= _read_all(path, cameras, side) if camera is None else {camera: _read_one(path, camera, side)}
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


def _read_one(path: Path, camera: str, side: str | None) -> CameraHands:
    """The file or folder of one camera."""
    kind = _kind(path)
    if kind == "jsonl":
        return jsonl.read_all([path], (camera,))[camera]
    if kind == "openpose":
        return openpose.read(path)
    return {"arrays": arrays.read, "mmpose": mmpose.read, "deeplabcut": deeplabcut.read}[kind](path, side)


def _kind(path: Path) -> str:
    """The module that reads a file or folder; HandgenError if none does."""
    if path.is_dir():
        names = [entry.name for entry in path.iterdir()]
        if any(name.endswith(openpose.SUFFIX) for name in names):
            return "openpose"
        if any(name.endswith(mmpose.SUFFIX) for name in names):
            return "mmpose"
        raise HandgenError(
            f"{path}: no files {openpose.SUFFIX} of OpenPose in it, and no JSON of MMPose; see its contents"
        )
    if not path.exists():
        raise HandgenError(f"{path}: not found")
    if not path.is_file():
        raise HandgenError(f"{path}: not a file")  # a pipe would be waited for
    if path.suffix == jsonl.SUFFIX:
        return "jsonl"
    with explain_unreadable(path), path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if path.suffix in arrays.SUFFIXES:
        return "arrays"
    if head.startswith(_HDF5_START):
        raise HandgenError(
            f"{path}: HDF5 is not read; export DeepLabCut's keypoints as CSV "
            "(analyze_videos(..., save_as_csv=True), or analyze_videos_converth5_to_csv)"
        )
    if head.removeprefix(b"\xef\xbb\xbf").startswith(deeplabcut.START):
        return "deeplabcut"
    if all(key in head.split(b"\n", 1)[0] for key in jsonl.KEYS):
        return "jsonl"
    if b'"people"' in head:
        raise HandgenError(
            f"{path}: OpenPose's file of one frame; give a folder that holds a folder of them per camera"
        )
    if any(key in head for key in mmpose.KEYS):
        return "mmpose"
    raise HandgenError(f"{path}: not a file of keypoints; expected {_LOOKED_FOR}")


def _camera_sources(folder: Path, cameras: tuple[str, ...]) -> dict[str, Path]:
    """The one file or folder of each camera."""
    found: dict[str, Path] = {}
    hdf5: dict[str, Path] = {}
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        camera = _camera_of(entry, cameras)
        if entry.suffix in _HDF5_SUFFIXES:
            hdf5 |= {camera: entry} if camera else {}
        elif entry.is_dir() or entry.suffix in _SUFFIXES:
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


def _camera_of(entry: Path, cameras: tuple[str, ...]) -> str | None:
    """The camera that a file or folder is named after, with what the tools add to a video's name."""
    stem = entry.name if entry.is_dir() else entry.stem
    spellings = (stem, stem.removesuffix("_json"), stem.removeprefix(mmpose.PREFIX), stem.partition(deeplabcut.MARK)[0])
    return next((spelling for spelling in spellings if spelling in cameras), None)


def _complain_of_name(file: Path, cameras: tuple[str, ...]) -> None:
    if file.name.endswith(openpose.SUFFIX):
        raise HandgenError(
            f"{file.parent}: holds OpenPose's files of one camera itself; put them into a folder per camera: "
            f"{', '.join(f'{camera}/' for camera in cameras[:3])} ..."
        )
    raise HandgenError(f"{file}: no camera is called {file.stem!r}; the cameras are {', '.join(cameras)}")
