"""Engines on this machine's processes; `test_engine_ray.py` has those on a Ray cluster."""

import logging
import os
import signal
import subprocess
import sys
from functools import partial

import psutil
import pytest
from support.engines import REPOSITORY, begun, marked_unit, raises_one_way, wait_for

from handgen.errors import HandgenError
from handgen.options import make_config
from handgen.runtime.engines import RayOptions, create_engine
from handgen.runtime.local import LocalEngine, map_units
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.synthesize.config import SynthesizeConfig


class OfManyBytes:
    """A unit's function that is expensive to send, and counts how often it is."""

    sent = 0

    def __init__(self):
        self.names = [f"picture_{n:08d}" for n in range(100_000)]

    def __getstate__(self):
        OfManyBytes.sent += 1
        return self.__dict__

    def __call__(self, number):
        return number, self.names[number]


def fails_at(fatal, error, number):
    if number == fatal:
        raise error
    return number


def test_engines_have_names():
    assert create_engine("local", 3) == LocalEngine(3)
    for config in (AnnotateConfig, SynthesizeConfig):
        chosen = make_config(config, engine="ray", address="127.0.0.1:6379")
        assert chosen.engine_options == RayOptions("127.0.0.1:6379")
        with pytest.raises(ValueError, match="--address is for --engine ray, not local"):
            make_config(config, address="127.0.0.1:6379")
        with pytest.raises(TypeError, match="no option 'adress'"):
            make_config(config, adress="127.0.0.1:6379")
        with pytest.raises(ValueError, match="local or ray"):
            config(engine="slurm")


def test_no_more_processes_than_items():
    assert list(LocalEngine(8).map_units(lambda _: os.getpid(), [1], 1)) == [os.getpid()]
    assert list(LocalEngine(8).map_units(abs, [], 0)) == []


@pytest.mark.slow
def test_a_worker_that_dies_costs_nothing_but_time(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        results = list(LocalEngine(2).map_units(partial(marked_unit, tmp_path, {3: 1}), range(12), 12))
    assert sorted(results) == list(range(12))
    assert len(begun(tmp_path, 3)) == 2
    assert "a worker process died" in caplog.text


@pytest.mark.slow
def test_a_unit_that_always_kills_its_worker_is_an_error(tmp_path):
    done = []
    with pytest.raises(HandgenError, match=r"worker processes die.*what was finished is kept"):
        done.extend(LocalEngine(2).map_units(partial(marked_unit, tmp_path, {3: 99}), range(12), 12))
    assert 3 <= len(begun(tmp_path, 3)) <= 6
    assert len(done) == len(set(done)) and 3 not in done


@pytest.mark.slow
@pytest.mark.parametrize("error", [HandgenError("the fifth is wrong"), KeyError("fifth")])
def test_an_exception_of_a_unit_comes_out_as_itself(error):
    with pytest.raises(type(error), match="fifth"):
        list(LocalEngine(2).map_units(partial(fails_at, 5, error), range(5000), 5000))


@pytest.mark.slow
def test_an_exception_that_cannot_be_sent_is_told_all_the_same():
    """It would break the pool, and look like a worker that died."""
    with pytest.raises(RuntimeError, match="OneWayError: picture: no such colour"):
        list(LocalEngine(2).map_units(raises_one_way, range(9), 9))


@pytest.mark.slow
def test_items_are_taken_when_they_are_needed_and_the_function_is_sent_once_to_a_process():
    taken = []
    results = map_units(OfManyBytes(), (taken.append(n) or n for n in range(40)), 2)
    OfManyBytes.sent = 0
    assert next(results)[0] < 5
    assert len(taken) < 12
    assert len(list(results)) == 39
    assert OfManyBytes.sent == 2


_RUN = """
import sys
from functools import partial
from support.engines import marked_unit
from handgen.runtime.local import map_units

if __name__ == "__main__":
    list(map_units(partial(marked_unit, sys.argv[1], {}, seconds=60), range(9), 2))
"""


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Also when it is killed: nobody would stop them, and they would write beside the run that follows."""
    (tmp_path / "run.py").write_text(_RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))}
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        wait_for(lambda: len(begun(tmp_path)) == 2)
        workers = [psutil.Process(int(path.suffix[1:])) for path in begun(tmp_path)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(map(is_alive, workers)), 15)
    finally:
        if process.poll() is None:
            process.kill()
    assert len(begun(tmp_path)) == 2


def is_alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
