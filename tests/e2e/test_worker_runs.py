"""What the worker makes of a run: the same as this process would, without loading the model twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.client import Client

from .conftest import PROMPTS, RUNS, Bench, Hold, assert_same_results
from .worker_talk import LONG, SHORT, states, submit, when_batches, without_time

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session

pytestmark = pytest.mark.slow


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


def test_a_model_whose_files_changed_is_loaded_again(client: Client, bench: Bench) -> None:
    before = states(client, submit(client, bench, "before", *SHORT))[-1]
    weights = next(Path(bench.experiment().model.name).glob("*.safetensors"))
    os.utime(weights)
    after = states(client, submit(client, bench, "after", *SHORT))
    assert before.state == after[-1].state == "finished"
    assert "loading" in {state.progress["stage"] for state in after if state.progress}


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancelled_run_is_saved_as_interrupted_and_goes_on(
    client: Client, bench: Bench, hold: Hold, whole: Callable[..., Session], times: Any
) -> None:
    job = submit(client, bench, "a", *LONG)
    when_batches(client, job)
    client.cancel(job, times)
    (*_, last) = states(client, job)
    assert (last.state, last.saved) == ("interrupted", True)
    part = bench.session("a")
    assert part.state == "interrupted"
    assert 0 < len(part.runs) < RUNS
    hold.end()
    again = states(client, submit(client, bench, "a", *LONG))
    assert again[-1].state == "finished"
    assert again[-1].resumed == (len(part.runs), RUNS)
    if times == 2:
        assert_same_results(bench.session("a"), whole(*LONG))


def test_the_queue_can_be_seen_and_pruned(client: Client, bench: Bench, hold: Hold) -> None:
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


def test_models_are_described_and_texts_tokenized_while_another_runs(client: Client, bench: Bench, hold: Hold) -> None:
    model = bench.experiment().model
    described = client.describe(model, bench.folder)
    assert (described.shape.n_layers, described.shape.d_model, described.shape.d_mlp) == (3, 32, 64)
    assert len(described.sites) == 21
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
    from srm_explorer.engine.runs.device_lock import device_lock
    from srm_explorer.engine.runs.progress import Meter, StopSignal

    with device_lock("cpu", Meter([], StopSignal())):
        job = submit(client, bench, "a", *SHORT)
        for state in client.follow(job):
            assert state is not None
            if state.progress and state.progress["stage"] == "waiting":
                client.cancel(job)
        assert state is not None
        assert (state.state, state.saved) == ("interrupted", False)
    assert not bench.run_folder("a").exists()
