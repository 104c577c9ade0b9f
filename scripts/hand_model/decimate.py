"""Simplify a mesh onto a subset of its vertices, so that weights, shapes and texture carry over by index.

Half-edge collapses ordered by quadric error (Garland, Heckbert, "Surface simplification using quadric error
metrics", SIGGRAPH 1997), refusing slivers; then edge flips that enlarge the smallest angle without leaving
the surface.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

import numpy as np

LENGTH_COST = 1e-8  # favours short edges where the surface is flat
SLIVER_COST = 4e-11  # per unit of lost shape quality
QUALITY_FLOOR = 0.45  # of a collapsed neighbourhood; an equilateral triangle has 1
LARGEST_TURN_COSINE = 0.35  # a face may not turn over in a collapse
FLIP_DIHEDRAL_COSINE = 0.94  # flips stay on nearly flat pairs of faces


def triangle_quality(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """1 for equilateral triangles, 0 for slivers: area over the squared edges."""
    edges = (b - a) @ (b - a) + (c - b) @ (c - b) + (a - c) @ (a - c)
    return float(2 * np.sqrt(3) * np.linalg.norm(np.cross(b - a, c - a)) / max(edges, 1e-30))


def triangle_angles(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The three angles of every triangle, (m, 3), radians."""
    points = vertices[triangles]
    angles = []
    for k in range(3):
        u = points[:, (k + 1) % 3] - points[:, k]
        v = points[:, (k + 2) % 3] - points[:, k]
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    return np.stack(angles, axis=1)


class _Collapser:
    """The mesh while it shrinks: faces by id, and the ids of the faces around each vertex."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray, fixed: set[int]) -> None:
        self.points = vertices
        self.faces = {k: tuple(int(v) for v in face) for k, face in enumerate(triangles)}
        self.around: dict[int, set[int]] = defaultdict(set)
        self.quadrics = np.zeros((len(vertices), 4, 4))
        edge_count: dict[tuple[int, int], int] = defaultdict(int)
        for k, face in self.faces.items():
            normal = np.cross(vertices[face[1]] - vertices[face[0]], vertices[face[2]] - vertices[face[0]])
            area = np.linalg.norm(normal)
            plane = np.r_[normal, -normal @ vertices[face[0]]] / max(area, 1e-20)
            for i, vertex in enumerate(face):
                self.around[vertex].add(k)
                self.quadrics[vertex] += area * np.outer(plane, plane)
                edge_count[tuple(sorted((vertex, face[(i + 1) % 3])))] += 1
        border = {vertex for edge, count in edge_count.items() if count == 1 for vertex in edge}
        self.fixed = fixed | border
        self.version = defaultdict(int)

    def neighbours(self, vertex: int) -> list[int]:
        return sorted({v for face in self.around[vertex] for v in self.faces[face]} - {vertex})

    def cost(self, gone: int, kept: int) -> float | None:
        """Compute what it costs to pull `gone` onto `kept`; None where the surface would break or degenerate."""
        if gone in self.fixed:
            return None
        shared = set(self.neighbours(gone)) & set(self.neighbours(kept))
        if len(shared) != 2:
            return None
        worst = 1.0
        for k in self.around[gone]:
            face = self.faces[k]
            if kept in face:
                continue
            before = self.points[list(face)]
            after = self.points[[kept if v == gone else v for v in face]]
            old = np.cross(before[1] - before[0], before[2] - before[0])
            new = np.cross(after[1] - after[0], after[2] - after[0])
            if old @ new < LARGEST_TURN_COSINE * np.linalg.norm(old) * np.linalg.norm(new):
                return None
            worst = min(worst, triangle_quality(*after))
        if worst < QUALITY_FLOOR:
            return None
        point = np.r_[self.points[kept], 1.0]
        error = point @ (self.quadrics[gone] + self.quadrics[kept]) @ point
        length = np.sum((self.points[gone] - self.points[kept]) ** 2)
        return float(error + LENGTH_COST * length + SLIVER_COST * (1 - worst))

    def collapse(self, gone: int, kept: int) -> list[int]:
        """Pull `gone` onto `kept`; the vertices whose costs changed."""
        ring = self.neighbours(gone)
        for k in sorted(self.around[gone]):
            face = self.faces[k]
            if kept in face:
                for vertex in face:
                    self.around[vertex].discard(k)
                del self.faces[k]
            else:
                self.faces[k] = tuple(kept if v == gone else v for v in face)
                self.around[kept].add(k)
        del self.around[gone]
        self.quadrics[kept] += self.quadrics[gone]
        changed = sorted(set(ring) | set(self.neighbours(kept)) | {kept})
        return [vertex for vertex in changed if vertex in self.around]


def collapse_to(vertices: np.ndarray, triangles: np.ndarray, count: int, fixed: set[int]) -> np.ndarray:
    """Triangles over `count` of the vertices. Vertices in `fixed` and on the border stay."""
    mesh = _Collapser(vertices, triangles, fixed)
    queue: list[tuple[float, int, int, int, int]] = []

    def push(gone: int, kept: int) -> None:
        cost = mesh.cost(gone, kept)
        if cost is not None:
            heapq.heappush(queue, (cost, gone, kept, mesh.version[gone], mesh.version[kept]))

    for vertex in sorted(mesh.around):
        for other in mesh.neighbours(vertex):
            push(vertex, other)
    while len(mesh.around) > count:
        if not queue:
            raise RuntimeError(f"no admissible collapse left at {len(mesh.around)} vertices, wanted {count}")
        _, gone, kept, gone_version, kept_version = heapq.heappop(queue)
        alive = gone in mesh.around and kept in mesh.around
        if not alive or (mesh.version[gone], mesh.version[kept]) != (gone_version, kept_version):
            continue
        changed = mesh.collapse(gone, kept)
        for vertex in changed:
            mesh.version[vertex] += 1
        for vertex in changed:
            for other in mesh.neighbours(vertex):
                push(vertex, other)
                if other not in changed:
                    push(other, vertex)
    return np.array([mesh.faces[k] for k in sorted(mesh.faces)])


def flip_edges(vertices: np.ndarray, triangles: np.ndarray, passes: int = 20) -> np.ndarray:
    """Flip edges of nearly flat face pairs while that enlarges the smaller angle."""
    faces = [tuple(int(v) for v in face) for face in triangles]

    def smallest_angle(*corner_lists: tuple[int, int, int]) -> float:
        return float(triangle_angles(vertices, np.array(corner_lists)).min())

    def normal(face: tuple[int, int, int]) -> np.ndarray:
        n = np.cross(vertices[face[1]] - vertices[face[0]], vertices[face[2]] - vertices[face[0]])
        return n / np.linalg.norm(n)

    for _ in range(passes):
        owner = {(face[i], face[(i + 1) % 3]): k for k, face in enumerate(faces) for i in range(3)}
        flipped, touched = 0, set()
        for (a, b), left in sorted(owner.items()):
            right = owner.get((b, a))
            if a > b or right is None or left in touched or right in touched:
                continue
            c = next(v for v in faces[left] if v not in (a, b))
            d = next(v for v in faces[right] if v not in (a, b))
            if (c, d) in owner or (d, c) in owner:
                continue
            new_left, new_right = (a, d, c), (d, b, c)
            normals = [normal(face) for face in (faces[left], faces[right], new_left, new_right)]
            before = smallest_angle(faces[left], faces[right])
            flat = normals[0] @ normals[1] > FLIP_DIHEDRAL_COSINE or before < np.radians(18)
            keeps_side = min(n @ m for n in normals[:2] for m in normals[2:]) > 0.5
            if flat and keeps_side and smallest_angle(new_left, new_right) > before + 1e-6:
                faces[left], faces[right] = new_left, new_right
                touched |= {left, right}
                flipped += 1
                owner[(c, d)] = owner[(d, c)] = -1
        if not flipped:
            break
    return np.array(faces)
