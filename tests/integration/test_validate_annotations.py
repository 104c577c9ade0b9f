"""Annotations of imports have thousands of cameras, and chunks of gigabytes."""

import pytest
from support.annotations import write_annotations

from handgen.io.annotations import Annotations
from handgen.label_checks import checks
from handgen.label_checks.evidence import Tolerances
from handgen.stages.validate import annotations
from handgen.stages.validate.stage import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("chunks") / "annotations", frames=6, cameras=2, accept_all=True)


def test_the_manifest_is_read_once_per_run_and_anew_in_the_next(made, monkeypatch):
    opened = []

    def counted(root):
        opened.append(root)
        return Annotations(root)

    monkeypatch.setattr(annotations, "Annotations", counted)
    assert run(made, workers=1).facts["chunks"] > 1
    assert opened == [made]
    run(made, workers=1)
    assert opened == [made, made]


def test_a_chunk_is_looked_at_in_batches_and_nothing_is_left_out(made, monkeypatch):
    sizes = []

    def noted(images, *rest):
        sizes.append(len(images))
        return examine(images, *rest)

    examine = checks.examine
    whole = run(made, workers=1, pixels=True)
    monkeypatch.setattr(annotations, "_BATCH", 2)
    monkeypatch.setattr(checks, "examine", noted)
    again = run(made, workers=1, pixels=True)
    assert sizes and max(sizes) == 2
    assert again.valid and whole.valid
    assert again.looked_at == whole.looked_at and again.looked_at["colours"] == whole.facts["views"]
    assert Tolerances.pixels_per_part == 20
