import hashlib

import av
import cv2
import numpy as np
import pytest

from handgen.errors import HandgenError
from handgen.media.video import open_video
from handgen.media.video_writer import join_pieces, piece_writer


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8), (0, 0), 4)
    base = cv2.normalize(base, None, 0, 255, cv2.NORM_MINMAX)
    return [np.roll(base, 5 * i, 1) for i in range(count)]


def write(folder, lengths, crf=18, fps=29.97):
    folder.mkdir()
    frames, pieces = iter(pictures(sum(lengths))), []
    for index, length in enumerate(lengths):
        pieces.append(folder / f"{index}.h264")
        with piece_writer(pieces[-1], (128, 96), fps, crf) as writer:
            for _ in range(length):
                writer.write(next(frames))
    join_pieces(pieces, folder / "out.mp4", fps)
    return folder / "out.mp4"


def test_pieces_become_one_video_of_all_frames_in_order(tmp_path):
    video = open_video(write(tmp_path / "a", (5, 1, 4)))
    assert video.frame_count == 10 and video.size_px == (128, 96) and video.fps == pytest.approx(29.97, abs=0.01)
    np.testing.assert_allclose(np.diff(video.times_ms), 1e3 / 29.97, atol=0.1)
    decoded = list(video.images(range(10)))
    for i, image in enumerate(decoded):
        off = [np.abs(image.astype(float) - other).mean() for other in pictures(10)]
        assert int(np.argmin(off)) == i and off[i] < 6  # grey levels, chroma subsampling included
    assert np.array_equal(next(video.images([7])), decoded[7])


def test_equal_frames_give_equal_bytes(tmp_path):
    first, second = write(tmp_path / "a", (3, 3)), write(tmp_path / "b", (3, 3))
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


@pytest.mark.parametrize("size_px", [(96, 64), (128, 64)])
def test_memory_that_was_used_before_changes_no_byte(tmp_path, rng, size_px):
    """x264's macroblock tree reads beyond the end of a row of 6 macroblocks, not of 8."""
    images = [rng.integers(0, 255, (*size_px[::-1], 3), dtype=np.uint8) for _ in range(3)]
    images = [cv2.GaussianBlur(image, (0, 0), 2) for image in images]
    written = set()
    for _ in range(20):
        left = [np.full(rng.integers(100, 400_000), rng.integers(256), np.uint8) for _ in range(6)]
        del left[::2]  # freed memory, full of something, lies about
        with piece_writer(tmp_path / "0.h264", size_px, 8, 20) as writer:
            for image in images:
                writer.write(image)
        written.add((tmp_path / "0.h264").read_bytes())
    assert len(written) == 1
    assert (b"mbtree=0" in written.pop()) == (size_px[0] % 128 > 0)  # x264 writes its options into the stream


def test_a_piece_that_was_not_finished_is_not_there(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"), piece_writer(tmp_path / "0.h264", (128, 96), 30, 20) as writer:
        writer.write(pictures(1)[0])
        raise RuntimeError("stopped")
    assert not (tmp_path / "0.h264").exists()


def test_without_the_encoder_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("handgen.media.video_writer._ENCODER", "no_such_encoder")
    with (
        pytest.raises(HandgenError, match=f"PyAV {av.__version__} has no no_such_encoder"),
        piece_writer(tmp_path / "0.h264", (128, 96), 30, 20),
    ):
        pass
