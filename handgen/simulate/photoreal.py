"""Path-traced views of the same moments, by Mitsuba: an optional extra, far slower than the ray caster.

Skin gets a principled material (Burley, "Physically-Based Shading at Disney", 2012, with its flattened subsurface
lobe), light is traced between fingers and from everywhere, and what a camera sees is blended over the background that
the ray caster made. Masks and truth are the ray caster's.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from handgen.cameras import Camera
from handgen.errors import HandgenError
from handgen.simulate.light import Lighting
from handgen.simulate.render import Body, Moment
from handgen.simulate.surface import CLOTH
from handgen.simulate.tracing import PixelRays

SAMPLES = 48  # per pixel
_MARGIN = 1.12  # of the ideal image around the distorted one
_PAD_PX = 6  # around the hands
_SKY_SIZE = (16, 32)  # rows, columns of the light from everywhere
_VARIANT = "scalar_rgb"  # the one that runs everywhere; LLVM's aborts with some versions of it
_SKIN = {"roughness": 0.48, "specular": 0.45, "flatness": 0.6}
_CLOTH = {"roughness": 0.9, "specular": 0.1, "flatness": 0.0}


def load_mitsuba() -> ModuleType:
    """Mitsuba with its variant chosen, on one thread. Raises HandgenError where it is not installed."""
    try:
        import drjit
        import mitsuba
    except ImportError:
        raise HandgenError("renderer mitsuba: is not installed; run `pip install 'handgen[photoreal]'`") from None
    mitsuba.set_variant(_VARIANT)
    drjit.set_thread_count(1)
    return mitsuba


class PathTracer:
    """Renders moments of one scene. samples: per pixel, divided among the times of an exposure."""

    def __init__(self, body: Body, lighting: Lighting, samples: int = SAMPLES) -> None:
        self._mitsuba = load_mitsuba()
        self._body, self._lights, self._samples = body, self._emitters(lighting), samples

    def view(
        self,
        moment: Moment,
        camera: Camera,
        rays: PixelRays,
        background: Float[np.ndarray, "height width 3"],
        seed: int,
    ) -> Float[np.ndarray, "height width 3"]:
        """Linear light of what `camera` sees, in front of `background`."""
        ideal = _ideal_square(camera)
        window = _window(ideal, np.concatenate(moment.exposure))
        if window is None:
            return background.copy()
        samples = max(1, self._samples // len(moment.exposure))
        sensor = self._sensor(ideal, window, samples)
        layers = [self._render(vertices, sensor, seed + k) for k, vertices in enumerate(moment.exposure)]
        left, top, width, height = window
        full = np.zeros((ideal.size_px[1], ideal.size_px[0], 4), np.float32)
        full[top : top + height, left : left + width] = np.mean(layers, axis=0)
        return _distorted(full, ideal, camera, rays, background)

    def _render(self, vertices: np.ndarray, sensor: dict[str, Any], seed: int) -> Float[np.ndarray, "height width 4"]:
        """Premultiplied RGB and alpha of the window."""
        scene = {"type": "scene", "integrator": _INTEGRATOR, "sensor": sensor, **self._lights}
        is_cloth = self._body.part == CLOTH
        for name, faces, material in (("skin", ~is_cloth, _SKIN), ("cloth", is_cloth, _CLOTH)):
            scene[name] = self._mesh(name, vertices, self._body.faces[faces], material)
        mitsuba = self._mitsuba
        return np.array(mitsuba.render(mitsuba.load_dict(scene), seed=seed), dtype=np.float32)[..., :4]

    def _mesh(self, name: str, vertices: np.ndarray, faces: np.ndarray, material: dict[str, float]) -> Any:
        mitsuba = self._mitsuba
        color = {"type": "mesh_attribute", "name": "vertex_color"}
        properties = mitsuba.Properties()
        properties["bsdf"] = mitsuba.load_dict(
            {"type": "twosided", "bsdf": {"type": "principled", "base_color": color, **material}}
        )
        mesh = mitsuba.Mesh(name, len(vertices), len(faces), has_vertex_normals=True, props=properties)
        mesh.add_attribute("vertex_color", 3, self._body.albedo.astype(np.float32).ravel())
        parameters = mitsuba.traverse(mesh)
        parameters["vertex_positions"] = vertices.astype(np.float32).ravel()
        parameters["faces"] = faces.astype(np.uint32).ravel()
        parameters.update()
        mesh.recompute_vertex_normals()
        return mesh

    def _emitters(self, lighting: Lighting) -> dict[str, Any]:
        """The ray caster's lights. Its `key` and `fill` are what a white surface sends back: irradiance over pi."""
        rgb = lambda values: {"type": "rgb", "value": [float(v) for v in values]}  # noqa: E731
        distance = float(np.linalg.norm(lighting.key_position))
        radius = lighting.key_half_size
        rows = np.cos(np.linspace(0, np.pi, _SKY_SIZE[0]))  # from straight up to straight down
        sky = (lighting.sky * (0.5 + 0.5 * rows[:, None]) + lighting.ground * (0.5 - 0.5 * rows[:, None]))[:, None]
        bitmap = self._mitsuba.Bitmap(np.repeat(sky, _SKY_SIZE[1], 1).astype(np.float32))
        transform = self._mitsuba.ScalarTransform4f
        return {
            "key": {
                "type": "sphere",
                "center": lighting.key_position.tolist(),
                "radius": radius,
                "emitter": {"type": "area", "radiance": rgb(lighting.key * (distance / radius) ** 2)},
            },
            "fill": {
                "type": "directional",
                "direction": (-lighting.fill_direction).tolist(),
                "irradiance": rgb(np.pi * lighting.fill),
            },
            "sky": {  # Mitsuba's up is +y
                "type": "envmap",
                "bitmap": bitmap,
                "to_world": transform().rotate([1, 0, 0], 90),
            },
        }

    def _sensor(self, ideal: Camera, window: tuple[int, int, int, int], samples: int) -> dict[str, Any]:
        left, top, width, height = window
        world_from_cam = ideal.cam_from_world.inverse().as_matrix() @ np.diag([-1.0, -1.0, 1.0, 1.0])  # x left, y up
        return {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(ideal.size_px[0] / 2 / ideal.intrinsics[0, 0]))),
            "fov_axis": "x",
            "near_clip": 0.01,
            "to_world": self._mitsuba.ScalarTransform4f(world_from_cam),
            "film": {
                "type": "hdrfilm",
                "width": ideal.size_px[0],
                "height": ideal.size_px[1],
                "crop_offset_x": left,
                "crop_offset_y": top,
                "crop_width": width,
                "crop_height": height,
                "pixel_format": "rgba",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "independent", "sample_count": samples},
        }


_INTEGRATOR = {"type": "path", "max_depth": 5, "hide_emitters": True}


def _ideal_square(camera: Camera) -> Camera:
    """A camera at the same place without distortion, with square pixels and its axis through the middle."""
    width, height = (round(side * _MARGIN / 2) * 2 for side in camera.size_px)
    focal = camera.intrinsics[0, 0]
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(camera.name, (width, height), intrinsics, cam_from_world=camera.cam_from_world)


def _window(ideal: Camera, vertices: Float[np.ndarray, "n 3"]) -> tuple[int, int, int, int] | None:
    """Left, top, width, height of what shows the hands and arms; None if nothing does."""
    pixels, inside = ideal.project(vertices)
    if not inside.any():
        return None
    width, height = ideal.size_px
    low = np.floor(pixels[inside].min(0) - _PAD_PX).clip(0)
    high = np.ceil(pixels[inside].max(0) + _PAD_PX).clip(max=(width, height))
    left, top, right, bottom = (int(x) for x in (*low, *high))
    return left, top, right - left, bottom - top


def _distorted(
    layer: Float[np.ndarray, "rows columns 4"],
    ideal: Camera,
    camera: Camera,
    rays: PixelRays,
    background: Float[np.ndarray, "height width 3"],
) -> Float[np.ndarray, "height width 3"]:
    """The layer through the camera's lens, over the background."""
    width, height = camera.size_px
    directions = rays.all() @ ideal.cam_from_world.rotation.T
    focal, center = ideal.intrinsics[0, 0], ideal.intrinsics[:2, 2]
    maps = (focal * directions[:, :2] / directions[:, 2:] + center).astype(np.float32).reshape(height, width, 2)
    seen = cv2.remap(layer, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return background * (1 - seen[..., 3:].clip(0, 1)) + seen[..., :3]
