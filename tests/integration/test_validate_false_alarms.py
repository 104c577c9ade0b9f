"""All that handgen makes is without findings, whatever was drawn: skin, sides, mirrors, augmentation, occluders."""

import pytest
from support.annotations import write_annotations
from support.export_sets import pictures_of, write_coco, write_hamer

from handgen.datasets.registry import export_formats
from handgen.options import make_config
from handgen.stages.export import stage as export
from handgen.stages.export.config import ExportConfig
from handgen.stages.simulate.light import linear_from_lab, srgb_from_linear
from handgen.stages.simulate.skin.traits import SKIN_TONES_LAB
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run


def made(root, seed: int, **options):
    """Shards with the default augmentation, and how many of their samples are mirrored."""
    tone = srgb_from_linear(linear_from_lab(SKIN_TONES_LAB[seed % len(SKIN_TONES_LAB)]))
    write_annotations(
        root / "annotations",
        frames=8,
        cameras=3,
        accept_all=True,
        seed=seed,
        apart_m=options.pop("apart_m", 0.0),
        color=tuple(round(255 * part) for part in tone),
        **options,
    )
    drawn = SynthesizeConfig(samples=48, size=128, samples_per_shard=24, workers=1, seed=seed)
    stage.run(root / "annotations", root / "shards", None, drawn)
    return root / "shards"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_shards_of_any_skin_and_seed_are_without_findings(tmp_path, seed):
    root = made(tmp_path, seed)
    assert {picture.mirrored for picture in pictures_of(root)} == {False, True}
    for path in (root, tmp_path / "annotations"):
        report = run(path, pixels=True, workers=1)
        assert report.valid, report.findings.kept
        assert report.looked_at["colours"] == 48  # every picture


@pytest.mark.slow
@pytest.mark.parametrize("sides", [("left",), ("right",)])
def test_sets_of_one_side_and_two_hands_in_a_picture_are_without_findings(tmp_path, sides):
    for name, options in (("one", {"sides": sides}), ("both", {"apart_m": 0.25})):
        report = run(made(tmp_path / name, 3, **options), pixels=True, workers=1)
        assert report.valid, report.findings.kept


@pytest.mark.slow
def test_exports_of_them_are_without_findings(tmp_path):
    pictures = pictures_of(made(tmp_path, 1))
    for write in (write_hamer, write_coco):
        report = run(write(tmp_path / write.__name__, pictures), pixels=True, workers=1)
        assert report.valid, report.findings.kept


@pytest.mark.slow
@pytest.mark.parametrize("apart_m", [0.0, 0.12], ids=["at one place", "apart"])
@pytest.mark.parametrize(
    ("form", "options"),
    [
        *((form, {}) for form in export_formats()),
        ("coco", {"wholebody": True}),
        ("coco", {"segmentation": "polygon"}),
        ("coco", {"wholebody": True, "segmentation": "polygon"}),
    ],
)
def test_what_handgen_exports_is_without_findings(tmp_path, form, options, apart_m):
    source = made(tmp_path, 2, apart_m=apart_m)
    assert any(len(picture.hands) == 2 for picture in pictures_of(source))
    export.run(source, tmp_path / "export", make_config(ExportConfig, format=form, workers=1, **options))
    report = run(tmp_path / "export", pixels=True, workers=1)
    assert report.kind == form and report.valid, report.findings.kept
    assert report.looked_at["parameters" if form != "coco" else "joint order in 2D"] >= 20
