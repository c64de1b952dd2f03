"""What a run folder holds becomes a session, however it was cut and in whatever order it came."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.runs.collect import assemble_session, measured_in, not_finite, resolved_in, with_first_changes
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import PromptRecord, RunRecord

MLP, RESID = "blocks.0.mlp.hook_post", "blocks.0.hook_resid_post"
GRID = Grid(3, 1, 3)
EXPERIMENT = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["texts"]},
        "interventions": [{"site": MLP, "neurons": [1], "op": "clamp", "unit": "sigma", "values": [-1, 1]}],
        "generation": {"tokens": 2},
        "capture": {"sites": [MLP, RESID]},
        "planes": [{"site": MLP, "a": 1, "b": 0}],
    }
)
RESOLVED = ((None,), ((-1.5,),), ((2.5,),))
BATCHES = ((6, 0, 3), (8, 7), (2, 1), (5, 4))


def run(index: int, tokens: Sequence[int] = (4, 5)) -> RunRecord:
    place = (GRID.prompt(index), GRID.condition(index), GRID.sample(index))
    return RunRecord(index, *place, tuple(tokens), "ab", 2, "length", 0.5, {})


def vectors_of(indices: Sequence[int]) -> dict[str, np.ndarray | list[np.ndarray]]:
    """Vectors and readings that tell which run they belong to."""
    return {
        MLP: np.array([[i, 10 + i, 0] for i in indices], dtype=np.float32),
        RESID: np.array([[i, -i] for i in indices], dtype=np.float32),
        "units/0": [np.array([[i], [i + 1.0]], dtype=np.float32) for i in indices],
    }


@pytest.fixture
def journal(tmp_path: Path) -> JournalWriter:
    prompts = [PromptRecord("texts", text, {}, (1, 2), 0, text * 3) for text in "abc"]
    extra = {
        "prompts": prompts,
        "provenance": {"model": {"name": "demo"}},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return JournalWriter.create(tmp_path / "a.run", EXPERIMENT, layout=Layout(3, 1, BATCHES), extra=extra)


def append(journal: JournalWriter, number: int, indices: Sequence[int]) -> None:
    journal.append_batch(number, [run(i) for i in indices], vectors_of(indices), receipt={"rows": len(indices)})


def test_runs_and_vectors_are_in_the_order_of_the_runs_whatever_the_batches(
    journal: JournalWriter, tmp_path: Path
) -> None:
    with journal:
        for number, batch in enumerate(BATCHES):
            append(journal, number, batch)
        journal.event({"event": "resolved", "values": RESOLVED})
        session, vectors = assemble_session(journal.reader, tmp_path / "a.json", None)
    assert [one.index for one in session.runs] == list(range(9))
    assert session.state == "finished"
    assert set(vectors) == {MLP, RESID}, "what units were measured on is no vector of the session"
    assert np.array_equal(vectors[MLP], vectors_of(range(9))[MLP])
    assert np.array_equal(vectors[RESID], vectors_of(range(9))[RESID])
    assert session.resolved == RESOLVED
    (plane,) = session.planes
    assert plane.x == tuple(float(10 + i) for i in range(9))
    assert plane.y == tuple(float(i) for i in range(9))
    assert session.layout["batches"] == [list(batch) for batch in BATCHES], "the layout is that which was run"
    assert [receipt["batch"] for receipt in session.receipts] == [0, 1, 2, 3]


def test_units_are_measured_on_baseline_runs_alone(journal: JournalWriter) -> None:
    with journal:
        append(journal, 0, [0, 3, 6])
        append(journal, 2, [1, 2])
        (reading,) = measured_in(journal.reader)
    assert reading is not None
    assert reading.tokens == 6
    assert reading.mean == np.mean([0, 1, 3, 4, 6, 7])
    assert reading.quantile(1) == 7


def test_units_are_measured_on_no_baseline_run_whose_logits_were_no_numbers(journal: JournalWriter) -> None:
    with journal:
        runs = [run(0), dataclasses.replace(run(3), min_margin=math.nan), run(6)]
        journal.append_batch(0, runs, vectors_of([0, 3, 6]), receipt={"rows": 3})
        (reading,) = measured_in(journal.reader)
    assert reading is not None
    assert reading.mean == np.mean([0, 1, 6, 7])


def test_a_part_is_an_interrupted_session_of_what_is_there(journal: JournalWriter, tmp_path: Path) -> None:
    with journal:
        append(journal, 0, [0, 3, 6])
        first, _ = assemble_session(journal.reader, tmp_path / "a.json", None)
        append(journal, 3, [4, 5])
        noted = dataclasses.replace(first, notes="mine", revision=3)
        session, vectors = assemble_session(journal.reader, tmp_path / "a.json", noted)
    assert session.state == first.state == "interrupted"
    assert resolved_in(journal.reader) == session.resolved == ()
    assert [one.index for one in session.runs] == [0, 3, 4, 5, 6]
    assert np.array_equal(vectors[RESID], vectors_of([0, 3, 4, 5, 6])[RESID])
    assert (session.notes, session.revision) == ("mine", 3)
    assert session.created == "2026-01-01T00:00:00+00:00"
    assert session.provenance["model"] == {"name": "demo"}
    assert session.provenance["units"][0]["neurons"] == [1]


tokens = lists(integers(0, 2), min_size=1, max_size=4)


@given(tokens, tokens)
def test_the_first_change_is_the_first_token_that_differs_from_the_baselines(own: list[int], other: list[int]) -> None:
    baseline, changed = with_first_changes([run(0, other), run(1, own)])
    assert "first_change" not in baseline.metrics
    if own == other:
        assert "first_change" not in changed.metrics
        return
    first = int(changed.metrics["first_change"])
    assert own[:first] == other[:first]
    assert own[first : first + 1] != other[first : first + 1]


def test_a_run_without_its_baseline_has_no_first_change() -> None:
    assert with_first_changes([run(1, [9]), run(3, [9])])[0].metrics == {}


def test_runs_that_are_not_finite_are_named() -> None:
    runs = [run(index) for index in range(7)]
    vectors = np.zeros((7, 3), np.float32)
    vectors[[1, 4], 2] = np.inf, np.nan
    assert not_finite(runs, {"a": np.zeros((7, 3), np.float32)}) == ()
    (line,) = not_finite(runs, {"a": vectors})
    assert line.startswith("a: 2 runs")
    assert "runs 1, 4" in line
