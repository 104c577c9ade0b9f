"""The annotations directory: what `annotate` writes and `synthesize`, `evaluate` and `inspect` read.

    manifest.json             kind, versions, hand model, subjects' betas, cameras, configuration, chunks, summary;
                              written last
    chunks/000000.jsonl       one record per hand and frame (`annotation_record.schema.json`)
    chunks/000000.tar         per record and view KEY.jpg (RGB crop, undistorted), KEY.mask.png (0 or 255) and, where
                              the forearm was found, KEY.arm.png (likewise)
    detections/000000.jsonl   what the detector saw (`detection.schema.json`), so that a rerun need not look again

A chunk is complete when its .jsonl and its .tar are there: both appear when whole, the .jsonl last. Records say where
in the tar their cutouts lie, so that one read gets a cutout, from a disk or a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from jaxtyping import Float, UInt8

from handgen.cameras import Camera, Rig
from handgen.errors import HandgenError
from handgen.hand.layout import SIDES
from handgen.io import storage
from handgen.io.cameras import camera_from_document
from handgen.io.cutouts import Cutout, CutoutTar, members_of
from handgen.io.fetched import fetch
from handgen.io.output import MANIFEST, kind_of
from handgen.io.schema import dumps, loads, read_json, validate, write_json
from handgen.io.storage import Location, whole_file
from handgen.io.tar import Span, write_tar
from handgen.rigid import Rigid

KIND = "annotations"
UNNAMED_SUBJECT = "0"  # the person of a capture that does not say who it is
CHUNKS, DETECTIONS = "chunks", "detections"
RECORD_SCHEMA, MANIFEST_SCHEMA = "annotation_record", "annotation_manifest"
FILES = {"records": ".jsonl", "cutouts": ".tar"}  # of a chunk
_TARS = 64
_MAX_CHUNK_BYTES = 2**30  # of a chunk's records; a hand seen by eight cameras takes about 20 KB
_MAX_LINE_BYTES = 4 * 2**20


KEYPOINTS, SILHOUETTE, INTERPOLATED = SOURCES = ("keypoints", "silhouette", "interpolated")
_UPPER = np.triu_indices(3)  # xx, xy, xz, yy, yz, zz


@dataclass(frozen=True)
class ViewRecord:
    """One hand in one view.

    camera: the ideal camera of the cutout, in the capture's world. box_px: left, top, width, height of the cutout in
    the ideal full image. detected_px: (21, 3) x, y in the full, distorted image and confidence, or None where the
    detector missed the hand. detected_again: whether it took a second look. reprojection_px: median distance of the fit
    from the detection, full image pixels. edge_blur_px: how blurred the hand's edge is in the cutout
    (`handgen.edge_blur`), None where that could not be measured. screen: "green" or "blue" where that is behind the
    hand. cutout_span: first byte and number of bytes of the cutout in the chunk's tar; None where that is not known.
    """

    camera: Camera
    cutout: str
    box_px: tuple[int, int, int, int]
    detected_px: Float[np.ndarray, "21 3"] | None
    reprojection_px: float | None
    mask_iou: float | None
    accepted: bool
    reasons: tuple[str, ...] = ()
    detected_again: bool = False
    edge_blur_px: float | None = None
    screen: str | None = None
    cutout_span: Span | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `annotation_record.schema.json`."""
        return {
            "camera": self.camera.name,
            "cutout": self.cutout,
            "cutout_span": None if self.cutout_span is None else list(self.cutout_span),
            "box_px": list(self.box_px),
            "size_px": list(self.camera.size_px),
            "intrinsics": np.round(self.camera.intrinsics, 9).tolist(),
            "cam_from_world": np.round(self.camera.cam_from_world.as_matrix(), 12).tolist(),
            "detected_px": None if self.detected_px is None else np.round(self.detected_px, 3).tolist(),
            "detected_again": self.detected_again,
            "reprojection_px": self.reprojection_px,
            "mask_iou": self.mask_iou,
            "edge_blur_px": None if self.edge_blur_px is None else round(self.edge_blur_px, 3),
            "screen": self.screen,
            "accepted": self.accepted,
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ViewRecord:
        """Of a validated document."""
        camera = Camera(
            name=document["camera"],
            size_px=(document["size_px"][0], document["size_px"][1]),
            intrinsics=np.array(document["intrinsics"], dtype=float),
            cam_from_world=Rigid.from_matrix(np.array(document["cam_from_world"], dtype=float)),
        )
        detected = document["detected_px"]
        left, top, width, height = document["box_px"]
        span = document.get("cutout_span")
        return cls(
            camera=camera,
            cutout=document["cutout"],
            box_px=(left, top, width, height),
            detected_px=None if detected is None else np.array(detected, dtype=float),
            reprojection_px=document["reprojection_px"],
            mask_iou=document["mask_iou"],
            accepted=document["accepted"],
            reasons=tuple(document["reasons"]),
            detected_again=document.get("detected_again", False),
            edge_blur_px=document.get("edge_blur_px"),
            screen=document.get("screen"),
            cutout_span=None if span is None else (span[0], span[1]),
        )


@dataclass(frozen=True)
class HandRecord:
    """One hand in one frame. Pose and translation as in `handgen.hand.model`, world frame, metres and radians.

    covariance_mm2: of each keypoint in the world, mm^2; None where it is not known. source: what the pose is known by,
    one of `SOURCES`. terms: share of each term in the cost of the fit.
    """

    frame: int
    side: str
    subject: str
    pose: Float[np.ndarray, " 48"]
    translation_m: Float[np.ndarray, " 3"]
    keypoints_world_m: Float[np.ndarray, "21 3"]
    accepted: bool
    reasons: tuple[str, ...] = ()
    reprojection_px: float | None = None
    mask_iou: float | None = None
    views_detected: int = 0  # in how many views the detector saw the hand
    views: tuple[ViewRecord, ...] = field(default=())
    covariance_mm2: Float[np.ndarray, "21 3 3"] | None = None
    source: str = KEYPOINTS
    terms: dict[str, float] = field(default_factory=dict)

    @property
    def expected_error_mm(self) -> float | None:
        """How far a keypoint is off, by the covariance: root of its trace, mean over the keypoints."""
        if self.covariance_mm2 is None:
            return None
        return float(np.sqrt(np.trace(self.covariance_mm2, axis1=-2, axis2=-1)).mean())

    def to_json(self) -> dict[str, Any]:
        """As in `annotation_record.schema.json`."""
        return {
            "frame": self.frame,
            "side": self.side,
            "subject": self.subject,
            "pose": np.round(self.pose, 6).tolist(),
            "translation_m": np.round(self.translation_m, 6).tolist(),
            "keypoints_world_m": np.round(self.keypoints_world_m, 6).tolist(),
            "keypoints_covariance_mm2": None
            if self.covariance_mm2 is None
            else np.round(self.covariance_mm2[:, *_UPPER], 3).tolist(),
            "source": self.source,
            "terms": {name: round(share, 4) for name, share in self.terms.items()},
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "quality": {
                "expected_error_mm": None if (error := self.expected_error_mm) is None else round(error, 3),
                "reprojection_px": self.reprojection_px,
                "mask_iou": self.mask_iou,
                "views_detected": self.views_detected,
            },
            "views": [view.to_json() for view in self.views],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> HandRecord:
        """Of a validated document."""
        return cls(
            frame=document["frame"],
            side=document["side"],
            subject=document["subject"],
            pose=np.array(document["pose"], dtype=float),
            translation_m=np.array(document["translation_m"], dtype=float),
            keypoints_world_m=np.array(document["keypoints_world_m"], dtype=float),
            accepted=document["accepted"],
            reasons=tuple(document["reasons"]),
            covariance_mm2=_symmetric(document.get("keypoints_covariance_mm2")),
            source=document.get("source", KEYPOINTS),
            terms=document.get("terms", {}),
            reprojection_px=document["quality"]["reprojection_px"],
            mask_iou=document["quality"]["mask_iou"],
            views_detected=document["quality"]["views_detected"],
            views=tuple(ViewRecord.from_json(view) for view in document["views"]),
        )


def _symmetric(upper: list[list[float]] | None) -> Float[np.ndarray, "21 3 3"] | None:
    if upper is None:
        return None
    full = np.zeros((len(upper), 3, 3))
    full[:, *_UPPER] = upper
    return full + full.transpose(0, 2, 1) - full * np.eye(3)


def chunk_path(root: Location, index: int, suffix: str) -> Location:
    """`chunks/000017.jsonl` of chunk 17."""
    return root / CHUNKS / f"{index:06d}{suffix}"


def chunk_is_complete(root: Location, index: int) -> bool:
    """Whether both files of a chunk are there, so that a rerun need not make them again."""
    return all(storage.size_of(chunk_path(root, index, suffix)) is not None for suffix in FILES.values())


def write_chunk(
    root: Location, index: int, records: Iterable[HandRecord], cutouts: Iterable[tuple[str, Cutout]]
) -> dict[str, dict[str, Any]]:
    """Write one chunk; `chunks/INDEX.jsonl` appears only when the chunk is whole.

    Returns `bytes` and `sha256` of its `records` and its `cutouts`, as in the manifest.
    """
    storage.make_folder(root / CHUNKS)
    encoded = (member for key, cutout in cutouts for member in members_of(key, cutout))
    tar = write_tar(chunk_path(root, index, ".tar"), encoded)
    path = chunk_path(root, index, ".jsonl")
    digest, size = hashlib.sha256(), 0
    with whole_file(path) as file:
        for record in records:
            views = tuple(replace(view, cutout_span=tar.spans.get(view.cutout)) for view in record.views)
            line = dumps(replace(record, views=views).to_json())
            validate(orjson.loads(line), RECORD_SCHEMA, f"{path}, frame {record.frame}")
            size += file.write(line)
            digest.update(line)
    return {
        "records": {"bytes": size, "sha256": digest.hexdigest()},
        "cutouts": {"bytes": tar.bytes, "sha256": tar.sha256},
    }


def describe_chunk(root: Location, index: int) -> dict[str, dict[str, Any]]:
    """What `write_chunk` returned of a chunk, read from its files.

    Raises HandgenError where one cannot be read.
    """
    described = {}
    for name, suffix in FILES.items():
        size, sha256 = storage.digest(chunk_path(root, index, suffix))
        described[name] = {"bytes": size, "sha256": sha256}
    return described


def finished_chunks(root: Location, count: int, noted: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Which of `count` chunks are complete, and what their files hold: as noted, else as read from those there."""
    there = storage.sizes(root / CHUNKS)
    found = {}
    for index in range(count):
        sizes = {name: there.get(chunk_path(root, index, suffix).name) for name, suffix in FILES.items()}
        entry = noted.get(index)
        if entry is not None and all(entry[name]["bytes"] == size for name, size in sizes.items()):
            found[index] = entry
        elif entry is None and None not in sizes.values():
            found[index] = describe_chunk(root, index)
    return found


def read_chunk(root: Location, index: int) -> list[HandRecord]:
    """The records of one chunk, validated."""
    path = chunk_path(root, index, ".jsonl")
    try:
        if isinstance(path, Path) and path.stat().st_size > _MAX_CHUNK_BYTES:
            raise HandgenError(f"{path}: larger than {_MAX_CHUNK_BYTES >> 20} MiB; is this the right file?")
        with BytesIO(storage.read(path)) as file:
            return [_read_record(line, f"{path}, line {number}") for number, line in enumerate(_lines(file), 1)]
    except OSError as error:
        raise HandgenError(
            f"{path}: cannot be read ({error.strerror}); run `handgen annotate` again to finish the annotations"
        ) from None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; one that is too long comes cut off, and so is no JSON."""
    while line := file.readline(_MAX_LINE_BYTES):
        yield line


def _read_record(line: bytes, where: str) -> HandRecord:
    document = loads(line, where)
    validate(document, RECORD_SCHEMA, where)
    try:
        return HandRecord.from_json(document)
    except ValueError as error:
        raise HandgenError(f"{where}: {error}; the annotations were changed or damaged") from None


def write_manifest(root: Location, manifest: dict[str, Any]) -> None:
    """Write `manifest.json`, validated; it comes last, so its presence means that the annotations are complete."""
    write_json(root / MANIFEST, manifest, MANIFEST_SCHEMA)


class Annotations:
    """A complete annotations directory, opened for reading.

    Raises HandgenError when it has no manifest, or one that is not of annotations.
    """

    def __init__(self, root: Location) -> None:
        self.root = root
        if storage.size_of(root / MANIFEST) is None:
            raise HandgenError(
                f"{root}: no {MANIFEST}, so no finished annotations; run `handgen annotate CAPTURE --out {root}` first"
            )
        if (kind := kind_of(root)) not in (KIND, None):
            raise HandgenError(f"{root}: holds {kind}, not {KIND}; give the directory that `handgen annotate` wrote")
        self.manifest = read_json(root / MANIFEST, MANIFEST_SCHEMA)
        self._tars: dict[int, CutoutTar] = {}
        self._fetched: dict[tuple[Location, Span], bytes] = {}

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return len(self.manifest["chunks"])

    @property
    def hand_model(self) -> str:
        """The hand model as `handgen.hand.assets.load_hand` takes it.

        A model that lies in the directory itself (a simulated subject's own hand) is named relative to it.
        """
        name = self.manifest["hand_model"]["name"]
        if not name.endswith(".npz"):
            return name
        files = [self.root / name.replace("{side}", side) for side in SIDES]
        there = [file for file in files if storage.size_of(file) is not None]
        if not there:
            return name
        if isinstance(self.root, Path):
            return str(self.root / name)
        folder = there[0].parent
        copies = fetch(folder, {file.name for file in there}.intersection).path()
        return str(copies / name.rpartition("/")[2])

    @cached_property
    def betas(self) -> dict[str, Float[np.ndarray, " 10"]]:
        """Shape coefficients per subject."""
        return {name: np.array(subject["betas"]) for name, subject in self.manifest["subjects"].items()}

    def betas_of(self, record: HandRecord) -> Float[np.ndarray, " 10"]:
        """Of the record's subject. Raises HandgenError where the manifest does not list them."""
        if record.subject not in self.betas:
            raise HandgenError(
                f"{self.root}: frame {record.frame} is of subject {record.subject!r}, "
                "whom the manifest does not list; run `handgen annotate` again"
            )
        return self.betas[record.subject]

    @property
    def capture(self) -> str:
        """Name of the capture."""
        return Path(self.manifest["capture"]["path"]).name or "capture"

    def people(self, capture: str) -> dict[str, str]:
        """Who each subject is, as samples name them: somebody without a name is nobody else's of another capture."""
        said = {name: subject.get("person", name) for name, subject in self.manifest["subjects"].items()}
        return {name: f"{capture}/{person}" if person == UNNAMED_SUBJECT else person for name, person in said.items()}

    @cached_property
    def rig(self) -> Rig:
        """The cameras of the capture as they were used: of whole, distorted images, world in metres."""
        where = str(self.root / MANIFEST)
        try:
            return Rig(tuple(camera_from_document(entry, where) for entry in self.manifest["cameras"]))
        except ValueError as error:
            raise HandgenError(f"{where}: {error}; the annotations were changed or damaged") from None

    def records(self, chunk: int) -> list[HandRecord]:
        """All records of one chunk, accepted or not."""
        return read_chunk(self.root, chunk)

    def __iter__(self) -> Iterator[tuple[int, HandRecord]]:
        """Every record with its chunk's index, one chunk in memory at a time."""
        for chunk in range(self.chunk_count):
            for record in self.records(chunk):
                yield chunk, record

    def cutout(self, chunk: int, view: ViewRecord) -> Cutout:
        """The pixels of one view.

        Raises HandgenError when a member is missing, unreadable or of another size than the record says.
        """
        return self.named_cutout(chunk, view.cutout, view.camera.size_px, view.cutout_span)

    def named_cutout(
        self,
        chunk: int,
        name: str,
        size_px: tuple[int, int],
        span: Span | None = None,
        reduced: int = 1,
        with_arm: bool = True,
    ) -> Cutout:
        """The pixels of the view whose record names its cutout so, at 1 / `reduced` of their size.

        span: as the record says. See `handgen.io.cutouts.CutoutTar.cutout`.
        """
        return self._tar(chunk).cutout(name, size_px, span, reduced, with_arm)

    def encoded_cutout(self, chunk: int, view: ViewRecord) -> tuple[bytes, UInt8[np.ndarray, "height width"]]:
        """The picture of one view as a JPEG, and its mask. Raises HandgenError as `cutout` does."""
        return self._tar(chunk).encoded(view.cutout, view.camera.size_px, view.cutout_span)

    def fetch(self, spans: Iterable[tuple[int, Span]]) -> None:
        """Get the cutouts at these places (chunk, span) from a store, all at once, to be read soon.

        Those fetched before are forgotten. Of a disk nothing is fetched.
        """
        if storage.is_remote(self.root):
            self._fetched.clear()
            self._fetched |= storage.read_ranges([(chunk_path(self.root, c, ".tar"), span) for c, span in spans])

    def _tar(self, chunk: int) -> CutoutTar:
        if chunk not in self._tars:
            if len(self._tars) >= _TARS:  # what is remembered of them stays bounded in the length of the capture
                del self._tars[next(iter(self._tars))]
            self._tars[chunk] = CutoutTar(chunk_path(self.root, chunk, ".tar"), self._fetched)
        return self._tars[chunk]
