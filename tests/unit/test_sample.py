"""A sample against the same steps written down plainly, drawing the same random numbers in the same order."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.annotations import write_annotations
from support.synthesize import PLAIN, maker_of

from handgen.hand.model_files import load_hand
from handgen.io.annotations import Annotations
from handgen.media import images
from handgen.records.sample import SampleCamera, SampleLabels
from handgen.stages.synthesize.composite import composite
from handgen.stages.synthesize.labels import Labeller, RestWrist
from handgen.stages.synthesize.noise_matching import draw_jpeg_history
from handgen.stages.synthesize.occluders import draw_occluder, hidden_share, point_on
from handgen.stages.synthesize.sample import SampleMaker, ShardUnit
from handgen.stages.synthesize.spectrum import vary_spectrum
from handgen.stages.synthesize.views import NO_ROW, ROW, ViewTable, source_view
from handgen.stages.synthesize.virtual_camera import draw_view
from handgen.stages.synthesize.warping import Pixels, PlacedHand, magnification, place_hand
from handgen.storage.json_fields import to_document

ENLARGED, FOREIGN_SIZE, FOREIGN_SHARE, MOST_HIDDEN = 1.25, (0.6, 1.3), 0.15, 0.5


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Two hands with arms that lie before each other, in two chunks; one view was rejected."""
    root = tmp_path_factory.mktemp("sample") / "annotations"
    return write_annotations(root, flat=True, left_color=(90, 140, 200), arms=True)


def middle_of(source):
    return source.camera.size_px[0] / 2, source.camera.size_px[1] / 2


def power_of_two(most):
    return max([power for power in (1, 2, 4, 8) if power <= most], default=1)


class Plain:
    """One source's samples, without anything that is remembered."""

    def __init__(self, root, maker):
        self.job, self.annotations = maker.job, Annotations(root)
        source = self.job.sources[0]
        digests = dict(source.model_sha256)
        wrists = {side: RestWrist.of(load_hand(self.annotations.hand_model, side)) for side in digests}
        self.labeller = Labeller(source.capture, source.model, digests, wrists)

    def source(self, row):
        return source_view(row, self.job.sources[0], self.annotations.betas)

    def place(self, source, homography, with_arm):
        """The cutout read as small as the largest sample allows, halved as far as this one does, and warped."""
        config = self.job.config
        scale = magnification(homography, middle_of(source))
        largest = max(scale, config.hand_share[1] * config.size / source.longer_side_px)
        base, reduced = power_of_two(ENLARGED / largest), power_of_two(ENLARGED / scale)
        cutout = self.annotations.named_cutout(source.chunk, source.cutout, source.camera.size_px, None, base)
        edge = replace(source.edge, blur_px=source.edge.blur_px / base)
        pixels = Pixels(cutout, edge, config.blend == "hard")
        for _ in range(int(np.log2(reduced // base))):
            pixels = pixels.halve()
        shift = (reduced - 1) / 2
        large = np.array([[reduced, 0, shift], [0, reduced, shift], [0, 0, 1.0]])
        return place_hand(pixels, homography @ large, (config.size, config.size), with_arm)

    def foreign(self, unit, hand, rng):
        """Another hand of the shard over a part of this one, anyhow turned; None if it hides more than a half."""
        source = self.source(unit.rows[unit.hands[int(rng.integers(len(unit.hands)))]])
        target = point_on(hand, rng)
        if target is None:
            return None
        size = np.sqrt(hand.alpha.size) * rng.uniform(*FOREIGN_SIZE)
        turn = rng.uniform(0, 2 * np.pi)
        center = target + rng.uniform(0.25, 0.5) * size * np.array([np.cos(turn), np.sin(turn)])
        angle, scale = np.radians(rng.uniform(0, 360)), size / max(source.camera.size_px)
        # OpenCV turns counter-clockwise where y points down.
        matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shift = center - matrix @ (np.array(middle_of(source)) - 0.5)
        found = self.place(
            source, np.vstack([np.column_stack([matrix, shift]), [0, 0, 1]]), self.job.config.forearm_probability > 0
        )
        return None if found is None or hidden_share(hand, found.layer) > MOST_HIDDEN else found.layer

    def sample(self, unit, place):
        config, seed = self.job.config, (self.job.config.seed, unit.number, place)
        rng = np.random.default_rng(seed)
        source = self.source(unit.rows[unit.hands[place]])
        mirrored = bool(rng.random() < config.flip_probability) and self.job.sources[0].flips
        view = draw_view(source.camera, source.keypoints_world_m, config, mirrored, rng)
        background = self.job.backgrounds[unit.split[0]].draw(int(unit.picks[place]), config.size, rng)
        with_arm = rng.random() < config.forearm_probability
        homography = view.sample_px_from_cutout_px(source.camera)
        own = self.place(source, homography, with_arm) or PlacedHand.nothing((config.size,) * 2)
        shown = [(source, own)]
        if config.other_hand and unit.others_at[place] != NO_ROW:
            other = self.source(unit.rows[unit.others_at[place]])
            if view.points_cam(other.keypoints_world_m)[:, 2].min() > 0.01:
                hand = self.place(other, view.sample_px_from_cutout_px(other.camera), with_arm)
                shown += [(other, hand)] if hand is not None else []
        depths = [np.median(view.points_cam(s.keypoints_world_m)[:, 2]) for s, _ in shown]
        shown = [shown[k] for k in np.argsort(depths)[::-1]]
        occluder = None
        if rng.random() < config.occluder_probability:
            if rng.random() < FOREIGN_SHARE:
                occluder = self.foreign(unit, own.layer, rng)
            else:
                occluder = draw_occluder(own.layer, background.image, rng)
        scale = magnification(homography, middle_of(source))
        made = composite([hand for _, hand in shown], occluder, background.image, scale, config, rng)
        image = self.job.augmentation.pipeline()(made.image, rng)
        if rng.random() < config.spectrum_probability:
            image = vary_spectrum(image, rng)
        image = draw_jpeg_history(image, rng) if config.grain else image
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1], endpoint=True))
        labels = [self.labeller.hand(s, view, c) for (s, _), c in zip(shown, made.covered, strict=True)]
        at = [s is source for s, _ in shown].index(True)
        mask, camera = made.masks[at], view.camera
        key = f"{unit.split[1]}_{unit.first + place:09d}"
        document = SampleLabels(
            key=key,
            own_hand=labels.pop(at),
            other_hand=labels[0] if labels else None,
            box_px=tuple(cv2.boundingRect(mask)),
            camera=SampleCamera(camera.size_px, camera.intrinsics, camera.cam_from_world),
            mirrored=mirrored,
            source=self.labeller.source(source),
            background=background.name,
            index=unit.first + place,
            seed=seed,
        )
        return (
            key,
            images.encode_jpeg(image, quality, "420"),
            images.encode_mask_png(mask),
            to_document(document),
            occluder,
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 96, "flip_probability": 0.5, "forearm_probability": 0.5, "jpeg_quality": (40, 90)},
        {"size": 48, "blend": "hard", "hand_share": (0.3, 1.4), "occluder_probability": 0.8, "grain": True},
        {
            "size": 160,
            "hand_share": (0.2, 0.9),
            "occluder_probability": 1.0,
            "other_hand": False,
            "forearm_probability": 0,
        },
        {"size": 400, "hand_share": (0.9, 1.6), "shift_share": 0.4, "rotation_deg": 10.0, "seed": 5},
    ],
)
def test_a_sample_is_made_step_by_step(annotations, changes):
    maker, unit = maker_of(annotations, replace(PLAIN, **changes))
    unit = replace(unit, number=3, first=70)
    plain = Plain(annotations, maker)
    maker.begin(unit)
    hidden = 0
    for place in range(len(unit.hands)):
        sample = maker.sample(unit, place)
        key, jpeg, mask, document, occluder = plain.sample(unit, place)
        assert (sample.key, sample.document) == (key, document)
        assert sample.mask_png == mask and sample.image_jpeg == jpeg
        hidden += occluder is not None
    assert hidden > 0 or not maker.job.config.occluder_probability
    assert not maker.problems and not maker.damaged


def test_one_occluder_in_seven_is_another_hand_of_the_shard(annotations):
    """Among so many small samples are some whose occluder is a hand, which hides too much of a few."""
    config = replace(PLAIN, size=40, occluder_probability=1.0, other_hand=False, hand_share=(0.4, 1.2))
    maker, unit = maker_of(annotations, config)
    plain = Plain(annotations, maker)
    for number in range(8):
        each = replace(unit, number=number)
        for place in range(len(unit.hands)):
            sample = maker.sample(each, place)
            _, jpeg, mask, _, _ = plain.sample(each, place)
            assert sample.mask_png == mask and sample.image_jpeg == jpeg


def test_a_shard_has_each_row_once(rng):
    """The rows of its samples and of the other hands beside them, whatever their order."""
    rows = np.zeros(12, ROW)
    rows["frame"] = np.arange(12)
    rows["other"] = [1, 0, NO_ROW, 4, 3, NO_ROW, 7, 6, 9, 8, NO_ROW, NO_ROW]
    places, picks = np.array([8, 2, 4, 8, 7, 11, 6]), np.arange(7)
    unit = ShardUnit.of(ViewTable(rows, ((0, 12),)), 5, (1, "val", 2), 40, places, picks)
    assert unit.rows["frame"].tolist() == [2, 3, 4, 6, 7, 8, 9, 11]
    assert unit.views["frame"].tolist() == places.tolist()
    assert [unit.rows["frame"][i] if i != NO_ROW else None for i in unit.others_at] == [9, None, 3, 9, 6, None, 7]
    assert (unit.others["chunk"] == NO_ROW).tolist() == [False, True, False, False, False, True, False]
    there = unit.others["chunk"] != NO_ROW
    assert unit.others["frame"][there].tolist() == [9, 3, 9, 6, 7]
    assert (unit.number, unit.split, unit.first) == (5, (1, "val", 2), 40) and unit.picks is picks
    assert "val" in unit.name and "2" in unit.name


def test_what_a_shard_found_wrong_is_forgotten_when_the_next_begins(annotations):
    maker, unit = maker_of(annotations, PLAIN)
    maker.problems["a.jpg"], maker.damaged["b"] = "unreadable", "empty"
    maker.begin(unit)
    assert not maker.problems and not maker.damaged and isinstance(maker, SampleMaker)
    assert maker.name_of(0, "x") == f"{maker.job.sources[0].capture}/x"
