"""Measure annotations against the truth of a simulated capture, and write a page to look at.

    python scripts/examples/06_evaluate.py [OUT]

Reads OUT/annotations and OUT/capture of example 01, writes OUT/report/report.html with plots and the worst hands. The
same works for annotations of another program in handgen's format. docs/evaluation.md says what each figure means.
"""

import sys
from pathlib import Path

import handgen


def main(out: Path) -> None:
    """Evaluate; then without truth."""
    report = handgen.evaluate(out / "annotations", out / "capture", report=out / "report", workers=1)
    print(f"mean keypoint error {report.mean_absolute_mm:.2f} mm, median {report.median_absolute_mm:.2f} mm")
    if report.keypoints:
        for alignment, errors in report.keypoints.items():
            print(f"  {alignment:<14} {errors.overall_mm.mean:.2f} mm")
    if report.coverage:
        found = report.coverage
        print(f"{found.annotated_hands} of {found.truth_hands} hands annotated, {found.false_hands} false ones")
    for note in report.notes:
        print(f"note: {note}")
    print(f"open {out / 'report' / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"))
