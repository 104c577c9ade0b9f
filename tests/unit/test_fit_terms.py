"""The table of terms of the fit: each can be switched, and a new one is a class and a line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import natural_poses

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.residuals import Expected
from handgen.fit.solver import weighted
from handgen.fit.subject import HandShape
from handgen.hand.model import HandModel
from handgen.hand.model_files import load_hand
from handgen.multiview.tracking import hands_of_detections
from handgen.reconstruct import fit_terms
from handgen.reconstruct.fit_hands import HandFitter
from handgen.reconstruct.fit_terms import FIT_TERMS, FitTerm, per_hand, weights_of
from handgen.reconstruct.settings import FitSettings
from handgen.records.detection import Detection
from handgen.stages.annotate.config import AnnotateConfig

FRAMES = 3
UP_M = torch.tensor([0.0, 0.02, 0.0])


def lifted(fit):
    """A term that wants the hand 20 mm higher, as sure of it as of a keypoint's 10 mm."""
    kinematics = fit.problem.kinematics
    return Expected(kinematics, kinematics.keypoints(fit.solved.state) + UP_M.to(kinematics.offsets), sigma_m=0.01)


@pytest.fixture
def with_lift(monkeypatch):
    monkeypatch.setitem(fit_terms.FIT_TERMS, "lift", FitTerm(0.0, per_hand(lifted)))


@pytest.fixture(scope="module")
def fitter():
    settings = FitSettings(refine="none", background="any")
    return HandFitter(settings, ring(4), HandShape(np.zeros(10)), DetectorCalibration(np.zeros((21, 3))), 30.0)


@pytest.fixture(scope="module")
def hands(fitter):
    model = HandModel(load_hand("open", "right"))
    keypoints = model(natural_poses(model, FRAMES, np.random.default_rng(0))).keypoints.numpy()
    detections = [[[Detection(c.project(p)[0], np.ones(21), 1.0)] for c in fitter.rig] for p in keypoints]
    return hands_of_detections(fitter.rig, range(FRAMES), detections, "right")


def fitted(fitter, hands, *weights):
    weighted = replace(fitter, settings=replace(fitter.settings, term_weights=weights))
    (hand,) = weighted.fit(hands, range(FRAMES), lambda frames: iter(()))
    return hand.fit.hands()


def test_a_term_of_ones_own_is_a_class_and_a_line_and_can_be_switched(with_lift, fitter, hands):
    off, weak, strong = (fitted(fitter, hands, ("lift", weight)) for weight in (0.0, 1.0, 1e4))
    assert "lift" not in off.terms and (weak.terms["lift"] > 0).all()
    rise_mm = [1e3 * (found.keypoints - off.keypoints)[..., 1].mean() for found in (weak, strong)]
    assert 0 < rise_mm[0] < 5 and 15 < rise_mm[1] <= 20
    np.testing.assert_array_equal(fitted(fitter, hands).keypoints, off.keypoints)  # off unless asked for


def test_the_weights_are_those_of_the_table_unless_told_otherwise():
    assert weights_of(FitSettings()) == {"contact": 1.0, "silhouette": 1.0} == dict.fromkeys(FIT_TERMS, 1.0)
    assert weights_of(FitSettings(refine="none"))["silhouette"] == 0
    assert weights_of(AnnotateConfig(term=("contact=0",)).fit) == {"contact": 0.0, "silhouette": 1.0}


@pytest.mark.parametrize("term", ["contact", "contact=", "=1", "contact=-1", "contact=nan", "nothing=1"])
def test_a_wrong_term_is_told(term):
    with pytest.raises(ValueError, match=r"NAME=WEIGHT|must be 0 or more|none of this name"):
        AnnotateConfig(term=(term,))


class _Quadratic:
    """A term of known numbers: two frames, three parameters."""

    matrix = torch.arange(18.0).reshape(2, 3, 3)
    gradient = torch.arange(6.0).reshape(2, 3)

    def cost(self, state):
        return torch.tensor([1.0, 2.0])

    def normal_equations(self, state, by_betas=False):
        return self.matrix, self.gradient, self.cost(state)


def test_a_weight_scales_a_terms_cost_gradient_and_matrix_alike():
    """Else the solver would step by another length than the one that its cost asks for."""
    term = _Quadratic()
    assert weighted(term, 1) is term
    heavy = weighted(term, 3.0)
    matrix, gradient, cost = heavy.normal_equations(None)
    torch.testing.assert_close(matrix, 3 * term.matrix)
    torch.testing.assert_close(gradient, 3 * term.gradient)
    torch.testing.assert_close(cost, 3 * term.cost(None))
    torch.testing.assert_close(heavy.cost(None), cost)
