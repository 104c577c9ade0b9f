import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.annotations import write_annotations

from handgen.runtime import reproducibility

OTHER_PROCESSOR = {  # as a processor with AVX-512 and one without anything would choose
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENCV_IPP": "sse42",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4",
}


def python(code: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "HANDGEN_NUMERICS"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | environment
    )
    return result.stdout.strip()


def test_the_level_is_fixed_before_the_libraries_are_loaded_and_inherited():
    code = (
        "import os, subprocess, sys; from handgen.runtime import reproducibility; print(reproducibility.pin()); "
        "found = reproducibility.environment(); print(found == {k: os.environ[k] for k in found}, bool(found)); "
        "code = 'from handgen.runtime import reproducibility; print(reproducibility.level())'; "
        "print(subprocess.run([sys.executable, '-c', code], "
        "capture_output=True, text=True).stdout.strip() == reproducibility.level())"
    )
    assert python(code).split() == ["True", "True", "True", "True"]


def test_it_is_not_claimed_when_it_comes_too_late():
    code = (
        "import numpy; from handgen.runtime import reproducibility; "
        "print(reproducibility.pin(), reproducibility.level(), reproducibility.environment(), sep='|')"
    )
    assert python(code) == f"False|{reproducibility.AS_THE_HOST}|{{}}"


def test_versions_of_packages_are_part_of_what_decides_the_bytes():
    found = reproducibility.fingerprint(("numpy", "opencv", "no-such-package"))
    assert found["packages"]["numpy"] and found["packages"]["opencv"] and found["packages"]["zlib"]
    assert found["packages"]["no-such-package"] is None


@pytest.mark.slow
def test_two_kinds_of_processors_give_the_same_bytes(tmp_path):
    annotations = write_annotations(tmp_path / "annotations")
    run = "import sys; from handgen.cli.main import main; sys.argv = ['handgen', *sys.argv[1:]]; main()"
    manifests = []
    for name, environment in (("here", {}), ("there", OTHER_PROCESSOR)):
        out = tmp_path / name
        command = ["synthesize", annotations, "--out", out, "--samples", 60, "--size", 160, "--workers", 1]
        clean = {key: value for key, value in os.environ.items() if key != "HANDGEN_NUMERICS"}
        subprocess.run(
            [sys.executable, "-c", run, *map(str, command)], check=True, env=clean | environment, capture_output=True
        )
        manifests.append(json.loads(Path(out / "manifest.json").read_text()))
    assert manifests[0] == manifests[1]
