"""A model's parameters against the labelled keypoints: if they differ, the convention that would make them agree.

Each explanation changes parameters or keypoints as somebody with another convention has them; the first that brings the
two together is what happened (`handgen.label_checks.convention_hypotheses`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from handgen.fit.kinematics import KeypointKinematics
from handgen.hand.model_files import MOST_BETA
from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS, WRIST, other_side
from handgen.label_checks.convention_hypotheses import Disagreement, describe_disagreement, list_hypotheses
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome, judge

_DOUBTED_M = 0.003  # mean distance from which an explanation is looked for, where keypoints are not the model's own
_BETTER = 0.3  # of the distance, what an explanation may leave there
_UNEXPLAINED_M = 0.03  # mean distance which is wrong there even without one
_SAME_MODEL_M = 0.0025  # median difference of bone lengths; of another person's shape it is about as large
_PROBED = 100  # hands by which the model is chosen where labels do not name it


@dataclass(frozen=True)
class ParameterFaults:
    """The faults of hands' parameters. known: hands whose model is here. faults: with the check that the hand fails."""

    known: Bool[np.ndarray, " n"]
    faults: dict[int, tuple[str, Fault]]


def _explain_parameters(evidence: Evidence) -> ParameterFaults:
    hands = evidence.hands
    result = ParameterFaults(np.zeros(len(hands), bool), {})
    groups: dict[tuple[str | None, str | None, str], list[int]] = {}
    for i in np.flatnonzero(hands.has_points & hands.has_pose).tolist():
        labels = hands.labels(i)
        assert labels.parameters is not None
        groups.setdefault((labels.parameters.model, labels.parameters.model_sha256, labels.side), []).append(i)
    for (model, sha256, side), members in groups.items():
        numbers = np.array(members)
        name = model if model is not None else _likeliest_model(evidence, numbers)
        sides = None if name is None else evidence.models.sides(name, sha256)
        if sides is None:
            continue
        other = other_side(side)
        digests = {one: model.model.arrays.sha256 for one, model in sides.items()}
        result.known[numbers] = side in sides or sha256 == digests.get(other)
        if sha256 is not None and sha256 == digests.get(other) != digests.get(side):
            fault = Fault(f"is labelled {side}, but its model_sha256 is of the {other} hand", "correct the side")
            result.faults.update(dict.fromkeys(members, ("side", fault)))
        elif side in sides:
            _explain(evidence, sides, side, numbers, result)
    return result


def _likeliest_model(evidence: Evidence, numbers: np.ndarray) -> str | None:
    """Find the model here whose bones of the middle finger and below it have the labelled lengths."""
    hands, numbers = evidence.hands, numbers[:_PROBED]
    chain = [WRIST, *FINGER_KEYPOINTS["middle"]][:4]
    labelled = np.linalg.norm(np.diff(hands.cam_m[numbers][:, chain], axis=1), axis=-1)

    def distance(name: str) -> float:
        sides = evidence.models.sides(name, None)
        assert sides is not None
        arrays = next(iter(sides.values())).model.arrays
        shaped = arrays.template + np.einsum("vcb,nb->nvc", arrays.shapedirs, hands.betas[numbers])
        rest = np.einsum("jv,nvc->njc", arrays.joint_regressor[[0, *FINGER_JOINTS["middle"]]], shaped)
        return float(np.median(np.abs(np.linalg.norm(np.diff(rest, axis=1), axis=-1) - labelled)))

    off, nearest = min(((distance(name), name) for name in evidence.models.candidates()), default=(np.inf, ""))
    if off <= _SAME_MODEL_M:
        return nearest
    evidence.models.missing.add("labels do not name their hand model, and none that is here has such bones")
    return None


def _explain(
    evidence: Evidence, sides: dict[str, KeypointKinematics], side: str, numbers: np.ndarray, result: ParameterFaults
) -> None:
    exact = evidence.tolerances.parameters_mm
    found = Disagreement.of(evidence.hands, numbers, sides, side)
    off = found.distance(found.as_is)
    doubted = off.max(1) > exact / 1000 if exact is not None else off.mean(1) > _DOUBTED_M
    numbers, found, off = numbers[doubted], found.only(doubted), off[doubted]
    if not len(numbers):
        return
    limit = np.full(len(off), exact / 1000) if exact is not None else _BETTER * off.mean(1)
    open_ones = np.ones(len(numbers), bool)
    for hypothesis in list_hypotheses(found):
        distance = np.linalg.norm(hypothesis.made - hypothesis.labelled, axis=-1)
        near = open_ones & ((distance.max(1) if exact is not None else distance.mean(1)) <= limit)
        for k in np.flatnonzero(near).tolist():
            result.faults[int(numbers[k])] = hypothesis.check, hypothesis.fault(k)
        open_ones &= ~near
    if exact is None:
        open_ones &= off.mean(1) > _UNEXPLAINED_M
    for k in np.flatnonzero(open_ones).tolist():
        result.faults[int(numbers[k])] = "parameters", describe_disagreement(found, k)


def _named(check: str) -> Callable[[Evidence, Bool[np.ndarray, " n"]], Outcome]:
    def look(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
        found = evidence.share(_explain_parameters)
        wrong = {i: fault for i, (name, fault) in found.faults.items() if name == check and look[i]}
        return Outcome(int((look & found.known).sum()), wrong)

    return look


def _betas(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    look = look & np.isfinite(hands.betas).all(1)
    largest: Float[np.ndarray, " n"] = np.abs(hands.betas).max(1, initial=0)

    def fault_of(i: int) -> Fault:
        k = int(np.abs(hands.betas[i]).argmax())
        what = f"beta {k} is {hands.betas[i, k]:.3g}; shapes of people lie within {MOST_BETA:g}"
        return Fault(what, "fit the shape with a prior, once per person; HaMeR drops the pose of such a hand")

    return judge(look, largest > MOST_BETA, fault_of)


_AFTER = ("not finite", "metres", "joint order", "betas")
_AGREE = "; 1 mm where the keypoints are the model's own, else only what another convention explains much better"
_EXPLAINED = {
    "keypoint order": "the 3D keypoints are those of the model in its order, by their places",
    "side": f"the model of the stated side gives the 3D keypoints, and the other side's does not{_AGREE}",
    "mean pose": "the same with the model's mean pose added or taken away",
    "pose": "the same with principal components, degrees, another order of joints, inverse rotations",
    "orientation": "the same up to a turn: the orientation is the camera's, not the world's, nor transposed",
    "translation": "the same up to a shift: translation_m is smplx's transl, metres",
    "fingertips": "joints agree, but the tips are other vertices",
    "parameters": "none of these: the keypoints are not of these parameters",
}
CHECKS: dict[str, Check] = {
    "betas": Check(f"shape coefficients lie within {MOST_BETA:g}", _betas, ("not finite",)),
    **{name: Check(about, _named(name), _AFTER) for name, about in _EXPLAINED.items()},
}
