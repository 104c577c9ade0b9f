"""`handgen annotate`: a capture -> annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from handgen.cli.options import LocalPath, LocationType, MetresPerUnit, engine_options
from handgen.stages.annotate.config import AnnotateConfig

if TYPE_CHECKING:
    from handgen.stages.annotate.report import AnnotateReport
    from handgen.storage.filesystem import Location

DEFAULTS = AnnotateConfig()


@click.command()
@click.argument("capture", default=".", type=LocationType(exists=True), metavar="[CAPTURE]")
@click.option("--out", type=LocationType(), help="Directory to write.  [default: CAPTURE/annotations]")
@click.option("--calibration", type=LocationType(exists=True, file=True), metavar="FILE",
              help="Calibration, if not in the capture.")  # fmt: skip
@click.option("--metres-per-unit", type=MetresPerUnit(), metavar="X|auto",
              help="Metres in one unit of the calibration; auto: so that the hand has mean size.")  # fmt: skip
@click.option("--hands", type=click.Choice(["left", "right", "both"]), help="Which hands are there.  [default: both]")
@click.option("--subject", metavar="NAME", help="Who it is, for splits by person.  [default: as capture.json says]")
@click.option("--detector", type=click.Choice(["mediapipe", "keypoints", "cpm"]), default=DEFAULTS.detector,
              show_default=True, help="mediapipe; keypoints made elsewhere; or cpm, hand3d's network before a "
              "green screen, one hand per view.")  # fmt: skip
@click.option("--keypoints", type=LocationType(exists=True, file=True), metavar="PATH",
              help="What --detector keypoints reads: files of handgen, OpenPose, MMPose or DeepLabCut, one file or "
              "folder per camera; see docs/keypoints.md.")  # fmt: skip
@click.option("--weights", type=LocalPath(exists=True, dir_okay=False), metavar="FILE",
              help="Of --detector cpm: posenet3d-rhd-stb-slr-finetuned.pickle.")  # fmt: skip
@click.option("--hand-model", default=DEFAULTS.hand_model, show_default=True,
              help="open, mano (see `models add`), or an .npz in MANO's format with {side} in its path.")  # fmt: skip
@click.option("--background", type=click.Choice(["auto", "green", "blue", "any"]), default=DEFAULTS.background,
              show_default=True, help="What is behind the hands: a screen to key, or anything.")  # fmt: skip
@click.option("--max-error", "max_error_share", type=click.FloatRange(0, 1, min_open=True), show_default=True,
              default=DEFAULTS.max_error_share, help="Largest reprojection error, in hand sizes.")  # fmt: skip
@click.option("--min-iou", "min_mask_iou", type=click.FloatRange(0, 1), default=DEFAULTS.min_mask_iou,
              show_default=True, help="Smallest overlap of mask and mesh.")  # fmt: skip
@click.option("--max-uncertainty", "max_uncertainty_mm", type=click.FloatRange(0, min_open=True), show_default=True,
              default=DEFAULTS.max_uncertainty_mm, help="Largest expected error of a keypoint, mm.")  # fmt: skip
@click.option("--redetect/--no-redetect", default=DEFAULTS.redetect, show_default=True,
              help="Search views that missed a hand where the others say that it is.")  # fmt: skip
@click.option("--refine", type=click.Choice(["silhouette", "none"]), default=DEFAULTS.refine, show_default=True,
              help="silhouette: fit masks together with keypoints; none: keypoints alone, in less time.")  # fmt: skip
@click.option("--track", type=click.Choice(["keypoints", "silhouette"]), default=DEFAULTS.track, show_default=True,
              help="silhouette: carry hands by their masks where the detector sees nothing.")  # fmt: skip
@click.option("--refine-extrinsics", is_flag=True,
              help="Put cameras that moved after the calibration where the hands say that they are.")  # fmt: skip
@click.option("--acceleration", "acceleration_mm_s2", type=click.FloatRange(0), show_default=True,
              default=DEFAULTS.acceleration_mm_s2,
              help="Usual acceleration of a keypoint, mm/s^2: less is smoother; 0 fits every frame alone.")  # fmt: skip
@click.option("--min-views", type=click.IntRange(1, 64), default=DEFAULTS.min_views, show_default=True,
              help="Views that must see a hand; with 1, its distance is a guess by its size.")  # fmt: skip
@click.option("--chunk-frames", type=click.IntRange(1, 4096), default=DEFAULTS.chunk_frames, show_default=True,
              help="Frames per unit of work.")  # fmt: skip
@click.option("--device", default=DEFAULTS.device, show_default=True, help="Where to fit: cpu or cuda.")
@engine_options
@click.option("--preview", type=click.IntRange(0), default=0, metavar="N", help="Write N overlay pictures to look at.")
@click.option("--overwrite", is_flag=True, help="Replace annotations of a different run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def annotate(capture: Location, out: Location | None, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Find, fit and cut out the hands in CAPTURE (default: this folder): nobody labels anything.

    \b
    handgen annotate my_capture --out annotations
    handgen annotate my_capture --metres-per-unit 0.024      chessboard squares of 24 mm
    handgen annotate my_capture --preview 8                  and look at annotations/previews

    Run it again after an interruption: finished chunks are kept. `handgen inspect CAPTURE` says first whether the
    calibration is understood.
    """
    for name in ("calibration", "keypoints"):
        options[name] = None if options[name] is None else str(options[name])
    try:
        config = AnnotateConfig(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if (config.detector == "keypoints") != (config.keypoints is not None):
        raise click.UsageError("--detector keypoints and --keypoints PATH go together; give both or neither")
    if (config.detector == "cpm") != (config.weights is not None):
        raise click.UsageError("--detector cpm and --weights FILE go together; give both or neither")
    from handgen.cli.console import progress_bars
    from handgen.stages.annotate import stage

    with progress_bars() as progress:
        report = stage.run(capture, out or capture / "annotations", config, progress, overwrite)
    if as_json:
        from handgen.storage.documents import dumps

        click.echo(dumps(report.to_json(), indent=True), nl=False)
    else:
        _print(report)


def _print(report: AnnotateReport) -> None:
    from handgen.cli.console import print_summary

    next_steps = [
        f"handgen synthesize {report.out} --backgrounds DIR --out shards",
        f"handgen validate {report.out} --digests",
    ]
    print_summary(report.title, report.rows(), report.remarks(), next_steps if report.views else next_steps[1:])
