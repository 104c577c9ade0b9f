"""The hands of moments as a hand model has them: by the data set's own parameters, or fitted to its keypoints."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from handgen.datasets.parameters import move_parameters
from handgen.datasets.reader import Moment, in_front, stack_parameters
from handgen.hand.model import HandModel, HandPose
from handgen.io.annotations import UNNAMED_SUBJECT
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from handgen.stages.import_.model_fitting import fit_keypoints

NO_PARAMETERS, NO_KEYPOINTS = "no hand parameters", "keypoints are missing"
_DIGITS = 6  # of what records hold


@dataclass(frozen=True)
class PosedHand:
    """One hand of one moment in the world, metres; pose and translation as in a record, rounded as it will be.

    subject: of the record: the person with the betas. person: who it is. residual_mm: mean distance of the model's
    keypoints from the data set's.
    """

    side: str
    subject: str
    person: str
    betas: Float[np.ndarray, " 10"]
    pose: Float[np.ndarray, " 48"]
    translation_m: Float[np.ndarray, " 3"]
    keypoints_m: Float[np.ndarray, "21 3"]
    vertices_m: Float[np.ndarray, "778 3"]
    residual_mm: float


@lru_cache(maxsize=4)
def model_of(name: str, side: str) -> HandModel:
    """Made once per process."""
    return HandModel.load(name, side)


def posed_hands(
    moments: Sequence[Moment], hand_model: str, fitted: bool, sides: Sequence[str], left_out: Counter[str]
) -> list[list[PosedHand]]:
    """The hands of each moment by side. fitted: to keypoints, not the data set's parameters. left_out: by reason."""
    found: list[list[PosedHand]] = [[] for _ in moments]
    for side in sides:
        seen = [(i, best) for i, moment in enumerate(moments) if (best := _best(moment, side)) is not None]
        told = [in_front(hand).all() if fitted else hand.parameters and in_front(hand).any() for _, (_, hand) in seen]
        usable = [entry for entry, enough in zip(seen, told, strict=True) if enough]
        if len(usable) < len(seen):
            left_out[NO_KEYPOINTS if fitted else NO_PARAMETERS] += len(seen) - len(usable)
        if not usable:
            continue
        places, images, hands = [i for i, _ in usable], [s[0] for _, s in usable], [s[1] for _, s in usable]
        model = model_of(hand_model, side)
        points = np.stack([_world_points(image, hand) for image, hand in zip(images, hands, strict=True)])
        if fitted:
            pose = fit_keypoints(model, points, [image.subject or None for image in images])
        else:
            pose = stack_parameters([_in_world(image, hand, model) for image, hand in zip(images, hands, strict=True)])
        pose = HandPose(*(values.round(decimals=_DIGITS) for values in (pose.rotations, pose.translation, pose.betas)))
        posed = model(pose)
        keypoints, vertices = posed.keypoints.numpy(), posed.vertices.numpy()
        off_mm = 1e3 * np.linalg.norm(keypoints - points, axis=2)
        for k, (place, image, hand) in enumerate(zip(places, images, hands, strict=True)):
            person = image.subject or UNNAMED_SUBJECT
            betas = pose.betas[k].numpy()
            found[place].append(
                PosedHand(
                    side=side,
                    subject=subject_name(person, betas),
                    person=person,
                    betas=betas,
                    pose=pose.rotations[k].reshape(48).numpy(),
                    translation_m=pose.translation[k].numpy(),
                    keypoints_m=keypoints[k],
                    vertices_m=vertices[k],
                    residual_mm=round(float(off_mm[k][in_front(hand)].mean()), 3),
                )
            )
    return found


def subject_name(person: str, betas: Float[np.ndarray, " 10"]) -> str:
    """Name a person with these betas: the same betas have the same name, in whichever chunk they come up."""
    digest = hashlib.sha256((np.round(betas, _DIGITS) + 0.0).astype("<f8").tobytes()).hexdigest()  # no -0.0
    return f"{'unknown' if person == UNNAMED_SUBJECT else person}-{digest[:12]}"


def _best(moment: Moment, side: str) -> tuple[LabelledImage, LabelledHand] | None:
    """The first picture that knows most of a hand; behind a camera its keypoints count as unknown."""
    pairs = [(image, hand) for image in moment.images for hand in image.hands if hand.side == side]
    return max(pairs, key=lambda pair: int(in_front(pair[1]).sum()), default=None)


def _world_points(image: LabelledImage, hand: LabelledHand) -> Float[np.ndarray, "21 3"]:
    assert image.cam_from_world is not None and hand.keypoints_cam_m is not None
    return image.cam_from_world.inverse().apply(hand.keypoints_cam_m)


def _in_world(image: LabelledImage, hand: LabelledHand, model: HandModel) -> HandParameters:
    assert image.cam_from_world is not None and hand.parameters is not None
    return move_parameters(hand.parameters, image.cam_from_world.inverse(), model.arrays)
