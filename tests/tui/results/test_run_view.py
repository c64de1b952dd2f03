from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures.numbers import three_digits
from srm_explorer.engine.figures.stretches import aligned
from srm_explorer.engine.io.vectors import read_columns
from srm_explorer.engine.session import Session, load_session, save_session
from srm_explorer.tui.glyphs import ASCII, UNICODE, Glyphs
from srm_explorer.tui.results.run_detail import coordinates_of, fed_tokens
from srm_explorer.tui.results.run_screen import RunView
from srm_explorer.tui.results.state import ResultsState
from srm_explorer.tui.results.token_strip import LEVELS, TokenStrip, level, span
from srm_explorer.tui.widgets.status import StatusLine
from tests.example import EXAMPLE
from tests.waiting import until_shown


class Host(App[None]):
    def __init__(self, session: Session, index: int, order: tuple[int, ...], signs: Glyphs) -> None:
        super().__init__()
        self.glyphs = signs
        self.spot = ResultsState()
        self.spot.take_session(session)
        self.view = RunView(self.spot, index, order)
        self.copied: list[str] = []
        self.left: list[int | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.view, self.left.append)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    def text(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)

    def said(self) -> str:
        return self.view.query_one(StatusLine).said[0]

    def own(self) -> str:
        return str(self.view.query_one("#run-continuation", Static).render())


@asynccontextmanager
async def drive(
    *,
    session: Session | None = None,
    index: int = 3,
    order: tuple[int, ...] = (),
    size: tuple[int, int] = (160, 48),
    signs: Glyphs = UNICODE,
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(load_session(EXAMPLE) if session is None else session, index, order, signs)
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        yield app, pilot


async def settled(app: Host, pilot: Pilot[None]) -> None:
    """Wait until the run is shown, and what was read of its tokens."""
    await pilot.pause()
    await until_shown(lambda: app.view.is_mounted and not app.view._background.is_running("tokens"), app.text)
    await pilot.pause()


def with_tokens(folder: Path, positions: object = "generated", provenance: dict[str, Any] | None = None) -> Session:
    """The example as if the activations at every token had been kept."""
    session = load_session(EXAMPLE)
    data = session.spec.to_dict()
    data["capture"] |= {"reduce": "tokens", "positions": positions}
    provenance = {**session.provenance, **(provenance or {})}
    session = session.changed(
        spec=Experiment.from_dict(data), revision=0, sidecar=None, path=None, provenance=provenance
    )
    rng = np.random.default_rng(0)
    vectors = {
        site: [rng.normal(size=(len(fed_tokens(session, row)), width)).astype(np.float32) for row in range(32)]
        for site, width in (("blocks.4.mlp.hook_post", 512), ("blocks.4.hook_resid_post", 128))
    }
    return save_session(session, folder / "tokens.json", vectors=vectors).session


async def test_both_continuations_are_there_and_part_where_the_tokens_do() -> None:
    async with drive() as (app, _):
        session = app.spot.session
        assert session
        own, base = session.runs[3], session.runs[0]
        page = app.view.page
        assert page
        assert page.baseline
        assert "".join(one.text for one in page.continuation) == own.text
        assert "".join(one.text for one in page.baseline) == base.text
        assert session.prompts[0].text in app.text()
        first = int(own.metrics["first_change"]) + 1
        assert f"differs from the baseline is token {first}" in app.text()
        assert app.own().count("▸") == 1
        before = app.own().split("\n", 1)[1].split("▸")[0]
        assert own.text.startswith(before)
        assert base.text.startswith(before)
        assert before == " is"


async def test_numbers_on_the_screen_are_the_sessions() -> None:
    async with drive() as (app, _):
        session = app.spot.session
        assert session
        plane, text = session.planes[0], app.text()
        assert f"n488 {three_digits(plane.x[3])}" in text
        assert f"n20 {three_digits(plane.y[3])}" in text
        assert f"norm {three_digits(plane.norm[3])}" in text
        assert f"cos at 0° {three_digits(float(app.spot.cosines()[3]))} (lit, above .7)" in text
        assert f"value +30σ (raw {three_digits(session.resolved[3][0][0])})" in text  # type: ignore[index]
        assert f"smallest margin {three_digits(session.runs[3].min_margin)}" in text
        assert "ended by an end of text" in text


async def test_keys_step_in_the_order_of_the_table_and_stop_at_its_ends() -> None:
    async with drive(order=(3, 9, 20)) as (app, pilot):
        seen = []
        for key in ("n", "j", "n", "p", "k"):
            await pilot.press(key)
            await settled(app, pilot)
            seen.append(app.view.index)
            assert f"run {app.view.index} ·" in app.text().splitlines()[0]
        assert seen == [9, 20, 20, 9, 3]
        await pilot.press("k")
        assert app.said() == "this is the first run"
        await pilot.press("escape")
        await pilot.pause()
        assert app.left == [3]


async def test_b_goes_to_the_baseline_and_back() -> None:
    async with drive(index=7) as (app, pilot):
        await pilot.press("b")
        await settled(app, pilot)
        assert app.view.index == 4
        assert "this is the baseline" in app.text()
        assert not app.view.query_one("#run-baseline").display
        await pilot.press("b")
        await settled(app, pilot)
        assert app.view.index == 7
        await pilot.press("b", "n", "b")
        assert app.view.index == 4


async def test_the_token_under_the_cursor_has_the_number_that_was_captured(tmp_path: Path) -> None:
    session = with_tokens(tmp_path)
    vectors = session.vectors()["blocks.4.mlp.hook_post"]
    async with drive(session=session, index=1) as (app, pilot):
        run, base = session.runs[1], session.runs[0]
        for step in range(3):
            at = min(step, len(run.token_ids) - 1)
            strip = app.view.query_one(TokenStrip)
            if step < len(run.token_ids):
                wanted = f"token {at + 1} (id {run.token_ids[at]}) {three_digits(float(vectors[1][at][488]))}"
                assert wanted in app.text()
            else:
                assert "this run ends before" in app.text()
            beside = f"(id {base.token_ids[step]}) {three_digits(float(vectors[0][step][488]))}"
            assert beside in strip.reading()
            await pilot.press("l")
            await pilot.pause()
        await pilot.press("h")
        assert app.view.query_one(TokenStrip).cursor == 2
        await pilot.press("L")
        assert app.view.query_one(TokenStrip).cursor == 12
        await pilot.press("H", "H")
        assert app.view.query_one(TokenStrip).cursor == 0
        await pilot.press("v")
        await settled(app, pilot)
        assert "n20 · L4 hook_post" in app.text()
        assert f"token 1 (id {run.token_ids[0]}) {three_digits(float(vectors[1][0][20]))}" in app.text()


async def test_the_strip_can_be_read_without_colour(tmp_path: Path) -> None:
    session = with_tokens(tmp_path)
    own, base = (session.vectors()["blocks.4.mlp.hook_post"][row][:, 488].tolist() for row in (3, 0))
    low, high = span(own + base)
    async with drive(session=session) as (app, _):
        lines = app.text().splitlines()
        digits = next(line for line in lines if line.strip().startswith("this run")).split()[2:]
        assert [int(digit) for digit in digits] == [level(value, low, high) for value in own]
        digits = next(line for line in lines if line.strip().startswith("baseline  ")).split()[1:]
        assert [int(digit) for digit in digits] == [level(value, low, high) for value in base]
        assert f"0 is {three_digits(low)}, 9 is {three_digits(high)}" in app.text()


AT = [{"at": [1, 2], "start": None}] * 40
FROM = [{"at": [], "start": 3}] * 40


@pytest.mark.parametrize(
    ("positions", "stored"),
    [("predicting", None), ("prompt", None), ("all", None), ("last", None), ({"token": " x"}, AT), ([3, -1], FROM)],
    ids=str,
)
async def test_tokens_are_named_by_where_they_were_captured(tmp_path: Path, positions: object, stored: object) -> None:
    session = with_tokens(tmp_path, positions, {"captured_at": stored})
    run = session.runs[3]
    fed = fed_tokens(session, 3)
    prompt = session.prompts[run.prompt].token_ids
    wanted = {
        "predicting": (*prompt[-1:], *run.token_ids),
        "prompt": prompt,
        "all": (*prompt, *run.token_ids),
        "last": prompt[-1:],
        "{'token': ' x'}": prompt[1:3],
        "[3, -1]": (*prompt, *run.token_ids)[3:],
    }[str(positions)]
    assert tuple(one.token_id for one in fed) == wanted
    async with drive(session=session) as (app, _):
        assert f"prompt token {fed[0].position} (id {fed[0].token_id})" in app.text()


async def test_without_tokens_or_with_a_damaged_file_it_says_what_and_the_remedy(tmp_path: Path) -> None:
    async with drive() as (app, _):
        assert "one vector a run; set capture to tokens" in " ".join(app.text().split())
    session = with_tokens(tmp_path)
    (tmp_path / "tokens.safetensors").write_bytes(b"not what was saved")
    async with drive(session=session) as (app, pilot):
        assert "the file was altered" in " ".join(app.text().split())
        await pilot.press("l", "v", "n")
        await settled(app, pilot)
        assert app.view.index == 4
    (tmp_path / "tokens.safetensors").unlink()
    async with drive(session=session) as (app, _):
        assert "the file with the vectors is missing" in " ".join(app.text().split())


async def test_a_run_of_an_interrupted_session_without_its_baseline_says_so() -> None:
    session = load_session(EXAMPLE)
    plane = session.planes[0]
    part = dataclasses.replace(plane, x=plane.x[1:], y=plane.y[1:], norm=plane.norm[1:])
    session = session.changed(runs=session.runs[1:], planes=(part,), state="interrupted")
    async with drive(session=session, index=1) as (app, pilot):
        assert "the baseline of this prompt is not finished" in app.text()
        await pilot.press("b")
        assert app.view.index == 1
        assert "not finished" in app.said()


async def test_texts_that_would_act_on_a_terminal_or_on_markup_are_only_shown() -> None:
    session = load_session(EXAMPLE)
    nasty = "[bold]no[/] \x1b[2J\x07\u202e\x9b31m\r\n\tend\ud800"
    runs = tuple(dataclasses.replace(run, text=f"{nasty} {run.index}") for run in session.runs)
    prompts = (dataclasses.replace(session.prompts[0], text=nasty), *session.prompts[1:])
    async with drive(session=session.changed(runs=runs, prompts=prompts)) as (app, pilot):
        text = app.text()
        assert "[bold]no[/]" in text
        assert not any(sign in text for sign in "\x1b\x07\u202e\x9b\r\ud800")
        text.encode()
        await pilot.press("y")
        assert nasty in app.copied[0]


@pytest.mark.parametrize("signs", [UNICODE, ASCII])
@pytest.mark.parametrize(("size", "stacked"), [((160, 48), False), ((80, 24), True)])
async def test_texts_stand_side_by_side_where_there_is_room(
    tmp_path: Path, size: tuple[int, int], stacked: bool, signs: Glyphs
) -> None:
    async with drive(session=with_tokens(tmp_path), size=size, signs=signs) as (app, pilot):
        own, base = app.view.query_one("#run-continuation").region, app.view.query_one("#run-baseline").region
        assert (base.y > own.y) == stacked
        assert (base.x > own.x) != stacked
        for _ in range(3):
            await pilot.press("pagedown")
        await pilot.pause()
        assert "token 1 (id" in app.text()
        if signs is ASCII:
            bars = [line for line in app.text().splitlines() if line.strip().startswith("bars")]
            assert not any("▁" in line[:-1] for line in bars)
        await pilot.press("up", "down", "pageup", "question_mark")
        await pilot.pause()
        assert app.screen is not app.view


@given(own=st.text(st.sampled_from("ab \n"), max_size=30), other=st.text(st.sampled_from("ab \n"), max_size=30))
def test_alignment_loses_nothing_and_agrees_with_itself(own: str, other: str) -> None:
    left, right = aligned(own, other)
    assert "".join(one.text for one in left) == own
    assert "".join(one.text for one in right) == other
    for kind in ("shared", "alike"):
        assert "".join(one.text for one in left if one.kind == kind) == "".join(
            one.text for one in right if one.kind == kind
        )
    assert all(one.kind != "shared" for one in left[1:])
    assert (own == other) == all(one.kind == "shared" for one in left + right)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(finite, min_size=1, max_size=20))
def test_levels_rise_with_the_values_from_the_first_to_the_last(values: list[float]) -> None:
    low, high = span([*values, float("nan"), float("inf")])
    levels = [level(value, low, high) for value in sorted(values)]
    assert all(one is not None and 0 <= one < LEVELS for one in levels)
    assert levels == sorted(levels, key=lambda one: one or 0)
    if high / 2 - low / 2 > 0:
        assert (levels[0], levels[-1]) == (0, LEVELS - 1)
    assert level(float("nan"), low, high) is None


def test_a_few_columns_are_read_as_they_are_in_the_whole_file(tmp_path: Path) -> None:
    session = with_tokens(tmp_path)
    whole = session.vectors()["blocks.4.hook_resid_post"]
    part = read_columns(session.vectors_path(), "blocks.4.hook_resid_post", 5, [3, 100])
    np.testing.assert_array_equal(part, np.asarray(whole[5])[:, [3, 100]])
    with pytest.raises(ExplorerError, match="128 coordinates"):
        read_columns(session.vectors_path(), "blocks.4.hook_resid_post", 5, [128])
    with pytest.raises(ExplorerError, match="cannot be read"):
        read_columns(session.vectors_path(), "blocks.4.hook_resid_post", 99, [0])
    assert [one.caption for one in coordinates_of(session)] == ["n488 · L4 hook_post", "n20 · L4 hook_post"]
