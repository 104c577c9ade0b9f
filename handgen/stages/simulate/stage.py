"""The simulate stage: a configuration -> a capture and the truth about it, chunk by chunk.

    OUT/run.json            what decides the bytes (`handgen.storage.output`); written first
    OUT/cam_0.mp4           one video per camera, or a folder cam_0/ of JPEGs; until then OUT/pieces/
    OUT/calibration.json    the rig, as well as it is calibrated
    OUT/capture.json        which file is which camera, which hands are in view; written last
    OUT/truth/              the truth, in the format of annotations, with the person's own hand model; no stage but
                            `evaluate` may read it

    1. render      every chunk of frames -> pictures, and its truth in OUT/truth/chunks/    (parallel, resumable)
    2. videos      the pieces of each video are joined
    3. manifest    person, calibration, manifest of the truth; capture.json comes last

The content of a chunk depends on the configuration and its index alone, not on the number of processes.
"""

from __future__ import annotations

import time
from pathlib import Path

from handgen.io import annotations as store
from handgen.io.capture.capture import KIND
from handgen.progress import Progress
from handgen.runtime.local import LocalEngine
from handgen.runtime.resumable_run import resumable_run
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.files import (
    CAPTURE,
    OWNED,
    TRUTH,
    TRUTH_MANIFEST,
    capture_document,
    inputs_of_run,
    join_videos,
    truth_manifest,
    write_models_and_rig,
)
from handgen.stages.simulate.photoreal import load_mitsuba
from handgen.stages.simulate.rendering import find_finished_chunks, render_units
from handgen.stages.simulate.report import SimulateReport
from handgen.stages.simulate.scene import make_scene


def run(out: Path, config: SimulateConfig, progress: Progress | None = None, overwrite: bool = False) -> SimulateReport:
    """Render the capture that `config` describes into directory `out`, with its truth in `out/truth`.

    overwrite: replace a capture that was simulated with other options. Raises HandgenError when `out` holds one and
    it is not to be replaced, or something else.
    """
    began = time.perf_counter()
    if config.renderer == "mitsuba":
        load_mitsuba()  # a missing extra is said before anything is written
    engine, depends_on = LocalEngine(config.workers), inputs_of_run(config)
    last = (CAPTURE, TRUTH_MANIFEST)
    with resumable_run(out, KIND, depends_on, OWNED, overwrite, engine, progress, last) as resumable:
        finished = find_finished_chunks(out, config, resumable.noted)
        files = resumable.complete(render_units(out, config), finished)
        scene = make_scene(config)
        join_videos(out, config)
        write_models_and_rig(out, scene)
        resumable.finish(truth_manifest(out, scene, files, depends_on), store.MANIFEST_SCHEMA, TRUTH_MANIFEST)
        resumable.finish(capture_document(scene), "capture", CAPTURE)
    return SimulateReport(
        out=out,
        truth=out / TRUTH,
        frames=config.frames,
        cameras=config.views,
        hands=tuple(hand.side for hand in scene.hands),
        views=config.frames * config.views,
        written_views=resumable.written * config.views,
        seconds=time.perf_counter() - began,
    )
