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
from handgen.stages.simulate.skin.maps import SkinMaps, tint_folds
from handgen.stages.simulate.surface import CLOTH, HAND

_SKIN_SPREAD = (5, 2, 1)  # how often red, green and blue light is averaged over neighbouring vertices
_OCCLUSION_REACH_M = 0.12
_SHININESS = 26.0
_MIRRORED_AROUND = 0.35  # of the light from everywhere that gloss mirrors
# How much of the fine relief's shading each colour shows: light spreads within the skin, red the farthest (Ma et al.,
# "Rapid acquisition of specular and diffuse normal maps", EGSR 2007).
_RELIEF_SHARE = np.array([0.45, 0.75, 0.9], np.float32)
_FOLD_SHADE = 0.18  # of the light that a deep fold keeps out
_STEP_M = 0.008  # a larger change of depth between neighbouring pixels is an edge
_WIDEST_SLOPE = 1.5  # vertices farther off the optical axis are not looked for


@dataclass(frozen=True)
class Body:
    """Everything that moves in the scene, without its place: it stays the same in all frames.

    albedo: linear. gloss: strength of the highlight. part: HAND, ARM or CLOTH. owner: index of the hand it belongs to.
    texels: where the corners of skin's faces lie in its maps, `skin`.
    """

    faces: Int[np.ndarray, "faces 3"]
    albedo: Points
    gloss: Float[np.ndarray, " n"]
    part: Int[np.ndarray, " faces"]
    owner: Int[np.ndarray, " faces"]
    texels: Float[np.ndarray, "faces 3 2"]
    skin: SkinMaps
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

    def map_gradients(self, vertices: Points) -> Float[np.ndarray, "faces 2 3"]:
        """Return, per face, where on the surface both coordinates of the skin's maps rise, texels per texel's width."""
        a, b, c = vertices[self.faces].transpose(1, 0, 2)
        first, second = b - a, c - a
        normal = np.cross(first, second)
        along = self.texels[:, 1:] - self.texels[:, :1]  # (faces, edge, coordinate)
        basis = np.stack([np.cross(second, normal), np.cross(normal, first)], 1)
        squared = (normal * normal).sum(1)[:, None, None].clip(1e-24)
        return np.einsum("feu,fec->fuc", along, basis) / squared * self.skin.texel_m


@dataclass(frozen=True)
class View:
    """One moment as one camera sees it.

    light: linear. hand: index of the hand that the pixel's centre shows, -1 elsewhere. arm: the same of the hand whose
    forearm or sleeve it shows.
    """

    light: Light
    hand: Int[np.ndarray, "height width"]
    arm: Int[np.ndarray, "height width"]


class Moment:
    """A lit frame: `Moment(...).view(camera, rays, background)`.

    exposure: the vertices at evenly spaced times of the exposure, an odd number of them; the middle is the frame's own.
    folds: how deep each hand's folds are in its pose (`skin.folds.fold_openness`).
    """

    def __init__(
        self,
        body: Body,
        exposure: Sequence[Points],
        folds: Float[np.ndarray, "hands 32"],
        lighting: Lighting,
        rng: np.random.Generator,
    ) -> None:
        self.body, self.exposure, self.lighting = body, exposure, lighting
        self.folds = folds.astype(np.float32)
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
        # What pixels blend: normal, light that arrives, albedo, gloss, share of the key light that is seen, and of all.
        self._looks = np.column_stack(
            [self.normals, arriving, body.albedo, body.gloss, body.spread @ seen, open_sky]
        ).astype(np.float32)
        self._lighting = lighting.single()
        self._texels = body.texels.astype(np.float32)
        self._gradients = body.map_gradients(vertices).astype(np.float32)

    def view(self, camera: Camera, rays: PixelRays, background: Light) -> View:
        """Render the moment as `camera` sees it, in front of `background`."""
        light = background.copy()
        hand, arm = (np.full(light.shape[:2], -1, np.int64) for _ in range(2))
        covered = np.zeros(light.shape[:2], np.uint8)
        for k in sorted({0, self._middle, len(self.exposure) - 1}):
            covered |= self._silhouette(camera, self.exposure[k])
        margin = 3 if len(self.exposure) == 1 else 5  # between those three times, the hand bulges out a little
        rows, columns = np.nonzero(cv2.dilate(covered, np.ones((margin, margin), np.uint8)))
        if not len(rows):
            return View(light, hand, arm)
        middle = self.tracers[self._middle]
        color, face, distance = self._trace(middle, rays, rays.at(rows, columns))
        found = face >= 0
        is_hand, owner = self.body.part[face] == HAND, self.body.owner[face]
        hand[rows, columns] = np.where(found & is_hand, owner, -1)
        arm[rows, columns] = np.where(found & ~is_hand, owner, -1)
        if len(self.exposure) > 1:
            light[rows, columns] = self._mean_light(self.tracers, rays, rows, columns, background)
            return View(light, hand, arm)
        light[rows[found], columns[found]] = color[found]
        shown = np.full(light.shape[:2], -1, np.int32)  # part and owner, to find edges between them
        shown[rows[found], columns[found]] = self.body.part[face[found]] + 3 * self.body.owner[face[found]]
        depth = np.zeros(light.shape[:2], np.float32)
        depth[rows, columns] = distance
        edge = (local_range(shown.astype(np.float32)) > 0) | (local_range(depth) > _STEP_M)
        soften = edge[rows, columns]
        rows, columns = rows[soften], columns[soften]
        light[rows, columns] = self._mean_light([middle] * len(SUBPIXELS), rays, rows, columns, background)
        return View(light, hand, arm)

    def _mean_light(
        self, tracers: list[Tracer], rays: PixelRays, rows: np.ndarray, columns: np.ndarray, background: np.ndarray
    ) -> Points:
        """The mean light at some pixels of what `tracers` see, each from the next place within a pixel."""
        total, behind = np.zeros((len(rows), 3)), background[rows, columns]
        for k, tracer in enumerate(tracers):
            directions = rays.at(rows, columns, SUBPIXELS[k % len(SUBPIXELS)])
            color, face, _ = self._trace(tracer, rays, directions)
            total += np.where((face >= 0)[:, None], color, behind)
        return total / len(tracers)

    def _silhouette(self, camera: Camera, vertices: np.ndarray) -> Mask:
        points = camera.cam_from_world.apply(vertices)
        pixels, _ = camera.project_cam(points)
        depth = points[:, 2]
        usable = (depth > MIN_DEPTH_M) & (np.abs(points[:, :2]) < _WIDEST_SLOPE * depth[:, None]).all(1)
        return mesh_mask(np.where(usable[:, None], pixels, np.nan), self.body.faces, camera.size_px)

    def _trace(
        self, tracer: Tracer, rays: PixelRays, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Trace rays of unit direction: linear light (n, 3); the face each hits, or -1; how far, metres."""
        hits = tracer.first(rays.origin, directions)
        face = np.where(hits.found, hits.face, -1)
        color = np.zeros((len(directions), 3))
        found = np.flatnonzero(hits.found)
        color[found] = self._shade(
            hits.face[found],
            hits.barycentric[found].astype(np.float32),
            directions[found],
            hits.distance[found].astype(np.float32),
            rays,
        )
        return color, face, hits.distance

    def _shade(
        self,
        face: Int[np.ndarray, " n"],
        share: Float[np.ndarray, "n 3"],
        directions: np.ndarray,
        distance: np.ndarray,
        rays: PixelRays,
    ) -> Points:
        """Return the linear light that leaves points of faces against the directions they are seen in."""
        corners = self.body.faces[face]
        blended = sum(share[:, k, None] * self._looks[corners[:, k]] for k in range(3))
        normals, arriving, albedo, gloss, seen, open_sky = np.split(blended, (3, 6, 9, 10, 11), axis=1)
        normals = _unit(normals)
        points = rays.origin.astype(np.float32) + directions * distance[:, None]
        towards = self._lighting.towards_key(points)
        is_skin = np.flatnonzero(self.body.part[face] != CLOTH)
        if len(is_skin):
            mine, lit = face[is_skin], share[is_skin]
            texels = np.einsum("nk,nkc->nc", lit, self._texels[mine])
            footprint = float(np.median(distance[is_skin])) * rays.pixel_rad / self.body.skin.texel_m
            at = self.body.skin.at(texels, footprint)
            open_ = self.folds[self.body.owner[mine], at.bends]
            fold = at.fold * open_
            slope = at.slope + at.fold_slope * open_[:, None]
            fine = _unit(normals[is_skin] - np.einsum("nu,nuc->nc", slope, self._gradients[mine]))
            change = _dot(fine, towards[is_skin]).clip(0) - _dot(normals[is_skin], towards[is_skin]).clip(0)
            ambient = self._lighting.ambient(fine, open_sky[is_skin, 0])
            ambient = ambient - self._lighting.ambient(normals[is_skin], open_sky[is_skin, 0])
            relief = (change[:, None] * seen[is_skin] * self._lighting.key + ambient) * _RELIEF_SHARE
            light = np.maximum(arriving[is_skin] + relief, 0.25 * arriving[is_skin])
            arriving[is_skin] = light * (1 - _FOLD_SHADE * fold.clip(0, 1)[:, None])
            albedo[is_skin] = tint_folds(at.albedo, fold)
            gloss[is_skin, 0] = at.gloss
            normals[is_skin] = fine
        return albedo * arriving + self._highlight(
            normals, directions, towards, gloss[:, 0], seen[:, 0], open_sky[:, 0]
        )

    def _highlight(
        self,
        normals: Points,
        directions: Points,
        towards: Points,
        gloss: Float[np.ndarray, " n"],
        seen: Float[np.ndarray, " n"],
        open_sky: Float[np.ndarray, " n"],
    ) -> Points:
        """Return what is mirrored: the key light by a lobe that narrows with gloss, a little of everything around."""
        half = _unit(towards - directions)
        facing = (-_dot(directions, normals)).clip(0, 1)
        fresnel = 1 + 3 * (1 - facing) ** 5
        sharpness = _SHININESS * (1 + 4 * gloss)
        lobe = _dot(normals, half).clip(0) ** sharpness * (1 + 2 * gloss)
        mirrored = directions + 2 * facing[:, None] * normals
        around = self._lighting.ambient(mirrored, open_sky) * (_MIRRORED_AROUND * gloss * fresnel)[:, None]
        return (gloss * fresnel * lobe * seen)[:, None] * self._lighting.key + around


def _dot(a: Points, b: Points) -> Float[np.ndarray, " n"]:
    return np.einsum("nc,nc->n", a, b)


def _unit(vectors: Points) -> Points:
    return vectors / np.sqrt(_dot(vectors, vectors)).clip(1e-9)[:, None]
