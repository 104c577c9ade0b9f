"""How fast captures are rendered, on one core.

    python scripts/bench/simulate.py [--json] [--rounds 3]

Per condition: views per second of rendering, encoding and truth, without what is done once per capture; the rounds go
through all conditions in turn, and medians are printed. `whole_capture` is one 8 x 120 capture with everything.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from handgen.media.video_writer import piece_writer
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.rendering import record_frame
from handgen.stages.simulate.scene import Scene, make_scene

BASE = SimulateConfig(views=8, frames=24, workers=1)
CONDITIONS = {
    "views_per_s": ("640x480, room, calm (at least 6)", {}),
    "views_per_s_green": ("640x480, green studio, calm", {"background": "green"}),
    "views_per_s_fast": ("640x480, fast motion, so more blur", {"motion": "fast"}),
    "views_per_s_two_hands": ("640x480, two hands", {"motion": "interact", "hands": "both"}),
    "views_per_s_sync": ("640x480, every camera its own clock", {"sync_error_frames": 0.5}),
    "views_per_s_1280x960": ("1280x960, room, calm", {"size": (1280, 960)}),
}
FRAMES_PER_ROUND = 4


def prepared(options: dict[str, object]) -> Scene:
    """A scene with everything that is made once."""
    scene = make_scene(replace(BASE, **options))  # type: ignore[arg-type]
    _ = scene.rays, scene.backgrounds, scene.body.spread
    return scene


def render(scene: Scene, frames: range, folder: Path) -> float:
    """Views per second of some frames, written as they are in a capture."""
    began = time.perf_counter()
    config = scene.config
    with ExitStack() as stack:
        pieces = [folder / f"{view}.h264" for view in range(config.views)]
        writers = [stack.enter_context(piece_writer(p, config.size, config.fps, config.crf)) for p in pieces]
        for frame in frames:
            for _ in record_frame(scene, frame, lambda view, image: writers[view].write(image)):
                pass
    return len(frames) * config.views / (time.perf_counter() - began)


def main() -> None:
    """Prepare, render in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scenes = {name: prepared(changes) for name, (_, changes) in CONDITIONS.items()}
    speeds: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for round_ in range(options.rounds):
            for name, scene in scenes.items():
                first = round_ * FRAMES_PER_ROUND % BASE.frames
                speeds[name].append(render(scene, range(first, first + FRAMES_PER_ROUND), folder))
        whole = simulate.run(folder / "capture", replace(BASE, frames=120)).views_per_s
    figures = {name: round(float(np.median(values)), 2) for name, values in speeds.items()}
    figures["whole_capture_views_per_s"] = round(whole, 2)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        what = CONDITIONS[name][0] if name in CONDITIONS else "640x480, room, calm, 8 x 120 with all preparation"
        print(f"{what:58} {value:6.1f} views/s on one core")


if __name__ == "__main__":
    main()
