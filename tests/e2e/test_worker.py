"""The worker as others meet it: found or started, given runs, killed, asked nonsense."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ExplorerError
from engine.runner import endpoint
from engine.runner.client import Client, WorkerGoneError, find_worker
from engine.runner.codec import encode, read_reply
from engine.runner.starting import find_or_start_worker
from engine.runner.wire import LARGEST, PROTOCOL, Grew, Hello, JobState, Refused, Status, Welcome, WorkerState
from engine.session import load_session
from engine.spec import Experiment, read_experiment
from tui.cli import main

from .conftest import PROMPTS, RUNS, assert_same_results, environment

if TYPE_CHECKING:
    from engine.session import Session

    from .conftest import Bench

pytestmark = pytest.mark.slow

SHORT = ("generation.tokens=4",)
LONG = ("generation.tokens=150",)
"""Several seconds of work: whatever is done to it is done in the middle."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the workers of these tests have their socket; none is left behind."""
    folder = tmp_path_factory.getbasetemp() / "w"
    folder.mkdir()
    yield folder
    for path in folder.glob("srm-explorer-*/*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as talk:
            talk.connect(str(path))
            credentials = talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            os.kill(struct.unpack("3i", credentials)[0], signal.SIGKILL)


@pytest.fixture
def client(office: Path, monkeypatch: pytest.MonkeyPatch, own_folders: Path) -> Client:
    """A living worker: the one of the test before, unless that ended it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(office))
    monkeypatch.setattr(tempfile, "tempdir", str(office))
    monkeypatch.setenv("XDG_STATE_HOME", str(office / "state"))
    return find_or_start_worker(idle_exit=300)


@pytest.fixture
def whole(bench: Bench) -> Callable[..., Session]:
    """Run an experiment undisturbed, in this process."""
    import torch

    from engine.runner.run import run_experiment

    def run(*overrides: str) -> Session:
        torch.set_num_threads(1)
        outcome = run_experiment(experiment(bench, *overrides), bench.folder, bench.session_path("whole"))
        assert outcome.how == "finished"
        assert outcome.session is not None
        return outcome.session

    return run


def experiment(bench: Bench, *overrides: str) -> Experiment:
    return read_experiment(str(bench.folder / "spec.toml"), overrides=overrides)[0]


def submit(client: Client, bench: Bench, name: str, *overrides: str) -> str:
    return client.submit(experiment(bench, *overrides), bench.folder, bench.session_path(name)).job.job


def states(client: Client, job: str) -> list[JobState]:
    return [state for state in client.follow(job) if state is not None]


def when_batches(client: Client, job: str, runs: int = 1) -> None:
    """Wait until a job has finished some runs."""
    for state in client.follow(job):
        assert state is not None
        assert state.state in ("queued", "running"), state
        if state.progress and state.progress["runs_done"] >= runs:
            return


def gone(client: Client, seconds: float = 30) -> bool:
    return client.wait_until_gone(seconds) and find_worker() is None


def test_two_who_start_at_once_get_one_worker(client: Client) -> None:
    client.stop()
    assert gone(client)
    found: list[Client] = []
    starters = [threading.Thread(target=lambda: found.append(find_or_start_worker(idle_exit=300))) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    pids = {one.status().pid for one in found}
    assert len(found) == 3
    assert len(pids) == 1
    assert os.getsid(pids.pop()) != os.getsid(0)


def test_a_run_at_the_worker_equals_one_in_this_process_and_the_next_loads_nothing(
    client: Client, bench: Bench, whole: Callable[..., Session]
) -> None:
    first = states(client, submit(client, bench, "first", *SHORT))
    second = states(client, submit(client, bench, "second", *SHORT))
    assert [told[-1].state for told in (first, second)] == ["finished", "finished"]
    stages = {state.progress["stage"] for state in second if state.progress}
    assert "running" in stages
    assert not stages & {"loading", "testing"}
    undisturbed = whole(*SHORT)
    for name in ("first", "second"):
        session = bench.session(name)
        assert_same_results(session, undisturbed)
        assert session.layout == undisturbed.layout
        assert without_time(session) == without_time(undisturbed)
        assert not bench.run_folder(name).exists()
    assert states(client, submit(client, bench, "second", *SHORT))[-1].state == "shown"


def without_time(session: Session) -> dict[str, Any]:
    provenance = json.loads(json.dumps(session.provenance))
    del provenance["self_test"]["seconds"]
    return provenance


def test_a_model_whose_files_changed_is_loaded_again(client: Client, bench: Bench) -> None:
    before = states(client, submit(client, bench, "before", *SHORT))[-1]
    weights = next(Path(experiment(bench).model.name).glob("*.safetensors"))
    os.utime(weights)
    after = states(client, submit(client, bench, "after", *SHORT))
    assert before.state == after[-1].state == "finished"
    assert "loading" in {state.progress["stage"] for state in after if state.progress}


def test_the_command_line_queues_at_the_living_worker(
    client: Client, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    command = bench.command("line", "--json", "--set", *SHORT)
    told: list[dict[str, Any]] = []
    for _ in range(2):
        assert main(command) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [one["how"] for one in told] == ["finished", "shown"]
    assert told[0]["runs"] == told[0]["planned"] == RUNS
    assert told[0]["tokens"] == RUNS * 4
    assert client.jobs()[0].session == str(bench.session_path("line"))
    assert main(bench.command("bad", "--set", "planes[0].b=64")) == 1
    refused = capsys.readouterr()
    assert refused.out == ""
    assert [word for word in ("neuron 64", "planes[0].b", "0 to 63") if word not in refused.err] == []
    assert refused.err.count("\n") == 1
    assert not bench.run_folder("bad").exists()


def test_relative_names_mean_what_they_mean_where_they_were_typed(
    client: Client, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "prompts").mkdir()
    (bench.folder / "prompts" / "own.txt").write_text("One\nTwo\n")
    (bench.folder / "elsewhere").mkdir()
    monkeypatch.chdir(bench.folder)
    text = (bench.folder / "spec.toml").read_text().replace("texts.txt", "own")
    (bench.folder / "elsewhere" / "spec.toml").write_text(text)
    assert main(["run", "elsewhere/spec.toml", "--session", "./here", "--json", "--set", *SHORT]) == 0
    assert len(load_session(bench.folder / "here.json").prompts) == 2
    capsys.readouterr()
    assert Path(f"/proc/{client.status().pid}/cwd").readlink() == Path("/")


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancelled_run_is_saved_as_interrupted_and_goes_on(
    client: Client, bench: Bench, whole: Callable[..., Session], times: Any
) -> None:
    job = submit(client, bench, "a", *LONG)
    when_batches(client, job)
    client.cancel(job, times)
    (*_, last) = states(client, job)
    assert (last.state, last.saved) == ("interrupted", True)
    part = bench.session("a")
    assert part.state == "interrupted"
    assert 0 < len(part.runs) < RUNS
    again = states(client, submit(client, bench, "a", *LONG))
    assert again[-1].state == "finished"
    assert again[-1].resumed == (len(part.runs), RUNS)
    if times == 2:
        assert_same_results(bench.session("a"), whole(*LONG))


def test_ctrl_c_on_the_command_line_is_passed_on(client: Client, bench: Bench) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    line.send_signal(signal.SIGINT)
    out, _ = line.communicate(timeout=120)
    assert line.returncode == 130
    assert "is interrupted" in out
    assert bench.session("a").state == "interrupted"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_a_command_line_that_is_gone_changes_nothing(client: Client, bench: Bench, how: signal.Signals) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    line.send_signal(how)
    line.communicate(timeout=30)
    accepted = client.submit(experiment(bench, *LONG), bench.folder, bench.session_path("a"))
    assert (accepted.joined, accepted.job.job) == (True, job)
    assert states(client, job)[-1].state == "finished"
    assert len(bench.session("a").runs) == RUNS


def test_a_killed_worker_is_noticed_within_two_seconds_and_its_run_goes_on(
    client: Client, bench: Bench, whole: Callable[..., Session]
) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    followed = client.follow(job, tick=0.05)
    next(followed)
    pid = client.status().pid
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerGoneError):
        list(followed)
    assert time.monotonic() < killed + 2
    _, err = line.communicate(timeout=30)
    assert line.returncode == 1
    assert "the worker is gone" in err
    assert err.splitlines()[-1].count("same command")
    assert find_worker() is None
    with pytest.raises(WorkerGoneError):
        client.status()
    fresh = find_or_start_worker(idle_exit=300)
    told = states(fresh, submit(fresh, bench, "a", *LONG))
    assert told[-1].state == "finished"
    assert told[-1].resumed
    assert 0 < told[-1].resumed[0] < RUNS
    assert_same_results(bench.session("a"), whole(*LONG))


def test_a_terminated_worker_saves_what_is_finished_and_ends(client: Client, bench: Bench) -> None:
    job = submit(client, bench, "a", *LONG)
    waiting = submit(client, bench, "b", *LONG)
    when_batches(client, job)
    ends = {name: client.follow(name) for name in (job, waiting)}
    for follower in ends.values():
        next(follower)
    os.kill(client.status().pid, signal.SIGTERM)
    last = {name: list(follower)[-1] for name, follower in ends.items()}
    assert {state.state for state in last.values() if state} == {"interrupted"}
    assert gone(client)
    assert not client.endpoint.socket.exists()
    assert bench.session("a").state == "interrupted"
    assert not bench.session_path("b").exists()
    assert "ended" in client.endpoint.log.read_text().splitlines()[-1]


def test_the_queue_can_be_seen_and_pruned(client: Client, bench: Bench) -> None:
    first, second, third = (submit(client, bench, name, *LONG) for name in "abc")
    when_batches(client, first)
    assert [job.job for job in client.jobs()[:3]] == [first, second, third]
    assert [job.state for job in client.jobs()[:3]] == ["running", "queued", "queued"]
    assert client.jobs()[2].ahead == 2
    with pytest.raises(ExplorerError, match="running"):
        client.prune(first)
    client.prune(second)
    assert states(client, second)[-1].state == "interrupted"
    assert [job.job for job in client.jobs()[:2]] == [first, third]
    with pytest.raises(ExplorerError, match="another experiment"):
        submit(client, bench, "c", *SHORT)
    client.cancel(third)
    client.cancel(first, 2)
    assert [states(client, job)[-1].state for job in (third, first)] == ["interrupted", "interrupted"]
    assert not bench.run_folder("b").exists()
    with pytest.raises(ExplorerError, match="no such job"):
        client.cancel("nothing-1")


def test_models_are_described_and_texts_tokenized_while_another_runs(client: Client, bench: Bench) -> None:
    model = experiment(bench).model
    described = client.describe(model, bench.folder)
    assert (described.n_layers, described.d_model, described.d_mlp) == (3, 32, 64)
    assert len(described.sites) == 18
    job = submit(client, bench, "a", *LONG)
    when_batches(client, job)
    texts = ["The man opened", "", "He"]
    tokens = client.tokenize(model, bench.folder, texts, prepend_bos=False)
    assert client.describe(model, bench.folder) == described
    with pytest.raises(ExplorerError, match="running an experiment"):
        client.describe(model.model_copy(update={"dtype": "float64"}), bench.folder)
    assert client.jobs()[0].state == "running"
    client.cancel(job, 2)
    assert ["".join(pieces) for pieces in tokens.pieces] == texts
    assert tokens.ids[1] == ()
    states(client, job)
    prompts = bench.session("a").prompts
    assert [client.tokenize(model, bench.folder, [one.text], False).ids[0] for one in prompts[:3]] == [
        one.token_ids for one in prompts[:3]
    ]
    assert len(prompts) == PROMPTS
    with pytest.raises(ExplorerError, match="no such folder"):
        client.describe(model.model_copy(update={"name": "./nowhere"}), bench.folder)


def test_a_run_waits_for_the_device_and_can_be_cancelled_there(client: Client, bench: Bench) -> None:
    from engine.runner.device_turn import device_turn
    from engine.runner.progress import Meter, Stop

    with device_turn("cpu", Meter([], Stop())):
        job = submit(client, bench, "a", *SHORT)
        for state in client.follow(job):
            assert state is not None
            if state.progress and state.progress["stage"] == "waiting":
                client.cancel(job)
        assert state is not None
        assert (state.state, state.saved) == ("interrupted", False)
    assert not bench.run_folder("a").exists()


def test_nonsense_is_refused_and_kills_nothing(client: Client) -> None:
    hello = encode(Hello(protocol=PROTOCOL, build=endpoint.build()))
    for line in (b"", b"{", b"[]", b"\xff", b'{"kind": "dance"}', b'{"kind": "submit"}', b'{"kind": "follow"}'):
        with raw(client) as talk:
            talk.sendall(hello + line + b"\n" + encode(Status()))
            welcome, refused, alive = answers(talk, 3)
            assert isinstance(welcome, Welcome)
            assert isinstance(refused, Refused)
            assert isinstance(alive, WorkerState)
    with raw(client) as talk:
        talk.sendall(encode(Status()))
        (refused,) = answers(talk, 1)
        assert isinstance(refused, Refused)
        assert "hello" in refused.fault.what
    with raw(client) as talk, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        talk.sendall(hello + b" " * (LARGEST + 65536))
    with raw(client) as talk:
        talk.sendall(hello[:7])
    assert client.status().pid == client.welcome.pid


def test_more_connections_than_it_takes_do_not_stop_it(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                stack.enter_context(raw(client))
    until = time.monotonic() + 10
    while (found := find_worker()) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert found.status().pid == client.welcome.pid


@pytest.mark.parametrize(("protocol", "build"), [(PROTOCOL + 1, endpoint.build()), (PROTOCOL, "0.0.9+00000000")])
def test_one_of_another_version_may_only_look_follow_cancel_and_drain(
    client: Client, bench: Bench, protocol: int, build: str
) -> None:
    job = submit(client, bench, "a", *LONG)
    requests = [{"kind": "list"}, {"kind": "stop"}, {"kind": "prune", "job": job}, {"kind": "status"}]
    cancel = {"kind": "cancel", "job": job, "times": 2}
    with raw(client) as talk:
        lines = [json.dumps(one).encode() + b"\n" for one in [*requests, cancel, {"kind": "follow", "job": job}]]
        talk.sendall(encode(Hello(protocol=protocol, build=build)) + b"".join(lines))
        welcome, *refused, state, _, grew = answers(talk, 7)
        assert isinstance(welcome, Welcome)
        assert welcome.limited
        assert all(isinstance(one, Refused) and "another version" in one.fault.what for one in refused)
        assert isinstance(state, WorkerState)
        assert isinstance(grew, Grew)
    assert states(client, job)[-1].state == "interrupted"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_gets_no_word_even_where_the_files_let_them(client: Client, office: Path) -> None:
    opened = [office, *office.parents[:2], client.endpoint.folder, client.endpoint.socket]
    modes = {path: path.stat().st_mode for path in opened}
    try:
        for path in opened:
            path.chmod(0o777)
        code = (
            "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
            "s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]);"
            "\ntry: s.sendall(sys.argv[2].encode()); print(s.recv(100))"
            "\nexcept (BrokenPipeError, ConnectionResetError): print(b'')"
        )
        hello = encode(Hello(protocol=PROTOCOL, build=endpoint.build())).decode()
        done = subprocess.run(
            [sys.executable, "-c", code, str(client.endpoint.socket), hello],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o7777)
    assert done.stdout == "b''\n", done
    assert client.status().pid == client.welcome.pid


def test_status_logs_and_stop_say_what_is(client: Client, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    states(client, submit(client, bench, "a", *SHORT))
    capsys.readouterr()

    def told(*arguments: str) -> Any:
        assert main(["worker", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    status = told("status")
    assert (status["alive"], status["pid"]) == (True, client.welcome.pid)
    assert status["jobs"][0]["session"] == str(bench.session_path("a"))
    assert main(["worker"]) == 0
    assert str(client.welcome.pid) in capsys.readouterr().out
    assert told("stop")["alive"] is False
    assert told("status")["alive"] is False
    assert told("stop")["alive"] is False
    assert told("logs", "--lines", "1")["lines"][0].endswith("ended")


def test_a_drained_worker_finishes_its_queue_and_takes_no_more(
    client: Client, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [submit(client, bench, name, *LONG) for name in "ab"]
    followers = [client.follow(job) for job in jobs]
    for follower in followers:
        next(follower)
    client.drain()
    assert client.status().draining
    with pytest.raises(ExplorerError, match="takes no more jobs"):
        submit(client, bench, "c", *SHORT)
    assert [list(follower)[-1].state for follower in followers] == ["finished", "finished"]  # pyright: ignore[reportOptionalMemberAccess]
    assert gone(client)


def test_an_idle_worker_ends_and_one_that_works_does_not(client: Client, bench: Bench) -> None:
    client.stop()
    assert gone(client)
    brief = find_or_start_worker(idle_exit=1.5)
    job = submit(brief, bench, "a", *LONG)
    assert states(brief, job)[-1].state == "finished"
    assert gone(brief)


def test_a_worker_that_cannot_start_says_why(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client.stop()
    assert gone(client)
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ExplorerError, match="did not start: ImportError: this torch is broken"):
        find_or_start_worker()


def start_line(bench: Bench, name: str, *overrides: str) -> subprocess.Popen[str]:
    sets = [part for one in overrides for part in ("--set", one)]
    program = "import sys; from tui.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *bench.command(name, *sets)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=bench.folder,
        env=environment(),
    )


def job_of(client: Client, bench: Bench, name: str) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for job in client.jobs():
            if job.session == str(bench.session_path(name)):
                return job.job
        time.sleep(0.02)
    raise AssertionError("the command line submitted nothing")


@contextlib.contextmanager
def raw(client: Client) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(30)
        talk.connect(str(client.endpoint.socket))
        yield talk


def answers(talk: socket.socket, count: int) -> list[Any]:
    whole = b""
    while whole.count(b"\n") < count:
        more = talk.recv(65536)
        assert more, whole
        whole += more
    return [read_reply(line) for line in whole.splitlines()[:count]]
