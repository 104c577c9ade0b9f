"""All checks by name, and running them: part by part of a set, then over all parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from handgen.label_checks import geometry, handedness, order, parameters, sets, unknown_camera, world
from handgen.label_checks.evidence import Check, Evidence, HandModels, SetCheck, Tolerances
from handgen.label_checks.findings import Findings
from handgen.label_checks.hands import Hands
from handgen.records.labelled_image import LabelledImage

# In this order: what comes first explains what comes after, and hands that it names are left out there.
CHECKS: dict[str, Check] = {
    **geometry.CHECKS,
    **order.CHECKS,
    **geometry.AFTER_ORDER,
    **unknown_camera.CHECKS,
    **parameters.CHECKS,
    **handedness.CHECKS,
}
SET_CHECKS: dict[str, SetCheck] = {**order.SET_CHECKS, **handedness.SET_CHECKS, **world.SET_CHECKS, **sets.SET_CHECKS}


@dataclass
class Part:
    """The outcome of one part of a set (a shard, a chunk). looked_at, collected: by check."""

    findings: Findings = field(default_factory=Findings)
    looked_at: Counter[str] = field(default_factory=Counter)
    collected: dict[str, Any] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


def examine(
    images: Sequence[LabelledImage],
    where: str,
    models: HandModels,
    tolerances: Tolerances,
    left_out: Collection[str] = (),
) -> Part:
    """Check the pictures of one part.

    where: the part, before the pictures' names in messages. left_out: checks that make no sense of this format.
    """
    part = Part()
    evidence = Evidence(Hands.of(images), models, tolerances)
    for name, check in CHECKS.items():
        if name in left_out or not len(evidence.hands):
            continue
        outcome = check.look(evidence, evidence.applicable(check))
        part.looked_at[name] += outcome.looked_at
        evidence.mark(name, outcome.wrong)
        for number, fault in sorted(outcome.wrong.items()):
            part.findings.add(name, f"{where}{evidence.hands.name(number)}", fault.what, fault.fix)
    for name, set_check in SET_CHECKS.items():
        if name not in left_out:
            part.collected[name] = set_check.collect(evidence)
    part.missing = models.missing
    return part


def conclude(parts: Iterable[Part], where: str) -> tuple[Findings, Counter[str], list[str]]:
    """Join all parts of a set: findings, how many things each check looked at, and notes."""
    findings, looked_at, missing = Findings(), Counter[str](), set[str]()
    collected: dict[str, list[Any]] = {}
    for part in parts:
        findings.extend(part.findings)
        looked_at.update(part.looked_at)
        missing |= part.missing
        for name, value in part.collected.items():
            if value is not None:
                collected.setdefault(name, []).append(value)
    for name, values in collected.items():
        count, faults = SET_CHECKS[name].conclude(values)
        looked_at[name] += count
        for place, fault in faults:
            findings.add(name, f"{where}{place}", fault.what, fault.fix)
    return findings, looked_at, [f"parameters were not compared: {why}" for why in sorted(missing)]
