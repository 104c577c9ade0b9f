"""Path-traced views of the same moments, by Mitsuba: an optional extra, far slower than the ray caster.

Traced are hands and arms, and in a room the person, the table and the things on it: what hands cast light and shadow
on. Farther walls and furniture, green cloth and pictures stay as the ray caster sees them; the rest is blended over
them. The lights are the ray caster's too. Skin gets a principled material (Burley, "Physically-Based Shading at
Disney", 2012, with its flattened subsurface lobe). Masks and truth are the ray caster's.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import cv2
import numpy as np
import trimesh
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.media.arrays import Light, Plane
from handgen.stages.simulate.cameras import PixelRays
from handgen.stages.simulate.denoise import Layer, denoise_layer
from handgen.stages.simulate.environments import harmonics
from handgen.stages.simulate.light import Lighting
from handgen.stages.simulate.render import Body, Moment
from handgen.stages.simulate.room import Room
from handgen.stages.simulate.surface import CLOTH

SAMPLES = 32  # per pixel
_GUIDE_SAMPLES = 6  # per pixel, of what there is to see
_VARIANT = "scalar_rgb"  # the one that runs everywhere; LLVM's aborts with some versions of it
_BOUNCES = 4
_NEAREST_M = 0.01  # to a camera
_PAD_PX = 3  # around what is rendered, for the interpolation
_RELIEF = 0.7  # of the relief's slopes: light spreads within the skin, which the material does not know
_SKIN = {"specular": 0.2, "flatness": 0.6}
_CLOTH = {"specular": 0.1, "flatness": 0.0}
_ROUGHNESS, _SMOOTHER_BY_GLOSS, _SMOOTHEST, _CLOTH_ROUGHNESS = 0.5, 1.0, 0.12, 0.9
_DETAIL_M = 0.015  # longest edge of the room's triangles: their corners carry its texture
_KEY_RADIUS = 1.15  # of a sphere whose shadows are as soft as those of a cube of half size 1
_SKY_SIZE = (32, 64)  # rows, columns of the light from everywhere
_FILL_SHARPNESS = 8  # a wide light comes from directions in proportion to this power of a cosine
_COLOR = {"type": "mesh_attribute", "name": "vertex_color"}
_PATHS = {"type": "path", "max_depth": _BOUNCES + 1, "hide_emitters": True}
# Red, green, blue and alpha, and three channels of each.
_AOVS = "albedo:albedo,normal:sh_normal,position:position"
_GUIDES = {"type": "aov", "aovs": _AOVS, "first_hit": {"type": "depth"}}
_BRIGHTEST = 6.0  # linear; a brighter sample is a glint that would leave a white dot


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

    def __init__(self, body: Body, room: Room | None, lighting: Lighting, samples: int = SAMPLES) -> None:
        self._mitsuba, self._body, self._samples = load_mitsuba(), body, samples
        self._static = self._emitters(lighting)
        if room is not None and room.near.any():
            self._static["room"] = self._room_mesh(room)

    def view(self, moment: Moment, camera: Camera, rays: PixelRays, background: Light, seed: int) -> Light:
        """Linear light of what `camera` sees, in front of `background`."""
        ideal, map_x, map_y = _ideal(camera, rays)
        left, top, width, height = self._window(ideal, moment)
        if not width or not height:
            return background.copy()
        sensor = self._mitsuba.load_dict(self._sensor(ideal, (left, top, width, height)))
        distance_m = float(np.linalg.norm(moment.exposure[0].mean(0) - camera.center_world))
        footprint = distance_m * rays.pixel_rad / self._body.skin.texel_m  # Mitsuba reads one texel, not their mean
        skins = [self._skin_material(f, footprint, self._turn(owner)) for owner, f in enumerate(moment.folds)]
        times = [self._render(v, skins, sensor, len(moment.exposure), seed + k) for k, v in enumerate(moment.exposure)]
        layer = Layer(*(np.mean(images, axis=0) for images in zip(*times, strict=True)))
        clean = np.zeros((ideal.size_px[1], ideal.size_px[0], 4), np.float32)
        clean[top : top + height, left : left + width] = np.dstack([denoise_layer(layer), layer.alpha])
        # Cubic, since linear interpolation would blur as much as the camera's own optics.
        seen = cv2.remap(clean, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
        return background * (1 - seen[..., 3:].clip(0, 1)) + seen[..., :3].clip(0)

    def _window(self, ideal: Camera, moment: Moment) -> tuple[int, int, int, int]:
        """Left, top, width and height of what has to be traced: all of the image, or what may show hands and arms."""
        size = np.array(ideal.size_px)
        points_cam = ideal.cam_from_world.apply(np.concatenate(moment.exposure))
        if "room" in self._static or points_cam[:, 2].min() < _NEAREST_M:
            return 0, 0, *ideal.size_px
        pixels, _ = ideal.project_cam(points_cam)
        left, top = (int(x) for x in (np.floor(pixels.min(0)) - _PAD_PX).clip(0, size))
        right, bottom = (int(x) for x in (np.ceil(pixels.max(0)) + _PAD_PX + 1).clip(0, size))
        return left, top, right - left, bottom - top

    def _render(
        self, vertices: np.ndarray, skins: list[dict[str, Any]], sensor: Any, times: int, seed: int
    ) -> tuple[np.ndarray, ...]:
        """The fields of a `Layer`, at one of several times of an exposure."""
        mitsuba = self._mitsuba
        scene = mitsuba.load_dict({"type": "scene", **self._static, **self._body_meshes(vertices, skins)})

        def render_with(integrator: dict[str, Any], samples: int) -> np.ndarray:
            spp = max(1, round(samples / times))
            image = mitsuba.render(scene, sensor=sensor, integrator=mitsuba.load_dict(integrator), spp=spp, seed=seed)
            return np.array(image, dtype=np.float32)

        traced = render_with(_PATHS, self._samples)
        guides = render_with(_GUIDES, _GUIDE_SAMPLES)  # by themselves: with the paths they would take twice the time
        return traced[..., :3].clip(max=_BRIGHTEST), traced[..., 3], *np.split(guides[..., 3:], (1, 4, 7), axis=-1)

    def _skin_material(self, folds: Float[np.ndarray, " 32"], footprint_texels: float, turn: float) -> dict[str, Any]:
        """The skin of one hand in its pose: colour, roughness and relief from its maps, with folds as deep as they are.

        turn: -1 where the maps lie on the hand as in a mirror.
        """
        colors, gloss, slope = self._body.skin.in_pose(folds, footprint_texels)
        roughness = (_ROUGHNESS - _SMOOTHER_BY_GLOSS * gloss).clip(_SMOOTHEST)
        material = _SKIN | {
            "type": "principled",
            "base_color": self._texture(colors.astype(np.float32)),
            "roughness": self._texture(roughness.astype(np.float32)[..., None]),
        }
        tilted = np.dstack([-_RELIEF * slope[..., 0], -_RELIEF * turn * slope[..., 1], np.ones(slope.shape[:2])])
        tilted /= np.linalg.norm(tilted, axis=-1, keepdims=True)
        # A map of normals holds (n + 1) / 2.
        return {
            "type": "normalmap",
            "normalmap": self._texture(((tilted + 1) / 2).astype(np.float32)),
            "bsdf": material,
        }

    def _turn(self, owner: int) -> float:
        """Return 1 where the maps of a hand's skin are seen from outside as they are, -1 where mirrored."""
        body = self._body
        texels = body.texels[(body.part != CLOTH) & (body.owner == owner)]
        first, second = texels[:, 1] - texels[:, 0], texels[:, 2] - texels[:, 0]
        return float(np.sign((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum()))

    def _texture(self, values: np.ndarray) -> dict[str, Any]:
        return {"type": "bitmap", "bitmap": self._mitsuba.Bitmap(np.ascontiguousarray(values)), "raw": True}

    def _body_meshes(self, vertices: np.ndarray, skins: list[dict[str, Any]]) -> dict[str, Any]:
        """Skin and cloth, when the vertices are there."""
        body, normals = self._body, self._body.normals(vertices)
        cloth = body.part == CLOTH
        used, faces = np.unique(body.faces[cloth], return_inverse=True)
        material = _CLOTH | {"type": "principled", "base_color": _COLOR, "roughness": _CLOTH_ROUGHNESS}
        colors = {"vertex_color": body.albedo[used]}
        meshes = {"cloth": self._mesh("cloth", vertices[used], faces.reshape(-1, 3), material, colors, normals[used])}
        for owner, skin in enumerate(skins):
            chosen = ~cloth & (body.owner == owner)
            corners = body.faces[chosen].reshape(
                -1
            )  # each its own: at seams of the maps, faces differ in where they lie
            texels = (body.texels[chosen].reshape(-1, 2) + 0.5) / body.skin.side_px
            faces = np.arange(len(corners)).reshape(-1, 3)
            name = f"skin_{owner}"
            meshes[name] = self._mesh(name, vertices[corners], faces, skin, {}, normals[corners], texels)
        return meshes

    def _mesh(
        self,
        name: str,
        vertices: np.ndarray,
        faces: np.ndarray,
        material: dict[str, Any],
        attributes: dict[str, np.ndarray],
        normals: np.ndarray | None = None,
        texture_coordinates: np.ndarray | None = None,
    ) -> Any:
        """A mesh with values at its vertices. normals: None for flat faces. texture_coordinates: shares of the maps."""
        mitsuba = self._mitsuba
        properties = mitsuba.Properties()
        properties["bsdf"] = mitsuba.load_dict({"type": "twosided", "bsdf": material})
        smooth = normals is not None
        mesh = mitsuba.Mesh(
            name,
            len(vertices),
            len(faces),
            has_vertex_normals=smooth,
            has_vertex_texcoords=texture_coordinates is not None,
            props=properties,
        )
        for key, values in attributes.items():
            mesh.add_attribute(key, values.size // len(vertices), values.astype(np.float32).ravel())
        parameters = mitsuba.traverse(mesh)
        parameters["vertex_positions"] = vertices.astype(np.float32).ravel()
        parameters["faces"] = faces.astype(np.uint32).ravel()
        if normals is not None:
            parameters["vertex_normals"] = normals.astype(np.float32).ravel()
        if texture_coordinates is not None:
            parameters["vertex_texcoords"] = texture_coordinates.astype(np.float32).ravel()
        parameters.update()
        return mesh

    def _room_mesh(self, room: Room) -> Any:
        """The near parts of the room, fine enough for their texture."""
        near = np.flatnonzero(room.near)
        vertices, faces, face = trimesh.remesh.subdivide_to_size(
            room.mesh.vertices, room.mesh.faces[near], _DETAIL_M, max_iter=12, return_index=True
        )
        corners = vertices[faces].reshape(-1, 3)  # each its own: at an edge, two faces may differ in colour
        colors = room.colors(corners, np.repeat(near[face], 3))
        faces = np.arange(len(corners)).reshape(-1, 3)
        return self._mesh("room", corners, faces, {"type": "diffuse", "reflectance": _COLOR}, {"vertex_color": colors})

    def _emitters(self, lighting: Lighting) -> dict[str, Any]:
        """The ray caster's lights, as bright in the middle of the scene. Its numbers are irradiance over pi."""
        distance, radius = float(np.linalg.norm(lighting.key_position)), _KEY_RADIUS * lighting.key_half_size
        radiance = {"type": "rgb", "value": (lighting.key * (distance / radius) ** 2).tolist()}
        return {
            "key": {
                "type": "sphere",
                "center": lighting.key_position.tolist(),
                "radius": radius,
                "bsdf": {"type": "null"},
                "emitter": {"type": "area", "radiance": radiance},
            },
            "sky": {
                "type": "envmap",
                "bitmap": self._mitsuba.Bitmap(_sky(lighting)),
                "to_world": self._mitsuba.ScalarTransform4f().rotate([1, 0, 0], 90),  # Mitsuba's up is +y
            },
        }

    def _sensor(self, ideal: Camera, window: tuple[int, int, int, int]) -> dict[str, Any]:
        world_from_cam = ideal.cam_from_world.inverse().as_matrix() @ np.diag([-1.0, -1.0, 1.0, 1.0])  # x left, y up
        width, height = ideal.size_px
        left, top, crop_width, crop_height = window
        return {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(width / 2 / ideal.intrinsics[0, 0]))),
            "fov_axis": "x",
            "near_clip": _NEAREST_M,
            "to_world": self._mitsuba.ScalarTransform4f(world_from_cam),
            "film": {
                "type": "hdrfilm",
                "width": width,
                "height": height,
                "crop_offset_x": left,
                "crop_offset_y": top,
                "crop_width": crop_width,
                "crop_height": crop_height,
                "pixel_format": "rgba",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "independent"},
        }


def _sky(lighting: Lighting) -> Float[np.ndarray, "rows columns 3"]:
    """Light from everywhere and the wide lights, by direction: rows from straight up to straight down.

    A surface collects from it what `Lighting.ambient` gives it in the open: its share that follows the cosine of the
    elevation is 3/2 times as strong as what arrives of it, and a lobe cos^n collects 2 / (n + 2) of its peak.
    """
    rows, columns = _SKY_SIZE
    polar, azimuth = np.meshgrid((np.arange(rows) + 0.5) / rows * np.pi, np.arange(columns) / columns * 2 * np.pi)
    # An envmap's first column looks along +z of its own frame, its middle along -z.
    own = np.stack([np.sin(azimuth) * np.sin(polar), np.cos(polar), -np.cos(azimuth) * np.sin(polar)], -1)
    world = np.stack([own[..., 0], -own[..., 2], own[..., 1]], -1).swapaxes(0, 1)
    mean, half = (lighting.sky + lighting.ground) / 2, (lighting.sky - lighting.ground) / 2
    light = mean + 1.5 * world[..., 2:] * half
    if lighting.around is not None:
        # Irradiance over pi is radiance dimmed by 1, 2/3 and 1/4 in the harmonics' degrees.
        radiance = lighting.around / np.array([1, *[2 / 3] * 3, *[1 / 4] * 5])[:, None]
        light = light + (harmonics(world.reshape(-1, 3)) @ radiance).reshape(world.shape)
    for fill in lighting.fills:
        lobe = (world @ fill.direction).clip(0) ** _FILL_SHARPNESS * (_FILL_SHARPNESS + 2) / 2
        light = light + lobe[..., None] * fill.light
    return light.clip(0).astype(np.float32)


def _ideal(camera: Camera, rays: PixelRays) -> tuple[Camera, Plane, Plane]:
    """A camera at the same place that sees as much, and where in its image each pixel of `camera` is.

    It has no distortion, square pixels, and its axis through the middle, as Mitsuba's.
    """
    width, height = camera.size_px
    focal = float(camera.intrinsics[0, 0])
    directions = rays.all() @ camera.cam_from_world.rotation.T
    slope = (focal * directions[:, :2] / directions[:, 2:]).reshape(height, width, 2)
    half = np.ceil(np.abs(slope).max((0, 1))).astype(int) + _PAD_PX
    center = half - 0.5
    intrinsics = np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]])
    size_px = (2 * int(half[0]), 2 * int(half[1]))
    ideal = Camera(camera.name, size_px, intrinsics, cam_from_world=camera.cam_from_world)
    maps = (slope + center).astype(np.float32)
    return ideal, maps[..., 0], maps[..., 1]
