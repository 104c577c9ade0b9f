"""Look at annotations: keypoints, meshes, cameras, cutouts, and a table of all hands.

    python scripts/examples/03_look_at_records.py [OUT]

Reads OUT/annotations of example 01. Writes OUT/hand.obj, the mesh of one hand for any 3D viewer, and OUT/hand.png, the
hand as its cameras see it, with the fitted keypoints.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import handgen


def main(out: Path) -> None:
    """Print, draw and save."""
    hands = handgen.open_annotations(out / "annotations")
    print(hands)  # how many hands, frames and cameras
    for hand in hands:
        wrist = hand.keypoints_3d[0]  # world frame, metres
        print(f"frame {hand.frame}: {hand.side}, wrist at {wrist.round(3)} m, off by {hand.expected_error_mm:.1f} mm")

    hand = max(hands, key=lambda hand: hand.mask_iou or 0)
    vertices, faces = hand.mesh()
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}\n" for a, b, c in faces + 1]
    (out / "hand.obj").write_text("".join(lines))

    pictures = []
    for view in hand.views:
        faded = np.where(view.mask[..., None] > 0, view.image, view.image // 3)  # outside the mask
        picture = Image.fromarray(faded).resize((192, 192))
        scale = 192 / np.array(view.camera.size_px)
        for x, y in (view.keypoints_2d + 0.5) * scale:  # the centre of the first pixel is (0, 0)
            ImageDraw.Draw(picture).ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 220, 0))
        pictures.append(np.asarray(picture))
    Image.fromarray(np.hstack(pictures)).save(out / "hand.png")

    table = hands.to_dataframe()  # keypoints=True adds a column per coordinate
    print(table[["frame", "side", "accepted", "expected_error_mm", "mask_iou"]].to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"))
