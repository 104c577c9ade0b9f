"""All checks by name, and running them: part by part of a set, then over all parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from handgen.label_checks import geometry, handedness, order, parameters, reprojection, sets, world
from handgen.label_checks.evidence import Check, Evidence, HandModels, SetCheck, Tolerances
from handgen.label_checks.findings import Checked, Findings
from handgen.label_checks.hands import Hands
from handgen.records.labelled_image import LabelledImage
from handgen.storage.filesystem import Location

BATCH = 500  # pictures whose labels are looked at together
# In this order: what comes first explains what comes after, and hands that it names are left out there.
CHECKS: dict[str, Check] = {
    **geometry.CHECKS,
    **order.CHECKS,
    **geometry.AFTER_ORDER,
    **reprojection.CHECKS,
    **parameters.CHECKS,
    **handedness.CHECKS,
}
SET_CHECKS: dict[str, SetCheck] = {**order.SET_CHECKS, **handedness.SET_CHECKS, **world.SET_CHECKS, **sets.SET_CHECKS}


@dataclass
class Part:
    """The outcome of one part of a set (a shard, a chunk). collected: by check."""

    findings: Findings = field(default_factory=Findings)
    collected: dict[str, Any] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


def examine(
    images: Sequence[LabelledImage],
    where: str,
    models: HandModels,
    tolerances: Tolerances,
    left_out: Collection[str] = (),
) -> Part:
    """Check the pictures of one part, which `where` names in messages. left_out: checks that do not suit a format."""
    part = Part()
    evidence = Evidence(Hands.of(images), models, tolerances)
    for name, check in CHECKS.items():
        if name in left_out or not len(evidence.hands):
            continue
        outcome = check.look(evidence, evidence.applicable(check))
        part.findings.looked_at[name] += outcome.looked_at
        evidence.mark(name, outcome.wrong)
        for number, fault in sorted(outcome.wrong.items()):
            part.findings.add_fault(name, f"{where}{evidence.hands.name(number)}", fault)
    for name, set_check in SET_CHECKS.items():
        if name not in left_out:
            part.collected[name] = set_check.collect(evidence)
    part.missing = models.missing
    return part


class BatchExaminer:
    """Examines pictures (as `examine` does) as they come, `batch` of them at a time, which become one of `parts`."""

    def __init__(
        self, where: str, models: HandModels, tolerances: Tolerances, left_out: Collection[str] = (), batch: int = BATCH
    ) -> None:
        self.parts: list[Part] = []
        self._arguments, self._batch = (where, models, tolerances, left_out), batch
        self._images: list[LabelledImage] = []

    def add(self, image: LabelledImage) -> None:
        """Take one more picture."""
        self._images.append(image)
        if len(self._images) == self._batch:
            self.finish()

    def finish(self) -> list[Part]:
        """Examine what is left; return all parts."""
        if self._images:
            self.parts.append(examine(self._images, *self._arguments))
            self._images = []
        return self.parts


def conclude(parts: Iterable[Part], where: str) -> tuple[Findings, list[str]]:
    """Join all parts of a set: findings, and notes."""
    findings, missing = Findings(), set[str]()
    collected: dict[str, list[Any]] = {}
    for part in parts:
        findings.extend(part.findings)
        missing |= part.missing
        for name, value in part.collected.items():
            if value is not None:
                collected.setdefault(name, []).append(value)
    for name, values in collected.items():
        count, faults = SET_CHECKS[name].conclude(values)
        findings.looked_at[name] += count
        for place, fault in faults:
            findings.add_fault(name, f"{where}{place}", fault)
    return findings, [f"parameters were not compared: {why}" for why in sorted(missing)]


def conclude_parts(root: Location, findings: Findings, parts: Iterable[Part], facts: dict[str, Any]) -> Checked:
    """Join what the parts of the set in `root` give with what was found and looked at besides."""
    of_labels, notes = conclude(parts, f"{root}, ")
    of_labels.looked_at = +of_labels.looked_at  # by those that looked at something
    findings.extend(of_labels)
    return Checked(findings, facts, notes)
