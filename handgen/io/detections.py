"""Files of 2D detections: JSONL, one hand in one image per line, `schemas/detection.schema.json`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from handgen.errors import HandgenError
from handgen.records.detection import DetectionRecord
from handgen.storage import filesystem
from handgen.storage.documents import dumps, loads, validate
from handgen.storage.filesystem import Location, whole_file

SCHEMA = "detection"
MAX_LINE_BYTES = 2**16  # a line has about 1 KB
_PX_DECIMALS, _CONFIDENCE_DECIMALS = 3, 4


def write_detections(path: Location, records: Iterable[DetectionRecord]) -> int:
    """Write JSONL that appears under its name only when complete; returns the number of lines.

    Positions are rounded to 0.001 px, the rest to 0.0001.
    """
    count = 0
    with whole_file(path) as stream:
        for record in records:
            document = {
                "camera": record.camera,
                "frame": int(record.frame),
                "keypoints_px": np.round(record.keypoints_px.astype(float), _PX_DECIMALS).tolist(),
                "confidence": np.round(record.confidence.astype(float), _CONFIDENCE_DECIMALS).tolist(),
                "right": round(float(record.right), _CONFIDENCE_DECIMALS),
            }
            line = dumps(document | {"again": True} if record.redetected else document)
            validate(loads(line, str(path)), SCHEMA, f"{path}: line {count + 1}")
            stream.write(line)
            count += 1
    return count


def read_detections(path: Location, cameras: Collection[str] | None = None) -> Iterator[DetectionRecord]:
    """The detections of a JSONL file, line by line; HandgenError naming the line that does not fit.

    cameras: the names that may occur; any if None.
    """
    try:
        with filesystem.open_read(path) as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                where = f"{path}: line {number}"
                if len(line) > MAX_LINE_BYTES:
                    raise HandgenError(f"{where}: longer than {MAX_LINE_BYTES} bytes; is this a file of detections?")
                if not line.strip():
                    continue
                document = loads(line, where)
                validate(document, SCHEMA, where)
                if cameras is not None and document["camera"] not in cameras:
                    raise HandgenError(
                        f"{where}: no camera is called {document['camera']!r}; expected {', '.join(cameras)}"
                    )
                yield DetectionRecord(
                    camera=document["camera"],
                    frame=int(document["frame"]),
                    keypoints_px=np.array(document["keypoints_px"], float),
                    confidence=np.array(document["confidence"], float),
                    right=float(document["right"]),
                    redetected=document.get("again", False),
                )
    except OSError as error:
        raise HandgenError(f"{path}: cannot be read ({error.strerror})") from None
