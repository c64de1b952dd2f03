from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, load_session
from srm_explorer.tui.results.runs_filter import parse_filter
from srm_explorer.tui.results.runs_listing import RunListing
from srm_explorer.tui.results.runs_rows import RunRows
from srm_explorer.tui.results.state import ResultsState
from tests.example import EXAMPLE

SITE = "blocks.1.mlp.hook_post"
SPEC = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["reasoning", "watching"]},
        "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": [3, -1, 10]}],
        "capture": {"sites": [SITE]},
        "planes": [{"site": SITE, "a": 0, "b": 1}],
    }
)
PROMPTS = (
    PromptRecord("reasoning", "The door opened", {"type": "if", "value": "high"}, (1, 2), 0, "a"),
    PromptRecord("watching", "Someone looks up", {"type": "then"}, (1, 3), 0, "b"),
    PromptRecord("watching", "the DOOR is watched", {}, (1, 4), 0, "c"),
)
COLUMNS = ("", "lit", "cos", "value", "x", "y", "norm", "change", "prompt", "text", "set", "factor.type", "run", "ppl")
numbers = st.floats(-1, 1) | st.sampled_from([0.0, math.nan, math.inf, -math.inf])


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    runs: list[RunRecord] = []
    for index in draw(st.lists(st.integers(0, 23), unique=True, min_size=1).map(sorted)):
        prompt, rest = divmod(index, 8)
        sample, condition = divmod(rest, 4)
        metrics: dict[str, float] = {"ppl": float(draw(st.integers(0, 3)))} if draw(st.booleans()) else {}
        if condition and draw(st.booleans()):
            metrics["first_change"] = float(draw(st.integers(0, 4)))
        text = draw(st.sampled_from([" wet", " WET again", "", " \x1b[2J"]))
        runs.append(RunRecord(index, prompt, condition, sample, (1,), text, 2, "length", None, metrics))
    xy = [[draw(numbers), draw(numbers)] for _ in runs]
    norms = [draw(st.floats(1, 3)) for _ in runs]
    plane = PlaneRecord.of(SITE, 0, 1, np.array(xy), np.array(norms))
    return Session("s", "interrupted", SPEC, conditions(SPEC), (), PROMPTS, tuple(runs), (plane,))


def shown(session: Session, theta: int = 0) -> tuple[ResultsState, RunRows]:
    state = ResultsState(theta=theta)
    state.take_session(session)
    return state, RunRows(session, state.record())


@given(session=sessions(), column=st.sampled_from(COLUMNS), descending=st.booleans(), theta=st.integers(0, 359))
def test_sorting_lists_every_run_once_and_keeps_equal_runs_in_order(
    session: Session, column: str, descending: bool, theta: int
) -> None:
    state, rows = shown(session, theta)
    if not rows.knows(column):
        return
    order = rows.order(column, descending, None, state.cosines(), state.lit()).tolist()
    assert sorted(order) == list(range(len(rows)))
    again = rows.order(column, descending, None, state.cosines(), state.lit()).tolist()
    assert order == again
    if column in ("x", "norm", "change", "cos"):
        keys = state.cosines() if column == "cos" else rows.numbers[column]
        listed = [float(keys[row]) for row in order]
        finite = [value for value in listed if not math.isnan(value)]
        assert finite == sorted(finite, reverse=descending)
        assert all(math.isnan(value) for value in listed[len(finite) :])
        for one, other in pairwise(order):
            if keys[one] == keys[other]:
                assert one < other


@given(session=sessions(), only=st.sampled_from(["set=watching", "value>2", "door", "changed", "cos>.2"]))
def test_a_filter_and_its_negation_share_the_runs_among_them(session: Session, only: str) -> None:
    state, rows = shown(session)
    cosines, lit = state.cosines(), state.lit()
    if only == "set=watching" and not any(session.prompts[run.prompt].set == "watching" for run in session.runs):
        with pytest.raises(ExplorerError, match="choose one of reasoning"):
            parse_filter(only, rows)
        return
    kept = parse_filter(only, rows).mask(cosines, lit)
    others = parse_filter(f"!{only}", rows).mask(cosines, lit)
    assert (kept ^ others).all()
    both = parse_filter(f"{only} !{only}", rows).mask(cosines, lit)
    assert not both.any()


MEANINGS: dict[str, Callable[[Session, RunRecord, float], bool]] = {
    "door": lambda s, r, c: "door" in (s.prompts[r.prompt].text + r.text).casefold(),
    '"looks up"': lambda s, r, c: s.prompts[r.prompt].text == "Someone looks up",
    "text=wet": lambda s, r, c: "wet" in r.text.casefold(),
    "prompt=wet": lambda s, r, c: False,
    "value>2": lambda s, r, c: (s.conditions[r.condition].value or 0) > 2,
    "value=10": lambda s, r, c: s.conditions[r.condition].value == 10,
    "value=+10": lambda s, r, c: s.conditions[r.condition].value == 10,
    "value=−1": lambda s, r, c: s.conditions[r.condition].value == -1,
    "value=baseline": lambda s, r, c: r.condition == 0,
    "VALUE!=baseline": lambda s, r, c: r.condition != 0,
    "cos>.5": lambda s, r, c: c > 0.5,
    "cos<=0": lambda s, r, c: c <= 0,
    "change=1": lambda s, r, c: r.metrics.get("first_change") == 0,
    "first_change=1": lambda s, r, c: r.metrics.get("first_change") == 0,
    "ppl>=2 changed": lambda s, r, c: r.metrics.get("ppl", 0) >= 2 and "first_change" in r.metrics,
}


@given(session=sessions(), theta=st.integers(0, 359))
def test_terms_mean_what_they_say(session: Session, theta: int) -> None:
    state, rows = shown(session, theta)
    known = {name for run in session.runs for name in run.metrics}
    for line, meaning in MEANINGS.items():
        if ("ppl" in line and "ppl" not in known) or ("first_change" in line and "first_change" not in known):
            continue
        found = parse_filter(line, rows).mask(state.cosines(), state.lit())
        wanted = [meaning(session, run, cos) for run, cos in zip(session.runs, state.cosines(), strict=True)]
        assert found.tolist() == wanted, line


@given(session=sessions())
def test_lit_is_what_the_spotlight_counts(session: Session) -> None:
    state, rows = shown(session, 30)
    found = parse_filter("lit", rows).mask(state.cosines(), state.lit())
    readout = state.readout()
    assert readout
    assert found.sum() == readout.lit + readout.baseline_lit


@pytest.mark.parametrize(
    ("line", "what", "remedy"),
    [
        ("vaule>3", "no column 'vaule'", "did you mean 'value'?"),
        ("value>three", "'three' is not a number", "value>3"),
        ("cos>", "compares with nothing", "cos>.5"),
        ("set=waching", "no run has set 'waching'", "did you mean 'watching'?"),
        ("type=zzz", "no run has type 'zzz'", "choose one of if, then"),
        ("set>3", "set is a text", "set=3"),
        ("value=nan", "'nan' is not a number", "value=baseline"),
    ],
)
def test_a_line_that_cannot_be_understood_says_what_and_the_remedy(line: str, what: str, remedy: str) -> None:
    state, rows = shown(a_session())
    with pytest.raises(ExplorerError) as caught:
        parse_filter(f"door {line}", rows)
    assert what in str(caught.value)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)
    listing = RunListing()
    listing.take(state)
    listing.set_filter("door")
    listing.list_again()
    before = list(listing.order)
    listing.set_filter(line)
    listing.list_again()
    assert what in listing.problem
    assert (listing.order, listing.filter_text) == (before, "door")


@given(line=st.text(st.sampled_from('ab"=!<>. cosvalue3σ×−'), max_size=20))
def test_any_line_is_understood_or_refused_in_one_line(line: str) -> None:
    state, rows = shown(a_session())
    refusal = None
    try:
        found = parse_filter(line, rows).mask(state.cosines(), state.lit())
    except ExplorerError as error:
        refusal = error
    else:
        assert found.shape == (len(rows),)
        assert found.dtype == np.bool_
    assert refusal is None or refusal.remedy


def test_a_factor_called_as_a_number_is_reached_by_its_full_name() -> None:
    state, rows = shown(a_session())
    mask = parse_filter("factor.value=high", rows).mask(state.cosines(), state.lit())
    assert [run.prompt for run, kept in zip(rows.session.runs, mask, strict=True) if kept] == [0, 0, 0, 0]
    assert parse_filter("value=3", rows).fixed.sum() == 3


def test_turning_moves_no_row_unless_rows_are_sorted_or_filtered_by_the_spotlight() -> None:
    state = ResultsState()
    state.take_session(load_session(EXAMPLE))
    listing = RunListing()
    listing.take(state)
    listing.sort_by("value")
    before = list(listing.order)
    for _ in range(36):
        state.turn(10)
        listing.take(state)
        assert listing.order == before
    listing.sort_by("lit")
    state.theta = 180
    listing.take(state)
    lit = state.lit()[listing.order].tolist()
    assert lit == sorted(lit, reverse=True)
    assert any(lit)
    listing.sort_by("")
    listing.only_lit = True
    listing.take(state)
    assert listing.order == np.flatnonzero(state.lit()).tolist()


def test_the_listing_survives_another_session_without_its_column_or_level() -> None:
    state = ResultsState()
    state.take_session(a_session())
    listing = RunListing()
    listing.take(state)
    listing.sort_by("factor.type")
    listing.set_filter("type=if")
    listing.list_again()
    assert len(listing.order) == 4
    example = load_session(EXAMPLE)
    state.take_session(example)
    listing.take(state)
    assert listing.sort == ""
    assert "type" in listing.problem
    assert len(listing.order) == len(example.runs)
    state.take_session(None)
    listing.take(state)
    assert (listing.rows, listing.order) == (None, [])


def a_session(**fields: Any) -> Session:
    runs = tuple(
        RunRecord(
            index=8 * prompt + condition,
            prompt=prompt,
            condition=condition,
            sample=0,
            token_ids=(1, condition),
            text=f" went {condition}",
            prompt_tokens=2,
            finish="length",
            min_margin=0.5,
            metrics={"first_change": 1.0} if condition else {},
        )
        for prompt in range(3)
        for condition in range(4)
    )
    xy = np.random.default_rng(0).normal(size=(12, 2))
    plane = PlaneRecord.of(SITE, 0, 1, xy, np.full(12, 2.0))
    return Session("s", "finished", SPEC, conditions(SPEC), (), PROMPTS, runs, (plane,)).changed(**fields)
