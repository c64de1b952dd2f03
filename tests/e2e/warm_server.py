"""Forks processes from one that has imported the libraries, so that each begins in milliseconds.

It listens on the socket that is its argument. A connection brings one line of JSON and the descriptors of standard
input, output and error, and is told the process id at once and the wait status at the end, a line each:

target     a function `module:name` that takes arguments and returns an exit status.
argv       its arguments.
env, cwd   those of the process.
session    whether it leads a session of its own.

A run waits in its second batch as long as there is a file `hold` in the folder for temporary files and nobody asks it
to stop: what is done to it is done in the middle, whatever the speed of the machine.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from srm_explorer.engine.runs.progress import Meter

LIBRARIES = (
    "srm_explorer.engine.execution.replay",
    "srm_explorer.engine.execution.run",
    "srm_explorer.engine.worker.__main__",
    "srm_explorer.engine.worker.models",
    "srm_explorer.engine.worker.server",
    "srm_explorer.tui.cli.app",
    "srm_explorer.tui.cli.run",
    "tests.e2e.driver",
)


def hold_in_second_batch() -> None:
    step = Meter.step

    def hold_and_step(meter: Meter, *counts: int) -> None:
        hold = Path(tempfile.gettempdir()) / "hold"
        while meter.runs_done and hold.exists() and not meter.stop.level:
            time.sleep(0.01)
        step(meter, *counts)

    Meter.step = hold_and_step


def be(request: dict[str, Any], descriptors: list[int]) -> int:
    """Become the process that was asked for; its exit status."""
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    # Streams know what kind of file they were opened on.
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    os.chdir(request["cwd"])
    module, _, name = request["target"].partition(":")
    try:
        status = getattr(importlib.import_module(module), name)(request["argv"])
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  (a forked process must not return into its parent's code)
        import traceback

        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return int(status)


def take(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    descriptors = array.array("i")
    text, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    return json.loads(text), list(descriptors)


def start(connection: socket.socket, listener: socket.socket) -> int:
    request, descriptors = take(connection)
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            listener.close()
            connection.close()
            status = be(request, descriptors)
        finally:
            os._exit(status)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(f"{pid}\n".encode())
    return pid


def serve(path: str) -> None:
    # What is imported stays: looking through it for garbage again and again takes a quarter of the time.
    gc.disable()
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    gc.enable()
    torch.set_num_threads(1)
    hold_in_second_batch()
    known: dict[int, socket.socket] = {}
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as ready:
        listener.bind(path)
        listener.listen(64)
        for source in (listener, awake, sys.stdin):
            ready.register(source, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            sources = [key.fileobj for key, _ in ready.select()]
            if sys.stdin in sources:
                return  # Whoever started it is gone.
            if awake in sources:
                os.read(awake, 4096)
            if listener in sources:
                connection = listener.accept()[0]
                known[start(connection, listener)] = connection
            for pid in [*known]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with known.pop(pid) as connection, contextlib.suppress(OSError):
                        connection.sendall(f"{status}\n".encode())


if __name__ == "__main__":
    serve(sys.argv[1])
