"""A tiny hand, a four-camera rig, and where the real captures are. No network, GPU or licence needed.

Property tests run under the Hypothesis profile that `HYPOTHESIS_PROFILE` names: "ci", the default, tries the same
examples every time; "explore" tries others at every run, to hunt with (`--hypothesis-seed=N` repeats one hunt).
Neither has a deadline: how long an example takes is the machine's affair.
"""

import os
import signal
import sys

from support.cameras import ring
from support.hands import random_hand_arrays

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.hand.model_files import load_hand
from handgen.storage import limits

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, database=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start what runs in the background so, and children inherit it: no test of Ctrl-C could pass.
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def random_model() -> HandModel:
    return HandModel(random_hand_arrays())


@pytest.fixture(scope="session")
def hand() -> HandModel:
    return HandModel(load_hand("open", "right"))


@pytest.fixture(scope="session")
def rig() -> Rig:
    return ring(4)


@pytest.fixture
def set_budget(monkeypatch) -> Iterator[Callable[[str, object], None]]:
    """Set a budget of `handgen.storage.limits` by its variable, until the test ends."""

    def set_variable(variable: str, value: object) -> None:
        monkeypatch.setenv(variable, str(value))
        limits.forget_environment()

    yield set_variable
    limits.forget_environment()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of real captures, or a skip that says where it was looked for."""
    path = Path(os.environ.get("HANDGEN_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))
    if not path.is_dir():
        pytest.skip(f"no real captures at {path}; set HANDGEN_CAPTURES")
    return path


@pytest.fixture(scope="session")
def shards_to_export(tmp_path_factory):
    from support.export import make_shards

    return make_shards(tmp_path_factory.mktemp("to_export"))


@pytest.fixture(scope="session")
def samples_to_export(shards_to_export):
    from support.export import read_samples

    return read_samples(shards_to_export)


@pytest.fixture(scope="session")
def numpy_1_python():
    """An environment with numpy 1, for readers that do not know numpy 2 (`make check` makes it)."""
    python = Path(sys.prefix) / "numpy1" / "bin" / "python"
    if not python.exists():
        pytest.skip("no environment with numpy 1: `make .venv/numpy1/.ready`")
    return str(python)
