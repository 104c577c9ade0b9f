import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgen.detect.mediapipe.palm import INPUT_PX, Palms, anchors, concatenate, decode, merge, overlap


def encode(boxes, keypoints, indices):
    """The raw output of the network that `decode` turns into these palms, at the given anchors."""
    raw = np.zeros((len(anchors()), 18), np.float32)
    logits = np.full((len(anchors()), 1), -20.0, np.float32)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 - anchors()[indices]
    values = np.concatenate(
        [
            center,
            boxes[:, 2:] - boxes[:, :2],
            (keypoints - anchors()[indices][:, None]).reshape(len(boxes), 14),
        ],
        1,
    )
    raw[indices] = values * INPUT_PX
    logits[indices, 0] = 3.0 - 0.1 * np.arange(len(indices))
    return raw, logits


def palm_at(x, y, score=0.9, side=0.2):
    box = np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]])
    return Palms(box, np.tile([x, y], (1, 7, 1)).astype(float), np.array([score]))


def test_anchors_are_those_of_the_graph():
    table = anchors()
    assert table.shape == (2016, 2)
    np.testing.assert_allclose(table[[0, 1]], 4 / 192)  # stride 8, two per cell
    np.testing.assert_allclose(table[2], [12 / 192, 4 / 192])  # x runs faster than y
    np.testing.assert_allclose(table[2 * 24 * 24 : 2 * 24 * 24 + 6], 8 / 192)  # stride 16, six per cell
    assert ((table > 0) & (table < 1)).all()


def test_decode_inverts_encode(rng):
    indices = np.array([5, 700, 1999])
    low = rng.uniform(0, 0.5, (3, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (3, 2))], 1)
    keypoints = rng.uniform(0, 1, (3, 7, 2))
    palms = decode(*encode(boxes, keypoints, indices), min_score=0.5)
    np.testing.assert_allclose(palms.boxes, boxes, atol=1e-6)  # float32 of up to 192
    np.testing.assert_allclose(palms.keypoints, keypoints, atol=1e-6)
    assert (np.diff(palms.scores) < 0).all()


def test_decode_keeps_nothing_below_the_threshold_and_survives_huge_logits():
    raw, logits = np.zeros((2016, 18), np.float32), np.full((2016, 1), -1e30, np.float32)
    assert len(decode(raw, logits, 0.5)) == 0
    logits[7] = 1e30
    assert decode(raw, logits, 0.5).scores.tolist() == [1.0]


def test_merge_takes_the_mean_weighted_by_score():
    merged = merge(concatenate([palm_at(0.5, 0.5, 0.9), palm_at(0.52, 0.5, 0.3), palm_at(0.1, 0.1, 0.5)]))
    np.testing.assert_allclose(merged.scores, [0.9, 0.5])
    np.testing.assert_allclose(merged.keypoints[0, 0], [(0.9 * 0.5 + 0.3 * 0.52) / 1.2, 0.5])
    np.testing.assert_allclose(merged.boxes[1], [0.0, 0.0, 0.2, 0.2], atol=1e-12)


def test_merge_of_nothing_is_nothing():
    assert len(merge(concatenate([]))) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 1)), max_size=12))
def test_merged_palms_keep_the_best_score_and_stay_within_their_group(candidates):
    palms = concatenate([palm_at(x, y, score) for x, y, score in candidates])
    merged = merge(palms)
    assert len(merged) <= len(palms)
    if len(palms):
        assert merged.scores[0] == palms.scores.max()
        assert (merged.boxes >= palms.boxes.min(0) - 1e-9).all()
        assert (merged.boxes <= palms.boxes.max(0) + 1e-9).all()


def test_overlap():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(overlap(boxes[0], boxes), [1, 1 / 3, 0, 0])


def test_to_image_puts_the_corner_of_the_square_on_the_corner_of_the_window():
    palms = palm_at(0.0, 0.0).to_image(100, 50, 384)
    np.testing.assert_allclose(palms.keypoints[0, 0], [99.5, 49.5])  # the first pixel's centre is (100, 50)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="Palms"):
        Palms(np.zeros((2, 4)), np.zeros((1, 7, 2)), np.zeros(2))
