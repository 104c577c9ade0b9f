from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import natural_poses, observe, state_of, triangulated

from handgen.fit.initialization import start
from handgen.fit.kinematics import KeypointKinematics
from handgen.fit.residuals import PosePrior
from handgen.fit.silhouette.contour import MeshContour, match
from handgen.fit.silhouette.mask_edges import MaskEdges, MaskView
from handgen.fit.silhouette.term import SilhouetteTerm, refine
from handgen.fit.solver import Problem, solve_poses
from handgen.fit.surface import SurfaceKinematics
from handgen.geometry.meshes import mesh_mask
from handgen.segmentation.crops import Cutter
from handgen.segmentation.segment import forearm_mask

SIDE_PX = 160


def views_of(hand, state, rig, side_px=SIDE_PX):
    """Exact masks of each frame in each camera, in crops as the segmentation makes them."""
    views = []
    for frame, vertices in enumerate(SurfaceKinematics(hand).vertices(state).numpy()):
        for camera in rig:
            crop = Cutter(camera, vertices).camera
            scale = side_px / max(crop.size_px)
            crop = crop.resized(tuple(round(side * scale) for side in crop.size_px))
            views.append(MaskView(frame, crop, mesh_mask(crop.project(vertices)[0], hand.faces, crop.size_px)))
    return views


def perturbed_rig(state, rng, degrees, millimetres):
    """Every joint turned and the hand moved by about this much."""
    n = len(state)
    step = torch.zeros(n, 51, dtype=torch.float64)
    step[:, :48] = torch.as_tensor(rng.normal(0, np.radians(degrees) / np.sqrt(3), (n, 48)))
    shift = rng.normal(size=(n, 3))
    step[:, 48:] = torch.as_tensor(shift / np.linalg.norm(shift, axis=1, keepdims=True)) * millimetres * 1e-3
    return state.moved(step)


def error_mm(hand, state, truth):
    """Per frame and keypoint."""
    kinematics = KeypointKinematics(hand)
    return (kinematics.keypoints(state) - kinematics.keypoints(truth)).norm(dim=-1) * 1e3


def mean_iou(hand, state, views):
    vertices = SurfaceKinematics(hand).vertices(state).numpy()
    ious = []
    for view in views:
        ours = mesh_mask(view.camera.project(vertices[view.frame])[0], hand.faces, view.camera.size_px) > 0
        ious.append((ours & (view.mask > 0)).sum() / (ours | (view.mask > 0)).sum())
    return np.mean(ious)


class Prior:
    """The pose prior as a term of its own."""

    def __init__(self, hand):
        self._prior = PosePrior.of(hand)

    def cost(self, state):
        return self._prior.cost(state.rotations)

    def normal_equations(self, state, by_betas=False):
        information, pull, cost = self._prior.normal_equations(state.rotations)
        matrix = torch.zeros(len(state), 51, 51, dtype=torch.float64)
        for joint in range(1, 16):
            block = slice(3 * joint, 3 * joint + 3)
            matrix[:, block, block] = information[:, joint - 1]
        gradient = torch.cat([torch.zeros(len(state), 3), pull.reshape(-1, 45), torch.zeros(len(state), 3)], 1)
        return matrix, gradient, cost


@pytest.fixture
def truth(hand, rng):
    return state_of(natural_poses(hand, 6, rng))


def test_surface_is_the_models(random_model, rng):
    pose = natural_poses(random_model, 3, rng)
    found, _ = SurfaceKinematics(random_model).vertices_and_arms(state_of(pose))
    torch.testing.assert_close(found, random_model(pose).vertices, atol=1e-8, rtol=0)


def test_arms_give_the_slope_of_the_vertices(random_model, rng):
    without = replace(random_model.arrays, posedirs=np.zeros_like(random_model.arrays.posedirs))
    surface = SurfaceKinematics(type(random_model)(without))  # the correctives are left out of the derivatives
    state = state_of(natural_poses(random_model, 2, rng))
    _, arms = surface.vertices_and_arms(state)
    force = torch.as_tensor(rng.normal(size=(2, 778, 3)))
    local = (force @ arms.parent_axes).reshape(2, 778, 3, 16)
    torque = torch.linalg.cross(arms.of_vertices.reshape(2, 778, 3, 16), local, dim=2)
    for joint in range(16):
        for axis in range(3):
            step = torch.zeros(2, 51, dtype=torch.float64)
            step[:, 3 * joint + axis] = 1e-6
            slope = (surface.vertices(state.moved(step)) - surface.vertices(state.moved(-step))) / 2e-6
            torch.testing.assert_close(torque[:, :, axis, joint], (force * slope).sum(-1), atol=1e-8, rtol=0)


def test_derivatives_by_betas_are_the_slope_of_the_cost(hand, truth, rig, rng):
    state = perturbed_rig(truth, rng, 3, 3)
    term = SilhouetteTerm(hand, views_of(hand, truth, rig), len(truth)).refreshed(state)
    matrix, gradient, _ = term.normal_equations(state, by_betas=True)
    alone = term.normal_equations(state)
    torch.testing.assert_close(matrix[:, :51, :51], alone[0])
    torch.testing.assert_close(gradient[:, :51], alone[1])
    for beta in (0, 3, 9):
        step = torch.zeros(10, dtype=torch.float64)
        step[beta] = 1e-4
        ahead, behind = (term.cost(replace(state, betas=state.betas + sign * step)) for sign in (1, -1))
        # Differences of sampled distances: the slope jumps where a point crosses a pixel's border.
        torch.testing.assert_close(gradient[:, 51 + beta], (ahead - behind) / 2e-4 / 2, rtol=0.02, atol=0.3)


def test_visible_contour_lies_on_the_edge_of_the_mask(hand, truth, rig):
    contour = MeshContour(hand.faces, hand.wrist_border)
    for view in views_of(hand, truth, rig):
        vertices = SurfaceKinematics(hand).vertices(truth).numpy()[view.frame]
        found = contour.visible(view.camera.project(vertices)[0][None], view.camera.size_px)
        distance = MaskEdges.of([view], 64).distance[0]
        column, row = np.rint(found.places[0][found.valid[0]].mean(1)).astype(int).T
        off_px = np.abs(distance[row, column])
        # A pixel's rounding, and gaps narrower than the look outside; without the filter the mean is several pixels.
        assert off_px.mean() < 0.6 and off_px.max() < 3.0
        assert found.valid.sum() > 50


def test_contour_at_the_wrists_end_says_nothing(hand, truth, rig):
    views = views_of(hand, truth, rig)
    vertices = SurfaceKinematics(hand).vertices(truth).numpy()[[view.frame for view in views]]
    pixels = np.stack([view.camera.project(v)[0] for view, v in zip(views, vertices, strict=True)])
    found = MeshContour(hand.faces, hand.wrist_border).visible(pixels, (SIDE_PX, SIDE_PX))
    assert (found.at_end == (np.isin(found.ends, hand.wrist_border).any(-1) & found.valid)).all()
    matches = match(found, MaskEdges.of(views, 64), 12.0)
    assert found.at_end.any(1).mean() > 0.8
    assert not np.isin(matches.ends[matches.weight > 0], hand.wrist_border).any()


def test_contour_of_a_mask_is_where_its_edge_is():
    y, x = np.mgrid[:90, :100]
    mask = np.where(np.hypot(x - 48.3, y - 44.8) <= 30.0, np.uint8(255), np.uint8(0))
    camera = next(iter(ring(1))).resized((100, 90))
    edges = MaskEdges.of([MaskView(0, camera, mask)], 64)
    out = edges.points[0] - (48.3, 44.8)
    radius = np.linalg.norm(out, axis=1)
    assert abs(radius.mean() - 30.0) < 0.15 and np.abs(radius - 30.0).max() < 1.0  # px; pixel centres would be 0.5 in
    assert ((out / radius[:, None]) * edges.normals[0]).sum(1).min() > 0.9
    assert edges.points_reliable.all()


def test_gradient_is_the_slope_of_the_cost(hand, truth, rng):
    state = perturbed_rig(truth, rng, 3, 3)
    term = SilhouetteTerm(hand, views_of(hand, truth, ring(5)), len(truth)).refreshed(state)
    _, gradient, cost = term.normal_equations(state)
    torch.testing.assert_close(cost, term.cost(state))
    slope = torch.zeros_like(gradient)
    for parameter in range(51):
        step = torch.zeros_like(gradient)
        step[:, parameter] = 1e-6
        slope[:, parameter] = (term.cost(state.moved(step)) - term.cost(state.moved(-step))) / 2e-6 / 2
    rigid = [0, 1, 2, 48, 49, 50]  # no pose correctives
    off = (gradient - slope).norm(dim=1) / slope.norm(dim=1)
    off_rigid = (gradient - slope)[:, rigid].norm(dim=1) / slope[:, rigid].norm(dim=1)
    assert off_rigid.max() < 1e-3  # a bilinear cell's border may lie within the step
    assert off.max() < 0.02
    off_fingers = (gradient - slope)[:, 3:48].norm(dim=1) / slope[:, 3:48].norm(dim=1)
    assert off_fingers.max() < 0.15  # correctives are a few per cent of a finger's motion


def test_masks_alone_bring_a_disturbed_hand_back(hand, truth, rng):
    first = perturbed_rig(truth, rng, 6.5, 10)
    views = views_of(hand, truth, ring(8))
    before = error_mm(hand, first, truth).mean()
    assert before > 10 and mean_iou(hand, first, views) < 0.8
    found = refine(SilhouetteTerm(hand, views, len(truth)), [Prior(hand)], first)
    assert error_mm(hand, found, truth).mean() < 1.5  # mm: a pixel is 2 mm; a finger caught beside its place costs 20
    assert mean_iou(hand, found, views) > 0.98
    without_prior = refine(SilhouetteTerm(hand, views, len(truth)), [], first)
    assert error_mm(hand, without_prior, truth).mean() < 2.5  # twists of straight fingers are not seen
    assert mean_iou(hand, without_prior, views) > 0.97


def keypoint_fit(hand, truth, rig, noise_px, rng):
    kinematics = KeypointKinematics(hand)
    observations = observe(rig, kinematics.keypoints(truth), noise_px, rng)
    problem = Problem(kinematics, observations, PosePrior.of(hand))
    first = start(kinematics, triangulated(observations, noise_px), truth.betas[0])
    return problem, solve_poses(problem, first)[0]


def test_masks_improve_noisy_keypoints(hand, truth, rng):
    rig = ring(8)
    problem, fitted = keypoint_fit(hand, truth, rig, 0.015 * 185, rng)  # a hand's extent is 185 px here
    views = views_of(hand, truth, rig)
    found = refine(SilhouetteTerm(hand, views, len(truth)), [problem], fitted, steps=4)
    assert error_mm(hand, found, truth).mean() < 0.8 * error_mm(hand, fitted, truth).mean()
    assert mean_iou(hand, found, views) > mean_iou(hand, fitted, views) + 0.005


def with_forearm(view, border, palm):
    return replace(view, mask=view.mask | forearm_mask(view.camera, border, palm))


def test_a_forearm_in_the_masks_does_not_stretch_the_hand(hand, truth, rng):
    vertices = SurfaceKinematics(hand).vertices(truth).numpy()
    palm = KeypointKinematics(hand).keypoints(truth).numpy()[:, [0, 9]].mean(1)
    views = views_of(hand, truth, ring(8))
    long = [with_forearm(view, vertices[view.frame][hand.wrist_border], palm[view.frame]) for view in views]
    assert np.mean([np.mean(a.mask != b.mask) for a, b in zip(long, views, strict=True)]) > 0.02
    plain, found = (
        error_mm(hand, refine(SilhouetteTerm(hand, v, len(truth)), [Prior(hand)], truth), truth).mean()
        for v in (views, long)
    )
    assert found < plain + 0.5  # mm


def without_finger(hand, view, truth, say):
    """The mask without the index finger's outer half; `say`: and that it is not known there."""
    points = view.camera.project(KeypointKinematics(hand).keypoints(truth).numpy()[view.frame])[0]
    stroke = np.zeros_like(view.mask)
    ends = [tuple(int(c) for c in np.rint(points[k])) for k in (7, 8)]
    cv2.line(stroke, *ends, 255, 18)
    return replace(view, mask=view.mask & ~stroke, unknown=stroke if say else None)


def test_a_finger_lost_in_some_masks_does_not_pull(hand, truth, rng):
    rig = ring(8)
    problem, fitted = keypoint_fit(hand, truth, rig, 0.015 * 185, rng)
    before = error_mm(hand, fitted, truth)
    views = views_of(hand, truth, rig)
    for say in (True, False):
        torn = [without_finger(hand, v, truth, say) if i % 8 < 3 else v for i, v in enumerate(views)]
        after = error_mm(hand, refine(SilhouetteTerm(hand, torn, len(truth)), [problem], fitted, steps=4), truth)
        assert after.mean() < before.mean()
        assert after[:, 5:9].mean() < before[:, 5:9].mean()  # the index finger; squares would make it half worse


def test_what_is_unknown_does_not_pull(hand, truth):
    views = views_of(hand, truth, ring(8))

    def half(view, say):
        hidden = np.zeros_like(view.mask)
        hidden[:, : view.mask.shape[1] // 2] = 255
        return replace(view, mask=view.mask & ~hidden, unknown=hidden if say else None)

    told, untold = (
        error_mm(
            hand, refine(SilhouetteTerm(hand, [half(v, s) for v in views], len(truth)), [Prior(hand)], truth), truth
        )
        for s in (True, False)
    )
    assert told.mean() < 1.0  # mm; half of the contour is left, and the prior pulls at what nobody sees
    assert told.mean() < 0.9 * untold.mean()  # a false edge that most of a mask contradicts does little harm


def test_large_masks_are_shrunk(hand, truth, rng):
    first = perturbed_rig(truth, rng, 4, 5)
    views = views_of(hand, truth, ring(8), side_px=400)
    found = refine(SilhouetteTerm(hand, views, len(truth)), [Prior(hand)], first)
    assert error_mm(hand, found, truth).mean() < 1.5


def test_frames_may_have_any_views_in_any_order(hand, truth, rng):
    state = perturbed_rig(truth, rng, 3, 3)
    views = views_of(hand, truth, ring(4))
    kept = [v for i, v in enumerate(views) if v.frame != 2 and i % 7]
    matrix, gradient, cost = SilhouetteTerm(hand, kept, 6).refreshed(state).normal_equations(state)
    mixed = [kept[i] for i in rng.permutation(len(kept))]
    for found, expected in zip(
        SilhouetteTerm(hand, mixed, 6).refreshed(state).normal_equations(state), (matrix, gradient, cost), strict=True
    ):
        torch.testing.assert_close(found, expected)
    assert cost[2] == 0 and not matrix[2].any() and not gradient[2].any()
    assert (cost[[0, 1, 3, 4, 5]] > 0).all()


def test_a_views_information_is_that_of_a_few_points(hand, truth):
    views = views_of(hand, truth, ring(1))
    matrix, _, _ = SilhouetteTerm(hand, views, 6, independent=12.0).refreshed(truth).normal_equations(truth)
    focal = torch.tensor([view.camera.intrinsics[0, 0] for view in views])  # px
    distance = 0.73  # m
    information = torch.diagonal(matrix, dim1=1, dim2=2)[:, 48:].sum(1) / (focal / distance) ** 2
    # Each point has one direction. Hands are up to 7 cm off the distance; the wrist and what is hidden are left out.
    assert (information < 14.5).all() and (information > 6).all()


def broken_views(views, inside_hand):
    empty, full = np.zeros_like(views[0].mask), np.full_like(views[0].mask, 255)
    camera = views[0].camera
    behind = replace(
        camera, cam_from_world=replace(camera.cam_from_world, translation=-camera.cam_from_world.translation)
    )
    rotation = camera.cam_from_world.rotation
    around = replace(camera, cam_from_world=replace(camera.cam_from_world, translation=-rotation @ inside_hand))
    speck = empty.copy()
    speck[5, 5] = 255
    return {
        "empty": replace(views[0], mask=empty),
        "full": replace(views[0], mask=full),
        "unknown": replace(views[0], unknown=full),
        "speck": replace(views[0], mask=speck),
        "outside": replace(views[0], camera=camera.cropped(5000, 5000, *camera.size_px)),
        "behind": replace(views[0], camera=behind),
        "around": replace(views[0], camera=around),
    }


@pytest.mark.parametrize("name", ["empty", "full", "unknown", "speck", "outside", "behind", "around"])
def test_views_that_say_nothing_weigh_nothing(hand, truth, name):
    palm = KeypointKinematics(hand).keypoints(truth).numpy()[0, [0, 9]].mean(0)
    view = broken_views(views_of(hand, truth, ring(1)), palm)[name]
    term = SilhouetteTerm(hand, [view], len(truth)).refreshed(truth)
    for found in (*term.normal_equations(truth), term.cost(truth)):
        assert not found.any()  # neither NaN
    state = refine(term, [Prior(hand)], truth, steps=2)
    assert torch.isfinite(state.rotations).all() and torch.isfinite(state.translation).all()


def test_no_views_at_all(hand, truth):
    term = SilhouetteTerm(hand, [], len(truth)).refreshed(truth)
    assert not term.cost(truth).any()
    refined = refine(term, [], truth)
    torch.testing.assert_close(refined.rotations, truth.rotations)


def test_misuse_is_named(hand, truth):
    (view,) = views_of(hand, truth, ring(1))[:1]
    with pytest.raises(ValueError, match="refreshed"):
        SilhouetteTerm(hand, [view], 1).cost(truth)
    with pytest.raises(ValueError, match="frame 0 of 0"):
        SilhouetteTerm(hand, [view], 0)
    with pytest.raises(ValueError, match=r"mask: expected \("):
        replace(view, mask=view.mask[:-1])
