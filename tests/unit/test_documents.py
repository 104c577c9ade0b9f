"""Every number of handgen's documents is bounded, and an integer an integer, whatever their schema says."""

import json

import pytest

from handgen.errors import HandgenError
from handgen.storage.documents import LARGEST, validate


def detection(**changes) -> dict:
    row = {"camera": "a", "frame": 3, "keypoints_px": [[1.0, 2.0]] * 21, "confidence": [1.0] * 21, "right": 1.0}
    return row | changes


@pytest.mark.parametrize("frame", [3.0, 1e300])
def test_an_integer_is_one_of_python(frame):
    """To JSON Schema 3.0 is one; a range, an index and a file's name are not made of it."""
    validate(detection(), "detection", "a.jsonl")
    with pytest.raises(HandgenError, match=r"a.jsonl: frame: .* is not of type"):
        validate(detection(frame=frame), "detection", "a.jsonl")


@pytest.mark.parametrize("sign", [-1, 1])
def test_numbers_are_bounded(sign):
    for number in ("1e300", "10000000001", "10000000001.5", "1.5E+11", "9999999999.5e1", "-3e10", "0.1e12"):
        text = (
            json.dumps(detection(keypoints_px=[["X", 2]] * 21)).replace('"X"', number, 1).replace('"X"', "1").encode()
        )
        with pytest.raises(HandgenError, match=r"keypoints_px/0/0: .*(maximum|minimum) of"):
            validate(json.loads(text), "detection", "a.jsonl", text)
    small = json.dumps(detection(camera="a3e5f9e11", right=1e-07)).encode()
    validate(json.loads(small), "detection", "a.jsonl", small)
    validate(detection(keypoints_px=[[sign * LARGEST, 2]] * 21), "detection", "a.jsonl")
    with pytest.raises(HandgenError, match=r"keypoints_px/0/0: .*(maximum|minimum) of"):
        validate(detection(keypoints_px=[[sign * LARGEST * 1.01, 2]] * 21), "detection", "a.jsonl")
