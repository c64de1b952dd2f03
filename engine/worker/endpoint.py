"""Where the worker is reached: a socket that belongs to one user, one machine and one environment."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.io.runtime import check_folder, runtime_folder
from srm_explorer.engine.worker.protocol import PROTOCOL

LONGEST_PATH = 100
"""Bytes of a socket's path that every system takes."""

_PREFIXES = ("CUDA_", "HF_")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Results depend on them in the last bit."""

_NOT_OURS = ("CUDA_MODULE_LOADING",)
"""Set by torch itself once it is imported."""


@dataclass(frozen=True)
class Endpoint:
    """The files by which one worker is found.

    Args:
        folder: `runtime_folder`.
        identity: 12 hexadecimal digits for what a worker cannot change once it runs.
    """

    folder: Path
    identity: str

    @property
    def socket(self) -> Path:
        """What it listens on."""
        return self.folder / f"{self.identity}.sock"

    @property
    def lock(self) -> Path:
        """Held by the worker as long as it lives."""
        return self.folder / f"{self.identity}.lock"

    @property
    def spool(self) -> Path:
        """Where submissions are left for a worker that starts."""
        return self.folder / f"{self.identity}.post"

    @property
    def log(self) -> Path:
        """What it writes down."""
        return paths.state_folder() / f"worker-{self.identity}.log"


def here() -> Endpoint:
    """The endpoint of this user, machine and environment; it need not exist."""
    return Endpoint(runtime_folder(), identity())


def identity() -> str:
    """Hash host, protocol, Python environment, and the variables that decide devices, models and threads."""
    variables = [f"{name}={os.environ[name]}" for name in _deciding()]
    whole = "\0".join([platform.node(), str(PROTOCOL), sys.prefix, *variables])
    return hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]


def _deciding() -> list[str]:
    names = [name for name in os.environ if name.startswith(_PREFIXES) and name not in _NOT_OURS]
    return sorted([*names, *(name for name in _THREADS if name in os.environ)])


def environment() -> dict[str, str]:
    """What tells this environment from others, by name, to be shown: of a token only that it is set."""
    variables = {name: "set" if "TOKEN" in name else os.environ[name] for name in _deciding()}
    return {"python": sys.prefix, **variables}


def living() -> list[Endpoint]:
    """The endpoints of this user at which a worker lives, whatever its environment.

    Raises:
        ExplorerError: the folder of sockets is not ours alone.
    """
    folder = runtime_folder()
    if not check_folder(folder):
        return []
    names = [path.stem for path in sorted(folder.glob("*.lock")) if re.fullmatch("[0-9a-f]{12}", path.stem)]
    return [endpoint for endpoint in (Endpoint(folder, name) for name in names) if is_alive(endpoint)]


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind and listen; only the holder of the endpoint's lock may, since what lies there is removed.

    Raises:
        ExplorerError: the path is too long, or the system refuses.
    """
    _check_length(endpoint.socket)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        endpoint.socket.unlink(missing_ok=True)
        # Nobody may connect between the binding and the changing of the mode: it is right from the start.
        before = os.umask(0o177)
        try:
            listener.bind(str(endpoint.socket))
        finally:
            os.umask(before)
        endpoint.socket.chmod(0o600)
        listener.listen(64)
    except OSError as error:
        listener.close()
        what = f"cannot listen: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=str(endpoint.socket), remedy="set TMPDIR to another folder") from None
    return listener


_TIMEOUT = 5.0
"""Seconds in which the worker lets somebody in."""


def connect(endpoint: Endpoint) -> socket.socket | None:
    """Connect to the worker; None where none listens.

    Raises:
        ExplorerError: the folder is not ours alone, another user listens there, or nobody is let in any more.
    """
    if not check_folder(endpoint.folder):
        return None
    _check_length(endpoint.socket)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_TIMEOUT)
    until = time.monotonic() + _TIMEOUT
    while True:
        try:
            connection.connect(str(endpoint.socket))
            break
        except BlockingIOError:
            # So many wait to be let in that the system takes no more: there is somebody.
            if time.monotonic() > until:
                connection.close()
                raise ExplorerError(
                    "the worker does not answer", remedy="`srm-explorer worker logs` may say why"
                ) from None
            time.sleep(0.02)
        except OSError:
            connection.close()
            return None
    if not is_same_user(connection):
        connection.close()
        raise ExplorerError(
            "another user listens there", where=str(endpoint.socket), remedy="set TMPDIR to a folder of your own"
        )
    return connection


def is_same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is of this user; where the system cannot tell, the folder's mode must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid == os.getuid()


def is_alive(endpoint: Endpoint) -> bool:
    """Whether a worker holds the endpoint's lock, listening or not."""
    return FileLock(endpoint.lock).is_taken()


@cache
def build() -> str:
    """Name this version of the program, also between releases: version, and a hash of the sources' sizes and times."""
    try:
        version = metadata.version("srm-explorer")
    except metadata.PackageNotFoundError:
        version = "0"
    root = paths.engine_folder().resolve()
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*.py*") if path.suffix in (".py", ".pyi")):
        status = path.stat()
        digest.update(f"{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return f"{version}+{digest.hexdigest()[:8]}"


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ExplorerError(
            f"the socket's path is longer than {LONGEST_PATH} bytes",
            where=str(path),
            remedy="set TMPDIR to a folder with a shorter path, such as /tmp",
        )
