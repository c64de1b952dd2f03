"""Runs command lines in processes forked from this one, and kills or signals them.

Reads a list of jobs as JSON on standard input and writes a list of results on standard output. A job:

argv          arguments of the command line.
folder        the run folder that is watched.
kill_at       end by SIGKILL at this call of os.fsync, from 1: each is an instant between two states of the disk.
kill_begun    end by SIGKILL as soon as the run folder has a layout, while the first batch is prefilled.
in_second     names of signals that the process gets one after the other while its second batch is in flight.
at_stage      [stage, name]: it gets a signal when it tells that it is at this stage.
at_begin      name of a signal that it gets when it begins to read the experiment.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import srm_explorer.tui.cli.run
from srm_explorer.engine.launch.watch import Watch
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.tui.cli import main


def child(job: dict[str, Any]) -> int:
    torch.set_num_threads(1)
    for name in job.get("ignore", []):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if job.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
    if job.get("at_stage"):
        stage, name = job["at_stage"]
        signal_when(lambda progress: progress.stage == stage, [name])
    if job.get("in_second"):
        signal_when(lambda progress: is_in_second_batch(progress, Path(job["folder"])), job["in_second"])
    if job.get("at_begin"):
        signal_at_begin(job["at_begin"])
    if job.get("kill_at"):
        kill_at_sync(job["kill_at"])
    if job.get("kill_begun"):
        threading.Thread(target=kill_when_begun, args=[Path(job["folder"])], daemon=True).start()
    return main(job["argv"])


def signal_when(holds: Callable[[Progress], bool], names: Sequence[str]) -> None:
    show = Watch.show
    waiting = list(names)

    def show_and_send(watch: Watch, progress: Progress) -> None:
        show(watch, progress)
        while waiting and holds(progress):
            os.kill(os.getpid(), getattr(signal, waiting.pop(0)))
            time.sleep(0.01)  # the handler of one runs before the next comes

    Watch.show = show_and_send


def signal_at_begin(name: str) -> None:
    read: Callable[..., Any] = srm_explorer.tui.cli.run.read_experiment

    def send_and_read(*arguments: Any, **how: Any) -> Any:
        os.kill(os.getpid(), getattr(signal, name))
        return read(*arguments, **how)

    srm_explorer.tui.cli.run.read_experiment = send_and_read


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


def is_in_second_batch(progress: Progress, folder: Path) -> bool:
    if progress.stage != "running" or not progress.step:
        return False
    try:
        return (folder / "events.jsonl").read_bytes().count(b'"event":"batch"') == 1
    except OSError:
        return False


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
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode(),
            "stderr": err.read().decode(),
            "kept": Path(job["keep"]).read_text() if job.get("keep") else "",
        }


def run_all(_: Sequence[str]) -> int:
    results = [run(job) for job in json.load(sys.stdin)]
    json.dump(results, sys.stdout)
    return 0
