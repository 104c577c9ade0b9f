"""Cameras as JSON: the same keys in calibrations and in the manifests of annotations."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid


def camera_document(camera: Camera) -> dict[str, Any]:
    """Describe a camera as `cameras` in `calibration.schema.json` and `annotation_manifest.schema.json` do."""
    return {
        "name": camera.name,
        "size_px": list(camera.size_px),
        "lens": camera.lens,
        "intrinsics": camera.intrinsics.tolist(),
        "distortion": camera.distortion.tolist(),
        "cam_from_world": camera.cam_from_world.as_matrix().tolist(),
    }


def camera_from_document(document: dict[str, Any], where: str) -> Camera:
    """Make a camera from a document that fits the schema; HandgenError naming it if its numbers are no camera's."""
    try:
        return Camera(
            name=document["name"],
            size_px=(document["size_px"][0], document["size_px"][1]),
            intrinsics=np.array(document["intrinsics"], dtype=float),
            distortion=np.array(document["distortion"], dtype=float),
            lens=document["lens"],
            cam_from_world=Rigid.from_matrix(np.array(document["cam_from_world"], dtype=float)),
        )
    except ValueError as error:
        name = document["name"]
        raise HandgenError(f"{where}: camera {name}: {str(error).removeprefix(f'camera {name}: ')}") from None
