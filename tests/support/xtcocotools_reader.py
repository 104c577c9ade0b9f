"""Scores the annotations of a COCO file against themselves with xtcocotools; run by an environment with numpy 1.

mmpose reads COCO with it; its wheels do not load with numpy 2. Prints average precision by kind of hand.
"""

import json
import sys

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

KINDS = {
    "keypoints": ("hand", "keypoints"),
    "keypoints_lefthand": ("lefthand", "lefthand_kpts"),
    "keypoints_righthand": ("righthand", "righthand_kpts"),
}

data = COCO(sys.argv[1])
wholebody = "lefthand_kpts" in next(iter(data.anns.values()))
scores = {}
for kind, (name, field) in KINDS.items():
    if (name == "hand") == wholebody:
        continue
    found = []
    for annotation in data.anns.values():
        values = annotation[field]
        if any(values[2::3]):
            body = annotation["keypoints"] if wholebody else values
            found.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": 1,
                    "score": 1.0,
                    "keypoints": body,
                    "bbox": annotation["bbox"],
                    "area": annotation["area"],
                    field: values,
                }
            )
    evaluation = COCOeval(data, data.loadRes(found), kind, np.full(21, 0.05), use_area=True)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    scores[name] = float(evaluation.stats[0])
print(json.dumps(scores))
