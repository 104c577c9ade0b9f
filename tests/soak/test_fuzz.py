"""Files that were changed in every way are read, or refused in one line; and the fuzzer sees what it must see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.hostile_files import HOSTILE_FILES

from handgen.datasets.registry import FORMATS, import_formats
from handgen.io.calibration_files.registry import FORMATS as CALIBRATION_FORMATS

FUZZ = Path(__file__).parents[2] / "scripts" / "soak" / "fuzz.py"
CASES = 3000


def fuzz(*arguments, timeout=900):
    command = [sys.executable, str(FUZZ), *map(str, arguments), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.mark.slow
def test_changed_files_are_read_or_refused_in_one_line():
    done = fuzz("--cases", CASES, "--seed", 0, "--workers", 2)
    assert done.returncode in (0, 1), done.stderr
    figures = json.loads(done.stdout)
    assert figures["faults"] == 0, done.stderr
    assert figures["cases"] == CASES + len(HOSTILE_FILES) == CASES + figures["once_wrong_cases"]
    assert figures["accepted_least"] >= CASES // 200


def test_every_format_that_is_read_is_fuzzed(monkeypatch):
    monkeypatch.syspath_prepend(str(FUZZ.parent))
    from fuzzing.readers import READERS
    from fuzzing.seeds import SEEDS

    names = [reader.name for reader in READERS]
    assert len(set(names)) == len(names)
    wanted = {f"import_{name}" for name in import_formats()} | {f"validate_{name}" for name in FORMATS.names()}
    assert wanted <= set(names)
    assert sum(name.startswith("calibration_") for name in names) == len(CALIBRATION_FORMATS.names())
    known = {(reader.name, seed) for reader in READERS for seed in reader.seeds}
    assert {seed for _, seed in known} <= SEEDS.keys()
    assert {(file.reader, file.seed) for file in HOSTILE_FILES} <= known


_JUDGED = """
import os, subprocess, sys, time, pickle, tempfile, pathlib
sys.path[:0] = [{soak!r}, {tests!r}]
from handgen.errors import HandgenError
from fuzzing import watch as watching
from fuzzing.watch import Watch
watching._TICK_S = 0.5
folder = pathlib.Path(tempfile.mkdtemp()); (folder / "input").mkdir()
watch = Watch(folder, folder / "input")
def refuse(): raise HandgenError("no")
def want_memory():
    try: bytearray(2**34)
    except MemoryError: raise HandgenError("not enough memory") from None
def swallow():
    while True:
        try: time.sleep(1000)
        except Exception: pass
def fifo():
    os.mkfifo(folder / "pipe"); open(folder / "pipe").read()
pickled = pickle.dumps(os.getcwd)
cases = dict(
    nothing=lambda: None, refuse=refuse, other=lambda: [][0], memory=want_memory,
    held=lambda: bytearray(2**31 + 2**28), start=lambda: subprocess.run(["true"]), shell=lambda: os.system("true"),
    outside=lambda: (folder.parent / (folder.name + "x")).write_text(""),
    inside=lambda: (folder / "out").write_text(""),
    into_input=lambda: (folder / "input" / "x").write_text(""), evaluated=lambda: eval("1"),
    unpickled=lambda: pickle.loads(pickled), fifo=fifo, end=lambda: sys.exit(0),
)
for name, case in cases.items():
    verdict = watch.judge(case)
    print(name, verdict.outcome, verdict.detail.replace(chr(10), " ")[:60])
"""


def test_the_judge_tells_faults_from_refusals():
    code = _JUDGED.format(soak=str(FUZZ.parent), tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    right = {"nothing": "accepted", "inside": "accepted", "refuse": "refused"}
    assert outcomes == {name: right.get(name, "fault") for name in outcomes} and len(outcomes) == 14, done.stdout


def test_a_case_is_the_same_whenever_it_is_made(tmp_path):
    code = f"""
import sys; sys.path[:0] = [{str(FUZZ.parent)!r}, {str(Path(__file__).parents[1])!r}]
import hashlib
from pathlib import Path
from fuzzing.files import generator
from fuzzing.mutate import mutate_files
files = {{"a.json": b'{{"x": [1.5, {{"y": "z"}}]}}', "b.csv": b"a,b\\n1,2\\n", "c.toml": b"x = 1.0\\n"}}
for case in range(400):
    rng = generator("reader", 3, case)
    changed = mutate_files(files, ("*",), 0.3, rng)
    print(hashlib.sha256(ascii(sorted(changed.items(), key=lambda item: ascii(item[0]))).encode()).hexdigest())
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout and len(set(runs[0].stdout.split())) > 250
