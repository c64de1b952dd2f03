"""Runs command lines in forked processes, so that the libraries are imported once, and kills or signals them.

Reads a list of jobs as JSON on standard input and writes a list of results on standard output. A job:

argv          arguments of the command line.
folder        the run folder that is watched.
kill_at       end by SIGKILL at this call of os.fsync, from 1: each is an instant between two states of the disk.
kill_begun    end by SIGKILL as soon as the run folder has a layout, while the first batch is prefilled.
signals       [[when, name], ...]: "second" (while the second batch is in flight), or seconds after the one before.
at_stage      [stage, name]: the process sends itself a signal when it tells that it is at this stage.
ignore        names of signals the process was started to ignore.
largest_file  bytes that a file may grow to.
fill, free    a file that takes all the space that is left before the run, one that is removed before it.
keep          a file whose text after the run is part of the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import srm_explorer.engine.execution.run
import srm_explorer.tui.cli.app
import srm_explorer.tui.cli.run  # noqa: F401  (imported once, before forking)
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.tui.cli import main
from srm_explorer.tui.cli.watch import Watch

WAIT = 120.0


def child(job: dict[str, Any]) -> int:
    torch.set_num_threads(1)
    for name in job.get("ignore", []):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if job.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
    if job.get("at_stage"):
        signal_at_stage(*job["at_stage"])
    if job.get("kill_at"):
        kill_at_sync(job["kill_at"])
    if job.get("kill_begun"):
        threading.Thread(target=kill_when_begun, args=[Path(job["folder"])], daemon=True).start()
    return main(job["argv"])


def signal_at_stage(stage: str, name: str) -> None:
    show = Watch.show

    def show_and_send(watch: Watch, progress: Progress) -> None:
        show(watch, progress)
        if progress.stage == stage:
            os.kill(os.getpid(), getattr(signal, name))

    Watch.show = show_and_send


def kill_at_sync(number: int) -> None:
    sync: Callable[[int], None] = os.fsync
    calls = 0

    def counted(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = counted


def kill_when_begun(folder: Path) -> None:
    while not (folder / "events.jsonl").exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def is_in_second_batch(folder: Path) -> bool:
    try:
        return (folder / "events.jsonl").read_bytes().count(b'"event":"batch"') == 1
    except OSError:
        return False


def send(pid: int, signals: list[list[Any]], folder: Path) -> None:
    for when, name in signals:
        deadline = time.monotonic() + WAIT
        if isinstance(when, str):
            while not is_in_second_batch(folder) and time.monotonic() < deadline:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    return
                time.sleep(0.002)
        else:
            time.sleep(when)
        os.kill(pid, getattr(signal, name))


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


def run(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("fill"):
        fill(Path(job["fill"]))
    if job.get("free"):
        Path(job["free"]).unlink()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                status = child(job)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:  # noqa: BLE001  (a forked process must not return into its parent's code)
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        send(pid, job.get("signals", []), Path(job["folder"]))
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
            "kept": Path(job["keep"]).read_text() if job.get("keep") else "",
        }


if __name__ == "__main__":
    results = [run(job) for job in json.load(sys.stdin)]
    json.dump(results, sys.stdout)
