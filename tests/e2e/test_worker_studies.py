"""Studies at a worker: the same findings as in this process, and a worker that goes on whatever comes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Stopped
from srm_explorer.engine.worker.client import Client
from srm_explorer.tui.backend.events import Studied, StudyFailed, Submitted, WorkerSeen

from .link_screen import LONG as LONG_RUN
from .link_screen import Screen, worker_pid
from .worker_talk import LONG, SHORT, states, submit, when_batches

if TYPE_CHECKING:
    from .conftest import Bench, Hold

pytestmark = pytest.mark.slow

CARD: dict[str, Any] = {"layer": 1, "neuron": 3, "prompts": ["texts.txt"], "top": 4}


def write_many(bench: Bench) -> None:
    """Texts that take several seconds to read."""
    many = (f"The man opened {number} doors, " * 8 for number in range(3000))
    (bench.folder / "many.txt").write_text("".join(f"{text}\n" for text in many))


def test_a_study_at_the_worker_finds_what_it_finds_in_this_process(client: Client, bench: Bench) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    model = bench.experiment().model
    card = client.study("neuron", CARD, model=model, base=bench.folder)
    assert card == run_model_study("neuron", CARD, model=model, base=bench.folder)
    submitted = submit(client, bench, "a", *SHORT)
    assert states(client, submitted)[-1].state == "finished"
    path = bench.session_path("a")
    marked = client.study("neuron", {"layer": 1, "neuron": 3}, session=path)
    assert marked == run_model_study("neuron", {"layer": 1, "neuron": 3}, session=path, base=bench.folder)
    assert [mark["value"] for mark in marked["histogram"]["marks"]] == [-4, 0, 4]


def test_a_worker_outlives_studies_that_fail_and_those_nobody_waits_for(
    client: Client, bench: Bench, hold: Hold
) -> None:
    model, pid = bench.experiment().model, client.status().pid
    for name, arguments, told in (
        ("nothing", {}, "no study 'nothing'"),
        ("neuron", {**CARD, "layer": 9}, "choose 0 to 2"),
        ("usage", {"prompts": ["nowhere.txt"]}, "nowhere.txt"),
    ):
        with pytest.raises(ExplorerError, match=told):
            client.study(name, arguments, model=model, base=bench.folder)
    write_many(bench)
    with pytest.raises(Stopped):
        client.study("usage", {"prompts": ["many.txt"]}, model=model, base=bench.folder, is_wanted=lambda: False)
    # The one that nobody waits for any more ends at its next pass, and the next one comes.
    assert client.study("neuron", CARD, model=model, base=bench.folder)["tables"]
    assert client.status().pid == pid
    assert client.status().errand == ""
    job = submit(client, bench, "a", *LONG)
    when_batches(client, job)
    with pytest.raises(ExplorerError, match="running an experiment"):
        client.study("neuron", CARD, model=model, base=bench.folder)
    client.cancel(job, 2)
    states(client, job)


def test_a_link_tells_findings_of_the_newest_question_and_asks_a_busy_worker_again(
    screen: Screen, bench: Bench, hold: Hold
) -> None:
    screen.link.open()
    model, base = bench.experiment().model.model_dump(), bench.folder
    write_many(bench)
    screen.link.study("usage", "", model, {"prompts": ["many.txt"]}, base, "older")
    screen.wait(WorkerSeen, lambda event: event.state.startswith("working: use of neurons"))
    screen.link.study("usage", "", model, {"prompts": ["texts.txt"]}, base, "newer")
    assert screen.wait(Studied).tag == "newer"
    screen.link.study("neuron", "", model, {"layer": 9, "neuron": 1}, base, "wrong")
    failed = screen.wait(StudyFailed)
    assert (failed.tag, failed.waits) == ("wrong", False)
    screen.link.submit(bench.experiment(LONG_RUN), base, bench.session_path("a"))
    screen.wait(Submitted)
    screen.link.study("neuron", "", model, CARD, base, "meanwhile")
    assert screen.wait(StudyFailed, lambda event: event.tag == "meanwhile").waits
    hold.end()
    found = screen.wait(Studied, lambda event: event.tag == "meanwhile")
    assert found.findings["histogram"]["n"] > 0
    assert {event.tag for event in screen.all(Studied)} == {"newer", "meanwhile"}


def test_the_command_line_asks_the_worker(client: Client, bench: Bench) -> None:
    line = bench.start("neuron", str(bench.experiment().model.name), "1", "3", "--prompts", "texts.txt", "--json")
    out, err = line.communicate()
    assert line.returncode == 0, err
    assert json.loads(out)["histogram"]["n"] > 0
    assert worker_pid() == client.status().pid
    assert client.status().model is not None
