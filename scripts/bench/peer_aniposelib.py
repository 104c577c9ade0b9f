"""Run in aniposelib's own environment: its RANSAC on given points, timed; prints JSON."""

import json
import sys
import time

import cv2
import numpy as np
from aniposelib.cameras import Camera, CameraGroup

POINTS = 21  # aniposelib takes about a second for each ten


def main() -> None:
    """Read the cameras and pixels, triangulate, print."""
    given = np.load(sys.argv[1], allow_pickle=False)
    cameras = [
        Camera(
            matrix=matrix,
            dist=np.zeros(5),
            size=tuple(int(side) for side in given["size_px"]),
            rvec=cv2.Rodrigues(rotation)[0].ravel(),
            tvec=translation,
            name=str(number),
        )
        for number, (matrix, rotation, translation) in enumerate(
            zip(given["intrinsics"], given["rotation"], given["translation"], strict=True)
        )
    ]
    group = CameraGroup(cameras)
    pixels = given["pixels"][:, :POINTS]
    group.triangulate_ransac(pixels[:, :1].copy(), min_cams=2)  # compiles
    began = time.perf_counter()
    found = group.triangulate_ransac(pixels.copy(), min_cams=2)[0]
    seconds = time.perf_counter() - began
    print(json.dumps({"points": POINTS, "seconds": seconds, "found": np.asarray(found).tolist()}))


if __name__ == "__main__":
    main()
