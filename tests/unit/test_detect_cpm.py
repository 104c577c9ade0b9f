"""The network against convolutions in numpy, and the detector around stand-ins that see what they are told to."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.annotate import errors_mm
from support.cpm import flat_arrays, random_arrays
from support.make_mano_pickle import Python2Pickler

from handgen.detect import registry
from handgen.detect.base import DetectionTask, Detector
from handgen.detect.cpm import detector as cpm
from handgen.detect.cpm import network
from handgen.detect.cpm.detector import CpmView, peaks_of, region_around, region_before_screen
from handgen.detect.cpm.network import LAYERS, PoseNetwork, load_network
from handgen.detect.mediapipe.landmarks import Region
from handgen.detect.registry import CpmOptions
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_ORDERS
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import read_detections
from handgen.media.images import read_rgb
from handgen.options import make_config
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig

GREEN, SKIN = (40, 200, 60), (200, 150, 120)
SIGMA_PX = 25.0  # of hand3d's target maps: exp(-d^2 / 25^2)


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(np.random.default_rng(7))


@pytest.fixture(scope="module")
def weights(arrays, tmp_path_factory):
    """A file as Python 2 wrote it: protocol 2, arrays as byte strings."""
    path = tmp_path_factory.mktemp("weights") / "posenet3d.pickle"
    path.write_bytes(Python2Pickler(2).dumps(arrays))
    return path


# --- the network


def convolved(values, weights, biases):
    """Same-padded, as TensorFlow does: values (height, width, in), weights (kh, kw, in, out)."""
    size = len(weights)
    padded = np.pad(values, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    return np.tensordot(windows, weights, ([3, 4, 2], [0, 1, 2])) + biases


def posenet(arrays, image):
    """hand3d's description, spelled out: image (height, width, 3)."""

    def layer(name, values, active=True):
        weights, biases = (np.asarray(arrays[f"PoseNet2D/{name}/{kind}"], float) for kind in ("weights", "biases"))
        values = convolved(values, weights, biases)
        return np.maximum(values, 0.01 * values) if active else values

    values = image
    for block, count in ((1, 2), (2, 2), (3, 4)):
        for k in range(count):
            values = layer(f"conv{block}_{k + 1}", values)
        height, width, channels = values.shape
        values = values.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))
    for k in range(7):
        values = layer(f"conv4_{k + 1}", values)
    encoding = values
    scores = layer("conv5_2", layer("conv5_1", encoding), active=False)
    for stage in (6, 7):
        values = np.concatenate([scores, encoding], -1)
        for k in range(6):
            values = layer(f"conv{stage}_{k + 1}", values)
        scores = layer(f"conv{stage}_7", values, active=False)
    return scores


def test_the_convolution_that_the_network_is_held_against(rng):
    values, weights = rng.normal(size=(9, 11, 2)), rng.normal(size=(7, 7, 2, 3))
    for k in range(3):
        padded = np.pad(values, ((3, 3), (3, 3), (0, 0)))
        direct = scipy.signal.correlate(padded, weights[..., k], mode="valid", method="direct")[..., 0]
        np.testing.assert_allclose(convolved(values, weights, np.ones(3))[..., k], direct + 1, rtol=1e-12)


def test_the_network_is_hand3ds(arrays, rng):
    """The real layers on 64x64 pixels; doubles add 7,301 products in another order."""
    image = rng.uniform(-0.5, 0.5, (64, 64, 3))
    network = PoseNetwork.from_arrays(arrays, "x", dtype=torch.float64)
    found = network.scores(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy()
    expected = posenet(arrays, image).transpose(2, 0, 1)
    assert found.shape == (21, 8, 8) and expected.std() > 0.1  # alive
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9 * np.abs(expected).max())


def test_crops_go_in_as_hand3d_wants_them(arrays, rng):
    """RGB, value / 255 - 0.5; single precision through 31 layers, relative to the largest score."""
    crop = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = posenet(arrays, crop / 255 - 0.5).transpose(2, 0, 1)
    found = PoseNetwork.from_arrays(arrays, "x").score_crop(crop)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_layers_have_as_many_numbers_as_hand3ds():
    assert sum(size * size * inputs * outputs + outputs for size, inputs, outputs in LAYERS.values()) == 17_518_847
    assert len(LAYERS) == 31 and LAYERS["conv6_1"] == (7, 149, 128) and LAYERS["conv4_7"] == (3, 256, 128)


# --- its file


def test_files_of_python_2_and_3_are_read(arrays, weights, tmp_path):
    network, digest = load_network(weights)
    assert len(digest) == 64 and load_network(weights)[0] is network  # once per process
    for name in ("conv1_1", "conv5_2", "conv7_1"):
        expected = arrays[f"PoseNet2D/{name}/weights"].transpose(3, 2, 0, 1)
        np.testing.assert_array_equal(network.layers[name][0].numpy(), expected)
        np.testing.assert_array_equal(network.layers[name][1].numpy(), arrays[f"PoseNet2D/{name}/biases"])
    other = tmp_path / "python3.pickle"
    other.write_bytes(pickle.dumps(arrays, 2))
    again, other_digest = load_network(other)
    assert other_digest != digest
    assert all(
        torch.equal(a, b) for name in LAYERS for a, b in zip(network.layers[name], again.layers[name], strict=True)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PoseNet2D/conv4_7/biases": None}, "no array PoseNet2D/conv4_7/biases; is it another network's file"),
        ({"PoseNet2D/conv6_1/weights": "text"}, "no array PoseNet2D/conv6_1/weights"),
        ({"PoseNet2D/conv1_1/weights": np.zeros((3, 3, 64, 3))}, r"conv1_1/weights: float64 of shape \(3, 3, 64, 3\)"),
        ({"PoseNet2D/conv7_7/biases": np.zeros(21, int)}, "conv7_7/biases: int64 of shape .21,., expected numbers"),
        ({"PoseNet2D/conv2_1/biases": np.full(128, np.nan)}, "conv2_1/biases: values that are not finite"),
    ],
)
def test_layers_that_do_not_fit_are_named(change, message):
    arrays = {key: value for key, value in (flat_arrays() | change).items() if value is not None}
    with pytest.raises(HandgenError, match=message):
        PoseNetwork.from_arrays(arrays, "weights.pickle")


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_hostile_files_are_refused_and_nothing_is_run(tmp_path, protocol):
    ran, path = tmp_path / "ran", tmp_path / "weights.pickle"
    path.write_bytes(pickle.dumps({"PoseNet2D/conv1_1/weights": Call(os.system, f"touch {ran}")}, protocol))
    with pytest.raises(HandgenError, match="names posix.system, which no file of hand3d's weights needs; nothing"):
        load_network(path)
    assert not ran.exists()


def test_files_that_cannot_be_it(tmp_path, monkeypatch):
    path = tmp_path / "weights.pickle"
    with pytest.raises(HandgenError, match=r"No such file.*github\.com/lmb-freiburg/hand3d"):
        load_network(path)
    path.write_bytes(b"no pickle")
    with pytest.raises(HandgenError, match="not a readable pickle"):
        load_network(path)
    with pytest.raises(HandgenError, match="not a file"):
        load_network(tmp_path)
    with path.open("wb") as stream:
        stream.truncate(385 * 2**20)
    with pytest.raises(HandgenError, match="larger than 384 MiB; is it a file of hand3d's weights"):
        load_network(path)
    monkeypatch.setattr(network, "WEIGHTS", replace(network.WEIGHTS, max_array_bytes=2**20))
    path.write_bytes(pickle.dumps({f"a{k}": np.zeros((256, 256), np.float32) for k in range(5)}, 2))
    with pytest.raises(HandgenError, match="take more than 1 MiB; is it a file of hand3d's weights"):
        load_network(path)


# --- from score maps to pixels


def target_maps(crop_px, size=32):
    """Draw what hand3d trains towards, at the pixels that cells stand for; crop_px: (21, 2)."""
    at = 8.0 * np.arange(size)
    squares = np.square(at[None, None] - crop_px[:, 0, None, None]) + np.square(at[:, None] - crop_px[:, 1, None, None])
    return np.exp(-squares / SIGMA_PX**2)


@given(st.lists(st.floats(8, 240), min_size=42, max_size=42))
def test_peaks_are_found_between_cells_without_bias(values):
    crop_px = np.reshape(values, (21, 2))
    found, peaks = peaks_of(target_maps(crop_px))
    np.testing.assert_allclose(found, crop_px, atol=1e-6)  # the parabola is exact, whichever cell is nearest
    assert (peaks > np.exp(-2 * 4**2 / SIGMA_PX**2) - 1e-9).all() and (peaks <= 1).all()


def test_noise_moves_peaks_by_little_and_in_no_direction(rng):
    crop_px = rng.uniform(16, 230, (400, 2))
    found, _ = peaks_of(target_maps(crop_px) + rng.normal(0, 0.01, (400, 32, 32)))
    off = found - crop_px
    assert np.abs(off.mean(0)) @ np.ones(2) < 0.3  # 1 px per hand in each axis, 400 of them: 0.05 px expected
    assert np.sqrt(np.square(off).mean()) < 2.0  # a quarter of a cell


def test_peaks_at_edges_and_of_nonsense():
    corners = np.array([[0.0, 0.0], [248.0, 0.0], [0.0, 248.0], [248.0, 248.0]])
    found, peaks = peaks_of(target_maps(corners))
    np.testing.assert_array_equal(found, corners)
    np.testing.assert_array_equal(peaks, 1)
    for nonsense in (np.full((21, 32, 32), np.nan), np.full((21, 32, 32), -np.inf), np.full((21, 32, 32), -3.0)):
        found, peaks = peaks_of(nonsense)
        assert np.isfinite(found).all() and (peaks <= 0).all()


class SeesTheSpot:
    """Stands for the network: all keypoints are where the crop is brightest, by its own pixels."""

    def __init__(self):
        self.crops = []

    def score_crop(self, crop):
        self.crops.append(crop)
        light = crop.astype(float).sum(-1) - 3 * crop[..., 0].min()
        rows, columns = np.mgrid[: len(crop), : len(crop)]
        spot = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        return target_maps(np.tile(spot, (21, 1)))


@settings(max_examples=30)
@given(
    st.floats(200, 420), st.floats(180, 300), st.floats(-20, 20), st.floats(60, 200), st.sampled_from(["left", "right"])
)
def test_a_spot_in_the_image_is_found_where_it_is(x, y, off, side_px, side):
    """The crop, the mirror, the cells and the way back together; the spot is rounded to 8 bit and sampled anew."""
    rows, columns = np.mgrid[:480, :640]
    spot = np.exp(-(np.square(columns - x) + np.square(rows - y)) / (2 * (side_px / 20) ** 2))
    image = np.repeat(np.round(255 * spot).astype(np.uint8)[..., None], 3, 2)
    view = CpmView(SeesTheSpot(), side)
    half = side_px / 2.5
    guess = np.array([[x + off - half, y - half], [x + off + half, y + half]]).repeat([10, 11], 0)
    found = view._detect_in(image, region_around(guess))
    np.testing.assert_allclose(found.keypoints_px, np.tile([x, y], (21, 1)), atol=0.05)
    assert found.right == (side == "right")


class Sees:
    """Stands for the network: keypoints in pixels of the crop, in hand3d's order, and their scores."""

    def __init__(self, crop_px, scores=1.0):
        self.maps = target_maps(crop_px) * np.reshape(np.broadcast_to(scores, 21), (21, 1, 1))
        self.crops = []

    def score_crop(self, crop):
        self.crops.append(crop)
        return self.maps


@pytest.fixture
def image():
    return np.full((480, 640, 3), 90, np.uint8)


@pytest.mark.parametrize("side", ["left", "right"])
def test_keypoints_come_in_our_order_with_the_wrist_out_of_the_palm(image, rng, side):
    truth = rng.uniform((250, 150), (350, 250), (21, 2))
    region = region_around(truth)
    crop_px = (truth - region.to_image(np.zeros(2), 256)) * 256 / region.side_px
    if side == "right":
        crop_px[:, 0] = 255 - crop_px[:, 0]
    theirs = crop_px[list(KEYPOINT_ORDERS["rhd"])]
    theirs[0] = (crop_px[0] + crop_px[9]) / 2  # the palm: between wrist and middle MCP
    view = CpmView(Sees(theirs, np.linspace(0.3, 1, 21)), side)
    found = view.detect_near(image, truth, right=0.5)
    # Eighths of a crop pixel: the peaks are exact.
    np.testing.assert_allclose(found.keypoints_px, truth, atol=0.05)
    assert found.right == (side == "right") and (found.confidence <= 1).all() and found.confidence.min() > 0.25
    assert found.confidence[4] < found.confidence[1]  # the thumb runs from its tip in the network's order


def test_a_hand_that_the_network_is_not_sure_of_is_none(image, rng):
    guess = rng.uniform((250, 150), (350, 250), (21, 2))
    places = rng.uniform(60, 200, (21, 2))
    places[12] = places[0]
    for score, found in ((0.1, False), (0.5, True), (3.0, True)):
        detection = CpmView(Sees(places, score), "left").detect_near(image, guess, 0.0)
        assert (detection is not None) == found
        assert detection is None or 0 <= detection.confidence.min() <= detection.confidence.max() <= 1
    assert CpmView(Sees(places, np.nan), "left").detect_near(image, guess, 0.0) is None
    guess[3, 0] = np.nan
    assert CpmView(Sees(places), "left").detect_near(image, guess, 0.0) is None


def test_another_hand_than_the_one_looked_for_is_not_taken(image, rng):
    """The guess lies in a corner of its own crop's surroundings: found is what is in the other corner."""
    guess = rng.uniform((250, 150), (350, 250), (21, 2))
    corner = np.tile([10.0, 10.0], (21, 1))
    assert CpmView(Sees(corner), "left").detect_near(image, guess, 0.0) is None


# --- where to look


def studio(color=GREEN, blob=(300, 200, 80, 120)):
    image = np.full((480, 640, 3), color, np.uint8)
    left, top, width, height = blob
    image[top : top + height, left : left + width] = SKIN
    image[10:14, 10:14] = SKIN  # a speck
    return image


def fitting(rng):
    """Keypoints that fill a crop as it is made for them: from 25.6 px to 25.6 px of its edges."""
    places = rng.uniform(60, 190, (21, 2))
    places[1], places[2] = (25.1, 25.1), (229.9, 229.9)
    places[0] = places[12]  # so that the wrist is within
    return places


@pytest.mark.parametrize("color", [GREEN, (40, 60, 200)])
def test_the_largest_blob_before_a_screen(color):
    region = region_before_screen(studio(color))
    np.testing.assert_allclose(region.center_px, [339.5, 259.5])  # columns 300..379, rows 200..319
    assert region.side_px == pytest.approx(1.25 * 119) and region.angle_rad == 0


def test_no_screen_or_nothing_before_it():
    assert region_before_screen(studio((120, 110, 100))) is None
    assert region_before_screen(studio(blob=(0, 0, 0, 0))) is None
    assert region_before_screen(np.full((48, 64, 3), GREEN, np.uint8)) is None


def test_a_hand_is_found_by_the_screen_then_followed_then_found_again(rng):
    network = Sees(fitting(rng))
    view = CpmView(network, "left")
    (first,) = view.detect(studio(), 0)
    empty = np.full((480, 640, 3), GREEN, np.uint8)
    (second,) = view.detect(empty, 1)  # no blob: only the hand of before can be where it looked
    assert len(network.crops) == 2
    np.testing.assert_allclose(first.keypoints_px, second.keypoints_px, atol=1.0)  # the crop stays
    network.maps = network.maps * 0
    assert view.detect(studio(), 2) == [] and len(network.crops) == 4  # where it was, then the blob
    assert view.detect(empty, 3) == [] and len(network.crops) == 4  # nowhere to look
    network.maps = target_maps(fitting(rng))
    assert len(view.detect(studio(), 4)) == 1


def test_a_crop_that_does_not_fit_is_taken_again(rng):
    places = fitting(rng)
    for moved, looks in ((places, 1), (places + (6, 0), 1), (places + (20, 0), 3), (places * 0.7 + 30, 3)):
        network = Sees(moved)  # wherever it looks, the hand is off the middle
        CpmView(network, "left").detect(studio(), 0)
        assert len(network.crops) == looks


def test_crops_are_grey_outside_the_image():
    network = Sees(np.full((21, 2), 100.0))
    CpmView(network, "left").detect(studio(blob=(600, 440, 40, 40)), 0)
    assert (network.crops[0][-1, -1] == 128).all()  # 0 after the network's subtraction, as hand3d's


# --- the detector


def test_the_detector_in_the_registry(weights, tmp_path):
    detector: Detector = registry.create_detector(
        "cpm", DetectionTask(("a",), side="left"), CpmOptions(weights=weights)
    )
    assert detector.name == "cpm" and detector.needs_images and not detector.offsets_m.any()
    assert detector.view_bias is None and detector.fingerprint() == load_network(weights)[1]
    assert detector.start("a").detect(np.full((48, 64, 3), GREEN, np.uint8), 0) == []
    with pytest.raises(HandgenError, match="finds one hand per view .*give --hands left or --hands right"):
        registry.create_detector("cpm", DetectionTask(("a",)), CpmOptions(weights=weights))
    with pytest.raises(ValueError, match="--detector cpm needs --weights FILE"):
        AnnotateConfig(detector="cpm")
    with pytest.raises(ValueError, match="side: must be one of"):
        cpm.CpmDetector(weights, "both")


class KnowsTheTruth:
    """Stands for a network that has learnt its task: it is told which picture and which part of it a crop is of."""

    def __init__(self, capture, monkeypatch):
        rig = load_capture(capture).rig
        records = {record.frame: record for _, record in Annotations(capture / "truth")}
        self.truth_px = {}
        for camera in rig:
            for frame, record in records.items():
                picture = read_rgb(capture / camera.name / f"{frame:06d}.jpg")
                self.truth_px[picture.tobytes()] = camera.project(record.keypoints_world_m)[0]
        crop = Region.crop

        def remember(region, image, crop_px, outside=0):
            self.looking_at = region, image
            return crop(region, image, crop_px, outside)

        monkeypatch.setattr(Region, "crop", remember)

    def score_crop(self, crop):
        region, image = self.looking_at
        truth = self.truth_px[image.tobytes()]
        ours = (truth - region.to_image(np.zeros(2), 256)) * 256 / region.side_px
        ours[:, 0] = 255 - ours[:, 0]  # right hands are shown in a mirror
        theirs = ours[list(KEYPOINT_ORDERS["rhd"])]
        theirs[0] = (ours[0] + ours[9]) / 2
        return target_maps(theirs)


@pytest.mark.slow
def test_a_capture_is_annotated_with_a_network_that_sees(tmp_path, monkeypatch):
    """From the green screen to hands in millimetres: crops, order, mirror and wrist agree with each other."""
    capture = tmp_path / "capture"
    options = {"views": 3, "frames": 4, "size": (320, 240), "fps": 8, "video": False, "background": "green"}
    simulate.run(capture, SimulateConfig(workers=1, **options))
    network = KnowsTheTruth(capture, monkeypatch)
    monkeypatch.setattr(cpm, "load_network", lambda path, device: (network, "0" * 64))
    config = make_config(AnnotateConfig, detector="cpm", weights="weights.pickle", hands="right", workers=1)
    report = annotate.run(capture, tmp_path / "out", config)
    assert report.views == 12 and report.accepted == {"right": 4}
    rig = load_capture(capture).rig
    records = {record.frame: record for _, record in Annotations(capture / "truth")}
    for row in read_detections(tmp_path / "out" / "detections" / "000000.jsonl"):
        truth_px, _ = rig[row.camera].project(records[row.frame].keypoints_world_m)
        sure = row.confidence > 0.5  # the others may lie outside the crop
        assert sure.sum() >= 18
        np.testing.assert_allclose(row.keypoints_px[sure], truth_px[sure], atol=0.002)  # files have 0.001 px
    # The fitted model is not this person's hand.
    assert max(errors_mm(capture, tmp_path / "out").values()) < 5.0


@pytest.mark.slow
def test_a_capture_with_weights_that_have_learnt_nothing(weights, tmp_path):
    """Nothing good is found, and that is said."""
    from handgen.cli.main import main

    def invoke(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    capture, out = tmp_path / "capture", tmp_path / "out"
    studio_options = ("--background", "green", "--views", 2, "--frames", 2, "--size", "160x120", "--workers", 1)
    result = invoke("simulate", capture, *studio_options)
    assert result.exit_code == 0, result.output
    options = ("--out", out, "--workers", 1, "--detector", "cpm", "--weights", weights)
    result = invoke("annotate", capture, *options, "--hands", "both")
    assert result.exit_code == 1 and "give --hands left or --hands right" in result.output and not out.exists()
    result = invoke("annotate", capture, *options, "--hands", "right", "--json")
    assert result.exit_code == 1 and "nothing was accepted: no hand was found" in result.stderr
    report = json.loads(result.stdout)
    assert report["frames"] == 2 and report["views"] == 0 and report["notes"]
    assert weights.name not in (out / "run.json").read_text()  # by its content, wherever it lies
    assert load_network(weights)[1] in (out / "run.json").read_text()
    result = invoke("annotate", capture, *options, "--hands", "right")  # again: it is the same run
    assert result.exit_code == 1 and "nothing was accepted: no hand was found" in result.stderr
