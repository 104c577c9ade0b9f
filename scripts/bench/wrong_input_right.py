"""List the unusual but right inputs of `wrong_input.py`, with how each is made, and its intact ones."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import wrong_input_cases as make
from wrong_input_captures import BASES, FPS, Draft
from wrong_input_cases import KEYPOINTS_ONLY, Case, Edit
from wrong_input_wrong import nothing

UNSCALED = ("--metres-per-unit", "auto")


def right(name: str, base: str, edit: Edit, files: str | None = "jsonl", options: tuple[str, ...] = ()) -> Case:
    """Make a case that must go through."""
    options = (*KEYPOINTS_ONLY, *options) if files else options
    return Case(f"right_{name}", name, base, edit, (), files, options)


def pictures(suffix: str, first: int, digits: int) -> Edit:
    """Store folders of pictures whose numbers begin at `first`."""

    def edit(draft: Draft) -> None:
        make.folders(draft, suffix)
        for name, view in draft.views.items():
            numbers = tuple(first + i for i in range(len(view.frames)))
            draft.views[name] = replace(view, numbers=numbers, digits=digits)

    return edit


def files_named(pattern: str) -> Edit:
    """Name videos by the camera's letter or number, without capture.json; the calibration's order differs."""

    def edit(draft: Draft) -> None:
        entries = {name: draft.camera(name) for name in draft.names}
        views = {}
        for name, letter in zip(draft.names, "ABCDEFGH", strict=False):
            entries[name]["name"] = f"cam{letter}"
            views[f"cam{letter}"] = replace(draft.views[name], file=pattern.format(letter=letter))
        order = [2, 0, 1, *range(3, len(views))]
        draft.calibration["cameras"] = [draft.calibration["cameras"][i] for i in order]
        draft.views = {list(views)[i]: list(views.values())[i] for i in order}
        draft.settings = None

    return edit


def toml_tables(document: dict[str, Any], prefix: str) -> str:
    """Write cameras as TOML tables with rotation vectors, as anipose and caliscope have them."""
    text = ""
    for number, camera in enumerate(document["cameras"]):
        cam_from_world = np.array(camera["cam_from_world"])
        rotation = cv2.Rodrigues(cam_from_world[:3, :3])[0].ravel().tolist()
        key = prefix.format(number=number, name=camera["name"])
        text += f"[{key}]\nname = {json.dumps(camera['name'])}\nsize = {camera['size_px']}\n"
        text += f"matrix = {camera['intrinsics']}\ndistortions = {camera['distortion']}\nfisheye = false\n"
        text += f"rotation = {rotation}\ntranslation = {cam_from_world[:3, 3].tolist()}\n\n"
    return text


def anipose(start: str = "", end: str = "") -> Edit:
    """Write the calibration as aniposelib does, with something before and after its tables."""

    def edit(draft: Draft) -> None:
        draft.calibration_name = "calibration.toml"
        draft.calibration_text = lambda document: start + toml_tables(document, "{name}") + end
        draft.settings = None

    return edit


def caliscope(extra: str = "", pair: bool = False) -> Edit:
    """Write the calibration as caliscope does, perhaps beside the copy for aniposelib."""

    def edit(draft: Draft) -> None:
        draft.calibration_name = "camera_array.toml"
        draft.calibration_text = lambda document: toml_tables(document, "cameras.{number}") + extra
        draft.settings = None
        numbered = {str(i): view for i, view in enumerate(draft.views.values())}
        text = toml_tables(draft.calibration, "cam_{number}") + "[metadata]\nadjusted = false\nerror = 0.3\n"
        draft.views = numbered
        if pair:
            draft.extra_files["camera_array_aniposelib.toml"] = text

    return edit


UNUSED_NULL = (
    "[cameras.9]\nsize = [480, 360]\nmatrix = [[600.0, 0.0, 240.0], [0.0, 600.0, 180.0], [0.0, 0.0, 1.0]]\n"
    'distortions = [0.0, 0.0, 0.0, 0.0, 0.0]\nrotation = "null"\ntranslation = "null"\n'
)
UNUSED_IGNORED = UNUSED_NULL.replace('"null"', "[0.0, 0.0, 0.0]") + "ignore = true\n"


def bom(draft: Draft) -> None:
    """Begin the calibration with a byte order mark."""
    plain = draft.calibration_text
    draft.calibration_text = lambda document: "\ufeff" + plain(document)


def both(*edits: Edit) -> Edit:
    """Apply several changes in turn."""

    def edit(draft: Draft) -> None:
        for one in edits:
            one(draft)

    return edit


def right_offset(frames: int, camera: str) -> Edit:
    """Start a camera late and say so."""

    def edit(draft: Draft) -> None:
        make.late(frames, camera)(draft)
        assert draft.settings is not None
        draft.settings["cameras"][camera]["frame_offset"] = -frames

    return edit


def timestamps(camera: str) -> Edit:
    """Leave frames of a camera out and say when all were taken."""

    def edit(draft: Draft) -> None:
        view = draft.views[camera]
        draft.views[camera] = replace(view, frames=view.frames[:6] + view.frames[7:])
        assert draft.settings is not None
        draft.settings["timestamps"] = {"file": "timestamps.csv", "tolerance_s": 0.01}

        def write(folder: Path) -> None:
            with (folder / "timestamps.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["camera", "frame", "time_s"])
                for name, view in draft.views.items():
                    rows.writerows([name, i, f"{frame / FPS:.6f}"] for i, frame in enumerate(view.frames))

        draft.after.append(write)

    return edit


def one_moment(draft: Draft) -> None:
    """Keep one frame of every camera, as pictures."""
    make.folders(draft, ".png")
    draft.cut(5, 6)


def resized(width: int, height: int) -> Edit:
    """Resize all pictures; the calibration keeps the old size."""
    return lambda draft: draft.change(size_px=(width, height))


def missing_tips(draft: Draft, camera: str, values: np.ndarray) -> np.ndarray:
    """Say that the little finger's tip was not seen, by no number and confidence 0."""
    values = values.copy()
    values[20] = np.nan, np.nan, 0.0
    return values


def bad_finger(draft: Draft, camera: str, values: np.ndarray) -> np.ndarray:
    """Put the index finger of one view where the detector never saw it."""
    values = values.copy()
    if camera == draft.names[2]:
        values[6:9, :2] += [[8.0, 6.0], [16.0, 12.0], [24.0, 18.0]]
    return values


def in_deeper_folder(draft: Draft) -> None:
    """Put the videos into `videos/`."""
    draft.media = "videos"


def umlauts(draft: Draft) -> None:
    """Put the capture into a folder with spaces and umlauts in its name."""
    draft.folder_name = "Große Hände 3"


def symlinked(draft: Draft) -> None:
    """Make the capture a folder of links to files that lie elsewhere."""

    def link(folder: Path) -> None:
        store = folder.with_name("store")
        store.mkdir()
        for file in list(folder.iterdir()):
            shutil.move(file, store / file.name)
            file.symlink_to(store / file.name)

    draft.after.append(link)


def read_only(draft: Draft) -> None:
    """Take the right to write from the capture."""

    def protect(folder: Path) -> None:
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)

    draft.after.append(protect)


def edit_list(draft: Draft) -> None:
    """Delay a video's presentation, which mp4 keeps in an edit list, as `ffmpeg -ss X -c copy` does."""

    def remux(folder: Path) -> None:
        for view in draft.views.values():
            file = folder / view.file
            whole = file.with_name("whole.mp4")
            os.replace(file, whole)
            with av.open(str(whole)) as source, av.open(str(file), "w") as target:
                stream = target.add_stream_from_template(source.streams.video[0])
                first = None
                for packet in source.demux(source.streams.video[0]):
                    if packet.pts is None or packet.dts is None:
                        continue
                    first = packet.pts + 4 * packet.duration if first is None else first
                    packet.pts, packet.dts = packet.pts - first, packet.dts - first
                    packet.stream = stream
                    target.mux(packet)
            whole.unlink()

    draft.stored = dict(draft.views)
    draft.cut(4, len(draft.views[draft.names[0]].frames))  # what players and ffmpeg show begins at frame 4
    draft.after.append(remux)


def in_centimetres(draft: Draft) -> None:
    """Write translations in cm, and say so."""
    make.scaled(100.0, 0.01)(draft)


RIGHT: tuple[Case, ...] = (
    right("jpg_from_one", "four", pictures(".jpg", 1, 6)),
    right("png_from_1000", "two", pictures(".png", 1000, 4), None),
    right("jpg_without_padding", "eight", pictures(".jpg", 0, 1)),
    right("openpose_of_pictures_from_one", "four", pictures(".jpg", 1, 6), "openpose"),
    right("openpose", "four", nothing, "openpose"),
    right("openpose_under_other_names", "four", nothing, "renamed openpose"),
    right("named_camA_MOV", "four", files_named("2026-05-01_GX01_cam{letter}.MOV")),
    right("named_camA_other_order", "eight", files_named("cam{letter}.mp4")),
    right("toml_with_bom", "four", both(anipose(), bom)),
    right("json_with_bom", "four", bom),
    right("toml_with_capture_volume", "four", anipose("[capture_volume]\nstage = 2\n\n[charuco]\ncolumns = 4\n\n")),
    right("toml_with_metadata", "eight", anipose("", "[metadata]\nadjusted = false\nerror = 0.3\n")),
    right("caliscope", "four", caliscope()),
    right("caliscope_pair", "four", caliscope(pair=True)),
    right("caliscope_null_camera", "four", caliscope(UNUSED_NULL)),
    right("caliscope_ignored_camera", "four", caliscope(UNUSED_IGNORED)),
    right("edit_list", "four", edit_list),
    right("missing_as_nan", "eight", make.spoil(missing_tips), "array", ("--hands", "right")),
    right("late_and_said", "four", right_offset(3, "cam_1")),
    right("late_and_said_mp", "four_room", right_offset(4, "cam_2"), None),
    right("timestamps", "four", timestamps("cam_2")),
    right("two_cameras", "two", nothing),
    right("two_cameras_two_hands_mp", "two_room", nothing, None),
    right("one_moment", "four", one_moment),
    right("one_moment_one_bad_finger", "four", both(one_moment, make.spoil(bad_finger)), options=UNSCALED),
    right("one_moment_mp", "four_room", one_moment, None),
    right("resized", "four", resized(320, 240)),
    right("resized_mp", "square", resized(480, 480), None),
    right("one_hand_named", "two", make.setting(None, hands="right")),
    right("umlauts_and_spaces", "four", umlauts),
    right("symlinks", "four", symlinked),
    right("read_only", "four", read_only),
    right("videos_folder", "four", in_deeper_folder),
    right("fifteen_cameras", "fifteen", nothing),
    right("fast", "four_fast", nothing),
    right("fast_of_eight", "eight_fast", nothing),
    right("centimetres_and_said", "four", in_centimetres),
    right("own_detections", "four_room", nothing, "own detections"),
)
INTACT: tuple[Case, ...] = tuple(Case(f"intact_{base}", "intact", base, nothing, (), None) for base in BASES)
