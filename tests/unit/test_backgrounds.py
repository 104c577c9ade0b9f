import os
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handgen.errors import HandgenError
from handgen.media import images
from handgen.stages.synthesize import backgrounds
from handgen.stages.synthesize.backgrounds import REUSES, FolderBackgrounds, SynthesizedBackgrounds, scan_folder
from handgen.stages.synthesize.patterns import draw_pattern
from handgen.stages.synthesize.people import draw_somebody
from handgen.stages.synthesize.workplace import lay_board, workplace


def write_pictures(root: Path, count: int, rng: np.random.Generator) -> None:
    for i in range(count):
        name = root / ("deep/er" if i % 2 else ".") / f"{i:03d}.{('png', 'jpg')[i % 2]}"
        picture = rng.integers(0, 255, (50 + i, 70, 3), dtype=np.uint8)
        name.parent.mkdir(parents=True, exist_ok=True)
        if i % 2:
            name.write_bytes(images.encode_jpeg(picture, 90))
        else:
            images.write_png(name, picture)


def circle_of(count: int, seed: int = 0) -> FolderBackgrounds:
    """A list of as many pictures, none of which is there."""
    return FolderBackgrounds(Path("nowhere"), tuple(f"{i}.png" for i in range(count)), seed)


def picks_of_run(source: FolderBackgrounds, samples: int, full: int) -> list[np.ndarray]:
    starts = range(0, samples, full)
    return [source.picks(shard, first, min(full, samples - first)) for shard, first in enumerate(starts)]


@settings(max_examples=300)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(1, 300), st.integers(0, 9))
def test_no_picture_is_used_twice_in_a_row(pictures, full, samples, seed):
    picks = np.concatenate(picks_of_run(circle_of(pictures, seed), samples, full))
    assert len(picks) == samples
    assert picks.min() >= 0 and picks.max() < pictures
    assert (picks[1:] != picks[:-1]).all()


@pytest.mark.parametrize(("pictures", "full"), [(7, 40), (300, 1000), (300, 90), (1000, 100), (5, 3), (2, 9)])
def test_pictures_are_used_equally_often_over_a_long_run(pictures, full):
    whole = picks_of_run(circle_of(pictures), pictures * full, full)
    counts = np.bincount(np.concatenate(whole), minlength=pictures)
    assert counts.min() == counts.max() == full
    # In the middle of it, no picture is more than the uses of two shards ahead of another.
    part = np.bincount(np.concatenate(whole[: pictures // 2 + 1]), minlength=pictures)
    assert part.max() - part.min() <= 2 * max(REUSES, full / pictures)


def test_a_shard_shows_few_pictures_each_several_times():
    for picks in picks_of_run(circle_of(5000), 10_000, 1000):
        counts = np.unique(picks, return_counts=True)[1]
        assert counts.max() == REUSES and counts.min() >= REUSES - 1
    assert len(np.unique(circle_of(5000).picks(0, 0, 4))) == 2
    assert circle_of(1).picks(3, 30, 10).tolist() == [0] * 10


def test_shards_that_do_not_fit_together_are_misuse():
    for shard, first, count in ((2, 21, 10), (1, 10, 11), (0, 5, 5), (0, 0, 0)):
        with pytest.raises(ValueError, match=f"shard {shard} of {count} samples"):
            circle_of(5).picks(shard, first, count)


def test_drawing_depends_on_the_arguments_alone(tmp_path, rng):
    write_pictures(tmp_path, 6, rng)
    scan = scan_folder(tmp_path, 100, 3)
    assert len(scan.backgrounds.names) == 6 and not scan.skipped
    assert "deep/er/001.jpg" in scan.backgrounds.names
    kept = scan.backgrounds
    drawn = [kept.draw(pick, 32, np.random.default_rng(9)) for pick in range(6)]
    assert {one.name for one in drawn} == set(kept.names)
    for pick in (4, 1, 1, 5):  # another order, other sizes between, another process
        other = pickle.loads(pickle.dumps(kept))
        other.draw(pick, 16, rng)
        one = other.draw(pick, 32, np.random.default_rng(9))
        assert one.name == drawn[pick].name and (one.image == drawn[pick].image).all()
        assert one.image.shape == (32, 32, 3) and one.image.dtype == np.uint8
    assert {scan_folder(tmp_path, 100, seed).backgrounds.draw(0, 32, rng).name for seed in range(30)} > {drawn[0].name}


def test_an_image_belongs_to_the_caller(tmp_path, rng):
    write_pictures(tmp_path, 1, rng)
    source = scan_folder(tmp_path, 10, 0).backgrounds
    for seed in range(30):
        for size in (25, 50, 100):  # also the picture's own size, where nothing is scaled
            one = source.draw(0, size, np.random.default_rng(seed)).image
            before = one.copy()
            one[:] = 0
            assert (source.draw(0, size, np.random.default_rng(seed)).image == before).all()


def test_what_is_kept_in_memory_is_bounded(tmp_path, rng, monkeypatch):
    for i in range(12):
        images.write_png(tmp_path / f"{i}.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    monkeypatch.setattr(backgrounds, "_CACHED_BYTES", 5 * 64 * 64 * 3)
    source = scan_folder(tmp_path, 100, 0).backgrounds
    reads = []
    monkeypatch.setattr(backgrounds, "read_rgb", lambda *args: reads.append(args) or images.read_rgb(*args))
    for pick in (*range(12), 11, 11, 10):
        source.draw(pick, 32, rng)
        kept = sum(level.nbytes for levels in source._state.pictures.values() for level in levels)
        assert kept == source._state.bytes <= 5 * 64 * 64 * 3
    assert len(reads) == 12  # the last ones are still there
    source.draw(0, 32, rng)
    assert len(reads) == 13


def ramps(size_px: tuple[int, int]) -> np.ndarray:
    """Red grows with x, green with y, over the whole picture; blue is 0 and 200 in stripes of one pixel."""
    width, height = size_px
    x, y = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
    return np.stack([x, y, 200.0 * (np.arange(width) % 2)[None].repeat(height, 0)], -1).round().astype(np.uint8)


def test_crop_scale_blur_and_mirror_vary(tmp_path):
    """Position and scale of a crop can be read from the colours of a ramp."""
    images.write_png(tmp_path / "ramp.png", ramps((320, 240)))
    source = scan_folder(tmp_path, 1, 0).backgrounds
    rows = []
    for seed in range(200):
        image = source.draw(0, 64, np.random.default_rng(seed)).image.astype(float)
        assert image[..., 2].min() > 60 and image[..., 2].max() < 140  # stripes became their mean: no aliasing
        slope_x = (image[:, -9:-8, 0] - image[:, 8:9, 0]).mean() / 47 * 64 * 320 / 250
        slope_y = (image[-9:-8, :, 1] - image[8:9, :, 1]).mean() / 47 * 64 * 240 / 250
        assert abs(abs(slope_x) - slope_y) < 6  # px of the picture across the background: it is a square
        rows.append((slope_x < 0, slope_y / 240, image[..., 0].mean() / 250, image[..., 1].mean() / 250))
    mirrored, share, x, y = np.array(rows).T
    assert 0.4 < mirrored.mean() < 0.6  # of 200: three standard deviations
    assert share.min() < 0.5 and share.max() > 0.95
    assert x.min() < 0.27 and x.max() > 0.73 and y.min() < 0.35 and y.max() > 0.65


def test_some_backgrounds_are_out_of_focus_and_alike_at_every_size(tmp_path, rng):
    """Blur is a share of the size: the same draw at 64 and at 256 px is the same picture."""
    noise = cv2.GaussianBlur(rng.integers(0, 255, (600, 800, 3), dtype=np.uint8), (0, 0), 6)
    images.write_png(tmp_path / "noise.png", cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX))
    source = scan_folder(tmp_path, 1, 0).backgrounds
    sharpness, misses, contrasts = [], [], []
    for seed in range(150):
        small, large = (source.draw(0, size, np.random.default_rng(seed)).image for size in (64, 256))
        reduced = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
        smooth, expected = (cv2.GaussianBlur(one.astype(float), (0, 0), 1) for one in (small, reduced))
        misses.append(np.abs(smooth - expected).mean() / np.abs(smooth[:, 1:] - smooth[:, :-1]).mean())
        contrasts.append(smooth.std() / expected.std())
        sharpness.append(cv2.Laplacian(large.astype(np.float32), -1).std())
    assert np.median(misses) < 0.5 and max(misses) < 1.5  # px at 64: corners are rounded to pixels of a small picture
    assert np.abs(np.array(contrasts) - 1).max() < 0.1  # blur by the same number of pixels would take most of it
    blurred = np.array(sharpness) < 0.5 * np.median(sharpness)
    assert 0.1 < blurred.mean() < 0.4


def test_large_pictures_are_not_decoded_in_full(tmp_path, rng, monkeypatch):
    picture = cv2.resize(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8), (2000, 1500))
    (tmp_path / "large.jpg").write_bytes(images.encode_jpeg(picture, 80))
    source = scan_folder(tmp_path, 1, 0).backgrounds
    shapes = []
    monkeypatch.setattr(backgrounds, "read_rgb", lambda *args: (p := images.read_rgb(*args), shapes.append(p.shape))[0])
    source.draw(0, 128, rng)
    assert shapes == [(375, 500, 3)]  # at least twice 128, so that no crop is enlarged by much


def test_a_picture_that_breaks_is_replaced_and_named(tmp_path, rng):
    write_pictures(tmp_path, 6, rng)
    source = scan_folder(tmp_path, 100, 0).backgrounds
    pick = next(i for i in range(6) if source.draw(i, 32, rng).name.endswith("1.jpg"))
    whole = (tmp_path / "deep/er/001.jpg").read_bytes()
    (tmp_path / "deep/er/001.jpg").write_bytes(whole[: len(whole) // 2])
    again = pickle.loads(pickle.dumps(source))
    for _ in range(2):
        one = again.draw(pick, 32, np.random.default_rng(1))
        assert one.name == source.draw((pick + 3) % 6, 32, rng).name  # half round the circle
        assert [name for name, _ in one.problems] == ["deep/er/001.jpg"]
        assert "not a readable image" in one.problems[0][1] and str(tmp_path) not in one.problems[0][1]
    assert not again.draw((pick + 1) % 6, 32, rng).problems
    for name in source.names:
        (tmp_path / name).unlink()
    with pytest.raises(HandgenError, match=r"none of its 6 pictures can be read any more; the first: .*No such file"):
        pickle.loads(pickle.dumps(source)).draw(0, 32, rng)


def test_unusable_files_are_named_and_skipped(tmp_path, rng):
    write_pictures(tmp_path, 3, rng)
    (tmp_path / "text.jpg").write_text("no picture")
    whole = (tmp_path / "deep/er/001.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    images.write_png(tmp_path / "tiny.png", np.zeros((4, 4, 3), np.uint8))
    Image.new("1", (10_001, 10_000)).save(tmp_path / "bomb.png")
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    scan = scan_folder(tmp_path, 100, 0)
    unusable = ["bomb.png", "cut.jpg", "empty.gif", "loop.png", "pipe.png", "text.jpg", "tiny.png"]
    assert [name for name, _ in scan.skipped] == unusable
    assert all(reason and str(tmp_path) not in reason for _, reason in scan.skipped)
    assert dict(scan.skipped)["tiny.png"] == "4x4 is smaller than 32 px"
    assert len(scan.backgrounds.names) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_skipped(tmp_path, rng):
    write_pictures(tmp_path, 2, rng)
    (tmp_path / "000.png").chmod(0)
    assert scan_folder(tmp_path, 100, 0).skipped == (("000.png", "cannot be read (Permission denied)"),)


def test_only_the_first_pictures_are_decoded_when_a_folder_is_looked_at(tmp_path, rng, monkeypatch):
    good = images.encode_jpeg(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), 90)
    for i in range(80):
        (tmp_path / f"{i}.jpg").write_bytes(good)
    decoded = []
    monkeypatch.setattr(backgrounds, "read_rgb", lambda *args: decoded.append(args) or images.read_rgb(*args))
    steps = []
    scan = scan_folder(tmp_path, 100, 0, lambda done, total: steps.append((done, total)))
    assert len(decoded) == backgrounds._DECODED_FIRST and len(scan.backgrounds.names) == 80
    assert steps[-1] == (80, 80)
    assert len(scan_folder(tmp_path, 50, 0).backgrounds.names) == 50
    # Where all that was decoded is broken, others are until one is not.
    for i in range(80):
        (tmp_path / f"{i}.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "79.jpg").write_bytes(good)
    assert "79.jpg" in scan_folder(tmp_path, 100, 0).backgrounds.names


def test_the_digest_changes_with_the_pictures(tmp_path, rng):
    write_pictures(tmp_path, 3, rng)
    before = scan_folder(tmp_path, 100, 0).digest
    assert scan_folder(tmp_path, 100, 1).digest == before
    images.write_png(tmp_path / "more.png", np.zeros((40, 40, 3), np.uint8))
    assert scan_folder(tmp_path, 100, 0).digest != before


def test_folders_without_a_usable_picture_are_errors(tmp_path):
    with pytest.raises(HandgenError, match="no such folder"):
        scan_folder(tmp_path / "missing", 10, 0)
    with pytest.raises(HandgenError, match="holds no pictures"):
        scan_folder(tmp_path, 10, 0)
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(HandgenError, match=re.escape("none of 1 pictures can be used; the first: text.jpg")):
        scan_folder(tmp_path, 10, 0)


def test_patterns_vary_and_depend_on_the_seed_alone():
    one, same, other = (draw_pattern(64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (64, 64, 3) and one.dtype == np.uint8 and one.flags.writeable
    assert (one == same).all() and (one != other).any()
    drawn = SynthesizedBackgrounds().draw(0, 16, np.random.default_rng(0))
    assert drawn.name == "synthesized" and drawn.image.shape == (16, 16, 3)
    assert SynthesizedBackgrounds().picks(2, 20, 5).tolist() == [20, 21, 22, 23, 24]
    for size in (16, 17, 63, 600):
        assert draw_pattern(size, np.random.default_rng(size)).shape == (size, size, 3)


def test_somebody_fills_much_of_a_picture_and_boards_have_full_contrast():
    covered, contrast = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        person, board = np.full((2, 96, 96, 3), 128, np.uint8)
        draw_somebody(person, rng)
        lay_board(board, rng)
        covered.append((person != 128).any(-1).mean())
        changed = board[(board != 128).any(-1)].mean(-1)
        contrast.append(np.ptp(np.percentile(changed, [2, 98])) if len(changed) > 200 else np.nan)
    assert np.median(covered) > 0.25 and np.mean(np.array(covered) > 0.02) > 0.9
    assert np.nanmedian(contrast) > 120 and np.isfinite(contrast).mean() > 0.8  # grey levels of 255


def test_no_two_workplaces_are_alike():
    pictures = np.stack([workplace(64, np.random.default_rng(seed)) for seed in range(20)]).astype(float)
    assert (pictures[:-1] - pictures[1:]).std((1, 2, 3)).min() > 10


@settings(max_examples=300)
@given(st.integers(16, 90), st.integers(0, 2**32))
def test_every_pattern_can_be_drawn(size, seed):
    assert draw_pattern(size, np.random.default_rng(seed)).shape == (size, size, 3)


def test_patterns_have_the_statistics_of_photographs():
    """Amplitude falls about as 1 / f (photographs: 0.8 to 1.5), colours are dull, few are black or white."""
    pictures = np.stack([draw_pattern(128, np.random.default_rng([1, i])) for i in range(150)]).astype(float)
    grey = pictures.mean(-1)
    window = np.hanning(128)[:, None] * np.hanning(128)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None]) * 128
    power = (np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2).mean(0)
    rings = np.geomspace(2, 40, 8)
    inner, outer = rings[:-1], rings[1:]
    rows = [power[(frequency >= low) & (frequency < high)].mean() for low, high in zip(inner, outer, strict=True)]
    exponent = -np.polyfit(np.log(np.sqrt(inner * outer)), np.log(rows) / 2, 1)[0]
    assert 0.8 < exponent < 1.6
    means = pictures.mean((1, 2))
    saturation = 1 - means.min(-1) / means.max(-1)
    assert np.median(saturation) < 0.25
    assert 60 < means.mean() < 170 and means.mean(-1).std() > 30
    assert ((pictures >= 254).all(-1).mean() < 0.1) and ((pictures <= 1).all(-1).mean() < 0.05)
    assert (grey.std((1, 2)) > 2).all()  # none is one flat colour
