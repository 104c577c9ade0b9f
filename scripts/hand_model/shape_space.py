"""The shape space: principal components of adult hands sampled from MakeHuman and anthropometry.

Proportions vary with MakeHuman's gender, age, muscle, weight and ancestry targets and its hand targets.
Absolute size and the breadth of the palm follow measured hands: Gordon et al., "1988 Anthropometric survey of
U.S. Army personnel", NATICK/TR-89/044 (hand length 194 mm for men, 181 mm for women, both with a deviation
near 10 mm; breadth 90 and 79 mm), lowered by 2 to 3 % because soldiers are taller than adults at large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hand_model.kinematics import unit
from hand_model.makehuman import MakeHumanData
from hand_model.proportions import knots, segment_factors, stretch_segments
from hand_model.rest_pose import Hand, HandRegion, extract, pose_hand, unpose_like

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS

BETA_COUNT = 10
EXTRA_COUNT = 10  # further principal components
GIRTH_DEVIATION = 0.05  # of one digit
SEGMENT_DEVIATION = 0.05  # of a digit's first segment against the others
SMALLEST_STEP_M = 2.0**-21  # smaller steps of the extra directions are not stored
SAMPLE_COUNT = 400
ANCESTRIES, GENDERS, AGES = ("caucasian", "african", "asian"), ("female", "male"), ("young", "old")
LEVELS = {
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
}

HAND_LENGTH_M = {"female": 0.177, "male": 0.189}  # wrist crease to middle fingertip
HAND_LENGTH_DEVIATION_M = 0.0085  # within a gender; 10.4 mm over all
BREADTH_SHARE = {"female": 0.440, "male": 0.460}  # of the hand's length, over the knuckles

# Standard deviations. Of MakeHuman's targets: in units of half the way from `decr` to `incr`, chosen to give
# 3.5 % of finger length (a unit is 29 %) and 6 % of finger thickness (a unit is 21 %).
TARGET_DEVIATIONS = {
    "hands/r-hand-fingers-length": 0.12,
    "hands/r-hand-fingers-diameter": 0.29,
    "hands/measure-wrist-circ": 0.2,
    "arms/r-lowerarm-fat": 0.3,
    "arms/r-lowerarm-muscle": 0.4,
}
# Of our own deformations: relative changes.
BREADTH_DEVIATION = 0.042
THICKNESS_DEVIATION = 0.050
DIGIT_LENGTH_DEVIATIONS = {"thumb": 0.040, "index": 0.018, "middle": 0.012, "ring": 0.018, "pinky": 0.035}
MACRO_DEVIATION = 0.45  # muscle and weight, on MakeHuman's -1..1


@dataclass(frozen=True)
class ShapeSpace:
    """Mean and components of a population. `full` arrays cover the whole region, hand and forearm.

    mean: the mean hand. components: (n, 3, 10) metres per unit of beta. joint_components: (16, 3, 10).
    explained: share of the variance of the hand's vertices each component explains. extra: (n, 3, 20) directions
    that no betas reach, orthogonal to the components: the next ten components, the girth of each digit, the
    proportions of each digit; joint_extra: (16, 3, 20).
    """

    mean: Hand
    components: np.ndarray
    joint_components: np.ndarray
    explained: np.ndarray
    extra: np.ndarray
    joint_extra: np.ndarray


class Bodies:
    """Whole bodies from MakeHuman's targets, each target read once."""

    def __init__(self, data: MakeHumanData) -> None:
        self._data = data
        self._targets: dict[str, np.ndarray] = {}

    def _target(self, name: str) -> np.ndarray:
        if name not in self._targets:
            self._targets[name] = self._data.target(name)
        return self._targets[name]

    def macro(self, male: float, old: float, muscle: float, weight: float, ancestry: np.ndarray) -> np.ndarray:
        """A body by MakeHuman's macro sliders: shares 0..1 of male and old, muscle and weight in -1..1."""
        body = self._data.base.vertices.copy()
        muscle_shares, weight_shares = level_shares(muscle), level_shares(weight)
        for gender, gender_share in zip(GENDERS, (1 - male, male), strict=True):
            for age, age_share in zip(AGES, (1 - old, old), strict=True):
                share = gender_share * age_share
                for name, ancestry_share in zip(ANCESTRIES, ancestry, strict=True):
                    body += share * ancestry_share * self._target(f"macrodetails/{name}-{gender}-{age}")
                for m, muscle_name in enumerate(LEVELS["muscle"]):
                    for w, weight_name in enumerate(LEVELS["weight"]):
                        if amount := share * muscle_shares[m] * weight_shares[w]:
                            name = f"macrodetails/universal-{gender}-{age}-{muscle_name}-{weight_name}"
                            body += amount * self._target(name)
        return body

    def mean(self) -> np.ndarray:
        """The average young adult."""
        return self.macro(0.5, 0.0, 0.0, 0.0, np.full(3, 1 / 3))

    def detail(self, name: str) -> np.ndarray:
        """The offsets of one unit of a pair of targets `<name>-incr`, `<name>-decr`, made symmetric."""
        return 0.5 * (self._target(f"{name}-incr") - self._target(f"{name}-decr"))


def level_shares(value: float) -> np.ndarray:
    """Shares of least, average and greatest for a slider in -1..1."""
    return np.array([max(-value, 0.0), 1 - abs(value), max(value, 0.0)])


def hand_length(hand: Hand) -> float:
    """From the wrist to the tip of the middle finger."""
    return float(np.linalg.norm(hand.tips[FINGERS.index("middle")] - hand.joints[0]))


def hand_breadth(hand: Hand, weights: np.ndarray) -> float:
    """Across the knuckles of index and pinky, skin to skin."""
    not_thumb = weights[:, list(FINGER_JOINTS["thumb"])].sum(1) < 0.1
    ends = []
    for finger, pick in (("index", np.argmax), ("pinky", np.argmin)):
        knuckle = hand.joints[FINGER_JOINTS[finger][0]]
        near = np.flatnonzero(not_thumb & (np.abs(hand.vertices[:, 0] - knuckle[0]) < 0.008))
        ends.append(hand.vertices[near[pick(hand.vertices[near, 2])]])
    return float(np.linalg.norm(ends[0] - ends[1]))


def deform(hand: Hand, weights: np.ndarray, breadth: float, thickness: float, digits: dict[str, float]) -> Hand:
    """Widen the palm, thicken it and lengthen digits by relative amounts, in the flat pose."""
    shares = {finger: weights[:, list(joints)].sum(1) for finger, joints in FINGER_JOINTS.items()}
    palm = weights[:, 0]
    vertices, joints, tips = hand.vertices.copy(), hand.joints.copy(), hand.tips.copy()
    vertices += palm[:, None] * [0.0, thickness, breadth] * hand.vertices
    for k, finger in enumerate(FINGERS):
        chain = list(FINGER_JOINTS[finger])
        base = hand.joints[chain[0]]
        along = unit(hand.tips[k] - base)

        def offsets(points: np.ndarray, base=base, along=along, longer=digits[finger]) -> np.ndarray:
            distance = np.maximum((points - base) @ along, 0.0)
            return [0.0, thickness, breadth] * base + longer * distance[:, None] * along

        vertices += shares[finger][:, None] * offsets(hand.vertices)
        joints[chain] += offsets(hand.joints[chain])
        tips[k] += offsets(hand.tips[[k]])[0]
    return Hand(vertices, joints, tips)


def align_palm(hand: Hand, reference: Hand, weights: np.ndarray) -> Hand:
    """Turn a hand about its wrist so that its palm lies as that of `reference` (Kabsch, 1976)."""
    palm = (weights[:, 0] > 0.9) & (reference.vertices[:, 0] < 0)
    source, target = hand.vertices[palm] - hand.joints[0], reference.vertices[palm] - reference.joints[0]
    u, _, vt = np.linalg.svd(target.T @ source)
    rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return hand.moved(lambda points: (points - hand.joints[0]) @ rotation.T + reference.joints[0])


def joint_followers(hand: Hand) -> np.ndarray:
    """Weights (16, n) with which each joint follows the skin around it when the shape changes."""
    followers = np.zeros((len(hand.joints), len(hand.vertices)))
    for joint, position in enumerate(hand.joints):
        squared = ((hand.vertices - position) ** 2).sum(1)
        near = np.exp(-squared / (2 * squared.min()))
        followers[joint] = near / near.sum()
    return followers


def sample_hands(
    bodies: Bodies,
    region: HandRegion,
    reference: Hand,
    flat_world: np.ndarray,
    weights: np.ndarray,
    seed: int,
    count: int = SAMPLE_COUNT,
) -> list[Hand]:
    """Plausible adult hands, flat, the wrist at the origin.

    reference: the bent mean hand. flat_world: the rotations that flatten it.
    """
    rng = np.random.default_rng(seed)
    mean_skin = extract(region, bodies.mean()).vertices
    followers = joint_followers(reference)
    factors = segment_factors(pose_hand(reference, flat_world, weights))
    hands = []
    for _ in range(count):
        male = float(rng.random() < 0.5)
        blend = abs(rng.normal(0, 0.15))
        body = bodies.macro(
            abs(male - min(blend, 0.5)),
            rng.uniform(0.0, 0.7),
            *np.clip(rng.normal(0, MACRO_DEVIATION, 2), -1, 1),
            rng.dirichlet((1.5, 1.5, 1.5)),
        )
        for name, deviation in TARGET_DEVIATIONS.items():
            body += clipped_normal(rng, deviation) * bodies.detail(name)
        bent = extract(region, body)
        joints = reference.joints + followers @ (bent.vertices - mean_skin)
        bent = align_palm(replace(bent, joints=joints), reference, weights)
        flat = stretch_segments(unpose_like(bent, reference, flat_world, weights), weights, factors)
        origin = flat.joints[0]
        flat = flat.moved(lambda points, origin=origin: points - origin)
        gender = GENDERS[int(male)]
        share = BREADTH_SHARE[gender] * (1 + clipped_normal(rng, BREADTH_DEVIATION))
        wider = share * hand_length(flat) / hand_breadth(flat, weights) - 1
        digits = {finger: clipped_normal(rng, deviation) for finger, deviation in DIGIT_LENGTH_DEVIATIONS.items()}
        flat = deform(flat, weights, wider, clipped_normal(rng, THICKNESS_DEVIATION), digits)
        length = HAND_LENGTH_M[gender] + clipped_normal(rng, HAND_LENGTH_DEVIATION_M)
        scale = length / hand_length(flat)
        hands.append(flat.moved(lambda points, scale=scale: points * scale))
    return hands


def clipped_normal(rng: np.random.Generator, deviation: float) -> float:
    """A normal sample without its far tails."""
    return float(np.clip(rng.normal(), -2.5, 2.5) * deviation)


def principal_components(hands: list[Hand], weights: np.ndarray, chosen: np.ndarray) -> ShapeSpace:
    """Components orthogonal over the `chosen` vertices and scaled to unit variance; the rest follows."""
    vertices = np.stack([hand.vertices for hand in hands])
    joints = np.stack([hand.joints for hand in hands])
    tips = np.stack([hand.tips for hand in hands])
    mean = Hand(vertices.mean(0), joints.mean(0), tips.mean(0))
    centred = (vertices - mean.vertices)[:, chosen].reshape(len(hands), -1)
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    count = BETA_COUNT + EXTRA_COUNT
    scores = u[:, :count] * np.sqrt(len(hands) - 1)
    components = np.einsum("hk,hvc->vck", scores, vertices - mean.vertices) / (len(hands) - 1)
    joint_components = np.einsum("hk,hvc->vck", scores, joints - mean.joints) / (len(hands) - 1)
    # Signs: the first component grows the hand; in the others the largest entry is positive.
    flat = components[chosen].reshape(-1, count)
    signs = np.sign(flat[np.abs(flat).argmax(0), np.arange(count)])
    signs[0] = np.sign(np.einsum("vc,vc->", components[chosen][:, :, 0], mean.vertices[chosen]))
    components, joint_components = components * signs, joint_components * signs
    extra, joint_extra = outside_span(components, joint_components, *local_directions(mean, weights), chosen)
    explained = singular[:BETA_COUNT] ** 2 / (singular**2).sum()
    betas = slice(BETA_COUNT)
    return ShapeSpace(mean, components[:, :, betas], joint_components[:, :, betas], explained, extra, joint_extra)


def local_directions(hand: Hand, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute what single digits vary in, one deviation each: (n, 3, 10) of the skin and (16, 3, 10) of the joints."""
    skin, joints = [], []
    for k, finger in enumerate(FINGERS):
        chain = list(FINGER_JOINTS[finger])
        base, along = hand.joints[chain[1]], unit(hand.tips[k] - hand.joints[chain[1]])
        across = hand.vertices - base
        across = across - (across @ along)[:, None] * along
        skin.append(GIRTH_DEVIATION * weights[:, chain].sum(1)[:, None] * across)
        joints.append(np.zeros_like(hand.joints))
    for finger in FINGERS:
        lengths = np.diff(knots(hand, finger)[2])
        factor = np.full(len(lengths), 1 - SEGMENT_DEVIATION * lengths[0] / lengths[1:].sum())
        factor[0] = 1 + SEGMENT_DEVIATION
        moved = stretch_segments(hand, weights, {finger: factor})
        skin.append(moved.vertices - hand.vertices)
        joints.append(moved.joints - hand.joints)
    return np.stack(skin, -1), np.stack(joints, -1)


def outside_span(
    components: np.ndarray, joint_components: np.ndarray, local: np.ndarray, joint_local: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Components after the tenth, and what the local directions add to all of them, orthogonal over `chosen`."""
    skin, joints = list(np.moveaxis(components, -1, 0)), list(np.moveaxis(joint_components, -1, 0))
    for direction, joint_direction in zip(np.moveaxis(local, -1, 0), np.moveaxis(joint_local, -1, 0), strict=True):
        for other, joint_other in zip(skin, joints, strict=True):
            share = (direction[chosen] * other[chosen]).sum() / (other[chosen] ** 2).sum()
            direction, joint_direction = direction - share * other, joint_direction - share * joint_other
        skin.append(direction)
        joints.append(joint_direction)
    extra = np.stack(skin[BETA_COUNT:], -1)
    return np.round(extra / SMALLEST_STEP_M) * SMALLEST_STEP_M, np.stack(joints[BETA_COUNT:], -1)
