"""Calibrations of one rig in the format of every project."""

import json
from pathlib import Path

import cv2
import numpy as np

from handgen.geometry.camera import Camera, Rig
from handgen.io.calibration_files.handgen_json import save_calibration

DISTORTION = (-0.05, 0.02, 0.001, -0.002, 0.003)


def write_two_file_json(folder: Path, rig: Rig) -> Path:
    first = rig.cameras[0]
    intrinsic = {
        "intrinsic": first.intrinsics.tolist(),
        "distortion_coefficients": [first.distortion.tolist()],
    }
    extrinsic = {
        f"extrinsic{i}": [
            {
                "rvec": cv2.Rodrigues(camera.cam_from_world.rotation)[0].tolist(),
                "tvec": camera.cam_from_world.translation[:, None].tolist(),
            }
        ]
        for i, camera in enumerate(rig)
    }
    (folder / "intrinsic.json").write_text(json.dumps(intrinsic))
    (folder / "extrinsic.json").write_text(json.dumps(extrinsic))
    return folder


def write_stereo_dat(folder: Path, rig: Rig) -> Path:
    def rows(matrix):
        return "\n".join(" ".join(repr(float(value)) for value in row) for row in np.atleast_2d(matrix))

    folder = folder / "camera_parameters"
    folder.mkdir()
    for i, camera in enumerate(rig):
        text = f"intrinsic:\n{rows(camera.intrinsics)}\ndistortion:\n{rows(camera.distortion)}\n"
        (folder / f"c{i}.dat").write_text(text)
        pose = camera.cam_from_world
        text = f"R:\n{rows(pose.rotation)}\nT:\n{rows(pose.translation[:, None])}\n"
        second = f"\n#from cam0 to cam{i}\nR:\n{rows(np.eye(3))}\nT:\n{rows(np.zeros((3, 1)))}\n"
        (folder / f"rot_trans_c{i}.dat").write_text(text + (second if i else ""))
    return folder


def toml_camera(camera: Camera, rotation) -> str:
    return (
        f"size = {list(camera.size_px)}\nmatrix = {camera.intrinsics.tolist()}\n"
        f"distortions = {camera.distortion.tolist()}\nrotation = {np.asarray(rotation).tolist()}\n"
        f"translation = {camera.cam_from_world.translation.tolist()}\n"
        f"fisheye = {'true' if camera.lens == 'fisheye' else 'false'}\n\n"
    )


def write_caliscope(folder: Path, rig: Rig) -> Path:
    text = "".join(f"[cameras.{c.name}]\n{toml_camera(c, c.cam_from_world.rotation)}" for c in rig)
    (folder / "array.toml").write_text(text + "[cameras.unused]\nignore = true\n")
    return folder / "array.toml"


def write_anipose(folder: Path, rig: Rig) -> Path:
    text = "".join(
        f'[cam_{i}]\nname = "{c.name}"\n{toml_camera(c, cv2.Rodrigues(c.cam_from_world.rotation)[0].ravel())}'
        for i, c in enumerate(rig)
    )
    (folder / "some.toml").write_text(text + "[metadata]\nadjusted = false\nerror = 0.4\n")
    return folder / "some.toml"


def write_easymocap(folder: Path, rig: Rig) -> Path:
    intri = cv2.FileStorage(str(folder / "intri.yml"), cv2.FILE_STORAGE_WRITE)
    extri = cv2.FileStorage(str(folder / "extri.yml"), cv2.FILE_STORAGE_WRITE)
    for file in (intri, extri):
        file.startWriteStruct("names", cv2.FileNode_SEQ)
        for camera in rig:
            file.write("", camera.name)
        file.endWriteStruct()
    for camera in rig:
        intri.write(f"K_{camera.name}", camera.intrinsics)
        intri.write(f"dist_{camera.name}", camera.distortion[None])
        extri.write(f"R_{camera.name}", cv2.Rodrigues(camera.cam_from_world.rotation)[0])
        extri.write(f"Rot_{camera.name}", camera.cam_from_world.rotation)
        extri.write(f"T_{camera.name}", camera.cam_from_world.translation[:, None])
    intri.release()
    extri.release()
    return folder


def write_handgen(folder: Path, rig: Rig) -> Path:
    save_calibration(folder / "mine.json", rig)
    return folder / "mine.json"


WRITERS = {
    "handgen JSON": write_handgen,
    "two-file JSON": write_two_file_json,
    "stereo tutorial .dat": write_stereo_dat,
    "caliscope": write_caliscope,
    "anipose": write_anipose,
    "EasyMocap": write_easymocap,
}
