"""Draw the worst accepted hands of annotations, to look at: `python scripts/worst_frames.py ANNOTATIONS [OUT.png]`.

Worst by reprojection (as a share of the hand's extent) and mask IoU together; of each hand the accepted view that is
farthest off, as cut out, with keypoints and mask. The label says frame, side, camera, px and IoU. Worst first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from handgen.io.annotations import Annotations
from handgen.media import images
from handgen.multiview.association import keypoint_extent
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.visualize.drawing import SheetSample, contact_sheet

COUNT = 50
USUAL_SHARE, USUAL_IOU = 0.08, 0.7  # the limits of acceptance: a hand at both scores 2


def badness(record: HandRecord, view: ViewRecord) -> float:
    """How near an accepted view is to being rejected."""
    extent = keypoint_extent(view.camera.project(record.keypoints_world_m)[0])
    off = 0.0 if view.reprojection_px is None else view.reprojection_px / extent / USUAL_SHARE
    return off + (1 - (view.mask_iou or 0.0)) / (1 - USUAL_IOU)


def main() -> None:
    """Choose, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="default: worst.png in the annotations")
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    opened = Annotations(options.annotations)
    found = []
    for chunk, record in opened:
        good = [view for view in record.views if view.accepted]
        if record.accepted and good:
            worst = max(good, key=lambda view: badness(record, view))
            found.append((badness(record, worst), chunk, record, worst))
    found.sort(key=lambda each: -each[0])
    samples = []
    for _, chunk, record, view in found[: options.count]:
        cutout = opened.cutout(chunk, view)
        pixels, inside = view.camera.project(record.keypoints_world_m)
        error = "-" if view.reprojection_px is None else f"{view.reprojection_px:.1f}px"
        label = f"{record.frame} {record.side[0]} {view.camera.name} {error} {view.mask_iou:.2f}"
        samples.append(SheetSample(cutout.image, pixels, np.asarray(inside), cutout.mask, label))
    out = options.out or options.annotations / "worst.png"
    images.write_png(out, contact_sheet(samples, columns=10))
    print(f"{out}: {len(samples)} of {len(found)} accepted hands")


if __name__ == "__main__":
    main()
