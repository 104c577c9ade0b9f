"""Make a capture of one's own videos and calibration, look at how it is understood, and annotate it.

    python scripts/examples/02_own_capture.py [OUT]

A capture is a folder with one video (or folder of images) per camera and a calibration. Here the videos of example 01
stand in for recordings, and the calibration is written as aniposelib writes it: TOML, millimetres. docs/captures.md
lists the other formats that are read, clocks, frame offsets and cameras of different sizes.
"""

import json
import shutil
import sys
from pathlib import Path

from scipy.spatial.transform import Rotation

import handgen


def record(source: handgen.Rig, videos: Path, folder: Path) -> None:
    """Stand in for a recording: copy the videos and write a calibration in millimetres."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for number, camera in enumerate(source):
        shutil.copy(videos / f"{camera.name}.mp4", folder / f"gopro{number}.mp4")
        motion = camera.cam_from_world
        values = {
            "name": f"gopro{number}",
            "size": list(camera.size_px),
            "matrix": camera.intrinsics.tolist(),
            "distortions": [0.0] * 5,
            "rotation": Rotation.from_matrix(motion.rotation).as_rotvec().tolist(),
            "translation": (1000 * motion.translation).tolist(),
        }
        tables.append(f"[cam_{number}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    (folder / "calibration.toml").write_text("\n".join(tables))


def main(out: Path) -> None:
    """Build the capture, check it, annotate it."""
    folder = out / "own_capture"
    record(handgen.load_capture(out / "capture").rig, out / "capture", folder)

    # Compare the distances with a tape measure: a wrong unit shows here first. metres_per_unit=0.024 would say that
    # the calibration is in chessboard squares of 24 mm.
    capture = handgen.load_capture(folder)
    print(f"{capture.frame_count} frames from {', '.join(capture.rig.names)}; notes: {capture.notes}")
    print(f"distances of the cameras, m:\n{capture.rig.baselines_m().round(3)}")
    print(handgen.annotate(folder, out / "own_annotations", hands="right", refine="none", workers=1))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"))
