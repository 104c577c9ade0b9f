"""FreiHAND's files, read as its own code reads them (format: `handgen.datasets.freihand.writer`)."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from support.annotations import write_annotations
from support.export import decoded, export, keypoint_9, mean_pose, projected, true_vertices, vertices

from handgen.datasets.freihand.square_crops import fit_square, mirror_intrinsics
from handgen.errors import HandgenError

MM = 1000


class Freihand:
    """Read what FreiHAND's `fh_utils` and `model` read: lists of equal length, and pictures by number."""

    def __init__(self, root):
        self.root = root
        self.k, self.xyz, self.mano, self.verts, self.scale = (
            json.loads((root / f"training_{name}.json").read_text()) for name in ("K", "xyz", "mano", "verts", "scale")
        )

    def __len__(self):
        assert len({len(part) for part in (self.k, self.xyz, self.mano, self.verts, self.scale)}) == 1
        return len(self.k)

    def picture(self, index, kind="rgb"):
        return decoded((self.root / "training" / kind / f"{index:08d}.jpg").read_bytes())

    def mesh(self, index):
        """The hand as `HandModel.pose_by_root` places it: keypoint 9 by a scaled orthographic camera."""
        theta, k = np.array(self.mano[index]), np.array(self.k[index])
        assert theta.shape == (1, 61)
        pose, betas, uv_root, scale = theta[0, :48], theta[0, 48:58], theta[0, 58:60], theta[0, 60]
        focal = (k[0, 0] + k[1, 1]) / 2
        root = np.array([*(uv_root - k[:2, 2]), focal]) / scale
        full = pose.copy()
        full[3:] += mean_pose("right")
        mesh = vertices("right", full, betas, np.zeros(3))
        return mesh + root - keypoint_9("right", full, betas)


@pytest.fixture(scope="module")
def exported(shards_to_export, tmp_path_factory):
    out = tmp_path_factory.mktemp("freihand") / "out"
    return out, export(shards_to_export, out, "freihand")


def test_right_hands_come_back_as_they_were(exported, samples_to_export):
    out, report = exported
    data = Freihand(out)
    truth = [sample for sample in samples_to_export if sample.labels["side"] == "right"]
    assert len(data) == len(truth) == report.pictures > 10
    for i, sample in enumerate(truth):
        assert (data.picture(i) == decoded(sample.jpeg)).all()  # the very file: it has 224 pixels already
        assert np.abs(np.array(data.xyz[i]) - sample.labels["keypoints_3d"]).max() * MM < 1e-3
        assert np.abs(projected(data.k[i], data.xyz[i]) - sample.labels["keypoints_2d"]).max() < 0.01
        expected = true_vertices(sample.labels)
        assert np.abs(np.array(data.verts[i]) - expected).max() * MM < 0.1
        assert np.abs(data.mesh(i) - expected).max() * MM < 0.1
        bone = np.linalg.norm(np.subtract(data.xyz[i][10], data.xyz[i][9]))
        assert data.scale[i] == pytest.approx(bone, abs=1e-6)
        mask = data.picture(i, "mask")[..., 0] > 127
        assert (mask != sample.mask).mean() < 1e-3  # JPEG blurs an edge by less than half a pixel


def test_left_hands_are_counted_or_mirrored(exported, shards_to_export, samples_to_export, tmp_path):
    lefts = sum(sample.labels["side"] == "left" for sample in samples_to_export)
    assert exported[1].left_out["left hands: --mirror-left takes them"] == lefts
    report = export(shards_to_export, tmp_path / "both", "freihand", mirror_left=True)
    data = Freihand(tmp_path / "both")
    assert len(data) == len(samples_to_export) and report.sides["left"] == lefts > 5
    for i, sample in enumerate(samples_to_export):
        if sample.labels["side"] == "right":
            continue
        flipped = decoded(sample.jpeg)[:, ::-1].astype(int)
        assert np.abs(data.picture(i) - flipped).mean() < 3  # encoded once more
        mirror = np.array([-1, 1, 1])
        assert np.abs(np.array(data.xyz[i]) * mirror - sample.labels["keypoints_3d"]).max() * MM < 1e-3
        pixels = projected(data.k[i], data.xyz[i])
        pixels[:, 0] = 223 - pixels[:, 0]  # in the mirror the centre of pixel x is that of width - 1 - x
        assert np.abs(pixels - sample.labels["keypoints_2d"]).max() < 0.01
        expected = true_vertices(sample.labels) * mirror  # of the left model; this one comes from the right one
        assert np.abs(np.array(data.verts[i]) - expected).max() * MM < 0.1
        assert np.abs(data.mesh(i) - expected).max() * MM < 0.1
        mask = data.picture(i, "mask")[:, ::-1, 0] > 127
        assert (mask != sample.mask).mean() < 1e-3


def test_views_of_annotations_fill_the_square_and_still_project(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=2, cameras=2, sides=("right",), accept_all=True)
    export(annotations, tmp_path / "out", "freihand")
    data = Freihand(tmp_path / "out")
    assert len(data) == 4
    for i in range(4):
        assert data.picture(i).shape == (224, 224, 3)
        mask = data.picture(i, "mask")[..., 0] > 127
        pixels = np.array(projected(data.k[i], data.xyz[i]))
        left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
        assert max(width, height) > 150  # the cutout's margin is 20 of about 250 pixels
        inside = np.round(pixels).astype(int)
        assert mask[inside[:, 1], inside[:, 0]].mean() > 0.6
        drawn = projected(data.k[i], data.verts[i])
        edges = np.array([drawn.min(0), drawn.max(0)])
        # the mesh's outline is the mask's, to the pixel that is drawn and the one that JPEG blurs
        assert np.abs(edges - [[left, top], [left + width - 1, top + height - 1]]).max() < 2.0


@pytest.mark.parametrize("size", [(300, 200), (97, 224), (50, 31), (448, 448)])
def test_a_point_stays_on_its_pixel_when_a_picture_is_fitted(size):
    width, height = size
    picture = np.zeros((height, width), np.uint8)
    x0, x1, y0, y1 = width // 4, 3 * width // 4, height // 4, 3 * height // 4
    picture[y0:y1, x0:x1] = 255
    made, square_from_px = fit_square(picture, 224)
    assert made.shape == (224, 224)
    rows, columns = np.mgrid[:224, :224]
    centre = np.array([(columns * made).sum(), (rows * made).sum()], float) / made.sum(dtype=float)
    expected = square_from_px @ [(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, 1]
    assert np.abs(centre - expected[:2]).max() < 0.05  # half a pixel off would show ten times over


def test_mirrored_intrinsics_project_mirrored_points_onto_mirrored_pixels():
    k = np.array([[300.0, 2.5, 100.2], [0, 310.0, 90.7], [0, 0, 1]])
    points = np.random.default_rng(0).uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 0.6], (9, 3))
    pixels = projected(k, points)
    mirrored = projected(mirror_intrinsics(k, 224), points * (-1, 1, 1))
    assert np.allclose(mirrored, np.column_stack([223 - pixels[:, 0], pixels[:, 1]]), atol=1e-9)


def test_parameters_are_not_mirrored_where_the_models_are_not(shards_to_export, tmp_path, monkeypatch):
    monkeypatch.setattr("handgen.datasets.freihand.writer.sides_mirror", lambda right, left: False)
    with pytest.raises(HandgenError, match="not the mirror image of its right.*leave --mirror-left out"):
        export(shards_to_export, tmp_path / "out", "freihand", mirror_left=True)


def test_only_left_hands_and_no_mirror_is_nothing_to_write(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=1, cameras=1, sides=("left",), accept_all=True)
    with pytest.raises(HandgenError, match=r"nothing to write \(1 left, 0 right hands in all\); give --mirror-left"):
        export(annotations, tmp_path / "out", "freihand")
