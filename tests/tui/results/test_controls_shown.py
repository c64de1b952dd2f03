"""Runs of controls in lists, filters, counts, forms and prices."""

from __future__ import annotations

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions, read_experiment
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session
from srm_explorer.engine.session.codec import plain
from srm_explorer.engine.session.controls import CONTROLS, ControlMatch, Controls
from srm_explorer.tui.experiment.cost import estimate
from srm_explorer.tui.experiment.form_model import SpecForm
from srm_explorer.tui.results.run_detail import run_page
from srm_explorer.tui.results.runs_filter import parse_filter
from srm_explorer.tui.results.runs_listing import RunListing
from srm_explorer.tui.results.runs_rows import RunRows
from srm_explorer.tui.results.state import ResultsState

SITE = "blocks.1.mlp.hook_post"
SPEC = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["reasoning"]},
        "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": [3, -1]}],
        "capture": {"sites": [SITE]},
        "planes": [{"site": SITE, "a": 7, "b": 1}],
        "controls": {"neurons": 2},
    }
)


def a_session() -> Session:
    listed = conditions(SPEC)
    xy = np.tile([[0.9, 0.1]], (2 * len(listed), 1))
    match = ControlMatch(SITE, 7, (30, 41), (0.1, 0.2), (0.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    return Session(
        name="s",
        state="finished",
        spec=SPEC,
        conditions=listed,
        resolved=tuple(tuple(None if v is None else (v,) for v in one.values) for one in listed),
        prompts=tuple(PromptRecord("reasoning", f"p{p}", {"kind": "plain"}, (p,), 0, "") for p in range(2)),
        runs=tuple(
            RunRecord(i, i // len(listed), i % len(listed), 0, (1,), "x", 1, "length", None, {})
            for i in range(2 * len(listed))
        ),
        planes=(PlaneRecord.of(SITE, 7, 1, xy, np.ones(len(xy))),),
        provenance={CONTROLS: plain(Controls(2, 0, 9, (match,), {}))},
    )


@pytest.fixture
def rows() -> RunRows:
    session = a_session()
    return RunRows(session, session.planes[0])


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("kind=control", 8),
        ("kind=sweep", 4),
        ("!kind=control", 6),
        ("control=2", 4),
        ("control=2 value=3", 2),
        ("value=+3", 2),
        ("value>2 kind=sweep", 2),
        ("factor.kind=plain", 14),
    ],
)
def test_controls_are_found_and_left_out_by_the_filter(rows: RunRows, line: str, count: int) -> None:
    assert int(parse_filter(line, rows).mask(np.zeros(len(rows)), np.zeros(len(rows), np.bool_)).sum()) == count


def test_by_value_controls_come_after_their_target() -> None:
    state = ResultsState()
    state.take_session(a_session())
    listing = RunListing("value")
    listing.take(state)
    assert listing.rows is not None
    labels = list(dict.fromkeys(listing.rows.conditions[row].label for row in listing.order))
    assert labels == ["baseline", "-1", "+3", *(f"control {n} · {v}" for n in (1, 2) for v in ("-1", "+3"))]


def test_the_line_under_a_chart_counts_the_target_alone() -> None:
    state = ResultsState(threshold=0.5)
    state.take_session(a_session())
    readout = state.readout()
    assert readout is not None
    assert (readout.lit, readout.total, readout.baseline_total) == (4, 4, 2)


def test_the_page_of_a_run_says_which_neuron_stands_for_the_target(rows: RunRows) -> None:
    state = ResultsState()
    state.take_session(rows.session)
    place = next(i for i, one in enumerate(rows.conditions) if one.control == 2)
    assert ("in place of", "n7: n41") in run_page(state, rows, place).facts[0]
    assert not any(name == "in place of" for name, _ in run_page(state, rows, 1).facts[0])


def test_the_price_tells_the_runs_of_controls_apart() -> None:
    experiment = read_experiment("protocol", overrides=["controls.neurons=19"])[0]
    cost = estimate(experiment, 50, 1000.0, None)
    assert (cost.runs, cost.control_runs, cost.tokens) == (11_050, 10_450, 552_500)
    assert cost.facts()[:2] == ("600 runs + 10,450 control runs", "552,500 tokens")
    assert cost.seconds == pytest.approx(552.5)


def test_the_form_has_the_number_of_controls_and_their_seed_once_there_are_any() -> None:
    form = SpecForm()
    form.take(read_experiment("protocol")[0].to_dict(), {})
    shown = {row.key: row for row in form.rows()}
    assert shown["controls.neurons"].values == ("none",)
    assert "controls.seed" not in shown
    assert form.edit("controls.neurons", "19").changed
    shown = {row.key: row for row in form.rows()}
    assert shown["controls.neurons"].values[0] == "19 matched neurons"
    assert form.edit("controls.seed", "4").changed
    assert form.experiment().controls.seed == 4
    assert not form.edit("controls.neurons", "1000").changed
    assert "999" in form.reason("controls.neurons")


def test_controls_that_nothing_can_be_matched_to_are_marked_in_their_row() -> None:
    form = SpecForm()
    form.take(read_experiment("protocol", overrides=["controls.neurons=3"])[0].to_dict(), {})
    form.edit("generation.tokens", "0")
    form.edit("capture.positions", "all")
    problems = {row.key: row.problem for row in form.rows() if row.problem}
    assert "matched on generated tokens" in problems["controls.neurons"]
    with pytest.raises(ExplorerError, match="matched on generated tokens"):
        form.experiment()
