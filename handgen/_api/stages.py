"""One function per stage, with the command line's names and defaults.

All of them go on where they were interrupted, and give the same bytes for the same options. Those bytes are the command
line's if no numerical library was imported before: call `handgen.pin_numerics()` first, or start with the stage.
Scripts that use more than one worker need `if __name__ == "__main__":` around the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from handgen._api.config import Bars, Place, config_of, local_path, running, takes_options
from handgen.arguments import check_arguments
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.export.config import ExportConfig
from handgen.stages.import_.config import ImportConfig
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.filesystem import Location, location

if TYPE_CHECKING:
    from handgen._api import options as typed
    from handgen.stages.annotate.report import AnnotateReport
    from handgen.stages.evaluate.report import EvaluateReport
    from handgen.stages.export.report import ExportReport
    from handgen.stages.import_.report import ImportReport
    from handgen.stages.simulate.report import SimulateReport
    from handgen.stages.synthesize.report import SynthesizeReport
    from handgen.stages.validate.report import ValidateReport


def _location(place: Place | None) -> Location | None:
    return None if place is None else location(place)


@takes_options(SimulateConfig)
def simulate(
    out: Place, *, overwrite: bool = False, progress: Bars = False, **options: Unpack[typed.SimulateOptions]
) -> SimulateReport:
    """Render a capture into folder `out`, with the exact truth about it in `out/truth`.

    overwrite: replace a capture that was simulated with other options. progress: True shows bars; a function is called
    with what is being done, the units done and all units.

    Raises HandgenError for what a user can fix.
    """
    with running(progress) as show:
        from handgen.stages.simulate import stage

        config = config_of(simulate, SimulateConfig, options)
        return stage.run(local_path("simulate: out", out), config, show, overwrite)


@takes_options(AnnotateConfig)
def annotate(
    capture: Place = ".",
    out: Place | None = None,
    *,
    overwrite: bool = False,
    progress: Bars = False,
    **options: Unpack[typed.AnnotateOptions],
) -> AnnotateReport:
    """Find, fit and cut out the hands in the videos of folder `capture`; write annotations into folder `out`.

    out: None means the folder `annotations` of the capture. overwrite: replace annotations of a different run.
    progress: True shows bars; a function is called with what is being done, the units done and all units.

    Raises HandgenError for what a user can fix, such as a calibration without a unit.
    """
    with running(progress) as show:
        from handgen.stages.annotate import stage

        folder = location(capture)
        config = config_of(annotate, AnnotateConfig, options)
        return stage.run(folder, _location(out) or folder / "annotations", config, show, overwrite)


@takes_options(SynthesizeConfig)
def synthesize(
    annotations: Place | Sequence[Place] = "annotations",
    out: Place = "shards",
    *,
    backgrounds: Place | None = None,
    overwrite: bool = False,
    progress: Bars = False,
    **options: Unpack[typed.SynthesizeOptions],
) -> SynthesizeReport:
    """Composite the hands of annotations on backgrounds; write WebDataset shards into folder `out`.

    annotations: one or several folders. backgrounds: a folder of pictures, searched recursively; None makes them up.
    overwrite: replace the shards of a different run. progress: True shows bars; a function is called with what is being
    done, the units done and all units.

    Raises HandgenError for what a user can fix.
    """
    with running(progress) as show:
        from handgen.stages.synthesize import stage

        several = [annotations] if isinstance(annotations, Place) else annotations
        config = config_of(synthesize, SynthesizeConfig, options)
        places = [location(each) for each in several]
        return stage.run(places, location(out), _location(backgrounds), config, show, overwrite)


@takes_options(EvaluateConfig)
def evaluate(
    annotations: Place,
    truth: Place | None = None,
    *,
    report: Place | None = None,
    leave_one_view_out: bool = False,
    capture: Place | None = None,
    overwrite: bool = False,
    progress: Bars = False,
    **options: Unpack[typed.EvaluateOptions],
) -> EvaluateReport:
    """Measure annotations in millimetres, pixels and mask overlap.

    truth: annotations to measure against, or a simulated capture that holds them. leave_one_view_out: also, or instead,
    fit on the other views of the folder `capture` (None: the folder that the annotations lie in) and compare with each
    view's own detections. report: a folder for report.html, plots and evaluation.json; overwrite: replace the report of
    another run there. progress: True shows bars; a function is called with what is being done, the units done and all
    units.

    Raises HandgenError for what a user can fix, and ValueError when there is nothing to compare with.
    """
    if truth is None and not leave_one_view_out:
        raise ValueError("evaluate: nothing to compare with; give truth, or leave_one_view_out=True, or both")
    if capture is not None and not leave_one_view_out:
        raise ValueError("evaluate: capture is for leave_one_view_out=True; give both or neither")
    with running(progress) as show:
        from handgen.stages.evaluate import stage

        place = location(annotations)
        folder = _location(capture) or place.resolve().parent
        config = config_of(evaluate, EvaluateConfig, options, capture=str(folder) if leave_one_view_out else None)
        return stage.run(place, _location(truth), config, show, _location(report), overwrite)


@check_arguments
def validate(
    path: Place, *, digests: bool = False, pixels: bool = False, workers: int | None = None, progress: Bars = False
) -> ValidateReport:
    """Check that a capture, calibration, annotations, shards or export is whole and its labels mean what they say.

    digests: recompute the SHA-256 of every file. pixels: decode every picture and mask, else some of each part.
    workers: processes; None: one per core. progress: True shows bars; a function is called with what is being done, the
    units done and all units.

    Nothing is changed. `valid` of the report says whether all is well, `findings` what is not. Raises HandgenError when
    `path` is none of these.
    """
    with running(progress) as show:
        from handgen.stages.validate import stage

        return stage.run(location(path), digests, pixels, workers, show)


@takes_options(ExportConfig)
def export(
    source: Place,
    out: Place,
    *,
    format: str,
    overwrite: bool = False,
    progress: Bars = False,
    **options: Unpack[typed.ExportOptions],
) -> ExportReport:
    """Write shards or annotations as the files that another project's training code reads.

    format: whose. overwrite: replace another export. progress: True shows bars; a function is called with what is
    being done, the units done and all units.

    Raises HandgenError for what a user can fix. Conventions of each format: docs/formats.md.
    """
    with running(progress) as show:
        from handgen.stages.export import stage

        config = config_of(export, ExportConfig, options, format=format)
        return stage.run(location(source), location(out), config, show, overwrite)


@takes_options(ImportConfig)
def import_dataset(
    directory: Place,
    out: Place,
    *,
    format: str,
    overwrite: bool = False,
    progress: Bars = False,
    **options: Unpack[typed.ImportOptions],
) -> ImportReport:
    """Turn another project's data set in folder `directory` into annotations in folder `out`.

    format: whose. overwrite: replace annotations of a different run. progress: True shows bars; a function is called
    with what is being done, the units done and all units.

    Raises HandgenError for what a user can fix. What is read of each format: docs/import.md.
    """
    with running(progress) as show:
        from handgen.stages.import_ import stage

        config = config_of(import_dataset, ImportConfig, options, format=format)
        return stage.run(local_path("import_dataset: directory", directory), location(out), config, show, overwrite)
