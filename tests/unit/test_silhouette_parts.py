"""The parts of the silhouette term against plain loops: contours of small meshes, and their matches with masks."""

from itertools import combinations

import numpy as np
import pytest

from handgen.fit.silhouette.contour import ContourEdges, MeshContour, match
from handgen.fit.silhouette.mask_edges import MaskEdges

LOOK_PX, MIN_AGREEMENT, NORMAL_PX = 1.5, 0.3, 6.0
SIZE = (70, 56)  # width, height


def barrel(rng, sides=7, rings=4):
    """A closed tube but for its last ring: vertices in space, faces wound outwards, and the ring around the opening."""
    angle = 2 * np.pi * np.arange(sides) / sides
    radius = np.array([0.5, 1.0, 0.7, 0.8])[:rings, None] * (1 + 0.15 * rng.normal(size=(rings, sides)))
    radius[-1] = 0.8  # the opening is flat and convex, so that it does not matter how it is closed
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.tile(np.arange(rings)[:, None], sides)], -1)
    vertices = np.concatenate([[[0.0, 0.0, -0.5]], rim.reshape(-1, 3)])
    faces = []
    for i in range(sides):
        j = (i + 1) % sides
        faces.append((0, 1 + j, 1 + i))
        for ring in range(rings - 1):
            a, b = 1 + ring * sides + i, 1 + ring * sides + j
            faces += [(a, b, b + sides), (a, b + sides, a + sides)]
    border = 1 + (rings - 1) * sides + np.arange(sides)
    return vertices, np.array(faces), border


def closed(faces, border):
    """The faces and a fan over the opening, wound like the others."""
    return np.concatenate([faces, [(border[0], border[k], border[k + 1]) for k in range(1, len(border) - 1)]])


def is_front(triangle):
    (ax, ay), (bx, by), (cx, cy) = triangle
    return (bx - ax) * (cy - ay) > (by - ay) * (cx - ax)


def covers(triangle, pixel):
    sides = [
        (q[0] - p[0]) * (pixel[1] - p[1]) - (q[1] - p[1]) * (pixel[0] - p[0]) for p, q in combinations(triangle, 2)
    ]
    return sides[0] > 0 and sides[2] > 0 and sides[1] < 0


def plain_contour(pixels, faces, border, size_px):
    """Visible contour edges of one picture: {(start, end): (normal, at the end)}."""
    front = [bool(is_front(pixels[face])) for face in faces]
    owners = {}
    for number, face in enumerate(faces):
        for a, b in ((face[0], face[1]), (face[1], face[2]), (face[2], face[0])):
            owners[a, b] = number
    found = {}
    for (a, b), number in owners.items():
        if not front[number] or front[owners[b, a]]:
            continue
        along = pixels[b] - pixels[a]
        normal = np.array([along[1], -along[0]]) / np.linalg.norm(along)
        look = np.rint((pixels[a] + pixels[b]) / 2 + LOOK_PX * normal)
        if (look < 0).any() or (look >= size_px).any():
            continue
        if not any(covers(pixels[face], look) for face, turned in zip(faces, front, strict=True) if turned):
            found[int(a), int(b)] = normal, bool(a in border or b in border)
    return found


@pytest.fixture
def pictures(rng):
    """A barrel in several pictures: of all sides, before itself, and partly outside."""
    vertices, faces, border = barrel(rng)
    places = []
    for k in range(10):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn = turn * np.sign(np.linalg.det(turn))
        scale = (6.0, 9.0, 14.0, 20.0)[k % 4]
        place = scale * (vertices - vertices.mean(0)) @ turn.T
        places.append(place[:, :2] + (35, 28) + rng.uniform(-14, 14, 2))
    return np.stack(places), faces, border


def test_the_visible_contour_is_what_no_face_covers_outside_of_it(pictures):
    pixels, faces, border = pictures
    found = MeshContour(faces, border).visible(pixels, SIZE)
    everything, counts = closed(faces, border), []
    for view in range(len(pixels)):
        expected = plain_contour(pixels[view], everything, border, SIZE)
        valid = found.valid[view]
        ends = [tuple(pair) for pair in found.ends[view][valid].tolist()]
        assert sorted(ends) == sorted(expected) and len(set(ends)) == len(ends)
        counts.append(len(ends))
        for pair, place, normal, at_end in zip(
            ends, found.places[view][valid], found.normals[view][valid], found.at_end[view][valid], strict=True
        ):
            np.testing.assert_allclose(place, pixels[view][list(pair)], atol=1e-12)
            np.testing.assert_allclose(normal, expected[pair][0], atol=1e-12)
            assert at_end == expected[pair][1]
        assert valid[: valid.sum()].all()  # the padding is behind
        for array in (found.ends, found.places, found.normals, found.at_end):
            assert not array[view][~valid].any()
    assert found.valid.shape[1] == max(counts) > min(counts) > 0
    everywhere = np.concatenate([found.at_end[view][found.valid[view]] for view in range(len(pixels))])
    assert 0.05 < everywhere.mean() < 0.9


def test_nothing_is_contour_before_a_larger_part_up_to_the_edges_of_the_picture(rng):
    vertices, faces, border = barrel(rng)
    turned = vertices @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pixels = 4 * turned[:, :2] + rng.uniform((-4, -4), (SIZE[0] + 4, SIZE[1] + 4), (400, 1, 2))
    alone = MeshContour(faces, border).visible(pixels, SIZE)
    looked_at = np.rint((alone.places.mean(2) + LOOK_PX * alone.normals)[alone.valid])
    assert looked_at.min(0).tolist() == [0, 0] and looked_at.max(0).tolist() == [SIZE[0] - 1, SIZE[1] - 1]
    behind, n = np.array([[-200.0, -200], [400, -200], [35, 500]]), len(vertices)
    pixels = np.concatenate([pixels, np.broadcast_to(behind, (400, 3, 2))], 1)
    faces = np.concatenate([faces, [(n, n + 1, n + 2), (n, n + 2, n + 1)]])  # both sides of one triangle
    assert not MeshContour(faces, border).visible(pixels, SIZE).valid.any()


def test_pictures_of_nothing_have_one_empty_place(pictures):
    pixels, faces, border = pictures
    found = MeshContour(faces, border).visible(pixels + 1e4, SIZE)
    assert found.valid.shape == (10, 1) and not found.valid.any()
    assert MeshContour(faces, border).visible(pixels[:0], SIZE).valid.shape == (0, 1)


def test_a_closed_mesh_needs_no_lid(pictures):
    pixels, faces, border = pictures
    everything = closed(faces, border)
    open_one, shut = (
        MeshContour(faces, border).visible(pixels, SIZE),
        MeshContour(everything, border).visible(pixels, SIZE),
    )
    for view in range(len(pixels)):
        pairs = [sorted(map(tuple, c.ends[view][c.valid[view]].tolist())) for c in (open_one, shut)]
        assert pairs[0] == pairs[1]


def slope_at(distance, row, column):
    """Central differences, one-sided at the border."""
    height, width = distance.shape
    left, right = max(column - 1, 0), min(column + 1, width - 1)
    up, down = max(row - 1, 0), min(row + 1, height - 1)
    return np.array(
        [
            (distance[row, right] - distance[row, left]) / (right - left),
            (distance[down, column] - distance[up, column]) / (down - up),
        ]
    )


def plain_matches(contour, edges, view, independent):
    """Rows of one view: of each contour edge its weight; of each mask point its edge, share, normal, offset, weight."""
    height, width = edges.distance.shape[1:]
    valid = np.flatnonzero(contour.valid[view])
    lengths = {e: np.linalg.norm(contour.places[view, e, 1] - contour.places[view, e, 0]) for e in valid}
    by_edge = {}
    for e in valid:
        column, row = np.rint(contour.places[view, e].mean(0)).astype(int)
        if not (0 <= column < width and 0 <= row < height) or contour.at_end[view, e]:
            continue
        agrees = slope_at(edges.distance[view], row, column) @ contour.normals[view, e] > MIN_AGREEMENT
        if edges.reliable[view, row, column] and agrees:
            by_edge[tuple(contour.ends[view, e])] = independent / 2 * lengths[e] / sum(lengths.values())
    points = []
    for k, (point, normal) in enumerate(zip(edges.points[view], edges.normals[view], strict=True)):
        far = [
            ((point - contour.places[view, e].mean(0)) ** 2).sum()
            + 2 * NORMAL_PX**2 * (1 - normal @ contour.normals[view, e])
            for e in valid
        ]
        e = valid[int(np.argmin(far))]
        start, end = contour.places[view, e]
        share = np.clip((point - start) @ (end - start) / ((end - start) ** 2).sum(), 0, 1)
        says = edges.points_reliable[view, k] and normal @ contour.normals[view, e] > MIN_AGREEMENT
        says = says and not contour.at_end[view, e]
        weight = independent / 2 / len(edges.points[view]) * says
        points.append(
            (contour.ends[view, e], share, contour.normals[view, e], contour.normals[view, e] @ point, weight)
        )
    return by_edge, points


@pytest.fixture(params=["of a barrel", "of short edges everywhere"])
def masks(request, rng, pictures):
    """Contours, and masks' edges that have little to do with them."""
    pixels, faces, border = pictures
    contour = MeshContour(faces, border).visible(pixels, SIZE)
    if request.param != "of a barrel":  # also on the picture's border, and beyond it
        count = (len(pixels), 150)
        middle = rng.uniform((-2, -2), (SIZE[0] + 1, SIZE[1] + 1), (*count, 2))
        middle[:, :40] = np.where(rng.random((len(pixels), 40, 2)) < 0.5, 0, np.array(SIZE) - 1)
        middle[:, :40, 0] += rng.integers(0, 2, (len(pixels), 40)) * (rng.random((len(pixels), 40)) < 0.3)
        half = rng.normal(0, 1, (*count, 2))
        normals = np.stack([half[..., 1], -half[..., 0]], -1) / np.linalg.norm(half, axis=-1, keepdims=True)
        ends = np.arange(300).reshape(150, 2)[None].repeat(len(pixels), 0)
        places = np.stack([middle - half, middle + half], 2)
        contour = ContourEdges(ends, places, normals, rng.random(count) > 0.1, rng.random(count) < 0.1)
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    distance = np.stack([np.hypot(x - 35 + a, y - 28 + b) - 14 for a, b in rng.uniform(-8, 8, (len(pixels), 2))])
    distance[1] = 0.29 * distance[1]  # so flat that nothing agrees
    normals = rng.normal(size=(len(pixels), 12, 2))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    edges = MaskEdges(
        distance=distance.astype(np.float32),
        reliable=rng.random(distance.shape) > 0.3,
        points=rng.uniform(5, 60, normals.shape),
        normals=normals,
        points_reliable=rng.random(normals.shape[:2]) > 0.2,
    )
    return contour, edges


def test_matches_are_the_nearest_alike_and_weigh_their_share(masks):
    contour, edges = masks
    found = match(contour, edges, 12.0)
    used = found.ends.shape[1] - edges.points.shape[1]
    most = []
    for view in range(len(edges.points)):
        by_edge, points = plain_matches(contour, edges, view, 12.0)
        most.append(len(by_edge))
        weight = found.weight[view, :used]
        pairs = {tuple(ends): w for ends, w in zip(found.ends[view, :used], weight, strict=True) if w > 0}
        assert set(pairs) == set(by_edge)
        for pair, expected in by_edge.items():
            assert pairs[pair] == pytest.approx(expected, rel=1e-9)
        np.testing.assert_array_equal(found.share[view, :used], 0.5)
        for k, (ends, share, normal, offset, weight) in enumerate(points):
            np.testing.assert_array_equal(found.ends[view, used + k], ends)
            assert found.share[view, used + k] == pytest.approx(share, abs=1e-9)
            np.testing.assert_allclose(found.normals[view, k], normal)
            assert found.offset[view, k] == pytest.approx(offset, abs=1e-9)
            assert found.weight[view, used + k] == pytest.approx(weight)
    assert used == max(most) > 3 and most[1] == 0


def test_a_view_without_a_contour_matches_nothing(masks):
    contour, edges = masks
    nothing = ContourEdges(
        *(np.zeros_like(getattr(contour, f)) for f in ("ends", "places", "normals", "valid", "at_end"))
    )
    found = match(nothing, edges, 12.0)
    assert not found.weight.any() and np.isfinite(found.share).all() and np.isfinite(found.offset).all()
    assert found.ends.shape[1] == 1 + edges.points.shape[1]
