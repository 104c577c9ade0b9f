"""Calibrations and captures: whether they can be read, and whether cameras, videos and clocks fit together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera, UnscaledRig
from handgen.io.calibration_files.base import Calibration, parse_json, read_text
from handgen.io.calibration_files.registry import load_calibration
from handgen.io.capture.capture import Capture, describe_damage, load_capture
from handgen.io.capture.frame_matching import rates_differ
from handgen.label_checks.findings import Checked, Findings
from handgen.label_checks.rotations import transform_fault
from handgen.media.image_folder import ImageFolder
from handgen.stages.validate.cameras import check_cameras, check_rig, doubt
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.local_copies import local_path

_FRAMES_APART = 0.02  # of the longest video, or two frames, whichever is more
_ABSENT = 0.1  # of the moments, frames that a camera has none of
_COMPARED_BYTES = 2**20


def check_calibration(path: Location) -> Checked:
    """A calibration: a file, or a folder of files, of any format that is read."""
    findings, here = Findings(looked_at=Counter({"calibration": 1})), local_path(path)
    try:
        calibration = load_calibration(here)
    except HandgenError as error:
        _name_failure(findings, here, error)
        return Checked(findings, {"cameras": 0})
    checked = Checked(findings, {"cameras": len(calibration.cameras)}, list(calibration.notes))
    checked.notes.extend(f"camera {name} is not calibrated ({why})" for name, why in calibration.uncalibrated.items())
    factor, cameras = calibration.metres_per_unit, tuple(calibration.cameras)
    if factor is not None:
        checked.notes.append(f"unit: {calibration.unit_note}")
        cameras = tuple(UnscaledRig(cameras).in_metres(factor))
    _check_together(checked, calibration, cameras, factor is not None, sized=not calibration.unsized)
    return checked


def _check_together(
    checked: Checked,
    calibration: Calibration,
    cameras: Sequence[Camera],
    in_metres: bool,
    notes: Sequence[str] = (),
    sized: bool = True,
) -> None:
    """Check cameras one by one, and whether they can be a rig. notes: more, after that on an unknown unit."""
    where = str(calibration.path)
    if not in_metres:
        checked.notes.append(f"the unit is unknown ({calibration.unit_note}): distances were not checked")
    checked.notes.extend(notes)
    check_cameras(checked.findings, where, cameras, sized)
    check_rig(checked.findings, where, cameras, in_metres)
    if "common view" not in checked.findings.counts and (said := doubt(cameras)) is not None:
        checked.notes.append(said)


def _name_failure(findings: Findings, path: Path, error: HandgenError) -> None:
    """Improper rotations of our own format by camera; whatever else a reader says as it is."""
    found = 0
    for file in [path] if path.is_file() else sorted(path.glob("*.json")):
        try:
            entries = parse_json(file, read_text(file))["cameras"]
            matrices = [(entry["name"], np.array(entry["cam_from_world"], float)) for entry in entries]
        except (HandgenError, KeyError, TypeError, ValueError, OverflowError):
            continue
        for name, matrix in matrices:
            if matrix.shape == (4, 4) and (fault := transform_fault(matrix)) is not None:
                findings.add("rotation", f"{file}, camera {name}", fault.what, fault.fix)
                found += 1
    if not found:
        kind = "rotation" if "rotation is not one" in str(error) else "calibration"
        what, _, fix = str(error).partition("; ")
        findings.add(kind, str(path), what, fix or "correct the file or calibrate again")


def check_capture(path: Location) -> Checked:
    """A capture: its calibration, videos or images, clocks and `capture.json`."""
    findings = Findings(looked_at=Counter({"capture": 1}))
    try:
        capture = load_capture(path, require_scale=False)
    except HandgenError as error:
        what, _, fix = str(error).partition("; ")
        if isinstance(path, Path):
            _name_failure(findings, path, error)
        if "rotation" not in findings.counts:
            findings = Findings(looked_at=findings.looked_at)
            findings.add("capture", str(path), what, fix or "correct it")
        return Checked(findings, {"cameras": 0, "frames": 0})
    cameras = tuple(capture.cameras)
    checked = Checked(findings, {"cameras": len(cameras), "frames": capture.frame_count})
    _check_together(checked, capture.calibration, cameras, capture.scale_known, capture.notes)
    _check_clocks(findings, capture)
    _check_videos(findings, capture)
    return checked


def _check_clocks(findings: Findings, capture: Capture) -> None:
    counts = [source.frame_count for source in capture.sources]
    rates = [source.fps for source in capture.sources if source.fps]
    findings.looked_at.update({"frame counts": len(counts), "frame rates": len(rates)})
    absent = (capture.source_frames < 0).mean(0) if len(capture.source_frames) else np.zeros(len(counts))
    has_offsets = len({int(frames[0]) for frames in capture.source_frames[:1].T}) > 1
    if max(counts) - min(counts) > max(2, _FRAMES_APART * max(counts)) and not has_offsets and not absent.any():
        said = ", ".join(f"{count} ({name})" for name, count in zip(capture.cameras.names, counts, strict=True))
        fix = "say in capture.json how they belong together: frame_offset, or timestamps"
        findings.add("frame counts", str(capture.path), f"the cameras have {said} frames", fix)
    by_order = bool((np.diff(capture.source_frames, axis=0) == 1).all())  # and not by time
    if rates and rates_differ(rates) and by_order:
        what = f"the videos' frame rates differ: {min(rates):.4g} to {max(rates):.4g} frames/s"
        findings.add("frame rates", str(capture.path), what, "give timestamps in capture.json")
    for name, share in zip(capture.cameras.names, absent, strict=True):
        if share > _ABSENT:
            what = f"camera {name} has no frame at {share:.0%} of the moments"
            findings.add("frame counts", str(capture.path), what, "check its timestamps and the tolerance")


def _check_videos(findings: Findings, capture: Capture) -> None:
    """The first frame of each can be decoded, and no two cameras have the same pictures."""
    names = capture.cameras.names
    findings.looked_at.update({"picture": len(names), "video twice": len(names)})
    try:
        next(capture.read(0, 1), None)
    except HandgenError as error:
        findings.add("picture", str(capture.path), str(error), "write the video or the pictures again")
    findings.looked_at["damaged frames"] = sum(source.frame_count for source in capture.sources)
    for name, source in zip(names, capture.sources, strict=True):
        if said := describe_damage(name, source):
            findings.add("damaged frames", str(source.path), said, "copy or record the video again")
    digests: dict[bytes, str] = {}
    for name, source in zip(names, capture.sources, strict=True):
        file = source.files[0] if isinstance(source, ImageFolder) else source.path
        with filesystem.open_read(file) as stream:
            digest = hashlib.sha256(stream.read(_COMPARED_BYTES)).digest()
        if digest in digests:
            what = f"camera {name} has the same pictures as {digests[digest]}"
            findings.add("video twice", str(file), what, "give every camera its own video")
        digests[digest] = name
