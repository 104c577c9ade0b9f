"""Places of simulated captures: a room with a table, things and the person, or a green studio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

from handgen.geometry.camera import Camera
from handgen.geometry.meshes import Hits, Mesh, Points, Tracer
from handgen.media.arrays import Light
from handgen.stages.simulate.cameras import SUBPIXELS, UP, PixelRays, local_range
from handgen.stages.simulate.light import Lighting, Noise, key_visibility, linear_from_srgb, openness

TABLE_Z_M = -0.42
_ROOM_LOW_M, _ROOM_HIGH_M = np.array([-2.2, -2.2, -1.15]), np.array([2.2, 2.2, 1.6])
_OCCLUSION_REACH_M = 0.4
_STUDIO_HALF_M = np.array([1.7, 1.7, 1.5])
SHOULDER_M = np.array([0.19, -0.62, -0.15])  # the right one
AT_THE_WALL_M = np.array([0.26, -1.7, -0.45])  # where an arm comes in that no body is seen of
_Grain = Sequence[float]
_Part = tuple[trimesh.Trimesh, np.ndarray, np.ndarray, float, bool]  # mesh, linear albedo, grain, contrast, near


@dataclass(frozen=True)
class Room:
    """Everything that does not move.

    albedo: linear, of each face. grain, contrast: features per metre along x, y and z, and the strength, of
    the noise that the albedo is multiplied by. near: what hands cast light and shadow on, as far as it is seen.
    """

    mesh: Mesh
    albedo: Float[np.ndarray, "faces 3"]
    grain: Float[np.ndarray, "faces 3"]
    contrast: Float[np.ndarray, " faces"]
    near: Bool[np.ndarray, " faces"]
    noise: Noise

    def colors(self, points: Points, face: Int[np.ndarray, " n"]) -> Points:
        """Linear albedo at points on faces, the noise included."""
        pattern = 1 + self.contrast[face] * self.noise.fractal(points * self.grain[face], 4)
        return (self.albedo[face] * pattern[:, None]).clip(0.01, 0.95)

    def render(self, camera: Camera, rays: PixelRays, lighting: Lighting, rng: np.random.Generator) -> Light:
        """The empty room in linear light."""
        width, height = camera.size_px
        tracer = Tracer(self.mesh)
        directions = rays.all()
        hits = tracer.first(rays.origin, directions)
        # Shadows and occlusion are soft: a quarter of the pixels is enough for them.
        every_other = np.arange(width * height).reshape(height, width)[::2, ::2].reshape(-1)
        points = rays.origin + hits.distance[every_other, None] * directions[every_other]
        normals = self.mesh.face_normals[hits.face[every_other]]
        seen = key_visibility(lighting, points, normals, tracer, rng)
        open_sky = openness(points, normals, tracer, _OCCLUSION_REACH_M, rng)
        coarse = np.stack([seen, open_sky], -1).reshape((height + 1) // 2, (width + 1) // 2, 2)
        shares = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), 1.0), (width, height)).reshape(-1, 2)

        image = self._shade(rays.origin, directions, hits, shares, lighting).reshape(height, width, 3)
        rows, columns = np.nonzero(local_range(hits.face.reshape(height, width).astype(np.float32)))
        total = np.zeros((len(rows), 3))
        for shift in SUBPIXELS:
            directions = rays.at(rows, columns, shift)
            hits = tracer.first(rays.origin, directions)
            total += self._shade(rays.origin, directions, hits, shares[rows * width + columns], lighting)
        image[rows, columns] = total / len(SUBPIXELS)
        return image.astype(np.float32)

    def _shade(
        self, origin: np.ndarray, directions: np.ndarray, hits: Hits, shares: np.ndarray, lighting: Lighting
    ) -> Points:
        """Light from what rays hit; shares: (n, 2), of the key light and the surroundings seen there."""
        points = origin + hits.distance[:, None] * directions
        normals = self.mesh.face_normals[hits.face]
        cosine = (normals * lighting.towards_key(points)).sum(1).clip(0)
        arriving = (cosine * shares[:, 0])[:, None] * lighting.key + lighting.ambient(normals, shares[:, 1])
        return self.colors(points, hits.face) * arriving


def make_room(rng: np.random.Generator, cloth: Float[np.ndarray, " 3"], skin: Float[np.ndarray, " 3"]) -> Room:
    """A furnished room with the person in it; linear albedo of what they wear and of their skin."""
    parts: list[_Part] = []

    def add(mesh: trimesh.Trimesh, color: np.ndarray, grain: _Grain, contrast: float, near: bool = False) -> None:
        parts.append((mesh, np.asarray(color, dtype=float), np.array(grain), contrast, near))

    def box(low: np.ndarray, high: np.ndarray) -> trimesh.Trimesh:
        return trimesh.creation.box(bounds=np.stack([np.minimum(low, high), np.maximum(low, high)]))

    def paint() -> np.ndarray:
        grey, tint = rng.uniform(0.1, 0.85), rng.uniform(-0.5, 0.5, 3) * rng.random() ** 2
        return linear_from_srgb((grey + tint).clip(0.04, 0.92))

    shell = box(_ROOM_LOW_M, _ROOM_HIGH_M)
    shell.invert()
    add(shell, linear_from_srgb(rng.uniform(0.55, 0.8) + rng.uniform(-0.06, 0.06, 3)), (3, 3, 3), 0.12)
    floor = box(_ROOM_LOW_M, _ROOM_HIGH_M * [1, 1, 0] + [0, 0, _ROOM_LOW_M[2] + 0.01])
    add(floor, linear_from_srgb(np.array([0.50, 0.38, 0.28]) * rng.uniform(0.7, 1.1)), (30, 2, 8), 0.5)
    wood = linear_from_srgb(np.array([0.62, 0.47, 0.34]) * rng.uniform(0.6, 1.15) + rng.uniform(-0.05, 0.05, 3))
    board = box(np.array([-0.75, -0.42, TABLE_Z_M - 0.03]), np.array([0.75, 0.55, TABLE_Z_M]))
    add(board, wood, (4, 45, 10), 0.35, near=True)
    torso = trimesh.creation.capsule(height=1.1, radius=0.16, count=[24, 24])
    torso.apply_transform(np.diag([1.4, 0.8, 1.0, 1.0]))
    torso.apply_translation([0.0, -0.66, -0.75])
    add(torso, cloth, (16, 16, 9), 0.35, near=True)
    face = skin * rng.uniform(0.85, 1.1)  # behind hands that are held up there is often a face, of their own colour
    neck = trimesh.creation.cylinder(0.055, 0.2, sections=24)
    neck.apply_translation([0.0, -0.67, 0.0])
    add(neck, face * 0.9, (20, 20, 20), 0.1)
    head, hair = (trimesh.creation.icosphere(3, 1.0) for _ in range(2))
    head.apply_transform(np.diag([0.075, 0.095, 0.12, 1.0]))
    head.apply_translation([0.0, -0.64, 0.16])
    add(head, face, (30, 30, 30), 0.15)
    hair.apply_transform(np.diag([0.088, 0.1, 0.115, 1.0]))
    hair.apply_translation([0.0, -0.675, 0.19])
    add(hair, linear_from_srgb(np.array((0.35, 0.25, 0.17)) * rng.uniform(0.2, 2.2)), (160, 160, 25), 0.5)
    for _ in range(26):  # furniture, outside the ring of cameras
        azimuth = rng.uniform(0, 2 * np.pi)
        distance = rng.uniform(1.2, 2.0)
        center = distance * np.array([np.sin(azimuth), np.cos(azimuth)])
        if abs(center[0]) < 0.4 and center[1] < 0:
            continue  # behind the person
        half = rng.uniform(0.05, 0.3, 2)
        bottom, top = _ROOM_LOW_M[2], rng.uniform(-0.8, 0.9)
        mesh = box(np.array([*(center - half), bottom]), np.array([*(center + half), top]))
        mesh.apply_transform(trimesh.transformations.rotation_matrix(rng.uniform(-0.5, 0.5), UP, [*center, 0]))
        add(mesh, paint(), tuple(rng.uniform(2, 40, 3)), rng.uniform(0.05, 0.5))
    for _ in range(24):  # pictures, shelves and books on the walls
        wall, sign = rng.integers(2), rng.choice([-1, 1])
        center = np.array([rng.uniform(-1.8, 1.8), rng.uniform(-1.8, 1.8), rng.uniform(-0.9, 1.1)])
        half = np.array([1, 1, 1.2]) * rng.uniform(0.05, 0.35)
        center[wall], half[wall] = sign * 2.19, 0.02 + 0.1 * rng.random()
        add(box(center - half, center + half), paint(), tuple(rng.uniform(2, 30, 3)), rng.uniform(0.1, 0.7))
    for _ in range(9):  # things on the table
        azimuth, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.26, 0.48)
        size = rng.uniform(0.02, 0.07, 3) * [1, 1, 0.7]
        center = np.array([1.3 * distance * np.sin(azimuth), distance * np.cos(azimuth), TABLE_Z_M + size[2]])
        if rng.random() < 0.4:
            thing = trimesh.creation.cylinder(size[0] * 0.6, 2 * size[2], sections=32)
            thing.apply_translation(center)
        else:
            thing = box(center - size, center + size)
            thing.apply_transform(trimesh.transformations.rotation_matrix(rng.uniform(0, 3), UP, center))
        add(thing, paint(), tuple(rng.uniform(5, 60, 3)), rng.uniform(0.05, 0.4), near=True)

    return _join_meshes(parts, rng)


def make_studio(green: Float[np.ndarray, " 3"], rng: np.random.Generator) -> Room:
    """An empty box of green cloth, a little uneven. The person's arm comes through the wall at -y."""
    box = trimesh.creation.box(bounds=np.stack([-_STUDIO_HALF_M, _STUDIO_HALF_M]))
    box.invert()
    return _join_meshes([(box, green, np.array([2.5, 2.5, 1.2]), 0.16, False)], rng)


def studio_green(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Linear albedo of a chroma-key cloth."""
    return linear_from_srgb(np.array([0.16, 0.62, 0.24]) + rng.uniform(-0.06, 0.06, 3))


def _join_meshes(parts: list[_Part], rng: np.random.Generator) -> Room:
    meshes, *looks = zip(*parts, strict=True)
    ends = np.cumsum([len(mesh.vertices) for mesh in meshes])
    faces = [mesh.faces + end - len(mesh.vertices) for mesh, end in zip(meshes, ends, strict=True)]
    mesh = Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))
    repeats = [len(mesh.faces) for mesh in meshes]
    albedo, grain, contrast, near = (np.repeat(look, repeats, axis=0) for look in looks)
    return Room(mesh, albedo, grain, contrast, near, Noise(rng))
