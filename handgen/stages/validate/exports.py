"""Data sets in other projects' formats: handgen's own exports, and others'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from handgen.datasets import reader as base
from handgen.datasets.coco import checks as coco
from handgen.datasets.coco.reader import annotation_files
from handgen.datasets.freihand import checks as freihand
from handgen.datasets.hamer import checks as hamer
from handgen.datasets.interhand import checks as interhand
from handgen.errors import HandgenError
from handgen.hand.model_files import MANO, load_hand
from handgen.hand.skeleton import SIDES
from handgen.io import shards
from handgen.label_checks.checks import Part, conclude, examine
from handgen.label_checks.evidence import Models, Tolerances, model_beside
from handgen.label_checks.findings import MISSING, PUT_IT_THERE, Checked, Findings
from handgen.progress import Progress
from handgen.records.labelled_image import LabelledImage
from handgen.runtime.engine import Engine
from handgen.stages.validate.export_files import check_listed
from handgen.storage import documents
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, kind_of

KIND = "export"
FORMATS = ("hamer", "freihand", "coco", "interhand", "hanco")
_BATCH = 500
# COCO says which keypoints are hidden; the others call those visible that another hand covers.
_IN_MASK, _IN_MASK_OF_HIDDEN = 0.5, 0.1
_PIXELS = 20  # pictures of a batch whose pixels are looked at
# 2D keypoints of these formats are projected when they are read, so nothing can be off there; nor in the world.
_PROJECTED = ("reprojection", "visible", "world", "translation")


@dataclass(frozen=True)
class ManifestInfo:
    """What an export's manifest says. model: the hand model of its parameters, or None."""

    model: str | None = None
    known: tuple[tuple[str, str], ...] = ()


def recognise_format(path: Location) -> str | None:
    """The format of a folder, by its manifest or its files; None where it is none of `FORMATS`."""
    if not isinstance(path, Path) or not path.is_dir():
        return None
    if kind_of(path) == KIND and (path / MANIFEST).is_file():
        form = read_json(path / MANIFEST).get("format")
        return form if form in FORMATS else None
    if any((path / f"{split}_K.json").is_file() for split in ("training", "evaluation")):
        return "freihand"
    if (path / "meta.json").is_file() and (path / "xyz").is_dir():
        return "hanco"
    if next(path.glob("annotations/**/InterHand2.6M_*_data.json"), None):
        return "interhand"
    if (path / "images").is_dir() and (path / "annotations").is_dir() and annotation_files(path):
        return "coco"
    tars = sorted(path.glob("*.tar"))
    return "hamer" if tars and _holds_labels(tars[0]) else None


def _holds_labels(tar: Path) -> bool:
    try:
        first = next(iter(shards.read_groups(tar)), None)
    except HandgenError:
        return True  # a damaged tar, which its check says
    return first is not None and any(suffix.endswith("pyd") for suffix in first[1])


def check(path: Location, form: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """A data set in one of `FORMATS`. digests, pixels: as for `handgen.stages.validate.stage.run`.

    Raises HandgenError for a COCO file that is too large to check.
    """
    assert isinstance(path, Path)
    in_mask = _IN_MASK if form == "coco" else _IN_MASK_OF_HIDDEN
    tolerances = Tolerances(parameters_mm=None, pixels_per_part=None if pixels else _PIXELS, in_mask=in_mask)
    told = _told(path)
    listed = check_listed(path, digests, engine)
    if form == "hamer":
        checked = _check_tars(path, told, tolerances, engine, show)
    elif form == "coco":
        checked = _check_coco(path, tolerances, show)
    else:
        checked = _check_read(path, form, told, tolerances, show)
    checked.findings.extend(listed.findings)
    checked.looked_at.update({name: count for name, count in listed.looked_at.items() if count})
    checked.notes.extend(listed.notes)
    if not pixels:
        checked.notes.append(f"pixels of {_PIXELS} pictures of every {_BATCH} or tar were looked at; --pixels: of all")
    return checked


def _told(path: Path) -> ManifestInfo:
    """The model by the manifest of an export of handgen's; it may lie beside what was exported."""
    names = set(base.declared_models(path).values())
    if len(names) != 1:
        return ManifestInfo()
    [name] = names
    source = read_json(path / MANIFEST).get("source")
    beside = model_beside(str(source["path"]), name) if isinstance(source, dict) and "path" in source else None
    return ManifestInfo(name, () if beside is None else ((name, beside),))


def _check_tars(path: Path, told: ManifestInfo, tolerances: Tolerances, engine: Engine, show: Progress) -> Checked:
    tars = sorted(path.glob("*.tar"))
    findings, looked_at = Findings(), Counter[str]()
    parts, paddings, pictures, hands = list[Part](), list[float](), 0, 0
    show("reading tars", 0, len(tars))
    check_one = partial(hamer.check_tar, known=dict(told.known), model=told.model, tolerances=tolerances)
    for done, found in enumerate(engine.map_units(check_one, tars, len(tars)), 1):
        findings.extend(found.findings)
        looked_at.update(found.looked_at)
        parts += found.parts
        paddings += found.paddings
        pictures, hands = pictures + found.pictures, hands + found.hands
        show("reading tars", done, len(tars))
    looked_at[hamer.PADDING] = len(paddings)
    if (fault := hamer.padding_fault(paddings)) is not None:
        findings.add(hamer.PADDING, f"{path}, all hands", fault.what, fault.next)
    return _joined(path, findings, looked_at, parts, {"pictures": pictures, "hands": hands, "tars": len(tars)})


def _check_coco(path: Path, tolerances: Tolerances, show: Progress) -> Checked:
    """Raises HandgenError when a file is too large to be held."""
    whole = Checked(Findings(), {"pictures": 0, "hands": 0}, [])
    files = annotation_files(path)
    for file in files:
        if (size := file.stat().st_size) > documents.MAX_JSON_BYTES:
            raise HandgenError(
                f"{file}: has {size >> 20} MiB and is too large to check (at most "
                f"{documents.MAX_JSON_BYTES >> 20} MiB); divide it by pictures into several files, and check these"
            )
    for done, file in enumerate(files, 1):
        one = coco.check_file(path, file, tolerances)
        whole.findings.extend(one.findings)
        whole.looked_at.update(one.looked_at)
        whole.notes.extend(one.notes)
        whole.facts.update({name: whole.facts[name] + one.facts[name] for name in whole.facts})
        show("reading files", done, len(files))
    return whole


def _check_read(path: Path, form: str, told: ManifestInfo, tolerances: Tolerances, show: Progress) -> Checked:
    """Of the formats that `handgen.stages.import_` reads as a whole: all splits that are there."""
    findings, looked_at, parts = Findings(), Counter[str](), list[Part]()
    arrays, models = _arrays(told), Models(dict(told.known))
    splits, notes = _splits(path, form)
    pictures = hands = 0
    for split in splits:
        annotated = None
        try:
            reader = base.FORMATS[form].open(path, split, arrays)
            total = pictures + reader.count
            if form == "interhand":
                annotated = interhand.AnnotatedPictures(path, reader.split)
            for batch in _batches(iter(reader)):
                pictures, hands = pictures + len(batch), hands + sum(len(image.hands) for image in batch)
                _check_pictures(findings, looked_at, path, batch)
                looked = batch if annotated is None else annotated.look(batch)
                parts.append(examine(looked, f"{path}, ", models, tolerances, _PROJECTED))
                show("reading pictures", pictures, total)
            if form == "freihand":
                freihand.check_root(findings, looked_at, path, reader.split)
        except HandgenError as error:
            findings.add(form, str(path), str(error), "correct the file, or get it again")
        if annotated is not None:
            findings.extend(annotated.findings)
            looked_at.update(annotated.looked_at)
    checked = _joined(path, findings, looked_at, parts, {"pictures": pictures, "hands": hands})
    checked.notes.extend(notes)
    if not arrays:
        checked.notes.append("parameters were not compared: MANO is not here (handgen models add)")
    return checked


def _splits(path: Path, form: str) -> tuple[list[str | None], list[str]]:
    """Those to look at, and notes; None: the format's first."""
    if form == "freihand":
        splits, notes = freihand.labelled_splits(path)
        return list(splits) or [None], notes
    if form == "interhand":
        return list(interhand.folders_of(path)) or [None], []
    return [None], ["of HanCo the frames before a green screen were looked at (train), not the others (test)"]


def _check_pictures(findings: Findings, looked_at: Counter[str], path: Path, batch: list[LabelledImage]) -> None:
    for image in batch:
        looked_at[MISSING] += 1
        if image.image is None:
            findings.add(MISSING, f"{path / image.name}", "the picture is not there", PUT_IT_THERE)


def _batches(images: Iterator[LabelledImage]) -> Iterator[list[LabelledImage]]:
    while batch := list(islice(images, _BATCH)):
        yield batch


def _arrays(told: ManifestInfo) -> dict[str, Any]:
    """The sides of the model that parameters are of: the manifest's, else MANO."""
    name = told.model or MANO
    arrays = {}
    for side in SIDES:
        try:
            arrays[side] = load_hand(dict(told.known).get(name, name), side)
        except HandgenError:
            continue
    return arrays


def _joined(
    path: Path, findings: Findings, looked_at: Counter[str], parts: list[Part], facts: dict[str, Any]
) -> Checked:
    meant, counted, notes = conclude(parts, f"{path}, ")
    findings.extend(meant)
    looked_at.update(counted)
    return Checked(findings, facts, notes, Counter({name: count for name, count in looked_at.items() if count}))
