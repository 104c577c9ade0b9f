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
from support.annotate import errors_mm
from support.cpm import flat_arrays, random_arrays, target_maps
from support.make_mano_pickle import Python2Pickler

from handgen.detect import registry
from handgen.detect.base import DetectionTask, Detector
from handgen.detect.cpm import detector as cpm
from handgen.detect.cpm import network
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
from handgen.storage import limits
from handgen.storage.limits import Share

GREEN = (40, 200, 60)


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
    monkeypatch.setattr(network, "WEIGHTS", replace(network.WEIGHTS, arrays=Share(limits.FILE, 2**20, "arrays")))
    path.write_bytes(pickle.dumps({f"a{k}": np.zeros((256, 256), np.float32) for k in range(5)}, 2))
    with pytest.raises(HandgenError, match="larger than 1 MiB; is it a file of hand3d's weights"):
        load_network(path)


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
    simulate.run(capture, SimulateConfig(workers=1, seed=1, **options))  # its crops show the hand whole
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
    studio_options = ("--background", "green", "--views", 2, "--frames", 2, "--size", "160x120", "--seed", 2)
    result = invoke("simulate", capture, *studio_options, "--workers", 1)
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
