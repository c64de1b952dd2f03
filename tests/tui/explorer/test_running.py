from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.standing import Standing
from srm_explorer.tui.backend.events import FoundRun, RunEnded, RunGrew, RunLost, RunsFound, WorkerLost, WorkerSeen
from srm_explorer.tui.explorer.runs import RunsState
from tests.example import EXAMPLE
from tests.surveyed import surveyed

A, B = Path("/s/a.json"), Path("/s/b.json")
HALF = Progress("running", 200, 400, 50, 25, 50, 1000, 1930.4, 65.0)


@pytest.fixture(scope="module")
def example() -> Session:
    return load_session(EXAMPLE)


def test_a_run_that_was_asked_for_is_told_before_anything_is_known_of_it() -> None:
    state = RunsState()
    assert state.going() is None
    state.asks(A)
    going = state.going()
    assert going is not None
    assert going.share is None
    assert going.facts == ("starting a",)


def test_progress_tells_runs_rate_and_time(example: Session) -> None:
    state = RunsState()
    state.grew(RunGrew(A, example, HALF, "running"))
    going = state.going()
    assert going is not None
    assert going.share == pytest.approx((200 + 25) / 400)
    assert going.facts == ("200 / 400 runs", "1,930 tok/s", "1:05 left")


def test_progress_tells_the_memory_where_it_is_known(example: Session) -> None:
    state = RunsState()
    state.grew(RunGrew(A, example, dataclasses.replace(HALF, memory=2_134_000_000), "running"))
    going = state.going()
    assert going is not None
    assert going.facts[-1] == "2.1 GB"


def test_only_a_session_that_grew_is_news(example: Session) -> None:
    state = RunsState()
    assert not state.grew(RunGrew(A, None, None, "queued"))
    assert state.grew(RunGrew(A, example, HALF, "running"))
    assert not state.grew(RunGrew(A, example, HALF, "running"))
    assert state.grew(RunGrew(A, example.changed(notes="more"), HALF, "running"))


def test_of_several_runs_under_way_that_in_view_is_told() -> None:
    in_view: list[Path] = [A]
    state = RunsState(lambda: in_view[0])
    state.grew(RunGrew(B, None, HALF, "running"))
    state.grew(RunGrew(A, None, None, "queued"))
    assert state.path == B, "one that waits is not under way"
    state.grew(RunGrew(A, None, HALF, "running"))
    assert state.path == A
    in_view[0] = Path("/s/c.json")
    assert state.path == B


def test_the_run_under_way_is_told_before_one_that_waits() -> None:
    state = RunsState()
    state.grew(RunGrew(A, None, None, "queued"))
    assert state.path == A
    state.grew(RunGrew(B, None, HALF, "running"))
    assert state.path == B
    state.ended(RunEnded(B, None, "finished"), B)
    assert state.path == A


def test_a_killed_worker_leaves_an_offer_that_says_what_is_kept() -> None:
    state = RunsState()
    state.grew(RunGrew(A, None, HALF, "running"))
    state.lost(WorkerLost(A, 120, 600))
    assert state.going() is None
    assert state.offer is not None
    assert state.offer.line("r") == "worker died: 120 of 600 runs are kept · r resumes"
    state.asks(A)
    assert state.offer is None


def test_an_interrupted_run_is_offered_and_a_finished_one_is_not(example: Session) -> None:
    state = RunsState()
    state.ended(RunEnded(A, example, "finished"), A)
    assert state.offer is None
    state.ended(RunEnded(A, example.changed(runs=example.runs[:5]), "interrupted"), A)
    assert state.offer is not None
    assert state.offer.done == 5
    assert state.offer.runs == len(example.runs)
    assert "r resumes" in state.offer.line("r")


def test_of_a_survey_that_stopped_its_neurons_are_told() -> None:
    session = surveyed(None, done=10)
    runs = len(session.runs)
    state = RunsState()
    state.ended(RunEnded(A, session, "interrupted", standing=session.standing), A)
    assert state.offer is not None
    assert state.offer.line("C") == "stopped: 10 of 40 neurons scored are kept · C resumes"
    state.grew(RunGrew(A, session, HALF, "running"))
    state.lost(WorkerLost(A, runs, runs))
    assert state.offer.line("r") == "worker died: 10 of 40 neurons scored are kept · r resumes"


def test_of_the_runs_found_a_living_one_is_followed_and_else_the_newest_is_offered() -> None:
    state = RunsState()
    dead, alive = FoundRun(A, 3, 9, False), FoundRun(B, 4, 9, True)
    assert state.take_found(RunsFound((dead, alive))) == alive
    assert state.take_found(RunsFound((dead,))) is None
    assert state.offer is not None
    assert state.offer.line("C") == "a is unfinished: 3 of 9 runs are kept · C resumes"
    state = RunsState()
    state.take_found(RunsFound((dataclasses.replace(dead, standing=Standing(10, 40)),)))
    assert state.offer is not None
    assert state.offer.line("C") == "a is unfinished: 10 of 40 neurons scored are kept · C resumes"
    state = RunsState()
    state.take_found(RunsFound((dataclasses.replace(dead, standing=Standing()),)))
    assert state.offer is not None
    assert state.offer.line("C") == "a is unfinished: 3 of 9 runs of the baseline, no neuron yet are kept · C resumes"


def test_an_offer_ends_where_somebody_else_resumes_or_removes_it() -> None:
    for later in (RunsFound((FoundRun(A, 3, 9, True),)), RunsFound(())):
        state = RunsState()
        state.lost(RunLost(A, 3, 9))
        state.take_found(later)
        assert state.offer is None


def test_asking_to_stop_is_told_and_forgotten_with_the_run() -> None:
    state = RunsState()
    state.grew(RunGrew(A, None, HALF, "running"))
    for times, told in ((1, "stopping after this batch"), (2, "stopping now")):
        state.cancels[A] = times
        going = state.going()
        assert going is not None
        assert going.facts[0] == told
    state.ended(RunEnded(A, None, "interrupted"), A)
    state.asks(A)
    going = state.going()
    assert going is not None
    assert going.facts == ("starting a",)


def test_a_run_that_could_not_begin_is_forgotten_and_others_are_not() -> None:
    state = RunsState()
    state.grew(RunGrew(A, None, HALF, "running"))
    state.asks(B)
    state.failed(None)
    assert list(state.followed) == [A]
    state.failed(A)
    assert not state.followed


def test_the_header_tells_the_queue_where_there_is_a_worker() -> None:
    state = RunsState()
    state.seen(WorkerSeen("warm demo · cpu", 2, "busy"))
    assert state.worker == "worker warm demo · cpu · queue 2"
    state.seen(WorkerSeen("no worker", 0, "none"))
    assert state.worker == "no worker"


def test_testing_the_model_and_a_study_at_the_worker_are_counted() -> None:
    state = RunsState()
    state.grew(RunGrew(A, None, Progress("testing", part=3, parts=11), "running"))
    going = state.going()
    assert going is not None
    assert going.facts == ("testing the model 3 of 11",)
    assert going.share == pytest.approx(3 / 11)
    state.seen(WorkerSeen("working: scoring of the texts", 0, "busy", "scoring of the texts", HALF))
    assert state.going() == going, "a run is told before a study"
    state.forget(A)
    going = state.going()
    assert going is not None
    assert going.facts == ("scoring of the texts: 200 of 400", "1:05 left")
    state.seen(WorkerSeen("warm demo · cpu", 0, "warm"))
    assert state.going() is None
