"""Sleeves of all kinds lie around the arm."""

import numpy as np
import pytest

from handgen.geometry.meshes import Mesh
from handgen.stages.simulate.sleeve import ELBOW_M, Sleeve, draw_sleeve, sleeve_mesh

CUFF_M = 0.1
ANGLE = np.linspace(0, 2 * np.pi, 24, endpoint=False)
X = np.arange(0.05, 0.18, 0.005)
RADIUS_M = 0.03
ARM = np.stack(
    [np.repeat(X, 24), np.tile(RADIUS_M * np.cos(ANGLE), len(X)), np.tile(RADIUS_M * np.sin(ANGLE), len(X))], 1
)


def sleeve(**changes):
    plain = {"cloth": "plain", "cuff": "hem", "fit": 1.1, "folds": 0.5, "pattern_m": 0.02, "band_m": 0.04}
    return Sleeve(np.full(3, 0.2), np.full(3, 0.7), **(plain | changes))


@pytest.mark.parametrize("cuff", ["hem", "ribbed", "rolled", "shirt"])
@pytest.mark.parametrize("cloth", ["plain", "heathered", "rings", "stripes", "checks"])
def test_every_kind_goes_around_the_arm_from_the_cuff_to_the_elbow(cuff, cloth, rng):
    mesh = sleeve_mesh(ARM, CUFF_M, sleeve(cuff=cuff, cloth=cloth), rng)
    assert mesh.vertices[:, 0].min() == pytest.approx(CUFF_M) and mesh.vertices[:, 0].max() > ELBOW_M
    outside = mesh.vertices[:, 0] > CUFF_M + 0.012
    radius = np.linalg.norm(mesh.vertices[outside, 1:], axis=1)
    assert radius.min() > 0.95 * RADIUS_M and radius.max() < 1.7 * RADIUS_M
    centers, normals = mesh.vertices[mesh.faces].mean(1), Mesh(mesh.vertices, mesh.faces).face_normals
    seen = centers[:, 0] > CUFF_M + 0.02
    assert ((normals * centers)[seen, 1:].sum(1) > 0).mean() > 0.95  # outwards
    assert mesh.albedo.shape == mesh.vertices.shape and mesh.albedo.min() > 0 and mesh.albedo.max() < 1


def test_patterns_have_two_colours_and_plain_cloth_one(rng):
    spread = {
        cloth: sleeve_mesh(ARM, CUFF_M, sleeve(cloth=cloth), rng).albedo.mean(1).std()
        for cloth in ("plain", "rings", "stripes")
    }
    assert spread["rings"] > 3 * spread["plain"] and spread["stripes"] > 3 * spread["plain"]


def test_people_differ_in_what_they_wear():
    drawn = [draw_sleeve(np.full(3, 0.3), np.random.default_rng(seed)) for seed in range(60)]
    assert len({(one.cloth, one.cuff) for one in drawn}) > 10
    assert np.ptp([one.fit for one in drawn]) > 0.2
