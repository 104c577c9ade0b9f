"""Put the annotated hands on pictures of one's own: training samples as WebDataset shards.

    python scripts/examples/04_synthesize.py [OUT] [PICTURES]

Reads OUT/annotations of example 01 and writes OUT/shards. PICTURES is a folder of photographs without hands, searched
recursively; without it, some plain pictures are painted first.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import handgen


def paint(folder: Path, count: int = 6) -> None:
    """Stand in for photographs: coarse random colours, enlarged smoothly."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        colours = rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((480, 320), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def main(out: Path, pictures: Path | None) -> None:
    """Synthesize, then look at one sample."""
    if pictures is None:
        pictures = out / "pictures"
        paint(pictures)
    report = handgen.synthesize(
        out / "annotations", out / "shards", backgrounds=pictures, samples=64, size=128, workers=1, progress=True
    )
    print(f"{report.out}: {report.samples} samples in {report.shards} shards, {report.bytes / 1e6:.1f} MB")

    sample = next(iter(handgen.load_shards(out / "shards")))
    image = sample["image"].permute(1, 2, 0).numpy()  # (3, height, width), RGB, 0 to 255
    for x, y in sample["keypoints_2d"].round().int().tolist():
        image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = (255, 220, 0)
    Image.fromarray(image.astype(np.uint8)).save(out / "sample.png")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(arguments[0] if arguments else Path("example_out"), arguments[1] if len(arguments) > 1 else None)
