"""A report's figures as lines of text: what the command prints and the page shows first."""

from __future__ import annotations

from handgen.stages.evaluate.leave_one_out import LeaveOneOut
from handgen.stages.evaluate.measures import Distribution, Fingertips, Jitter, KeypointErrors, Uncertainty
from handgen.stages.evaluate.results import Coverage, Masks, Pixels, Vertices

ALIGNMENT_NAMES = {
    "absolute": "MPJPE, absolute",
    "root_relative": "MPJPE, root-relative",
    "scale_aligned": "MPJPE, scale-aligned",
    "procrustes": "MPJPE, Procrustes",
}
SURFACE_NAMES = {"corresponding": "vertex error", "surface": "surface distance"}


def coverage_lines(found: Coverage) -> list[tuple[str, str]]:
    """How many hands were compared, found and invented."""
    share = "-" if found.annotated_share is None else f"{100 * found.annotated_share:.1f} %"
    hidden = f"; {found.unjudged_hands} of hands that no view shows" if found.unjudged_hands else ""
    return [
        ("frames compared", str(found.frames)),
        ("hands annotated", f"{share} ({found.annotated_hands} of {found.truth_hands})"),
        ("false hands", f"{found.false_hands}, of these {found.wrong_side_hands} of the wrong side{hidden}"),
    ]


def keypoint_lines(
    keypoints: dict[str, KeypointErrors] | None, fingertips: Fingertips | None, relative_root_mm: Distribution | None
) -> list[tuple[str, str]]:
    """How far keypoints are from the true ones."""
    facts = []
    for name, errors in (keypoints or {}).items():
        facts.append((ALIGNMENT_NAMES[name], spread(errors.overall_mm, "mm")))
    if keypoints:
        areas = ", ".join(f"{errors.auc:.3f} {name.replace('_', ' ')}" for name, errors in keypoints.items())
        facts.append(("PCK, AUC to 50 mm", areas))
    if fingertips:
        facts.append(("fingertips", f"{fingertips.mean_mm:.2f} mm on {fingertips.frames} frames"))
    if relative_root_mm:
        facts.append(("wrist to wrist", spread(relative_root_mm, "mm")))
    return facts


def picture_lines(found: Vertices | None, pixels: Pixels | None, masks: Masks | None) -> list[tuple[str, str]]:
    """How far surfaces, 2D keypoints and masks are from the true ones."""
    facts = []
    if found:
        name = SURFACE_NAMES[found.kind]
        facts.append((name, spread(found.absolute_mm, "mm")))
        scores = ", ".join(f"{v:.3f} at {k.replace('_', ' ')}" for k, v in found.f_scores_procrustes.items())
        facts.append((f"{name}, Procrustes", spread(found.procrustes_mm, "mm")))
        facts.append(("F-score, Procrustes", scores))
    if pixels:
        facts.append(("2D error", spread(pixels.error_px, "px")))
    if masks:
        facts.append(("mask IoU", f"{masks.iou.mean:.3f} (median {masks.iou.median:.3f}), {masks.views} views"))
        facts.append(("boundary F", f"{masks.boundary_f.mean:.3f} (median {masks.boundary_f.median:.3f})"))
    return facts


def time_lines(found: Jitter | None, known: Uncertainty | None) -> list[tuple[str, str]]:
    """How steady the annotations are, and how well they know their own errors."""
    facts = []
    if found:
        facts.append(
            (
                "jitter",
                f"{found.annotated_mm_s2.mean:,.0f} mm/s^2 (truth {found.truth_mm_s2.mean:,.0f}, "
                f"difference {found.error_mm_s2.mean:,.0f})",
            )
        )
    if known:
        facts.append(
            (
                "uncertainty",
                f"{100 * known.within_one_sigma:.0f} % of errors within one sigma (68 would be right), "
                f"{100 * known.within_two_sigma:.0f} % within two; {known.expected_mm:.2f} mm expected",
            )
        )
    return facts


def left_out_lines(found: LeaveOneOut) -> list[tuple[str, str]]:
    """How far hands are from the detections of a view that they were fitted without."""
    return [
        (f"left-out view, {found.hands} hands", spread(found.error_px, "px")),
        ("at the hand's depth", spread(found.error_mm, "mm")),
    ]


def spread(found: Distribution | None, unit: str) -> str:
    """`5.12 mm (median 4.80, 95 % below 9.70)`."""
    if found is None:
        return "-"
    return f"{found.mean:.2f} {unit} (median {found.median:.2f}, 95 % below {found.p95:.2f})"
