"""The boundary of checks, and the check of formats whose splits are read as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from handgen.datasets.reader import Models, Reader, declared_models
from handgen.errors import HandgenError
from handgen.hand.model_files import MANO
from handgen.label_checks.checks import BATCH, Part, conclude_parts, examine
from handgen.label_checks.evidence import HandModels, Tolerances, load_sides, model_beside
from handgen.label_checks.findings import MISSING, PUT_IT_THERE, Checked, Findings
from handgen.progress import Progress
from handgen.records.labelled_image import LabelledImage
from handgen.runtime.engines import Engine
from handgen.storage.documents import read_json
from handgen.storage.output import MANIFEST

_PIXELS = 20  # pictures of a batch whose pixels are looked at
PIXELS_NOTE = f"pixels of {_PIXELS} pictures of every {BATCH} or tar were looked at; --pixels: of all"
# 2D keypoints of these formats are projected when they are read, so nothing can be off there; nor in the world.
_PROJECTED = ("reprojection", "visible", "world", "translation")


@dataclass(frozen=True)
class ManifestInfo:
    """The hand model of parameters. model: its name, if a manifest says it. known: its file by name, if it is here."""

    model: str | None = None
    known: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckContext:
    """The folder's surroundings that the checks of every format are given. pixels: look at every picture and mask."""

    manifest: ManifestInfo
    pixels: bool
    engine: Engine
    show: Progress

    def tolerances(self, in_mask: float = 0.1) -> Tolerances:
        """Tolerances of others' labels; in_mask as there: most formats call those visible that another hand covers."""
        pixels_per_part = None if self.pixels else _PIXELS
        return Tolerances(parameters_mm=None, pixels_per_part=pixels_per_part, in_mask=in_mask)


class SplitCheck:
    """Checks of one split besides those of labelled pictures; this one has none."""

    def __init__(self) -> None:
        self.findings = Findings()

    def look(self, images: list[LabelledImage]) -> list[LabelledImage]:
        """Check some pictures; return them as the checks of labels are to see them."""
        return images

    def finish(self) -> None:
        """Check what needs no pictures."""


def read_manifest_info(root: Path) -> ManifestInfo:
    """The hand model by the manifest of an export of handgen's; empty for any other data set."""
    names = set(declared_models(root).values())
    if len(names) != 1:
        return ManifestInfo()
    [name] = names
    source = read_json(root / MANIFEST).get("source")
    beside = model_beside(str(source["path"]), name) if isinstance(source, dict) and "path" in source else None
    return ManifestInfo(name, {} if beside is None else {name: beside})


def check_splits(
    root: Path,
    format: str,
    open_reader: Callable[[Path, str | None, Models], Reader],
    splits: Sequence[str],
    context: CheckContext,
    more_checks: Callable[[Path, str], SplitCheck] = lambda root, split: SplitCheck(),
    notes: Sequence[str] = (),
) -> Checked:
    """Read splits (none: the format's first) and check their labels. more_checks, notes: the format's own."""
    findings, parts = Findings(), list[Part]()
    known, model = context.manifest.known, context.manifest.model or MANO  # that parameters are of
    arrays, models = load_sides(known.get(model, model)), HandModels(known)
    pictures = hands = 0
    wanted: Sequence[str | None] = splits or [None]
    for split in wanted:
        more = None
        try:
            reader = open_reader(root, split, arrays)
            total = pictures + reader.count
            more = more_checks(root, reader.split)
            images = iter(reader)
            while batch := list(islice(images, BATCH)):
                pictures, hands = pictures + len(batch), hands + sum(len(image.hands) for image in batch)
                for image in batch:
                    findings.looked_at[MISSING] += 1
                    if image.image is None:
                        findings.add(MISSING, f"{root / image.name}", "the picture is not there", PUT_IT_THERE)
                parts.append(examine(more.look(batch), f"{root}, ", models, context.tolerances(), _PROJECTED))
                context.show("reading pictures", pictures, total)
            more.finish()
        except HandgenError as error:
            findings.add(format, str(root), str(error), "correct the file, or get it again")
        if more is not None:
            findings.extend(more.findings)
    findings.looked_at = +findings.looked_at
    checked = conclude_parts(root, findings, parts, {"pictures": pictures, "hands": hands})
    checked.notes.extend(notes)
    if not arrays:
        checked.notes.append("parameters were not compared: MANO is not here (handgen models add)")
    return checked
