"""The scene of one capture, all drawn from its seed: who, where, what they do, which cameras see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float

from handgen.cameras import Rig
from handgen.config import SimulateConfig
from handgen.hand.assets import OPEN_HAND
from handgen.hand.layout import SIDES
from handgen.hand.model import HandModel, HandPose, PosedHand
from handgen.simulate.light import Lighting, make_lighting
from handgen.simulate.motion import HandMotion, simulate_motion
from handgen.simulate.render import Body, Moment, Sensor, make_sensor
from handgen.simulate.room import SHOULDER_M, Room, make_rig, make_room
from handgen.simulate.surface import (
    CLOTH,
    ELBOW_M,
    Surface,
    face_incidence,
    load_surface,
    make_outfit,
    tube_faces,
)
from handgen.simulate.tracing import PixelRays

# What a generator is seeded with after the capture's seed, so that no part of the scene shifts the numbers
# of another.
_RIG, _ROOM, _LIGHT, _SUBJECT, _MOTION, _SENSOR, _FRAME, _EMPTY = range(8)
_APART_M = 0.13  # of two hands from the middle
_ARM_RINGS, _ARM_SEGMENTS, _ARM_RADIUS_M = 14, 24, 0.05


@dataclass(frozen=True)
class SimulatedHand:
    """One hand of the scene: model, surface, motion, and the model's own output for every frame."""

    side: str
    model: HandModel
    surface: Surface
    motion: HandMotion
    posed: PosedHand
    rest_joints: Float[np.ndarray, "16 3"]


@dataclass(frozen=True)
class Scene:
    """Everything that a capture is rendered from."""

    config: SimulateConfig
    rig: Rig
    lighting: Lighting
    room: Room
    sensors: tuple[Sensor, ...]
    betas: Float[np.ndarray, " 10"]
    hands: tuple[SimulatedHand, ...]

    @cached_property
    def rays(self) -> tuple[PixelRays, ...]:
        """Of all pixels of each camera."""
        return tuple(PixelRays(camera) for camera in self.rig)

    @cached_property
    def backgrounds(self) -> tuple[Float[np.ndarray, "height width 3"], ...]:
        """The empty room as each camera sees it, linear."""
        return tuple(
            self.room.render(camera, rays, self.lighting, _generator(self.config, _EMPTY, i))
            for i, (camera, rays) in enumerate(zip(self.rig, self.rays, strict=True))
        )

    @cached_property
    def body(self) -> Body:
        """All hands with their arms, as one mesh."""
        faces, albedo, gloss, part, owner, count = [], [], [], [], [], 0
        arm_faces = tube_faces(_ARM_RINGS, _ARM_SEGMENTS)
        for i, hand in enumerate(self.hands):
            surface, arm_vertices = hand.surface, _ARM_RINGS * _ARM_SEGMENTS
            faces += [surface.faces + count, arm_faces + count + len(surface.vertices)]
            albedo += [surface.albedo, np.tile(surface.cloth, (arm_vertices, 1))]
            gloss += [surface.gloss, np.zeros(arm_vertices)]
            part += [surface.part, np.full(len(arm_faces), CLOTH)]
            owner.append(np.full(len(surface.faces) + len(arm_faces), i))
            count += len(surface.vertices) + arm_vertices
        all_faces = np.concatenate(faces)
        return Body(
            faces=all_faces,
            albedo=np.concatenate(albedo),
            gloss=np.concatenate(gloss),
            part=np.concatenate(part),
            owner=np.concatenate(owner),
            face_sum=face_incidence(all_faces, count),
        )

    def moment(self, frame: int) -> Moment:
        """The lit scene of one frame."""
        vertices = []
        for hand in self.hands:
            rotations = hand.posed.rotations[frame].cpu().numpy()
            joints = hand.posed.joints[frame].cpu().numpy()
            vertices.append(hand.surface.posed(self.betas, rotations, joints, hand.rest_joints))
            back = -np.sign(hand.rest_joints[4, 0] - hand.rest_joints[0, 0])
            elbow = joints[0] + rotations[0] @ np.array([back * ELBOW_M, 0.0, 0.0])
            shoulder = SHOULDER_M * ([1, 1, 1] if hand.side == "right" else [-1, 1, 1])
            vertices.append(_upper_arm(elbow, shoulder, rotations[0][:, 0] * -back))
        return Moment(self.body, np.concatenate(vertices), self.lighting, _generator(self.config, _FRAME, frame))

    def sensor_noise(self, frame: int, view: int) -> np.random.Generator:
        """The noise of one image."""
        return _generator(self.config, _SENSOR, frame, view)


def _generator(config: SimulateConfig, *parts: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, *parts))


def make_scene(config: SimulateConfig) -> Scene:
    """Draw a scene from `config.seed`."""
    subject = _generator(config, _SUBJECT)
    betas = subject.normal(0, 0.8, 10).clip(-2, 2)
    outfit = make_outfit(subject)
    sides = SIDES if config.hands == "both" else (config.hands,)
    hands = []
    for side in sides:
        model = HandModel.load(OPEN_HAND, side)
        # The person faces +y, so their right hand is at +x.
        apart = np.array([_APART_M if side == "right" else -_APART_M, 0.0, 0.0]) * (len(sides) > 1)
        motion = simulate_motion(
            model, betas, config.frames, config.fps, apart, _generator(config, _MOTION, SIDES.index(side))
        )
        rest = model.rest_joints + torch.einsum("jcb,b->jc", model.joint_shapedirs, torch.as_tensor(betas))
        surface = load_surface(model, outfit, _generator(config, _SUBJECT, 1))
        hands.append(SimulatedHand(side, model, surface, motion, pose_model(model, motion, betas), rest.numpy()))
    sensors = tuple(make_sensor(_generator(config, _SENSOR, i)) for i in range(config.views))
    return Scene(
        config=config,
        rig=make_rig(config.views, config.size, _generator(config, _RIG), 1.18 if len(sides) > 1 else 1.0),
        lighting=make_lighting(_generator(config, _LIGHT)),
        room=make_room(_generator(config, _ROOM), outfit.cloth),
        sensors=sensors,
        betas=betas,
        hands=tuple(hands),
    )


def pose_model(model: HandModel, motion: HandMotion, betas: Float[np.ndarray, " 10"]) -> PosedHand:
    """The model's own vertices, joints and keypoints over a motion."""
    frames = len(motion.rotations)
    return model(
        HandPose(
            torch.as_tensor(motion.rotations),
            torch.as_tensor(motion.translation),
            torch.as_tensor(np.tile(betas, (frames, 1))),
        )
    )


def _upper_arm(
    elbow: Float[np.ndarray, " 3"], shoulder: Float[np.ndarray, " 3"], forearm: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "n 3"]:
    """The rings of a sleeve from the elbow to the shoulder; `forearm` points from the elbow to the wrist."""
    along = (shoulder - elbow) / np.linalg.norm(shoulder - elbow)
    side = np.cross(along, forearm)
    side = side / max(float(np.linalg.norm(side)), 1e-6)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, _ARM_SEGMENTS, endpoint=False)
    circle = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    share = np.linspace(0, 1, _ARM_RINGS - 2)
    rings = [elbow - along * 0.035 + circle * 1e-3, elbow - along * 0.02 + circle * _ARM_RADIUS_M * 0.75]
    rings += [elbow + s * (shoulder - elbow) + circle * _ARM_RADIUS_M * (1 + 0.3 * s) for s in share]
    return np.concatenate(rings)
