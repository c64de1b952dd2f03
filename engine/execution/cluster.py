"""Ray: the cluster that actors live in, one of our own on this machine or one that runs.

A cluster of our own listens on 127.0.0.1 alone, shows no dashboard, asks for a token, tells nobody of its use, and ends
with the run. Its files lie in a folder of ours, which is removed then, or when the next one begins.
"""

# Ray says too little of its types.
# pyright: basic

from __future__ import annotations

import contextlib
import gc
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
from dataclasses import dataclass, field
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

_SHORT = Path("/tmp")
"""Where that folder is made instead."""

_ALL_INTERFACES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray listens on the loopback interface alone where it thinks that there can be no cluster of several machines."""

_PATIENCE = 30.0
"""Seconds in which whoever is named must answer: a job's script may start a cluster and us at once."""

_AUTH_MODE, _TOKEN = "RAY_AUTH_MODE", "token"

_FIRST_WITH_TOKENS = (2, 52)
"""The first version of Ray that asks for a token: without, every user of the machine runs what they like as us."""

_asked_here: set[str] = set()
"""Variables that nobody had set before a cluster of our own needed them; Ray reads them once in a process."""


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
        addresses: host and port of each of its processes without which nothing goes on.
    """

    ray: Any
    is_ours: bool
    folder: Path | None = None
    addresses: Mapping[str, tuple[str, int]] = field(default_factory=dict)

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
        """The most actors that find room now, by what each asks for: "CPU", "GPU"; as many as there are in our own.

        What Ray tells may be a second old, and is of all nodes together: where it lies on several, fewer find room.
        """
        kinds = {kind: number for kind, number in asked.items() if number}
        if self.is_ours or not kinds:
            return sys.maxsize
        free = self.ray.available_resources()
        # Ray reckons in ten-thousandths.
        return min(int((free.get(kind, 0) + 5e-5) // number) for kind, number in kinds.items())

    def free(self, kinds: Iterable[str]) -> str:
        """What all nodes together have free of some kinds: "1 of 4 processors, 0 of 2 GPUs"."""
        free, all_ = self.ray.available_resources(), self.ray.cluster_resources()
        return ", ".join(f"{free.get(kind, 0):g} of {amount(kind, all_.get(kind, 0))}" for kind in kinds)

    def lists(self, node: str) -> bool:
        """Whether Ray takes a node for alive, by its id; that one is dead it finds out within a minute."""
        return any(known["NodeID"] == node and known["Alive"] for known in self.ray.nodes())

    def lives(self, node: str) -> bool:
        """Whether a node is there: Ray takes it for alive, and it answers."""
        here = [known for known in self.ray.nodes() if known["NodeID"] == node and known["Alive"]]
        return bool(here) and _answers(here[0]["NodeManagerAddress"], int(here[0]["NodeManagerPort"]))

    def silent(self) -> str:
        """Which of its processes that every actor needs does not answer; empty where all do."""
        return next((kind for kind, address in self.addresses.items() if not _answers(*address)), "")

    def end(self, handle: Any) -> None:
        """End an actor, also one that is dead."""
        with _quiet(), contextlib.suppress(Exception):
            self.ray.kill(handle)

    def leave(self, *, is_gone: bool = False) -> None:
        """End it where it is ours, else let go of it; nothing happens the second time.

        Args:
            is_gone: whether it does not answer: Ray would wait for it, and then end this process.
        """
        if not is_gone:
            with _quiet(), _uncollected(), contextlib.suppress(Exception):
                self.ray.shutdown()
        if isinstance(sys.stdout, _Unheard):
            sys.stdout = sys.stdout.stream
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Unheard:
    """Standard output without what Ray prints there: the last words of its parts that die, in a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def join(spec: ExecutionSpec, processors: int) -> Cluster:
    """Connect to the cluster that an experiment names, or start one here.

    Args:
        processors: that a cluster of our own is to have.

    Raises:
        ExplorerError: Ray is not installed, does not start, or nothing answers at the address.
    """
    if spec.address is not None and _AUTH_MODE in _asked_here:
        what = "this process had a cluster of its own, and would show its token to another"
        remedy = "let another process run it; the background process is another after `srm-explorer worker restart`"
        raise ExplorerError(what, where=f"execution.address, {spec.address}", remedy=remedy)
    set_environment(spec.address is None)
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise ExplorerError("Ray is not installed", remedy="pip install 'srm-explorer[ray]'") from None
    if ray.is_initialized():
        what, remedy = "this process is connected to a cluster of Ray already", "call ray.shutdown() first"
        raise ExplorerError(what, where="ray.is_initialized()", remedy=remedy)
    cluster = _started(ray, processors) if spec.address is None else _joined(ray, spec.address)
    sys.stdout = _Unheard(sys.stdout)
    return cluster


def _joined(ray: Any, address: str) -> Cluster:
    try:
        with _quiet(), own_signals():
            reach(_address_of(address), ray.util.get_node_ip_address())
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace=None)
    except Exception as error:  # noqa: BLE001 - Ray has no class of its own for what can go wrong here
        what = f"no cluster of Ray answers: {first_line(error)}"
        remedy = "start one with `ray start --head`, or leave the address out for one on this machine"
        raise ExplorerError(what, where=f"execution.address, {address}", remedy=remedy) from None
    return Cluster(ray, is_ours=False, addresses={"gcs_server": _gcs(ray)})


def _gcs(ray: Any) -> tuple[str, int]:
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def _address_of(named: str) -> str:
    """The address that "auto" stands for, where the environment, or the last `ray start` here, says so; else empty.

    Ray itself would look for minutes for one that is gone.
    """
    if named != "auto":
        return named
    if told := os.environ.get("RAY_ADDRESS"):
        return told
    home = os.environ.get("RAY_TMPDIR") or (sys.platform == "linux" and os.environ.get("TMPDIR")) or "/tmp"
    noted = Path(home) / "ray" / "ray_current_cluster"
    return noted.read_text(encoding="utf-8").strip() if noted.is_file() else ""


def reach(address: str, here: str) -> None:
    """Wait until a cluster answers, for which Ray would look for minutes; what is no HOST:PORT is left to Ray.

    Args:
        here: what Ray takes 127.0.0.1 for: itself, unless somebody imported Ray before.

    Raises:
        ConnectionError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    is_here = host in (LOOPBACK, "localhost", "[::1]")
    deadline = time.monotonic() + _PATIENCE
    while not _answers(here if is_here else host, int(port)):
        if is_here and _answers(LOOPBACK, int(port)):
            raise ConnectionError(f"Ray was imported before and looks for it at {here}: export {_ALL_INTERFACES}=0")
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


def set_environment(is_ours: bool) -> None:
    """Set what Ray reads when it is imported, here and in what it starts; what is asked of it by name stays.

    That Ray takes this machine for all there is changes nothing for whoever joins a cluster: they start nothing.

    Args:
        is_ours: whether it is for a cluster of our own, which is to ask for a token. Ray that was imported before
            decides so itself, and must see that nobody has.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ[_ALL_INTERFACES] = "0"
    if is_ours and _AUTH_MODE not in os.environ:
        _asked_here.add(_AUTH_MODE)
        if "ray" not in sys.modules:
            os.environ[_AUTH_MODE] = _TOKEN


def _started(ray: Any, processors: int) -> Cluster:
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if _AUTH_MODE in _asked_here and version < _FIRST_WITH_TOKENS:
        raise _unsafe(ray, "asks nobody for a token")
    folder = _folder()
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
    (node,) = ray.nodes()
    addresses = {"gcs_server": _gcs(ray), "raylet": (node["NodeManagerAddress"], int(node["NodeManagerPort"]))}
    cluster = Cluster(ray, is_ours=True, folder=folder, addresses=addresses)
    why = "listens to other machines" if {host for host, _ in addresses.values()} != {LOOPBACK} else ""
    if why := why or ("asks nobody for a token" if _AUTH_MODE not in os.environ else ""):
        cluster.leave()
        raise _unsafe(ray, why)
    return cluster


def _unsafe(ray: Any, why: str) -> ExplorerError:
    remedy = "let a process run it that has not imported Ray before, install a newer one, or use --executor local"
    return ExplorerError(f"Ray {why}", where=f"ray {ray.__version__}", remedy=remedy)


def _folder() -> Path:
    """A new folder for Ray's files; those of processes that are gone are removed."""
    home = runtime_folder()
    make_folder(home)
    for old in (*home.glob("ray-*"), *_SHORT.glob("srm-ray-*")):
        pid = old.name.partition("ray-")[2].partition("-")[0]
        with contextlib.suppress(OSError):
            if pid.isdigit() and not is_alive(int(pid)) and old.lstat().st_uid == os.getuid():
                shutil.rmtree(old, ignore_errors=True)
    folder = home / f"ray-{os.getpid()}"
    if len(str(folder)) > _LONGEST:
        return Path(tempfile.mkdtemp(prefix=f"srm-ray-{os.getpid()}-", dir=_SHORT))
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
def _uncollected() -> Generator[None]:
    """Collect no garbage: where another thread does, and finds what is Ray's while Ray ends, that ends this process."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


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
