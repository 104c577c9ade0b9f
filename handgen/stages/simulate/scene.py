"""The scene of one capture, all drawn from its seed: who, where, what they do, which cameras see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel, PosedHand
from handgen.hand.skeleton import JOINT_COUNT, SIDES
from handgen.media.arrays import Light
from handgen.media.images import IMAGE_SUFFIXES, picture_names, read_rgb
from handgen.stages.simulate.cameras import PixelRays, Sensor, make_rig, make_sensor
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.flesh import Flesh
from handgen.stages.simulate.interaction import two_hands
from handgen.stages.simulate.light import Lighting, linear_from_srgb, make_lighting
from handgen.stages.simulate.motion import STYLES, HandMotion, HandPath, Vector, posed, single_hand
from handgen.stages.simulate.named_poses import FEW_POSES
from handgen.stages.simulate.person import Person, make_person, personal_hand
from handgen.stages.simulate.photoreal import PathTracer
from handgen.stages.simulate.render import Body, Moment
from handgen.stages.simulate.room import AT_THE_WALL_M, SHOULDER_M, Room, make_room, make_studio, studio_green
from handgen.stages.simulate.skin.atlas import side_for
from handgen.stages.simulate.skin.folds import fold_openness
from handgen.stages.simulate.skin.maps import SkinMaps, make_maps
from handgen.stages.simulate.skin.paint import paint
from handgen.stages.simulate.skin.places import rest_places
from handgen.stages.simulate.skin.traits import leave_out
from handgen.stages.simulate.sleeve import ELBOW_M, tube_faces
from handgen.stages.simulate.subdivision import face_incidence
from handgen.stages.simulate.surface import CLOTH, HAND, Surface, load_surface

# What a generator is seeded with after the capture's seed, so that no part of the scene shifts the numbers
# of another.
_RIG, _ROOM, _LIGHT, _SUBJECT, _MOTION, _SENSOR, _FRAME, _EMPTY, _CLOCK, CALIBRATION_SEED = range(10)
GREEN, ROOM = "green", "room"  # backgrounds that are no folder of pictures
_APART_M = 0.13  # of two hands from the middle
_WIDEN_FOR_TWO = 1.18
_ARM_RINGS, _ARM_SEGMENTS, _ARM_RADIUS_M = 14, 24, 0.05
_BLUR_STEP_PX = 2.0  # of motion between two times of an exposure
_MAX_EXPOSURE_TIMES = 7
_NEAREST_M = 0.6  # to a camera, for how far motion reaches in pixels
_CLOCK_PERIOD_FRAMES = (60.0, 160.0)  # in which a camera's clock drifts there and back


@dataclass(frozen=True)
class SimulatedHand:
    """One hand of the scene: the person's own model, its surface, its path, and its rest joints, metres."""

    side: str
    model: HandModel
    surface: Surface
    path: HandPath
    betas: Float[np.ndarray, " 10"]

    @cached_property
    def rest_joints(self) -> Float[np.ndarray, "16 3"]:
        """Keypoints of the flat hand."""
        model = self.model
        rest = model.rest_joints + torch.einsum("jcb,b->jc", model.joint_shapedirs, torch.as_tensor(self.betas))
        return rest.numpy()

    def pose(self, motion: HandMotion) -> PosedHand:
        """The model's own vertices, joints and keypoints."""
        return posed(self.model, self.betas, motion)


@dataclass(frozen=True)
class Clock:
    """When a camera takes its frames: early or late by up to `error_frames`, drifting there and back."""

    error_frames: float
    period_frames: float
    phase: float

    def time_s(self, frame: int, fps: float) -> float:
        """Return the moment in the middle of a frame's exposure."""
        drift = np.sin(2 * np.pi * (frame / self.period_frames + self.phase))
        return (frame + self.error_frames * float(drift)) / fps


@dataclass(frozen=True)
class Scene:
    """Everything that a capture is rendered from. room: None in front of pictures."""

    config: SimulateConfig
    rig: Rig
    lighting: Lighting
    room: Room | None
    sensors: tuple[Sensor, ...]
    clocks: tuple[Clock, ...]
    person: Person
    skin: SkinMaps
    hands: tuple[SimulatedHand, ...]
    shoulder_m: Float[np.ndarray, " 3"]
    _moments: dict[float, Moment] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def rays(self) -> tuple[PixelRays, ...]:
        """Return the rays of all pixels of each camera."""
        return tuple(PixelRays(camera) for camera in self.rig)

    @cached_property
    def backgrounds(self) -> tuple[Light, ...]:
        """Render each camera's picture without the hands, linear."""
        if self.room is None:
            return tuple(_picture(path, self.config.size) for path in background_files(self.config))
        return tuple(
            self.sensors[i].far(self.room.render(camera, rays, self.lighting, _generator(self.config, _EMPTY, i)))
            for i, (camera, rays) in enumerate(zip(self.rig, self.rays, strict=True))
        )

    @cached_property
    def path_tracer(self) -> PathTracer | None:
        """Return the path tracer, or None where the ray caster renders the images."""
        return PathTracer(self.body, self.room, self.lighting) if self.config.renderer == "mitsuba" else None

    @cached_property
    def body(self) -> Body:
        """All hands with their arms, as one mesh."""
        arm_faces, arm_vertices, count = tube_faces(_ARM_RINGS, _ARM_SEGMENTS), _ARM_RINGS * _ARM_SEGMENTS, 0
        parts = []
        for i, hand in enumerate(self.hands):
            surface, owner = hand.surface, np.full(len(hand.surface.faces), i)
            parts.append((surface.faces + count, surface.albedo, surface.gloss, surface.part, owner, surface.texels))
            count += len(surface.vertices)
            cloth, no_gloss = np.tile(surface.cloth, (arm_vertices, 1)), np.zeros(arm_vertices)
            of_arm = np.full(len(arm_faces), CLOTH), np.full(len(arm_faces), i), np.zeros((len(arm_faces), 3, 2))
            parts.append((arm_faces + count, cloth, no_gloss, *of_arm))
            count += arm_vertices
        faces, albedo, gloss, part, owner, texels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Body(faces, albedo, gloss, part, owner, texels, self.skin, face_incidence(faces, count))

    @cached_property
    def flesh(self) -> Flesh:
        """The skin that gives way where hands touch."""
        bones = []
        for i, hand in enumerate(self.hands):
            bones.append(hand.surface.weights.argmax(1) + i * JOINT_COUNT)
            bones.append(np.full(_ARM_RINGS * _ARM_SEGMENTS, i * JOINT_COUNT))
        return Flesh(self.body.faces[self.body.part == HAND], np.concatenate(bones), self.body.spread)

    def moment(self, frame: int, view: int) -> Moment:
        """The lit scene as one camera's frame exposes it; shared by the cameras whose clocks agree."""
        time_s = self.clocks[view].time_s(frame, self.config.fps)
        if time_s not in self._moments:
            self._moments.clear()
            exposure = self._pressed([self.vertices(t) for t in self._exposure_times_s(time_s)])
            rng = _generator(self.config, _FRAME, frame)
            self._moments[time_s] = Moment(self.body, exposure, self._folds(time_s), self.lighting, rng)
        return self._moments[time_s]

    def _pressed(self, exposure: list[Float[np.ndarray, "n 3"]]) -> list[Float[np.ndarray, "n 3"]]:
        """Press flesh that touches in the middle of the exposure flat, the same at all its times."""
        middle = exposure[len(exposure) // 2]
        give = self.flesh.give_m(middle, self.body.normals(middle))
        if not give.any():
            return exposure
        return [vertices + give[:, None] * self.body.normals(vertices) for vertices in exposure]

    def _folds(self, time_s: float) -> Float[np.ndarray, "hands 32"]:
        """How deep the folds of each hand are."""
        found = []
        for hand in self.hands:
            turns = hand.path(np.array([time_s])).rotations[0]
            flexion = np.einsum("jc,jc->j", turns[1:], hand.model.arrays.joint_axes[:, 0])
            found.append(fold_openness(np.concatenate([[0.0], flexion])))
        return np.stack(found)

    def _exposure_times_s(self, middle_s: float) -> Float[np.ndarray, " times"]:
        """Enough times within the exposure that nothing jumps; one where nothing moves."""
        half = self.config.shutter_s / 2
        ends = np.array([middle_s - half, middle_s + half])
        moved_m = 0.0
        for hand in self.hands:
            start, end = hand.pose(hand.path(ends)).vertices.numpy()
            moved_m = max(moved_m, float(np.linalg.norm(end - start, axis=1).max()))
        moved_px = moved_m * float(max(camera.intrinsics[0, 0] for camera in self.rig)) / _NEAREST_M
        steps = min(2 * int(moved_px / _BLUR_STEP_PX / 2 + 0.5) + 1, _MAX_EXPOSURE_TIMES)
        # The middle of each part of the exposure.
        return middle_s + self.config.shutter_s * ((np.arange(steps) + 0.5) / steps - 0.5)

    def vertices(self, time_s: float) -> Float[np.ndarray, "n 3"]:
        """Pose all hands with their arms: vertices in the world, metres."""
        vertices = []
        for hand in self.hands:
            motion = hand.path(np.array([time_s]))
            posed = hand.pose(motion)
            rotations, joints = posed.rotations[0].numpy(), posed.joints[0].numpy()
            back = -np.sign(hand.rest_joints[4, 0] - hand.rest_joints[0, 0])
            bend = None if motion.wrist_rad is None else _wrist_bend(motion.wrist_rad[0], back)
            vertices.append(hand.surface.pose(self.person.betas, rotations, joints, hand.rest_joints, bend))
            arm = rotations[0] if bend is None else rotations[0] @ Rotation.from_rotvec(bend).as_matrix()
            elbow = joints[0] + arm @ np.array([back * ELBOW_M, 0.0, 0.0])
            shoulder = self.shoulder_m * ([1, 1, 1] if hand.side == "right" else [-1, 1, 1])
            vertices.append(_upper_arm(elbow, shoulder, arm[:, 0] * -back))
        return np.concatenate(vertices)

    def sensor_noise(self, frame: int, view: int) -> np.random.Generator:
        """The noise of one image."""
        return _generator(self.config, _SENSOR, frame, view)


def _generator(config: SimulateConfig, *parts: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, *parts))


def make_scene(config: SimulateConfig) -> Scene:
    """Draw a scene from `config.seed`. Raises HandgenError when there are no background pictures."""
    person = make_person(np.random.default_rng((config.person_seed, _SUBJECT)))
    person = replace(person, skin=leave_out(person.skin, config.without))
    sides = SIDES if config.hands == "both" else (config.hands,)
    models = {side: HandModel(personal_hand(person, side)) for side in sides}
    paths = _paths(config, models, person)
    widen = _WIDEN_FOR_TWO if len(sides) > 1 else 1.0
    rig = make_rig(config.rig, config.views, config.size, _generator(config, _RIG), widen, config.lens)
    skin = _paint_skin(person, rig, np.random.default_rng((config.person_seed, _SUBJECT, 2)))
    surfaces = {
        side: load_surface(person, models[side], skin, np.random.default_rng((config.person_seed, _SUBJECT, 1)))
        for side in sides
    }
    room_rng, room, spill, shoulder = _generator(config, _ROOM), None, None, AT_THE_WALL_M
    if config.background == ROOM:
        room, shoulder = make_room(room_rng, person.sleeve.color, person.skin.tone), SHOULDER_M
    elif config.background == GREEN:
        spill = studio_green(room_rng)
        room = make_studio(spill, room_rng)
    return Scene(
        config=config,
        rig=rig,
        lighting=make_lighting(_generator(config, _LIGHT), spill, "light" in config.without),
        room=room,
        sensors=tuple(
            make_sensor(_generator(config, _SENSOR, i), config.size[0], "sensor" in config.without)
            for i in range(config.views)
        ),
        clocks=tuple(
            Clock(config.sync_error_frames, rng.uniform(*_CLOCK_PERIOD_FRAMES), rng.random())
            for rng in (_generator(config, _CLOCK, i) for i in range(config.views))
        ),
        person=person,
        skin=skin,
        hands=tuple(SimulatedHand(side, models[side], surfaces[side], paths[side], person.betas) for side in sides),
        shoulder_m=shoulder,
    )


def _paint_skin(person: Person, rig: Rig, rng: np.random.Generator) -> SkinMaps:
    """The person's skin, as fine as the sharpest camera can see it."""
    finest_m = min(_NEAREST_M / float(camera.intrinsics[0, 0]) for camera in rig)
    places = rest_places(side_for(finest_m))
    return make_maps(places.atlas, paint(places, person.skin, rng))


def _paths(config: SimulateConfig, models: dict[str, HandModel], person: Person) -> dict[str, HandPath]:
    seconds = config.frames / config.fps
    if config.motion == "interact":
        meeting = two_hands(models, person.betas, seconds, _generator(config, _MOTION))
        return {side: partial(meeting.at, side) for side in models}
    paths: dict[str, HandPath] = {}
    for side, model in models.items():
        # The person faces +y, so their right hand is at +x.
        apart = np.array([_APART_M if side == "right" else -_APART_M, 0.0, 0.0]) * (len(models) > 1)
        rng = _generator(config, _MOTION, SIDES.index(side))
        style = STYLES[config.motion]
        if "poses" in config.without:
            style = replace(style, random_share=0.0, names=FEW_POSES)
        paths[side] = single_hand(model, person.betas, seconds, style, apart, rng)
    return paths


def background_files(config: SimulateConfig) -> list[Path]:
    """The pictures behind the hands, one per camera; none where the background is rendered."""
    if config.background in (GREEN, ROOM):
        return []
    folder = Path(config.background)
    if not folder.is_dir():
        raise HandgenError(f"{folder}: no such folder of backgrounds; give one, or {GREEN} or {ROOM}")
    names = sorted(picture_names(folder))
    if not names:
        raise HandgenError(f"{folder}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}); add some, or give {GREEN}")
    chosen = _generator(config, _ROOM).permutation(len(names))
    return [folder / names[chosen[i % len(names)]] for i in range(config.views)]


def _picture(path: Path, size_px: tuple[int, int]) -> Light:
    """The middle of a picture, filling an image of `size_px`, as linear light."""
    image = read_rgb(path)
    height, width = image.shape[:2]
    scale = max(size_px[0] / width, size_px[1] / height)
    scaled = max(size_px[0], round(width * scale)), max(size_px[1], round(height * scale))
    image = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (scaled[0] - size_px[0]) // 2, (scaled[1] - size_px[1]) // 2
    image = image[top : top + size_px[1], left : left + size_px[0]]
    return linear_from_srgb(image.astype(np.float32) / 255)


def _wrist_bend(wrist_rad: Float[np.ndarray, " 2"], back: float) -> Vector:
    """Axis-angle of the forearm in the hand's rest frame, whose x lies along the fingers and y to the hand's back."""
    flexion, deviation = wrist_rad
    return np.array([0.0, deviation, back * flexion])


def _upper_arm(elbow: Vector, shoulder: Vector, forearm: Vector) -> Float[np.ndarray, "n 3"]:
    """The rings of a sleeve from the elbow to the shoulder, closed at both; `forearm` points from elbow to wrist."""
    along = (shoulder - elbow) / np.linalg.norm(shoulder - elbow)
    side = np.cross(along, forearm)
    side = side / max(float(np.linalg.norm(side)), 1e-6)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, _ARM_SEGMENTS, endpoint=False)
    circle = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    share = np.linspace(0, 1, _ARM_RINGS - 4)
    rings = [elbow - along * 0.035 + circle * 1e-3, elbow - along * 0.02 + circle * _ARM_RADIUS_M * 0.75]
    rings += [elbow + s * (shoulder - elbow) + circle * _ARM_RADIUS_M * (1 + 0.3 * s) for s in share]
    rings += [shoulder + along * 0.035 + circle * _ARM_RADIUS_M * 0.9, shoulder + along * 0.05 + circle * 1e-3]
    return np.concatenate(rings)
