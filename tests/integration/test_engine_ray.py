"""The Ray engine on a real cluster: a head and another node, each a `ray start`; tests kill nodes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner
from support.annotate import rendered, true_keypoints
from support.annotations import write_annotations
from support.engines import Cluster, begun, free_port, wait_for

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.runtime.ray import RayEngine
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig

HANDGEN = [sys.executable, "-m", "handgen.cli.main"]


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'handgen[ray]'")
    with Cluster(nodes=1) as started:
        yield started


def start(cluster, command):
    """A process on the head's machine."""
    return subprocess.Popen(
        command,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process, seconds=300):
    """Its standard output; it must succeed."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    return output, errors


def kill_when_it_works(cluster, node):
    """Kill a node while it does a unit."""
    wait_for(lambda: any(is_at_work(child) for child in cluster.node_processes(node)))
    cluster.kill_node(node)


def is_at_work(process):
    try:
        return process.name().startswith("ray::handgen") or process.cmdline()[0].startswith("ray::handgen")
    except (psutil.Error, IndexError):
        return False


def contents(root, *patterns):
    return {path.relative_to(root): path.read_bytes() for pattern in patterns for path in root.glob(pattern)}


_TALKATIVE = """
import logging, sys, time
from functools import partial
from pathlib import Path
from handgen.runtime import messages
from handgen.runtime.ray import RayEngine
from handgen.runtime.resumable_run import Units, map_missing

def until_heard(heard, number):
    for _ in messages.advancing(range(1000)):  # an actor takes its time to start
        time.sleep(0.2)
        if heard.exists():
            break
    logging.getLogger("handgen.talkative").info("unit %d is done", number)
    return number

def show(what, done, total):
    if 0 < done < 1000:
        heard.touch()
    print(done, total, flush=True)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    heard = Path(sys.argv[2])
    units = Units("step", [1000, 1000], partial(until_heard, heard))
    print(sorted(dict(map_missing(units, (), RayEngine(address=sys.argv[1]), show))))
"""


@pytest.mark.slow
def test_progress_moves_within_units_of_a_cluster_and_what_they_log_arrives(cluster, tmp_path):
    script, heard = tmp_path / "talkative.py", tmp_path / "heard"
    script.write_text(_TALKATIVE)
    output, errors = finish(start(cluster, [sys.executable, str(script), cluster.address, str(heard)]))
    *steps, results = output.splitlines()
    assert heard.exists() and results == "[0, 1]" and steps[-1] == "2000 2000"
    assert "handgen.talkative unit 0 is done" in errors and "handgen.talkative unit 1 is done" in errors


_SYNTHESIZE = """
import json, logging, sys
from pathlib import Path
from handgen.runtime.engines import RayOptions
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize import stage

logging.basicConfig(level=logging.WARNING)
steps = []
folder = Path(sys.argv[1])
options = RayOptions(sys.argv[2])
config = SynthesizeConfig(samples=240, samples_per_shard=10, size=64, engine="ray", engine_options=options)
report = stage.run(folder / "annotations", folder / "ray", None, config, lambda *step: steps.append(step))
print(json.dumps({"written": report.written_samples, "steps": [step for step in steps if "writing" in step[0]]}))
"""


@pytest.mark.slow
def test_shards_are_the_same_when_a_node_dies_in_the_middle(cluster, tmp_path):
    write_annotations(tmp_path / "annotations", frames=4, cameras=3)
    stage.run(
        tmp_path / "annotations", tmp_path / "local", None,
        SynthesizeConfig(samples=240, samples_per_shard=10, size=64, workers=1),
    )  # fmt: skip
    node = cluster.add_node()
    process = start(cluster, [sys.executable, "-c", _SYNTHESIZE, str(tmp_path), cluster.address])
    kill_when_it_works(cluster, node)
    output, errors = finish(process)
    assert "its work is done again" in errors
    said = json.loads(output)
    assert said["written"] == 240
    done = [done for _, done, total in said["steps"] if total == 240]
    assert len(done) == len(said["steps"]) >= 25 and done[0] == 0 and done[-1] == max(done) == 240
    expected = contents(tmp_path / "local", "*.tar", "manifest.json", "run.json")
    assert len(expected) == 26
    assert contents(tmp_path / "ray", "*.tar", "manifest.json", "run.json") == expected
    assert {path.name for path in (tmp_path / "ray").iterdir()} == {
        path.name for path in (tmp_path / "local").iterdir()
    }


@pytest.mark.slow
def test_annotations_are_the_same_when_a_node_dies_in_the_middle(cluster, tmp_path):
    capture = rendered(tmp_path / "capture")
    keypoints = true_keypoints(capture, tmp_path / "keypoints.jsonl", noise_px=0.3)
    command = [*HANDGEN, "annotate", str(capture), "--detector", "keypoints", "--keypoints", keypoints]
    command += ["--hands", "right", "--chunk-frames", "1", "--json"]
    finish(start(cluster, [*command, "--out", str(tmp_path / "local"), "--workers", "1"]))
    node = cluster.add_node()
    engine = ["--engine", "ray", "--address", cluster.address]
    process = start(cluster, [*command, "--out", str(tmp_path / "ray"), *engine])
    kill_when_it_works(cluster, node)
    output, errors = finish(process)
    assert "its work is done again" in errors
    assert json.loads(output)["written_frames"] == 8  # nothing but the summary is on standard output
    patterns = ("chunks/*", "detections/*", "manifest.json", "run.json")
    expected = contents(tmp_path / "local", *patterns)
    assert len(expected) == 8 * 3 + 2
    assert contents(tmp_path / "ray", *patterns) == expected


_UNITS = """
import json, os, sys, time
from functools import partial
import ray
from support.engines import begun, marked_unit, raises_one_way
from handgen.runtime import ray as engine
from handgen.runtime.ray import RayEngine
from handgen.errors import HandgenError

engine._MOST_TRIES, engine._FIRST_WAIT_S = 3, 0.05
address, folder, said = sys.argv[1], sys.argv[2], {}


def folder_of(name):
    os.makedirs(path := os.path.join(folder, name))
    return path


def thrown(name, function, items):
    done = []
    try:
        for result in RayEngine().map_units(function, items, 99):
            done.append(result)
    except Exception as error:
        said[name] = [type(error).__name__, str(error), str(error.__cause__), done]


def fails_at_five(number):
    if number == 5:
        raise HandgenError("the fifth is wrong")
    return number


def divides(number):
    return 1 // (number - 5)


def environment(number):
    import cv2

    return os.getcwd(), os.environ["OMP_NUM_THREADS"], cv2.getNumThreads()


lost_once = folder_of("lost_once")
said["lost once"] = sorted(RayEngine(address=address).map_units(partial(marked_unit, lost_once, {3: 1}), range(12), 12))
said["tries"] = len(begun(lost_once, 3))
said["left"] = not ray.is_initialized()

ray.init(address, log_to_driver=False)
thrown("lost", partial(marked_unit, folder_of("lost"), {3: 99}), range(6))
thrown("wrong", fails_at_five, range(5000))
thrown("bug", divides, range(5000))
thrown("one way", raises_one_way, range(9))

taken = []
results = RayEngine(workers=1).map_units(environment, (taken.append(n) or n for n in range(9)), 9)
said["environment"] = next(results)
said["taken"] = len(taken)
results.close()

create = engine.create_task
engine.create_task = lambda: (create()[0], create()[1] | {"numpy": "0.1"})
thrown("versions", abs, range(9))
said["still joined"] = ray.is_initialized()
print(json.dumps(said))
"""


@pytest.mark.slow
def test_units_are_done_once_and_errors_come_out_as_themselves(cluster, tmp_path):
    command = [sys.executable, "-c", _UNITS, cluster.address, str(tmp_path)]
    output, _ = finish(start(cluster, command))
    said = json.loads(next(line for line in output.splitlines() if line.startswith("{")))  # Ray prints beside it
    assert said["lost once"] == list(range(12)) and said["tries"] == 2
    assert said["left"] and said["still joined"]
    name, text, _, done = said["lost"]
    assert name == "HandgenError" and "lost 3 times" in text and 3 not in done
    assert said["wrong"][:2] == ["HandgenError", "the fifth is wrong"]
    name, _, cause, _ = said["bug"]
    assert name == "ZeroDivisionError" and "in divides" in cause
    assert said["one way"][:2] == ["RuntimeError", "OneWayError: picture: no such colour"]
    assert said["environment"] == [os.getcwd(), "1", 1] and said["taken"] == 1
    name, text, _, _ = said["versions"]
    assert name == "HandgenError" and ", this machine 0.1" in text and "numpy" in text


_SLOW = """
import sys
from functools import partial
from support.engines import marked_unit
from handgen.runtime.ray import RayEngine

list(RayEngine(address=sys.argv[1]).map_units(partial(marked_unit, sys.argv[2], {}, seconds=0.5), range(1000), 1000))
"""


@pytest.mark.slow
def test_a_node_that_joins_is_used_and_ctrl_c_ends_what_runs_but_not_the_cluster(cluster, tmp_path):
    process = start(cluster, [sys.executable, "-c", _SLOW, cluster.address, str(tmp_path)])
    try:
        wait_for(lambda: len(begun(tmp_path)) >= 2)
        node = cluster.add_node()
        wait_for(lambda: any(is_at_work(child) for child in cluster.node_processes(node)))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=150)  # its thousand units would take longer
    finally:
        process.kill()
        cluster.kill_node(node)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors, errors
    before = len(begun(tmp_path))
    time.sleep(1.5)
    assert len(begun(tmp_path)) == before < 1000
    assert all(other.poll() is None for other in cluster.processes[:2])


_SHORT_OF_MEMORY = """
import sys
from functools import partial
from support.engines import marked_unit
from handgen.runtime import ray as engine
from handgen.errors import HandgenError

engine._MOST_TRIES, engine._FIRST_WAIT_S = 2, 0.05
try:
    list(engine.RayEngine(address=sys.argv[1]).map_units(partial(marked_unit, sys.argv[2], {}, seconds=30), [0], 1))
except HandgenError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_unit_that_ray_kills_again_and_again_for_want_of_memory_is_an_error(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'handgen[ray]'")
    with Cluster(0, RAY_memory_usage_threshold="0.001", RAY_memory_monitor_refresh_ms="100") as small:
        output, _ = finish(start(small, [sys.executable, "-c", _SHORT_OF_MEMORY, small.address, str(tmp_path)]))
    assert "lost 2 times" in output and "low on memory" in output


@pytest.mark.slow
def test_without_an_address_a_ray_of_this_machine_is_started_and_ended(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'handgen[ray]'")
    write_annotations(tmp_path / "annotations", frames=2, cameras=2)
    environment = os.environ | {"HOME": str(tmp_path / "home"), "OURS": str(tmp_path)}
    command = [*HANDGEN, "synthesize", "annotations", "--size", "32", "--engine", "ray", "--json"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["samples"] == 7
    assert not (tmp_path / "home").exists()
    wait_for(lambda: not [p for p in psutil.process_iter() if environment_of(p).get("OURS") == str(tmp_path)])


def environment_of(process):
    try:
        return process.environ()
    except psutil.Error:
        return {}


def test_ray_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HandgenError, match=r"pip install 'handgen\[ray\]'"):
        list(RayEngine().map_units(abs, [1], 1))
    assert list(RayEngine().map_units(abs, [], 0)) == []


@pytest.mark.slow
def test_a_cluster_that_does_not_answer():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'handgen[ray]'")
    with pytest.raises(HandgenError, match="cannot be joined .*ray start --head"):
        list(RayEngine(address=f"127.0.0.1:{free_port()}").map_units(abs, [1], 1))


@pytest.mark.parametrize("command", ["annotate", "synthesize"])
def test_help_says_how_a_cluster_is_started(command):
    text = " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())
    assert "ray start --head" in text and "ray start --address=HEAD:6379" in text
    result = CliRunner().invoke(main, [command, "--address", "127.0.0.1:6379"])
    assert result.exit_code == 2 and "engine ray" in result.output
