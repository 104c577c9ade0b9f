"""One moment of a simulated capture, seen by its cameras.

Light that does not depend on the viewer (soft shadow, ambient occlusion, its spread within the skin) is
gathered once per frame at the vertices, in the middle of the exposure, and shared by all cameras. What moves less than
a pixel is seen by one ray per pixel, more along edges; what moves more by one ray at each of several times of the
exposure, from a different place within the pixel. Colours are linear light until `Sensor.develop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.meshes import Mesh, Points, Tracer, mesh_mask
from handgen.media.arrays import Light, Mask
from handgen.stages.simulate.cameras import SUBPIXELS, PixelRays, local_range
from handgen.stages.simulate.light import Lighting, key_visibility, openness
from handgen.stages.simulate.surface import CLOTH, HAND

_SKIN_SPREAD = (5, 2, 1)  # how often red, green and blue light is averaged over neighbouring vertices
_OCCLUSION_REACH_M = 0.12
_SHININESS = 26.0
_STEP_M = 0.008  # a larger change of depth between neighbouring pixels is an edge
_WIDEST_SLOPE = 1.5  # vertices farther off the optical axis are not looked for


@dataclass(frozen=True)
class Body:
    """Everything that moves in the scene, without its place: it stays the same in all frames.

    albedo: linear. gloss: strength of the highlight. part: HAND, ARM or CLOTH. owner: index of the hand it belongs to.
    """

    faces: Int[np.ndarray, "faces 3"]
    albedo: Points
    gloss: Float[np.ndarray, " n"]
    part: Int[np.ndarray, " faces"]
    owner: Int[np.ndarray, " faces"]
    face_sum: sparse.csr_matrix

    @cached_property
    def spread(self) -> sparse.csr_matrix:
        """The operator that replaces a vertex' value by a mean over the vertices around it."""
        shared = (self.face_sum @ self.face_sum.T).tocsr()
        return sparse.diags(1 / np.asarray(shared.sum(1)).reshape(-1).clip(1e-9)) @ shared

    @cached_property
    def is_cloth(self) -> Bool[np.ndarray, " n"]:
        """Mark the vertices of cloth."""
        cloth = np.zeros(len(self.albedo), bool)
        cloth[self.faces[self.part == CLOTH]] = True
        return cloth

    def normals(self, vertices: Points) -> Points:
        """Unit normals of the vertices when they are there."""
        a, b, c = vertices[self.faces].transpose(1, 0, 2)
        normals = self.face_sum @ np.cross(b - a, c - a)
        return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)


@dataclass(frozen=True)
class View:
    """One moment as one camera sees it.

    light: linear. hand: index of the hand that the pixel's centre shows, -1 elsewhere, as on forearm and sleeve.
    """

    light: Light
    hand: Int[np.ndarray, "height width"]


class Moment:
    """A lit frame: `Moment(...).view(camera, rays, background)`.

    exposure: the vertices at evenly spaced times of the exposure, an odd number of them; the middle is the frame's own.
    """

    def __init__(self, body: Body, exposure: Sequence[Points], lighting: Lighting, rng: np.random.Generator) -> None:
        self.body, self.exposure, self.lighting = body, exposure, lighting
        self._middle = len(exposure) // 2
        self.tracers = [Tracer(Mesh(vertices, body.faces)) for vertices in exposure]
        vertices, tracer = exposure[self._middle], self.tracers[self._middle]
        self.normals = body.normals(vertices)
        seen = key_visibility(lighting, vertices, self.normals, tracer, rng)
        open_sky = body.spread @ openness(vertices, self.normals, tracer, _OCCLUSION_REACH_M, rng)
        cosine = (self.normals * lighting.towards_key(vertices)).sum(1).clip(0)
        arriving = (cosine * seen)[:, None] * lighting.key + lighting.ambient(self.normals, open_sky)
        spread = arriving.copy()
        for channel, times in enumerate(_SKIN_SPREAD):
            for _ in range(times):
                spread[:, channel] = body.spread @ spread[:, channel]
        arriving = np.where(body.is_cloth[:, None], body.spread @ arriving, spread)
        shine = body.gloss * (body.spread @ seen)
        self._looks = np.column_stack([self.normals, body.albedo * arriving, shine])  # what pixels blend

    def view(self, camera: Camera, rays: PixelRays, background: Light) -> View:
        """Render the moment as `camera` sees it, in front of `background`."""
        light = background.copy()
        hand = np.full(light.shape[:2], -1, np.int64)
        covered = np.zeros(light.shape[:2], np.uint8)
        for k in sorted({0, self._middle, len(self.exposure) - 1}):
            covered |= self._silhouette(camera, self.exposure[k])
        margin = 3 if len(self.exposure) == 1 else 5  # between those three times, the hand bulges out a little
        rows, columns = np.nonzero(cv2.dilate(covered, np.ones((margin, margin), np.uint8)))
        if not len(rows):
            return View(light, hand)
        middle = self.tracers[self._middle]
        color, face, distance = self._trace(middle, rays.origin, rays.at(rows, columns))
        found = face >= 0
        hand[rows, columns] = np.where(found & (self.body.part[face] == HAND), self.body.owner[face], -1)
        if len(self.exposure) > 1:
            light[rows, columns] = self._mean_light(self.tracers, rays, rows, columns, background)
            return View(light, hand)
        light[rows[found], columns[found]] = color[found]
        shown = np.full(light.shape[:2], -1, np.int32)  # part and owner, to find edges between them
        shown[rows[found], columns[found]] = self.body.part[face[found]] + 3 * self.body.owner[face[found]]
        depth = np.zeros(light.shape[:2], np.float32)
        depth[rows, columns] = distance
        edge = (local_range(shown.astype(np.float32)) > 0) | (local_range(depth) > _STEP_M)
        soften = edge[rows, columns]
        rows, columns = rows[soften], columns[soften]
        light[rows, columns] = self._mean_light([middle] * len(SUBPIXELS), rays, rows, columns, background)
        return View(light, hand)

    def _mean_light(
        self, tracers: list[Tracer], rays: PixelRays, rows: np.ndarray, columns: np.ndarray, background: np.ndarray
    ) -> Points:
        """The mean light at some pixels of what `tracers` see, each from the next place within a pixel."""
        total, behind = np.zeros((len(rows), 3)), background[rows, columns]
        for k, tracer in enumerate(tracers):
            directions = rays.at(rows, columns, SUBPIXELS[k % len(SUBPIXELS)])
            color, face, _ = self._trace(tracer, rays.origin, directions)
            total += np.where((face >= 0)[:, None], color, behind)
        return total / len(tracers)

    def _silhouette(self, camera: Camera, vertices: np.ndarray) -> Mask:
        points = camera.cam_from_world.apply(vertices)
        pixels, _ = camera.project_cam(points)
        depth = points[:, 2]
        usable = (depth > MIN_DEPTH_M) & (np.abs(points[:, :2]) < _WIDEST_SLOPE * depth[:, None]).all(1)
        return mesh_mask(np.where(usable[:, None], pixels, np.nan), self.body.faces, camera.size_px)

    def _trace(
        self, tracer: Tracer, origin: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Trace rays of unit direction: linear light (n, 3); the face each hits, or -1; how far, metres."""
        hits = tracer.first(origin, directions)
        a, b, c = self.body.faces[hits.face].T
        u, v, w = hits.barycentric.T[..., None]
        blended = u * self._looks[a] + v * self._looks[b] + w * self._looks[c]
        normals, color, shine = blended[:, :3], blended[:, 3:6], blended[:, 6]
        points = origin + directions * hits.distance[:, None]
        half = self.lighting.towards_key(points) - directions
        half /= np.sqrt(np.einsum("nc,nc->n", half, half))[:, None].clip(1e-9)
        cosine = np.einsum("nc,nc->n", normals, half) / np.sqrt(np.einsum("nc,nc->n", normals, normals)).clip(1e-9)
        color = color + (cosine.clip(0) ** _SHININESS * shine)[:, None] * self.lighting.key
        return color, np.where(hits.found, hits.face, -1), hits.distance
