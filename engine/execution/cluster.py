"""Ray: the cluster that actors live in, one of our own on this machine or one that runs.

A cluster of our own listens on 127.0.0.1 alone, shows no dashboard, asks for a token, tells nobody of its use, and ends
with the run. Its files lie in a folder of ours, which is removed then, or when the next one begins.
"""

# Ray says too little of its types.
# pyright: basic

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError, first_line
from srm_explorer.engine.experiment import ExecutionSpec
from srm_explorer.engine.io.lock import is_alive
from srm_explorer.engine.io.runtime import make_folder, runtime_folder

LOOPBACK = "127.0.0.1"

STORE = 512 * 2**20
"""Bytes of the store that results come back through; what is larger goes over the disk."""

_LONGEST = 45
"""Characters of the folder that Ray puts its sockets in: with its own names a path must stay below 107."""

_ALL_INTERFACES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray listens on the loopback interface alone where it thinks that there can be no cluster of several machines."""

_PATIENCE = 30.0
"""Seconds in which whoever is named must answer: a job's script may start a cluster and us at once."""

_AUTH_MODE, _TOKEN = "RAY_AUTH_MODE", "token"

_set_here: set[str] = set()
"""Variables that nobody had set before a cluster of our own needed them."""


KINDS = {"CPU": "processor", "GPU": "GPU"}
"""What an actor may ask for, as Ray calls it, and as we do."""


def amount(kind: str, number: float) -> str:
    """So much of a kind: "2 processors", ".5 GPU"."""
    return f"{number:g} {KINDS[kind]}{'' if number <= 1 and number else 's'}"


@dataclass(frozen=True)
class Cluster:
    """A cluster of Ray that this process is connected to.

    Args:
        ray: the module.
        is_ours: whether it was started for this run, and ends with it.
        folder: of its files, where it is ours.
    """

    ray: Any
    is_ours: bool
    folder: Path | None = None

    @property
    def gpus(self) -> float:
        """How many it has."""
        return float(self.ray.cluster_resources().get("GPU", 0))

    @property
    def processors(self) -> int:
        """How many of them it has, all nodes together."""
        return int(self.ray.cluster_resources().get("CPU", 1))

    @property
    def processors_of_a_node(self) -> int:
        """The fewest that one of its nodes has."""
        return int(min(node["Resources"].get("CPU", 1) for node in self.ray.nodes() if node["Alive"]))

    def room(self, asked: Mapping[str, float]) -> int:
        """How many actors find room now, by what each asks for: "CPU", "GPU"; of one of our own, as many as there are.

        What Ray tells may be a second old.
        """
        kinds = {kind: number for kind, number in asked.items() if number}
        if self.is_ours or not kinds:
            return sys.maxsize
        # Ray reckons in ten-thousandths.
        return sum(
            min(int((free[kind] + 5e-5) // number) for kind, number in kinds.items()) for free, _ in self._nodes()
        )

    def has_begun(self, handle: Any) -> bool:
        """Whether an actor has a process, and so what it asks for; its model may take long."""
        return bool(self.ray._private.state.actors(handle._actor_id.hex()).get("Pid"))

    def at_most(self, kinds: Iterable[str]) -> str:
        """The most that a node has free of some kinds: "1 of 4 processors, 0 of 2 GPUs"."""
        told: list[str] = []
        for kind in kinds:
            free, all_ = max(((free[kind], all_[kind]) for free, all_ in self._nodes()), default=(0.0, 0.0))
            told.append(f"{free:g} of {amount(kind, all_)}")
        return ", ".join(told)

    def _nodes(self) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
        """Of every node that is alive what is free there, and what there is at all."""
        known: Any = self.ray._private.state.available_resources_per_node()
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        kinds = dict.fromkeys(KINDS, 0.0)
        return [({**kinds, **known.get(node["NodeID"], {})}, {**kinds, **node["Resources"]}) for node in alive]

    def lists(self, node: str) -> bool:
        """Whether Ray takes a node for alive, by its id; that one is dead it finds out within a minute."""
        return any(known["NodeID"] == node and known["Alive"] for known in self.ray.nodes())

    def lives(self, node: str) -> bool:
        """Whether a node is there: Ray takes it for alive, and it answers."""
        here = [known for known in self.ray.nodes() if known["NodeID"] == node and known["Alive"]]
        return bool(here) and _answers(here[0]["NodeManagerAddress"], int(here[0]["NodeManagerPort"]))

    def check(self) -> None:
        """Make sure that the processes of a cluster of our own live, without which no actor does.

        Raises:
            ExplorerError: one is gone.
        """
        node: Any = getattr(self.ray._private.worker, "_global_node", None) if self.is_ours else None
        for kind, processes in getattr(node, "all_processes", {}).items():
            if any(info.process.poll() is not None for info in processes) and kind in ("raylet", "gcs_server"):
                raise ExplorerError(
                    f"Ray ended: its {kind} is gone",
                    remedy="what is finished is kept, and the same command goes on from there",
                )

    def end(self, handle: Any) -> None:
        """End an actor, also one that is dead."""
        with _quiet(), contextlib.suppress(Exception):
            self.ray.kill(handle)

    def leave(self) -> None:
        """End it where it is ours, else let go of it; nothing happens the second time."""
        with _quiet(), contextlib.suppress(Exception):
            self.ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def join(spec: ExecutionSpec, processors: int) -> Cluster:
    """Connect to the cluster that an experiment names, or start one here.

    Args:
        processors: that a cluster of our own is to have.

    Raises:
        ExplorerError: Ray is not installed, does not start, or nothing answers at the address.
    """
    ray = _imported(spec.address is None)
    if ray.is_initialized():
        ray.shutdown()
    if spec.address is None:
        return _started(ray, processors)
    try:
        with _quiet(), own_signals():
            reach(_address_of(spec.address))
            _read_environment(ray)
            ray.init(address=spec.address, log_to_driver=False, logging_level=logging.ERROR, namespace=None)
    except Exception as error:  # noqa: BLE001 - Ray has no class of its own for what can go wrong here
        what = f"no cluster of Ray answers: {first_line(error)}"
        remedy = "start one with `ray start --head`, or leave the address out for one on this machine"
        raise ExplorerError(what, where=f"execution.address, {spec.address}", remedy=remedy) from None
    return Cluster(ray, is_ours=False)


def _address_of(named: str) -> str:
    """The address that "auto" stands for, as Ray looks it up; any other stands for itself.

    Raises:
        ConnectionError: no cluster runs here.
    """
    if named != "auto":
        return named
    services: Any = importlib.import_module("ray._private.services")
    return services.get_ray_address_from_environment(named, None) or ""


def reach(address: str) -> None:
    """Wait until a cluster answers, and have Ray look for it where it does; what is no HOST:PORT is left to Ray.

    Ray takes 127.0.0.1 for this machine's address in its network, at which nothing listens where a cluster was started
    with `--node-ip-address=127.0.0.1`; and it goes on looking for minutes.

    Raises:
        ConnectionError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    services: Any = importlib.import_module("ray._private.services")
    is_here = host in (LOOPBACK, "localhost", "[::1]")
    deadline = time.monotonic() + _PATIENCE
    while not _answers(services.get_node_ip_address() if is_here else host, int(port)):
        if is_here and _answers(LOOPBACK, int(port)):
            os.environ[_ALL_INTERFACES] = "0"
            constants: Any = importlib.import_module("ray._private.ray_constants")
            constants.ENABLE_RAY_CLUSTER = False
            return
        if time.monotonic() > deadline:
            raise ConnectionError(f"nothing listens at {address}")
        time.sleep(0.5)


def _answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=5):
            return True
    except OSError:
        return False


def _imported(on_loopback: bool) -> Any:
    set_environment(on_loopback)
    try:
        ray = importlib.import_module("ray")
        constants: Any = importlib.import_module("ray._private.ray_constants")
        worker: Any = importlib.import_module("ray._private.worker")
    except ImportError:
        raise ExplorerError("Ray is not installed", remedy="pip install 'srm-explorer[ray]'") from None
    # What a dying part of it last wrote to its log goes to standard output otherwise, which is ours.
    worker.print_to_stdstream = _unprinted
    # A process that was connected elsewhere before has read it already.
    constants.ENABLE_RAY_CLUSTER = not on_loopback
    return ray


def set_environment(on_loopback: bool) -> None:
    """Set what Ray reads when it is imported, here and in what it starts; what is asked of it by name stays.

    Args:
        on_loopback: whether it is for a cluster of our own, or else for one that knows nothing of what the last one
            needed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if on_loopback:
        os.environ[_ALL_INTERFACES] = "0"
    else:
        os.environ.pop(_ALL_INTERFACES, None)
    if on_loopback and _AUTH_MODE not in os.environ:
        os.environ[_AUTH_MODE] = _TOKEN
        _set_here.add(_AUTH_MODE)
    elif not on_loopback and _AUTH_MODE in _set_here:
        _set_here.discard(_AUTH_MODE)
        if os.environ.get(_AUTH_MODE) == _TOKEN:
            del os.environ[_AUTH_MODE]


def _read_environment(ray: Any) -> None:
    """Have Ray read it again: it has done so already where this process was connected before."""
    ray._raylet.Config.initialize("")


def _unprinted(*_: Any, **__: Any) -> None:
    return


def _started(ray: Any, processors: int) -> Cluster:
    folder = _folder()
    _read_environment(ray)
    try:
        with _quiet(), own_signals():
            ray.init(
                address="local",
                num_cpus=processors,
                include_dashboard=False,
                object_store_memory=STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=LOOPBACK,
                _temp_dir=str(folder),
            )
    except Exception as error:  # noqa: BLE001 - as above
        shutil.rmtree(folder, ignore_errors=True)
        what = f"Ray does not start: {first_line(error)}"
        raise ExplorerError(what, where=f"ray {ray.__version__}", remedy="use --executor local") from None
    cluster = Cluster(ray, is_ours=True, folder=folder)
    if any(node["NodeManagerAddress"] != LOOPBACK for node in ray.nodes()):
        cluster.leave()
        what = "this version of Ray listens to other machines"
        raise ExplorerError(what, where=f"ray {ray.__version__}", remedy="install another, or use --executor local")
    return cluster


def _folder() -> Path:
    """A new folder for Ray's files; those of processes that are gone are removed."""
    home = runtime_folder()
    make_folder(home)
    for old in home.glob("ray-*"):
        pid = old.name.rpartition("-")[2]
        if not (pid.isdigit() and is_alive(int(pid))):
            shutil.rmtree(old, ignore_errors=True)
    folder = home / f"ray-{os.getpid()}"
    if len(str(folder)) > _LONGEST:
        return Path(tempfile.mkdtemp(prefix="srm-ray-", dir="/tmp"))
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def own_signals() -> Generator[None]:
    """Keep the handlers of signals, which Ray takes for itself, and what it starts from being ended by a warning.

    A batch system warns all processes of a job, and whoever does not expect SIGUSR1 ends by it. What is started with it
    blocked never hears it; it waits for us until the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    is_main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items() if is_main else ():
            if handler is not None:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep what Ray logs of itself off the terminal."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
