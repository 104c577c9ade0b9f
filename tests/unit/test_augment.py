import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.errors import HandgenError
from handgen.stages.synthesize import augment, augment_checks
from handgen.stages.synthesize.augment import DEFAULT_FILE, Augmentation
from handgen.stages.synthesize.augment_checks import displacement_px
from handgen.stages.synthesize.patterns import draw_pattern


@pytest.fixture(scope="module")
def image():
    return draw_pattern(96, np.random.default_rng(3))


@pytest.fixture
def load(tmp_path):
    """Load a text as a file of augmentations."""

    def load(text: str | bytes) -> Augmentation:
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Augmentation.load(str(path))

    return load


def soft_noise(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(120 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def test_the_default_stands_the_trial_that_files_of_users_stand():
    by_path = Augmentation.load(str(DEFAULT_FILE))
    assert by_path == Augmentation.load("default")
    assert len(orjson.loads(by_path.document)) >= 5
    assert "Noise" not in by_path.document and "Compression" not in by_path.document  # grain.py's


def test_none_gives_back_the_image_itself(image):
    pipeline = Augmentation.load("none").pipeline()
    assert pipeline(image, np.random.default_rng(0)) is image


def test_augmentations_are_plain_data(image):
    default = Augmentation.load("default")
    again = pickle.loads(pickle.dumps(default))
    assert again == default and hash(again) == hash(default)
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    assert (again.pipeline()(image, rngs[0]) == default.pipeline()(image, rngs[1])).all()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "- AdditiveNoise: {noise_type: gaussian, spatial_mode: per_pixel, noise_params: {mean_range: [0, 0], "
        "std_range: [0.1, 0.1]}, p: 0.5}",  # draws from OpenCV's own generator
    ],
)
def test_what_is_drawn_depends_on_the_generator_alone(image, load, text):
    augmentation = Augmentation.load("default") if text is None else load(text)
    pipeline = augmentation.pipeline()
    first = [pipeline(image.copy(), np.random.default_rng([5, i])) for i in range(40)]
    again = [augmentation.pipeline()(image.copy(), np.random.default_rng([5, i])) for i in reversed(range(40))][::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    changed = sum((a != image).any() for a in first)
    assert changed > 10  # of 40; at least half are expected


def test_transforms_of_equal_probability_draw_independently(load):
    """One darkens red alone, one green alone; a shared seed would always apply both or none."""
    only = "{{r_shift_limit: {r}, g_shift_limit: {g}, b_shift_limit: [0, 0], p: 0.5}}"
    red, green = only.format(r="[-50, -50]", g="[0, 0]"), only.format(r="[0, 0]", g="[-50, -50]")
    pipeline = load(f"- RGBShift: {red}\n- RGBShift: {green}\n").pipeline()
    grey = np.full((16, 16, 3), 128, np.uint8)
    results = [pipeline(grey.copy(), np.random.default_rng(i))[0, 0] < 128 for i in range(1000)]
    shares = {pair: np.mean([tuple(r[:2]) == pair for r in results]) for pair in np.ndindex(2, 2)}
    assert all(0.18 < share < 0.32 for share in shares.values()), shares  # 1/4, five sigma either way


def test_probabilities_are_met(load):
    """A quarter of images changed at p = 0.25, and each of two alternatives as often as its weight says."""
    text = """
    - OneOf:
        p: 0.25
        transforms:
          - InvertImg: {p: 0.3}
          - NoOp: {p: 0.1}
    """
    pipeline = load(text).pipeline()
    dark = np.full((16, 16, 3), 10, np.uint8)
    inverted = np.mean([pipeline(dark, np.random.default_rng(i))[0, 0, 0] == 245 for i in range(2000)])
    assert abs(inverted - 0.25 * 0.75) < 0.045  # five sigma


@settings(max_examples=60)
@given(height=st.integers(16, 150), width=st.integers(16, 150), seed=st.integers(0, 2**60))
def test_the_default_keeps_kind_and_shape_of_any_image(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = Augmentation.load("default").pipeline()(image, np.random.default_rng(seed))
    assert result.dtype == np.uint8 and result.shape == image.shape


def test_the_default_leaves_contents_in_place():
    image = soft_noise(120, 140)
    pipeline = Augmentation.load("default").pipeline()
    shifts = [displacement_px(image, pipeline(image.copy(), np.random.default_rng(i))) for i in range(150)]
    assert max(shifts) < 0.1  # px


def test_a_red_shirt_stays_red():
    """Channels are not mixed up: over many draws red stays far ahead of blue and green."""
    red = np.full((32, 32, 3), (190, 40, 50), np.uint8)
    pipeline = Augmentation.load("default").pipeline()
    drawn = np.array([pipeline(red.copy(), np.random.default_rng(i)).mean((0, 1)) for i in range(300)])
    grey = np.ptp(drawn, axis=1) < 1  # cameras without colour, one in fifty
    assert grey.mean() < 0.06
    assert (drawn[~grey, 0] > drawn[~grey, 1:].max(1) + 40).all()


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (0, 1), (2, 0), (-1, 1)])
def test_displacement_is_measured(dy, dx):
    """Under a gain, a shift of light and a ramp; 15 % off at 2 px, where the first order ends."""
    image = soft_noise(120, 140)
    ramp = np.linspace(0, 30, 140)[None, :, None]
    moved = np.clip(0.7 * np.roll(image, (dy, dx), (0, 1)).astype(float) + 10 + ramp, 0, 255).astype(np.uint8)
    expected = float(np.hypot(dy, dx))
    assert abs(displacement_px(image, moved) - expected) <= 0.02 + 0.3 * expected


REFUSED = {
    "RandomGama: {}": r"entry 1, RandomGama: no such transform .* did you mean RandomGamma",
    "BasicTransform: {}": "no such transform",
    "os: {}": "no such transform",
    "Compose: {transforms: [ToGray: {}]}": "no such transform",
    "HorizontalFlip: {}": "HorizontalFlip: moves pixels; places change with the virtual camera",
    "Perspective: {}": "moves pixels",
    "CoarseDropout: {}": "covers parts of the hand .* occluders do that",
    "RandomRain: {}": "covers parts of the hand",
    "Lambda: {}": "needs other pictures, files or code",
    "HistogramMatching: {reference_images: [a.png]}": "needs other pictures",
    "TextImage: {font_path: /etc/passwd}": "needs other pictures",
    "Normalize: {}": r"gave float32 of \(40, 56, 3\)",
    "ToTensorV2: {}": "gave Tensor",
    "MotionBlur: {blur_limit: [9, 9]}": "moves the picture by .* px",
    "Downscale: {}": "moves the picture by .* px",
    "RandomGamma: {gamma_limit: [75, x]}": "gamma_limit.*valid number",
    "RandomGamma: {gama_limit: [75, 130]}": "'gama_limit' are not valid",
    "MedianBlur: {limit: 3}": "unexpected keyword argument 'limit'",
    "RandomGamma: {p: 3}": "p: Input should be less than or equal to 1",
    "RandomGamma: {strict: false}": "strict is no parameter",
    "RandomGamma: 3": "parameters must be named",
    "Equalize: {mask_params: [hand]}": "failed on an image of 56x40 px",
    "GaussianBlur: {blur_limit: 1000001}": r"blur_limit: 1e\+06 is beyond 1000",
    "GaussianBlur: {blur_limit: .inf}": "inf is beyond 1000",
    "GaussianBlur: {sigma_limit: [.nan, 1]}": "nan is beyond 1000",
    "RandomGamma: {p: 2001-01-01}": "a date is not taken",
    "RandomGamma: {1: 2}": "'1' is no name",
    "OneOf: {transforms: []}": "transforms must be a list of at least one",
    "OneOf: {p: 0.5}": "transforms must be a list",
    "OneOf: {transforms: [ToGray: {}], n: 1}": "no parameter 'n'; it takes p, transforms",
    "OneOf: {transforms: [ToGray: {p: 0}]}": "weights",
    "OneOf: {transforms: [ToGray: {}], p: 2}": "p must be a number from 0 to 1, got 2",
    "OneOf: {transforms: [ToGray: {}, HorizontalFlip: {}]}": "entry 1, OneOf: entry 2, HorizontalFlip: moves",
    "SomeOf: {transforms: [ToGray: {}], n: 2}": "n must be 1 to 1",
    "SomeOf: {transforms: [ToGray: {}], replace: 1}": "replace must be true or false",
    "ToGray": "expected one transform with its parameters",
    "{ToGray: {}, Solarize: {}}": "expected one transform with its parameters",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_entries_that_cannot_be_used_are_named(load, entry):
    with pytest.raises(HandgenError, match=REFUSED[entry]) as caught:
        load(f"- {entry}")
    assert "mine.yaml: " in str(caught.value) and "entry 1" in str(caught.value)
    assert "\n" not in str(caught.value)


FILES = {
    b"": "expected a list of transforms",
    b"[]": "--augment none",
    b"RandomGamma: {}": "expected a list of transforms",
    b"- RandomGamma: {p: 0.1": "line 1: not readable as YAML",
    b"- \xff\xfe": "not text in UTF-8",
    b"- a: \x00": "not readable as YAML",
    b"- &a [1]\n- *a": "line 1: anchors and aliases are not taken",
    b"- !!python/object/apply:os.system ['true']": "line 1: tags such as .* are not taken",
    b"- ToGray: {p: 0.1}\n  ToGray: {p: 0.2}": "line 2: .*'ToGray' is there twice",
    b"- ? [a, b]\n  : 1": "not readable as YAML",
    b"[" * 60_000: "nested more than 12 deep",
    b"- a: " + b"9" * 5000: "not readable as YAML",
    b"- a: 0x" + b"9" * 5000: "a number of .* bits is beyond",
    b"- a: " + b"b" * 5000: "a text of 5000 characters",
    b"- ToGray: {}\n" * 65: "65 items are more than the 64 allowed",
    b"#" * 70_000: "larger than 64 KiB",
    b"- OneOf: {transforms: [OneOf: {transforms: [OneOf: {transforms: [OneOf: {transforms: [OneOf: {transforms: "
    b"[ToGray: {}]}]}]}]}]}": "nested more than",
}


@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_files_that_cannot_be_used_are_named(load, content):
    with pytest.raises(HandgenError, match=FILES[content]) as caught:
        load(content)
    assert "mine.yaml: " in str(caught.value) and len(str(caught.value)) < 600


def test_more_transforms_than_any_pipeline_needs_are_refused(load):
    inner = ", ".join(["InvertImg: {p: 0.1}"] * 40)
    with pytest.raises(HandgenError, match="more than 64 transforms"):
        load(f"- Sequential: {{transforms: [{inner}]}}\n- Sequential: {{transforms: [{inner}]}}\n")


def test_paths_that_are_no_file_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "missing.yaml", "/dev/zero", "a\0b"):
        with pytest.raises(HandgenError, match="no such file|cannot be read"):
            Augmentation.load(str(path))


def test_a_transform_that_takes_seconds_is_refused(load, monkeypatch):
    """A slow transform is found on a small image; here the limit is lowered, not the time raised."""
    monkeypatch.setattr(augment_checks, "_MAX_SECONDS", 0.0)
    with pytest.raises(HandgenError, match="entry 1, ToGray: took .* lower its numbers"):
        load("- ToGray: {}")


def test_transforms_that_take_seconds_together_are_refused(load, monkeypatch):
    monkeypatch.setattr(augment_checks, "_MAX_SECONDS_IN_ALL", 0.0)
    with pytest.raises(HandgenError, match="entry 1, ToGray: took .* with the entries before it .* lower its numbers"):
        load("- ToGray: {}")


def test_the_document_is_canonical(load):
    """Order of parameters, comments and layout change nothing: what decides the bytes is compared."""
    one = load("- RandomGamma: {p: 0.5, gamma_limit: [80, 120]}\n")
    other = load("# mine\n- RandomGamma:\n    gamma_limit:\n    - 80\n    - 120\n    p: 0.5\n")
    assert one == other
    assert one.document == '[{"RandomGamma":{"gamma_limit":[80,120],"p":0.5}}]'
    assert load("- RandomGamma:\n").document == '[{"RandomGamma":null}]'


def test_compositions_nest(load):
    text = """
    - SomeOf:
        n: 2
        p: 1
        transforms:
          - Sequential: {transforms: [InvertImg: {p: 1}, InvertImg: {p: 1}], p: 1}
          - OneOf: {transforms: [InvertImg: {p: 1}], p: 1}
    """
    dark = np.full((16, 16, 3), 10, np.uint8)
    assert (load(text).pipeline()(dark, np.random.default_rng(0)) == 245).all()


def test_a_transform_that_fails_later_is_an_error(load):
    """No trial sees every image; an empty one stands for those."""
    pipeline = load("- Blur: {p: 1}").pipeline()
    with pytest.raises(HandgenError, match=r"augmentation: error on an image of \(0, 16, 3\)"):
        pipeline(np.zeros((0, 16, 3), np.uint8), np.random.default_rng(0))


def test_the_documentation_shows_files_that_load(load):
    text = (Path(__file__).parents[2] / "docs/augmentation.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```yaml")[1:]]
    assert blocks
    for block in blocks:
        load(block)


def test_samples_are_made_without_torch():
    """Every worker would carry 200 MB of it; albumentations brings it along where it can."""
    code = (
        "import sys; import handgen.stages.synthesize.shard; "
        "from handgen.stages.synthesize.augment import Augmentation; "
        "import numpy as np; pipeline = Augmentation.load('default').pipeline(); "
        "pipeline(np.zeros((32, 32, 3), np.uint8), np.random.default_rng(0)); "
        "assert 'albumentations' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_transform_of_ones_own(load, image, monkeypatch):
    from albumentations import ImageOnlyTransform

    class Dim(ImageOnlyTransform):
        def apply(self, img, **params):
            return (img // 2).astype(img.dtype)

    class Shift(ImageOnlyTransform):
        def apply(self, img, **params):
            return np.roll(img, 2, axis=1)

    monkeypatch.setattr(augment.TRANSFORMS, "entries", {})
    augment.register_transform("Dim", Dim)
    augment.register_transform("Shift", Shift)
    assert (load("- Dim: {p: 1}").pipeline()(image, np.random.default_rng(0)) == image // 2).all()
    with pytest.raises(HandgenError, match="Shift"):  # it moves pixels, which the trial finds out
        load("- Shift: {p: 1}")
