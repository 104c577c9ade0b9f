"""Render a small capture and annotate it from its pixels: no cameras and no licensed files are needed.

    python scripts/examples/01_simulate_and_annotate.py [OUT]

Writes OUT/capture (videos, calibration, and the exact truth in OUT/capture/truth) and OUT/annotations. The other
examples go on from here. Run it again: what is finished is kept.
"""

import sys
from pathlib import Path

import handgen


def main(out: Path) -> None:
    """Simulate, then annotate."""
    capture = out / "capture"
    # Three cameras around a right hand before a green screen. `workers=1` is quickest for so few frames;
    # without it there is one process per core.
    simulated = handgen.simulate(
        capture, views=3, frames=8, size=(320, 240), fps=8, background="green", workers=1, progress=True
    )
    print(f"{simulated.out}: {simulated.frames} frames from {simulated.cameras} cameras")

    # The truth is not read: hands are detected in the videos, triangulated, fitted and cut out.
    annotated = handgen.annotate(capture, out / "annotations", hands="right", workers=1, progress=True)
    print(f"{annotated.out}: {sum(annotated.accepted.values())} hands accepted, {annotated.views} views of them")
    print(f"median reprojection {annotated.reprojection_px:.2f} px, mask overlap {annotated.mask_iou:.2f}")
    for note in annotated.notes:
        print(f"note: {note}")


if __name__ == "__main__":  # worker processes import this file again
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"))
