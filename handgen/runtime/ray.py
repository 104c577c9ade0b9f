"""Units of work as tasks of a Ray cluster: one task per unit, on whatever nodes there are.

What is lost when a node or a worker process dies is given to Ray again; nodes that join meanwhile are used. All must
have the versions of the machine that started the run, and reach what a unit reads and writes by the same paths or URLs.
"""

from __future__ import annotations

import contextlib
import heapq
import importlib
import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from handgen import plugins
from handgen.errors import HandgenError
from handgen.runtime import messages, reproducibility
from handgen.runtime.local import ONE_THREAD, Item, Result, default_workers
from handgen.runtime.ray_node import Outcome, RemoteTraceback, create_task

_QUEUED_PER_CPU = 2  # tasks in flight, so that no CPU waits for this process
_LISTEN_S, _LAST_S = 1.0, 5.0  # how often messages of units are fetched; how long the last are waited for
_LOOK_S = 5.0  # how often the cluster is asked for its size
_MOST_TRIES = 8  # of a unit whose processes die
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0  # before it is tried again
_ANSWER_S = 10.0  # for a cluster's head to answer at all
_ENDING_S = 30.0  # for tasks to end that nobody waits for any more
# 0: a task that asks Ray for no GPU still sees those of its node, as with local processes.
_ENVIRONMENT = {**ONE_THREAD, "NO_ALBUMENTATIONS_UPDATE": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # of this process while it joins
# Of a Ray that is started here, which else would leave one in the user's home.
_OWN_TOKEN = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayEngine:
    """Tasks of a Ray cluster.

    workers: how many at a time, or None for all CPUs. address: of the cluster's head (`host:port`, or "auto" for the
    one that this machine is part of); None: the variable RAY_ADDRESS, and without it a Ray of this machine is started
    for the run. A Ray that the calling program has joined already is used as it is.
    """

    workers: int | None = None
    address: str | None = None

    def map_units(self, function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
        """Do the items as tasks, broken off when one raises; HandgenError when Ray, the cluster or its nodes fail."""
        if count:
            with _join_cluster(self.address) as (ray, leaves):
                yield from _Run(ray, leaves, function, items, self.workers).results()


@contextlib.contextmanager
def _join_cluster(address: str | None) -> Iterator[tuple[Any, bool]]:
    """Join a cluster while the block lasts. Yields the module `ray`, and whether it leaves the cluster then."""
    try:
        import ray
    except ImportError:
        raise HandgenError("--engine ray: Ray is not installed here; pip install 'handgen[ray]'") from None
    if ray.is_initialized():
        yield ray, False
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"num_cpus": default_workers(), "include_dashboard": False} if place == "local" else {}
    _check_reachable(place)
    own_token = place == "local" and not any(name.startswith("RAY_AUTH_") for name in os.environ)
    with _keep_environment(_QUIET | _OWN_TOKEN if own_token else _QUIET):
        try:
            try:
                ray.init(
                    place,
                    runtime_env={"env_vars": _ENVIRONMENT | reproducibility.environment() | plugins.environment()},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **options,
                )
            except Exception as error:  # there is no class for all that can be wrong
                raise _join_error(place, error) from None
            with _log_node_output(ray):
                yield ray, True
        finally:
            ray.shutdown()  # ends a Ray that was started here, and leaves one that was joined


@contextlib.contextmanager
def _keep_environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, and undo then what Ray does to them and to SIGTERM."""
    added = variables.keys() - os.environ.keys()
    before = dict(os.environ)
    in_main = threading.current_thread() is threading.main_thread()
    on_term = signal.getsignal(signal.SIGTERM) if in_main else None
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") and name not in before]:
            del os.environ[name]
        with contextlib.suppress(Exception):  # it has no public name, and older ones have no tokens
            tokens = importlib.import_module("ray._raylet").AuthenticationTokenLoader.instance()
            tokens.reset_cache()  # for what this process joins next
        if on_term is not None:
            signal.signal(signal.SIGTERM, on_term)


@contextlib.contextmanager
def _log_node_output(ray: Any) -> Iterator[None]:
    """Send to the log what Ray says of its nodes; it would print it among what a command prints, and has no option."""
    worker = ray._private.worker
    printed = getattr(worker, "print_to_stdstream", None)

    def logged(said: dict[str, Any], *_: Any, **__: Any) -> None:
        log.info("%s", " ".join(said.get("lines", ())))

    worker.print_to_stdstream = logged
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


def _check_reachable(place: str) -> None:
    """Raise a HandgenError where no machine answers, which Ray itself finds out after more than ten minutes."""
    host, colon, port = place.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _join_error(place, error) from None


def _join_error(place: str, error: Exception) -> HandgenError:
    said = " ".join(str(error).split())
    if place == "local":
        return HandgenError(f"--engine ray: Ray cannot be started on this machine ({said}); use --engine local")
    if "Version mismatch" in said:
        return HandgenError(f"--address {place}: {said} Install the same versions of Python and Ray on all nodes")
    return HandgenError(
        f"--address {place}: this Ray cluster cannot be joined ({said}); start it with `ray start --head` on one "
        "machine and `ray start --address=HOST:6379` on the others, this one included"
    )


@dataclass
class _Unit:
    """A unit of work on its way. item: pickled. tries: so far."""

    item: bytes
    tries: int = 0


class _Mailbox:
    """An actor that keeps the messages of units until this process fetches them; without it there are none.

    Used where somebody hears how far units are, or their log is asked for. Its death costs messages, nothing else.
    """

    def __init__(self, ray: Any) -> None:
        self._ray, self._heard, self._asked = ray, messages.current_listener(), None
        self._level = messages.log_level()
        self._actor = None
        if self._heard is not None or self._level < logging.WARNING:

            class Messages:  # made here, so that it is sent as code and needs no handgen of the node's
                def __init__(self) -> None:
                    self.kept: list[bytes] = []

                def put(self, sent: list[bytes]) -> None:
                    self.kept = [*self.kept, *sent][-10_000:]

                def take(self) -> list[bytes]:
                    taken, self.kept = self.kept, []
                    return taken

            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            self._actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Messages).remote()

    @property
    def wait_s(self) -> float:
        """The longest time between two calls of `fetch`."""
        return _LISTEN_S if self._actor else math.inf

    def address(self) -> list[Any]:
        """Give a unit all it needs to send messages here: the actor, and the level from which on to log."""
        return [self._actor, self._level] if self._actor else []

    def fetch(self) -> None:
        """Deliver what has come, and ask for more; never waits."""
        if self._actor is None:
            return
        with contextlib.suppress(self._ray.exceptions.RayError):  # the actor's node has died
            if self._asked is not None and self._ray.wait([self._asked], timeout=0)[0]:
                asked, self._asked = self._asked, None
                for message in self._ray.get(asked):
                    told = messages.deliver(message)
                    if told is not None and self._heard is not None:
                        self._heard(*told)
            if self._asked is None:
                self._asked = self._actor.take.remote()

    def close(self) -> None:
        """Deliver what is there at the end, and end the actor."""
        if self._actor is not None:
            with contextlib.suppress(Exception):  # the cluster itself may be gone
                for _ in range(2):  # what was on its way when it was asked last, and what came since
                    self.fetch()
                    self._ray.wait([self._asked], timeout=_LAST_S)
                self.fetch()
            with contextlib.suppress(Exception):
                self._ray.kill(self._actor)


class _Run:
    """One `map_units`: which units run, which wait to be tried again, and how many may run."""

    def __init__(
        self, ray: Any, leaves: bool, function: Callable[[Any], Any], items: Iterable[Any], workers: int | None
    ) -> None:
        from ray import cloudpickle

        self._ray, self._leaves = ray, leaves
        self._workers = workers
        self._new = (_Unit(cloudpickle.dumps(item)) for item in items)
        self._waiting: list[tuple[float, int, _Unit]] = []  # when, which of them first
        self._running: dict[Any, _Unit] = {}
        self._room, self._looked_at = 0, -_LOOK_S
        unit, self._versions = create_task()
        # Lost units are tried again here, not by Ray, which does it for ever where memory is short.
        self._task = ray.remote(num_cpus=1, max_retries=0)(unit)
        self._mailbox = _Mailbox(ray)
        # In a list: not fetched.
        self._common = (self._versions, uuid.uuid4().hex, [ray.put(function), *self._mailbox.address()], os.getcwd())
        exceptions = ray.exceptions
        self._losses = (
            exceptions.WorkerCrashedError,
            exceptions.NodeDiedError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
            exceptions.RuntimeEnvSetupError,  # of a worker on a node that is dying
        )

    def results(self) -> Iterator[Any]:
        """Yield what the units give, in order of completion."""
        try:
            while self._fill():
                finished, _ = self._ray.wait(list(self._running), timeout=self._wait_s())
                self._mailbox.fetch()
                if finished:  # one; all the others that have finished meanwhile as well
                    finished, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
                for reference in finished:
                    unit = self._running.pop(reference)
                    outcome = self._outcome(reference, unit)
                    if outcome is not None:
                        yield outcome.result
        finally:
            self._mailbox.close()
            # Ray ends the tasks of a process that leaves the cluster; cancelling one that is about to end makes Ray
            # (2.60) abort this process. Those of a program that stays are waited for.
            if self._running and not self._leaves:
                with contextlib.suppress(Exception):  # the cluster itself may be gone
                    self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_ENDING_S)

    def _fill(self) -> bool:
        """Start what there is room for; return whether anything is left to do."""
        room = self._update_room()
        while len(self._running) < room and (unit := self._next()) is not None:
            unit.tries += 1
            self._running[self._task.remote(*self._common, unit.item)] = unit
        return bool(self._running or self._waiting)

    def _next(self) -> _Unit | None:
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            return heapq.heappop(self._waiting)[2]
        return next(self._new, None)

    def _update_room(self) -> int:
        """Count the tasks that may be in flight now: nodes come and go."""
        if time.monotonic() - self._looked_at >= _LOOK_S:
            cpus = int(self._ray.cluster_resources().get("CPU", 0))
            if cpus == 0:
                log.warning("the Ray cluster has no CPU at the moment; waiting for nodes to join")
            self._room = max(1, cpus * _QUEUED_PER_CPU)
            self._looked_at = time.monotonic()
        return min(self._room, self._workers or self._room)

    def _wait_s(self) -> float:
        if not self._running:  # `ray.wait` of nothing returns at once
            time.sleep(max(0.0, self._waiting[0][0] - time.monotonic()))
        longest_s = min(_LOOK_S, self._mailbox.wait_s)
        return min(longest_s, max(0.0, self._waiting[0][0] - time.monotonic())) if self._waiting else longest_s

    def _outcome(self, reference: Any, unit: _Unit) -> Outcome | None:
        """Return what a task gave; None where it was lost and will be done again."""
        try:
            found: Any = self._ray.get(reference)
        except self._losses as loss:
            self._retry_later(unit, loss)
            return None
        except self._ray.exceptions.LocalRayletDiedError:
            raise HandgenError(
                "the Ray of this machine has ended; what was finished is kept: start it and run the same again"
            ) from None
        if not isinstance(found, Outcome):
            node, versions = found
            raise _version_error(node, versions, self._versions)
        if found.error is None:
            return found
        if isinstance(found.error, self._ray.exceptions.RayError):
            self._retry_later(unit, found.error)
            return None
        if isinstance(found.error, HandgenError):
            raise found.error
        raise found.error from RemoteTraceback(found.where)

    def _retry_later(self, unit: _Unit, loss: Exception) -> None:
        """Put a unit back whose process or node died."""
        said = " ".join(str(loss).split())[:300]
        if unit.tries >= _MOST_TRIES:
            raise HandgenError(
                f"a unit of work was lost {unit.tries} times, perhaps for want of memory; the last time Ray said: "
                f"{said}; what was finished is kept: run it again, with fewer --workers if it repeats"
            )
        log.warning("a worker or node died, its work is done again: %s", said)
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (unit.tries - 1))
        heapq.heappush(self._waiting, (time.monotonic() + wait_s, id(unit), unit))


def _version_error(node: str, found: dict[str, str], expected: dict[str, str]) -> HandgenError:
    facts = [
        f"{name} {found.get(name, 'missing')}, this machine {expected.get(name, 'none')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    return HandgenError(
        f"node {node} of the Ray cluster has {'; '.join(facts)}: bytes could differ; install the same versions on all "
        "nodes"
    )
