"""Finding the videos or image folders of a capture, and which camera made which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from handgen.errors import HandgenError, explain_unreadable
from handgen.io.calibration_files.base import Calibration
from handgen.io.calibration_files.toml_cameras import IGNORED
from handgen.io.capture.camera_names import name_matches, number_in
from handgen.media.image_folder import list_images, natural_key
from handgen.media.images import IMAGE_SUFFIXES
from handgen.media.video import VIDEO_SUFFIXES
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN

_NOT_FRAMES = ("camera_parameters", "videos", "images")  # sub-folders that are no camera's own


def list_sources(capture: Path) -> list[Path]:
    """The videos in the folder or its `videos/`, else its sub-folders of images, or those of `images/`; maybe none."""
    for below, is_source in (("videos", _is_video), ("images", _is_image_folder)):
        for folder in (capture, capture / below):
            found = [child for child in folder.iterdir() if is_source(child)] if folder.is_dir() else []
            if found:
                return sorted(found, key=lambda child: (natural_key(child.name), child.name))
    return []


def find_sources(capture: Path) -> list[Path]:
    """List the sources like `list_sources`; HandgenError if there is none."""
    found = list_sources(capture)
    if not found:
        raise HandgenError(
            f"{capture}: no videos ({', '.join(VIDEO_SUFFIXES)}) and no sub-folders of images "
            f"({', '.join(IMAGE_SUFFIXES)}) in it, videos/ or images/; put one per camera there"
        )
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "."


def _is_image_folder(path: Path) -> bool:
    if not path.is_dir() or path.name[0] == "." or path.name in _NOT_FRAMES:
        return False
    if path.name.lower().startswith("calib") or (path / MANIFEST).exists():
        return False
    return bool(list_images(path))


def without_outputs(names: Iterable[str]) -> set[str]:
    """Keep the paths that are the capture's own: none in a folder that handgen wrote, none hidden."""
    paths = [PurePath(name) for name in names]
    written = {path.parent for path in paths if path.name in (MANIFEST, RUN) and len(path.parts) > 1}
    return {
        path.as_posix()
        for path in paths
        if written.isdisjoint(path.parents) and not any(part.startswith(".") for part in path.parts)
    }


def check_worth_copying(capture: Location, names: Iterable[str]) -> None:
    """Raise a HandgenError unless there are videos or images among the files of a store."""
    if not any(name.lower().endswith((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)) for name in names):
        raise HandgenError(
            f"{capture}: no videos ({', '.join(VIDEO_SUFFIXES)}) and no images in it; give the folder of a capture"
        )


def inside(capture: Path, relative: str, what: str) -> Path:
    """`relative` inside the capture; HandgenError if it is absolute, climbs out or does not exist."""
    pure = PurePath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise HandgenError(
            f"{capture / 'capture.json'}: {what}: {relative!r} leads out of the capture folder; "
            "give a path relative to the folder and inside it"
        )
    path = capture / pure
    with explain_unreadable(path, f"capture.json names it as {what}; correct it"):  # a name may be too long to look for
        is_there = path.exists()
    if not is_there:
        raise HandgenError(f"{path}: no such file or folder, though capture.json names it as {what}; correct it")
    return path


def choose_files(
    path: Path, listed: Mapping[str, Any] | None, calibrated: Calibration, notes: list[str]
) -> tuple[list[str], list[Path]]:
    """Names and files of the cameras to use. listed: capture.json's cameras. notes: gets what a user should know."""
    if listed is None:
        found = _without_ignored(find_sources(path), calibrated, notes)
        files, note = match_cameras(calibrated.names, found, path, calibrated.path)
        notes += [note] if note else []
        return list(calibrated.names), files
    for name in listed:
        if name in calibrated.uncalibrated:
            raise HandgenError(
                f"{path / 'capture.json'}: camera {name} is not calibrated in {calibrated.path} "
                f"({calibrated.uncalibrated[name]}); finish its calibration, or take it out"
            )
        if name not in calibrated.names:
            raise HandgenError(
                f"{path / 'capture.json'}: camera {name} is not in {calibrated.path} "
                f"(cameras: {', '.join(calibrated.names)}); use the calibration's names"
            )
    names = list(listed)
    files = [inside(path, listed[name]["file"], f"camera {name}") for name in names]
    if len(set(files)) < len(files):
        raise HandgenError(f"{path / 'capture.json'}: two cameras have the same file; give each its own")
    unused = [name for name in (*calibrated.names, *calibrated.uncalibrated) if name not in listed]
    if unused:
        notes.append(f"not listed in capture.json and left out: camera {', '.join(unused)}")
    return names, files


def _without_ignored(sources: list[Path], calibrated: Calibration, notes: list[str]) -> list[Path]:
    """The sources but those of cameras that the calibration ignores; HandgenError for one of a camera it lacks."""
    if not calibrated.uncalibrated:
        return sources
    cameras = (*calibrated.names, *calibrated.uncalibrated)
    found = max(name_matches(cameras, [_stem(source) for source in sources]), key=len)
    left_out = []
    for name, why in calibrated.uncalibrated.items():
        if name in found and why != IGNORED:
            raise HandgenError(
                f"{sources[found[name]]}: camera {name} is not calibrated in {calibrated.path} ({why}); finish its "
                "calibration, remove it, or list the cameras to use in capture.json"
            )
        left_out += [found[name]] if name in found else []
    told = ", ".join(f"{name} ({why})" for name, why in calibrated.uncalibrated.items())
    notes.append(f"not calibrated in {calibrated.path.name} and left out: camera {told}")
    return [source for index, source in enumerate(sources) if index not in left_out]


def match_cameras(
    names: Sequence[str], sources: Sequence[Path], capture: Path, calibration: Path
) -> tuple[list[Path], str | None]:
    """The source of each camera, and what to tell the user about how they were matched.

    By the exact name, else by whatever of the name or number stands in the file's (`camera_names`), else, if there are
    as many files as cameras and not a single one matches, by order. Raises HandgenError naming what has no partner,
    and for files whose names say two things.
    """
    *by_name, last, first = (
        {name: sources[index] for name, index in found.items()}
        for found in name_matches(names, [_stem(source) for source in sources])
    )
    complete = [found for found in (*by_name, last, first) if len(found) == len(names) == len(sources)]
    if complete and complete[0] is last and complete[-1] != last:
        name = next(name for name in names if first[name] != last[name])
        raise HandgenError(
            f"{capture}: {last[name].name} and {first[name].name} may both be camera {name}, by the last and by the "
            "first number in their names; rename them, or list cameras and files in capture.json"
        )
    if complete:
        return [complete[0][name] for name in names], None
    best = max((*by_name, last, first), key=len)
    if not best and len(names) == len(sources):
        pairs = ", ".join(f"{source.name} = camera {name}" for name, source in zip(names, sources, strict=True))
        return list(sources), f"matched files to cameras by order: {pairs}"
    extra = [source for source in sources if source not in best.values()]
    missing = [name for name in names if name not in best]
    if missing:
        raise HandgenError(
            f"{capture}: camera {missing[0]} of {calibration.name} has no video or image folder "
            f"(found: {', '.join(source.name for source in sources)}); "
            "add it, or list the cameras to use in capture.json"
        )
    raise HandgenError(
        f"{extra[0]}: no camera in {calibration} belongs to it (cameras: {', '.join(names)}); "
        "calibrate it, remove it, or list the cameras to use in capture.json"
    )


def camera_spellings(names: Sequence[str], sources: Sequence[Path]) -> dict[str, str]:
    """Every way in which a file may call a camera -> its name: name, file stem, number if it is unique."""
    numbers = [number_in(name) for name in names]
    spellings = {number: name for name, number in zip(names, numbers, strict=True) if number}
    unique = {number: name for number, name in spellings.items() if numbers.count(number) == 1}
    stems = {_stem(source): name for name, source in zip(names, sources, strict=True)}
    return unique | stems | {name: name for name in names}


def _stem(source: Path) -> str:
    return source.name if source.is_dir() else source.stem
