"""A report's figures as lines of text: what the command prints and the page shows first."""

from __future__ import annotations

from handgen.stages.evaluate.measures import Distribution
from handgen.stages.evaluate.report import EvaluateReport

ALIGNMENT_NAMES = {
    "absolute": "MPJPE, absolute",
    "root_relative": "MPJPE, root-relative",
    "scale_aligned": "MPJPE, scale-aligned",
    "procrustes": "MPJPE, Procrustes",
}
SURFACE_NAMES = {"corresponding": "vertex error", "surface": "surface distance"}


def facts_of(report: EvaluateReport) -> list[tuple[str, str]]:
    """Name and text with its unit, in the order in which they matter."""
    facts: list[tuple[str, str]] = []
    if report.truth:
        facts += [("truth", report.truth.path), *_coverage(report), *_errors(report), *_consistency(report)]
    if report.leave_one_out:
        found = report.leave_one_out
        facts.append((f"left-out view, {found.hands} hands", spread(found.error_px, "px")))
        facts.append(("at the hand's depth", spread(found.error_mm, "mm")))
    return facts


def _coverage(report: EvaluateReport) -> list[tuple[str, str]]:
    found = report.coverage
    if found is None:
        return []
    share = "-" if found.annotated_share is None else f"{100 * found.annotated_share:.1f} %"
    hidden = f"; {found.unjudged_hands} of hands that no view shows" if found.unjudged_hands else ""
    return [
        ("frames compared", str(found.frames)),
        ("hands annotated", f"{share} ({found.annotated_hands} of {found.truth_hands})"),
        ("false hands", f"{found.false_hands}, of these {found.wrong_side_hands} of the wrong side{hidden}"),
    ]


def _errors(report: EvaluateReport) -> list[tuple[str, str]]:
    facts = []
    for name, errors in (report.keypoints or {}).items():
        facts.append((ALIGNMENT_NAMES[name], spread(errors.overall_mm, "mm")))
    if report.keypoints:
        areas = ", ".join(f"{errors.auc:.3f} {name.replace('_', ' ')}" for name, errors in report.keypoints.items())
        facts.append(("PCK, AUC to 50 mm", areas))
    if report.fingertips:
        tips = report.fingertips
        facts.append(("fingertips", f"{tips.mean_mm:.2f} mm on {tips.frames} frames"))
    if report.relative_root_mm:
        facts.append(("wrist to wrist", spread(report.relative_root_mm, "mm")))
    if report.vertices:
        found = report.vertices
        name = SURFACE_NAMES[found.kind]
        facts.append((name, spread(found.absolute_mm, "mm")))
        scores = ", ".join(f"{v:.3f} at {k.replace('_', ' ')}" for k, v in found.f_scores_procrustes.items())
        facts.append((f"{name}, Procrustes", spread(found.procrustes_mm, "mm")))
        facts.append(("F-score, Procrustes", scores))
    if report.pixels:
        facts.append(("2D error", spread(report.pixels.error_px, "px")))
    if report.masks:
        masks = report.masks
        facts.append(("mask IoU", f"{masks.iou.mean:.3f} (median {masks.iou.median:.3f}), {masks.views} views"))
        facts.append(("boundary F", f"{masks.boundary_f.mean:.3f} (median {masks.boundary_f.median:.3f})"))
    return facts


def _consistency(report: EvaluateReport) -> list[tuple[str, str]]:
    facts = []
    if report.shapes:
        facts.append(
            ("bone lengths", f"{report.bone_error_mm:.2f} mm off, {report.bone_spread_mm:.2f} mm spread over frames")
        )
    if report.jitter:
        found = report.jitter
        facts.append(
            (
                "jitter",
                f"{found.annotated_mm_s2.mean:,.0f} mm/s^2 (truth {found.truth_mm_s2.mean:,.0f}, "
                f"difference {found.error_mm_s2.mean:,.0f})",
            )
        )
    if report.uncertainty:
        known = report.uncertainty
        facts.append(
            (
                "uncertainty",
                f"{100 * known.within_one_sigma:.0f} % of errors within one sigma (68 would be right), "
                f"{100 * known.within_two_sigma:.0f} % within two; {known.expected_mm:.2f} mm expected",
            )
        )
    return facts


def spread(found: Distribution | None, unit: str) -> str:
    """`5.12 mm (median 4.80, 95 % below 9.70)`."""
    if found is None:
        return "-"
    return f"{found.mean:.2f} {unit} (median {found.median:.2f}, 95 % below {found.p95:.2f})"
