"""A folder with an experiment of several batches on a tiny model, and command lines and workers that run in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.session import load_session
from srm_explorer.engine.worker import client as client_module
from srm_explorer.engine.worker.client import Client, find_or_start_worker

from .link_screen import Screen
from .warm import DRIVER, LINE, WarmProcess, WarmServer, starting_warm

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

ROOT = Path(__file__).parents[2]
PROMPTS, VALUES = 50, 3
RUNS = PROMPTS * (VALUES + 1)
SPEC = """
[model]
name = "{model}"
device = "cpu"

[prompts]
sets = ["texts.txt"]
prepend_bos = false

[[interventions]]
site = "blocks.1.mlp.hook_post"
neurons = [3]
op = "clamp"
values = [-4, 0, 4]

[execution]
rows = 96

[generation]
tokens = 30
stop_at_eos = false

[capture]
sites = ["blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"]

[[planes]]
site = "blocks.1.mlp.hook_post"
a = 3
b = 8
"""


@dataclass(frozen=True)
class Done:
    """What came of a command line."""

    status: int
    stdout: str
    stderr: str
    kept: str = ""


@dataclass(frozen=True)
class Bench:
    """Where command lines run."""

    folder: Path
    server: WarmServer

    def session_path(self, name: str) -> Path:
        return self.folder / "out" / f"{name}.json"

    def run_folder(self, name: str) -> Path:
        return paths.run_folder(self.session_path(name))

    def session(self, name: str) -> Session:
        return load_session(self.session_path(name))

    def experiment(self, *overrides: str) -> Experiment:
        return read_experiment(str(self.folder / "spec.toml"), overrides=overrides)[0]

    def command(self, name: str, *more: str) -> list[str]:
        return ["run", str(self.folder / "spec.toml"), "--session", str(self.session_path(name)), *more]

    def job(self, name: str, *more: str, **how: Any) -> dict[str, Any]:
        """A run for `drive`."""
        return {"argv": self.command(name, *more), "folder": str(self.run_folder(name)), **how}

    def drive(self, *jobs: dict[str, Any]) -> list[Done]:
        """Run command lines one after the other, killed or signalled as `driver.py` says."""
        pipe = subprocess.PIPE
        process = WarmProcess(
            self.server, DRIVER, [], env=environment(), cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        out, err = process.communicate(json.dumps(jobs), timeout=500)
        assert process.returncode == 0, err
        return [Done(**one) for one in json.loads(out)]

    def start(self, *arguments: str) -> WarmProcess:
        """Start a command line, whose output can be read."""
        pipe = subprocess.PIPE
        return WarmProcess(
            self.server, LINE, arguments, env=environment(), cwd=self.folder, stdout=pipe, stderr=pipe, text=True
        )


@pytest.fixture
def bench(tmp_path: Path, tiny_gpt2_folder: Path, warm_server: WarmServer) -> Bench:
    (tmp_path / "spec.toml").write_text(SPEC.format(model=tiny_gpt2_folder))
    (tmp_path / "texts.txt").write_text("".join(f"The man opened {number} doors\n" for number in range(PROMPTS)))
    return Bench(tmp_path, warm_server)


@pytest.fixture
def whole(bench: Bench) -> Callable[..., Session]:
    """Run an experiment undisturbed, in this process."""
    import torch

    from srm_explorer.engine.execution.run import run_experiment

    def run(*overrides: str) -> Session:
        torch.set_num_threads(1)
        outcome = run_experiment(bench.experiment(*overrides), bench.folder, bench.session_path("whole"))
        assert outcome.status == "finished"
        assert outcome.session is not None
        return outcome.session

    return run


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where workers have their socket; none is left behind."""
    folder = tmp_path_factory.getbasetemp() / "w"
    folder.mkdir()
    yield folder
    end_workers(folder)


@pytest.fixture
def cold_office(office: Path, monkeypatch: pytest.MonkeyPatch, own_folders: Path) -> None:
    """The worker of an earlier test is met, unless that ended it; a new one imports its libraries."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(office))
    monkeypatch.setattr(tempfile, "tempdir", str(office))
    monkeypatch.setenv("XDG_STATE_HOME", str(office / "state"))


@pytest.fixture
def at_office(cold_office: None, office: Path, warm_server: WarmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of an earlier test is met, unless that ended it; a new one has the libraries already.

    One that a screen or a command line of an earlier test has started could not be held, and is ended.
    """
    end_workers(office, but=warm_server.workers(str(office)))
    monkeypatch.setattr(client_module, "subprocess", starting_warm(warm_server))


@dataclass(frozen=True)
class Hold:
    """Keeps runs in their second batch, until they are asked to stop."""

    file: Path

    def begin(self) -> None:
        self.file.touch()

    def end(self) -> None:
        self.file.unlink(missing_ok=True)


@pytest.fixture
def hold(office: Path, warm_server: WarmServer) -> Iterator[Hold]:
    """Runs of processes of `warm_server` are held in the middle from now on."""
    hold = Hold(office / "hold")
    hold.begin()
    yield hold
    hold.end()


@pytest.fixture
def client(at_office: None) -> Client:
    """A living worker."""
    return find_or_start_worker(idle_exit=300)


@pytest.fixture
def screen(at_office: None) -> Iterator[Screen]:
    """One that keeps what its link tells."""
    screen = Screen()
    yield screen
    screen.link.close()


@pytest.fixture
def other(at_office: None) -> Iterator[Screen]:
    """Another one."""
    screen = Screen()
    yield screen
    screen.link.close()


def worker_pids(office: Path) -> list[int]:
    """The workers that have their socket there."""
    pids: list[int] = []
    for path in office.glob("srm-explorer-*/*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as talk:
            talk.connect(str(path))
            credentials = talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pids.append(struct.unpack("3i", credentials)[0])
    return pids


def end_workers(office: Path, but: Collection[int] = ()) -> None:
    """Kill the workers that have their socket there, but for some."""
    for pid in worker_pids(office):
        if pid not in but:
            os.kill(pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """That of the tests, but for the size of a terminal, which a test before may have left, and for unbuffered output.

    What is written to a reader that is gone fails at once without a buffer, and later with one, as people have it.
    """
    left_out = ("COLUMNS", "LINES", "PYTHONUNBUFFERED")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


def assert_same_results(one: Session, other: Session) -> None:
    """Tokens, texts, margins and planes are equal, and the vectors bit for bit."""
    assert one.runs == other.runs
    assert one.prompts == other.prompts
    assert one.resolved == other.resolved
    assert one.planes == other.planes
    theirs = other.vectors()
    for site, own in one.vectors().items():
        assert np.array_equal(np.asarray(own), np.asarray(theirs[site]))
