"""Small files that ask for gigabytes or hours are refused in one line, which says what they ask for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.bombs import BOMBS

from handgen.storage import limits

# Those that no budget would help: what they are is refused, whatever its size.
REFUSED_AS_SUCH = {
    "sparse_members": "no plain file",
    "links_in_a_tar": "no plain file",
    "a_tar_of_headers_alone": "not a readable tar",
    "cutout_of_negative_size": "not a readable tar of cutouts",
    "npz_that_says_it_is_small": "cannot be read as a numpy array",
    "npz_of_one_long_header": "cannot be read as a numpy array",
    "npz_packed_by_lzma": "packed in a way that numpy does not",
    "npy_of_objects": "another Python object, which is not read",
    "run_lengths_of_one_long_number": "do not make a mask of 1000x1000",
    "toml_lists_in_lists": "not valid TOML",
    "picture_of_much_text": "not a readable image",
    "picture_of_a_large_profile": "not a readable image",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, str]:
    """Read each file, and keep what its reader said; all read by a process that has little memory."""
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "support.bombs", str(tmp_path_factory.mktemp("bombs"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tests, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded by RLIMIT_DATA and /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_asks_for_much_is_refused(said, name):
    text = said[name]
    assert not text.startswith(("accepted", "fault")) and "\n" not in text
    if name in REFUSED_AS_SUCH:
        assert REFUSED_AS_SUCH[name] in text
    else:
        assert any(budget.variable in text for budget in limits.BUDGETS)
