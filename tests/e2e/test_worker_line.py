"""The command line with a worker: runs queue at it, and it is looked after."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

import srm_explorer
from srm_explorer.engine.session import load_session
from srm_explorer.engine.worker.client import Client, submission
from srm_explorer.tui.cli import main

from .conftest import RUNS, Bench, Hold
from .worker_talk import LONG, SHORT, job_of, start_line, states, submit, when_batches

pytestmark = pytest.mark.slow


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
    ran = srm_explorer.run(bench.folder / "spec.toml", set=SHORT, session=bench.session_path("book"), progress=False)
    assert str(bench.session_path("book")) in [job.session for job in client.jobs()]
    assert [run.text for run in ran.runs] == [run.text for run in load_session(bench.session_path("line")).runs]
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


def test_ctrl_c_on_the_command_line_is_passed_on(client: Client, bench: Bench, hold: Hold) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    line.send_signal(signal.SIGINT)
    out, _ = line.communicate()
    assert line.returncode == 130
    assert "is interrupted" in out
    assert bench.session("a").state == "interrupted"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_a_command_line_that_is_gone_changes_nothing(
    client: Client, bench: Bench, hold: Hold, how: signal.Signals
) -> None:
    line = start_line(bench, "a", *LONG)
    job = job_of(client, bench, "a")
    when_batches(client, job)
    line.send_signal(how)
    line.communicate()
    accepted = client.submit(submission(bench.experiment(*LONG), bench.folder, bench.session_path("a")))
    assert (accepted.joined, accepted.job.job) == (True, job)
    hold.end()
    assert states(client, job)[-1].state == "finished"
    assert len(bench.session("a").runs) == RUNS


def test_status_logs_and_stop_say_what_is(
    client: Client, bench: Bench, hold: Hold, capsys: pytest.CaptureFixture[str]
) -> None:
    hold.end()
    states(client, submit(client, bench, "a", *SHORT))
    hold.begin()
    capsys.readouterr()

    def told(*arguments: str) -> Any:
        assert main(["worker", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    status = told("status")
    assert (status["alive"], status["pid"]) == (True, client.welcome.pid)
    assert status["jobs"][0]["session"] == str(bench.session_path("a"))
    assert main(["worker"]) == 0
    assert str(client.welcome.pid) in capsys.readouterr().out
    job, waiting = submit(client, bench, "b", *LONG), submit(client, bench, "c", *LONG)
    assert [one["job"] for one in told("queue")["jobs"][:2]] == [job, waiting]
    assert told("prune", waiting)["pruned"] == [waiting]
    assert main(["worker", "prune", waiting]) == 1
    assert "interrupted" in capsys.readouterr().err
    hold.end()
    restarted = told("restart")
    assert restarted["replaced"] == client.welcome.pid != restarted["pid"]
    assert bench.session("b").state == "finished", "it was let finish"
    assert told("stop")["alive"] is False
    assert told("status")["alive"] is False
    assert told("stop")["alive"] is False
    assert told("logs", "--lines", "1")["lines"][0].endswith("ended")
