"""Files of 2D detections: JSONL, one hand in one image per line, `schemas/detection.schema.json`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from handgen.errors import HandgenError, explain_unreadable
from handgen.records.detection import DetectionRecord
from handgen.storage import filesystem, limits
from handgen.storage.documents import dumps, loads, validate
from handgen.storage.filesystem import Location, whole_file
from handgen.storage.json_fields import from_document, to_document

SCHEMA = "detection"


def write_detections(path: Location, records: Iterable[DetectionRecord]) -> int:
    """Write JSONL that appears under its name only when complete; returns the number of lines."""
    count = 0
    with whole_file(path) as stream:
        for record in records:
            line = dumps(to_document(record))
            validate(loads(line, str(path)), SCHEMA, f"{path}: line {count + 1}")
            stream.write(line)
            count += 1
    return count


def read_detections(path: Location, cameras: Collection[str] | None = None) -> Iterator[DetectionRecord]:
    """The detections of a JSONL file; HandgenError for a line that does not fit, or is of none of `cameras`."""
    most = limits.DETECTION_LINE.allowed
    with explain_unreadable(path), filesystem.open_read(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(most + 1), b""), 1):
            where = f"{path}: line {number}"
            if len(line) > most:
                limits.DETECTION_LINE.check(len(line), where, "is this a file of detections?")
            if not line.strip():
                continue
            document = loads(line, where)
            validate(document, SCHEMA, where, line)
            if cameras is not None and document["camera"] not in cameras:
                raise HandgenError(
                    f"{where}: no camera is called {document['camera']!r}; expected {', '.join(cameras)}"
                )
            yield from_document(DetectionRecord, document)
