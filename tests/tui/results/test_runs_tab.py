from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input, Static

from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.tui.glyphs import ASCII, UNICODE, Glyphs
from srm_explorer.tui.results.runs_listing import RunCells, cosine_text
from srm_explorer.tui.results.runs_tab import EMPTY, RunsTab
from srm_explorer.tui.results.state import ResultsState
from tests.example import EXAMPLE


class Host(App[None]):
    """Turns the spotlight as the results pane does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,left", "turn(-1)", "turn"),
        Binding("l,right", "turn(1)", "turn"),
        Binding("L", "turn(10)", "turn"),
        Binding("escape", "away", "away"),
    ]

    def __init__(self, session: Session | None, compact: bool = False, signs: Glyphs = UNICODE) -> None:
        super().__init__()
        self.glyphs = signs
        self.session = session
        self.tab = RunsTab(compact)
        self.spot = ResultsState()
        self.opened: list[RunsTab.RunWanted] = []
        self.left = 0

    def compose(self) -> ComposeResult:
        yield self.tab

    def on_mount(self) -> None:
        self.spot.take_session(self.session)
        self.tab.show(self.spot)
        self.tab.table.focus()

    def action_turn(self, degrees: int) -> None:
        self.spot.turn(degrees)
        self.tab.show(self.spot)

    def action_away(self) -> None:
        self.left += 1

    def on_runs_tab_run_wanted(self, message: RunsTab.RunWanted) -> None:
        self.opened.append(message)

    def lines(self) -> list[str]:
        return ["".join(part.text for part in strip) for strip in self.screen._compositor.render_strips()]

    def said(self) -> str:
        return str(self.tab.query_one("#runs-line", Static).render())

    def highlighted(self) -> int:
        return int(self.tab.table.key)  # type: ignore[call-overload]


@asynccontextmanager
async def drive(
    *, session: Session | None = None, size: tuple[int, int] = (150, 40), **options: Any
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(load_session(EXAMPLE) if session is None else session, **options)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


def many(runs: int = 2000) -> Session:
    """The example's runs over and over, each at another place of the plane."""
    session = load_session(EXAMPLE)
    own, plane = session.runs, session.planes[0]
    rng = np.random.default_rng(0)
    picked = [own[at % len(own)] for at in range(runs)]
    prompts = tuple(dataclasses.replace(session.prompts[at % 8], text=f"prompt {at}") for at in range(runs // 4))
    records = tuple(
        dataclasses.replace(run, index=at, prompt=at // 4, condition=at % 4) for at, run in enumerate(picked)
    )
    xy = rng.normal(size=(runs, 2))
    where = PlaneRecord.of(plane.site, plane.a, plane.b, xy, np.full(runs, 3.0))
    return session.changed(prompts=prompts, runs=records, planes=(where,))


async def test_every_number_on_the_screen_is_the_sessions() -> None:
    async with drive() as (app, pilot):
        session = app.spot.session
        assert session
        for theta in (0, 90, 217):
            app.action_turn(theta - app.spot.theta)
            await pilot.pause()
            lines = app.lines()[1:33]
            plane = session.planes[0]
            for run, line, cosine, lit in zip(session.runs, lines, app.spot.cosines(), app.spot.lit(), strict=True):
                label = session.conditions[run.condition].label
                words = line[4:].split()
                at = words.index(label)
                assert words[at + 1] == cosine_text(float(cosine))
                x = float(words[at + 2].replace("−", "-"))
                assert x == pytest.approx(plane.x[run.index], rel=0.006)
                assert ("●" in line[:3]) == lit
                first = run.metrics.get("first_change")
                assert (f"token {int(first) + 1} " in line) if first is not None else "token" not in line[:110]
            readout = app.spot.readout()
            assert readout
            assert f"{readout.lit + readout.baseline_lit} lit" in app.said()


async def test_enter_and_a_double_click_open_the_run_with_those_it_was_listed_with() -> None:
    async with drive() as (app, pilot):
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert app.opened[-1].index == 2
        assert app.opened[-1].order == tuple(range(32))
        await pilot.click(app.tab.table, offset=(10, 6), times=2)
        await pilot.pause()
        assert app.opened[-1].index == 5


async def test_sorting_by_keys_and_titles_keeps_the_highlight_on_its_run() -> None:
    async with drive() as (app, pilot):
        await pilot.press("j", "j", "j")
        assert app.highlighted() == 3
        seen = []
        for _ in range(7):
            await pilot.press("S")
            seen.append(app.tab.listing.sort)
            assert app.highlighted() == 3
        assert seen == ["lit", "prompt", "value", "cos", "change", "text", ""]
        assert app.tab.order == tuple(range(32))
        await pilot.press("R")
        assert app.tab.order == tuple(range(31, -1, -1))
        assert "reversed" in app.said()
        await pilot.press("R")
        header = app.lines()[0]
        await pilot.click(app.tab.table, offset=(header.index("cos") + 1, 0))
        await pilot.pause()
        assert "cos↓" in app.lines()[0]
        cosines = app.spot.cosines()[list(app.tab.order)]
        assert (np.diff(cosines) <= 0).all()
        await pilot.click(app.tab.table, offset=(app.lines()[0].index("cos") + 1, 0))
        await pilot.pause()
        assert "cos↑" in app.lines()[0]
        assert app.highlighted() == 3


async def test_turning_marks_other_rows_and_moves_none() -> None:
    async with drive() as (app, pilot):
        order = app.tab.order
        marks = []
        for _ in range(18):
            await pilot.press("L")
            await pilot.pause()
            marks.append(tuple("●" in line[:3] for line in app.lines()[1:33]))
            assert marks[-1] == tuple(app.spot.lit())
        assert len(set(marks)) > 1
        assert app.tab.order == order


@pytest.mark.drawn
async def test_a_turn_repaints_marks_and_cosines_alone() -> None:
    async with drive() as (app, pilot):
        regions: list[Region] = []
        table, plain = app.tab.table, app.tab.table.refresh

        def noted(*told: Region, **options: Any) -> Any:
            regions.extend(told or (Region(0, 0, 999, 999),))
            return plain(*told, **options)

        table.refresh = noted  # type: ignore[method-assign]
        await pilot.press("l", "l", "l")
        await pilot.pause()
        assert regions
        assert max(region.width for region in regions) <= 5
        assert {region.height for region in regions} == {1}


async def test_rows_that_follow_the_spotlight_keep_the_highlight_on_its_run() -> None:
    async with drive(session=many(200)) as (app, pilot):
        await pilot.press("S", "j", "j", "j", "j")
        held = app.highlighted()
        orders = set()
        for _ in range(18):
            await pilot.press("L")
            await pilot.pause()
            assert app.highlighted() == held
            orders.add(app.tab.order)
            lit = app.spot.lit()[list(app.tab.order)].tolist()
            assert lit == sorted(lit, reverse=True)
        assert len(orders) > 1


async def test_a_highlight_that_nobody_moved_stays_on_the_first_row() -> None:
    async with drive(session=many(200), compact=True, size=(100, 12)) as (app, pilot):
        for _ in range(6):
            await pilot.press("L")
            await pilot.pause()
            assert app.tab.table.cursor == 0
            assert app.highlighted() == int(np.argmax(app.spot.cosines()))


async def test_only_lit_rows_and_the_next_lit_row() -> None:
    async with drive() as (app, pilot):
        lit = np.flatnonzero(app.spot.lit()).tolist()
        assert lit
        for run in (*lit, lit[0]):
            await pilot.press("n")
            assert app.highlighted() == run
        await pilot.press("N")
        assert app.highlighted() == lit[-1]
        await pilot.press("m")
        assert app.tab.order == tuple(lit)
        assert app.highlighted() == lit[-1]
        await pilot.press("l", "l")
        assert app.tab.order == tuple(np.flatnonzero(app.spot.lit()).tolist())
        await pilot.press("escape")
        assert len(app.tab.order) == 32
        assert app.left == 0
        await pilot.press("escape")
        assert app.left == 1


async def test_a_filter_lists_as_it_is_typed_and_keeps_the_rows_while_it_makes_no_sense() -> None:
    async with drive() as (app, pilot):
        session = app.spot.session
        assert session
        await pilot.press("slash", *"value", "greater_than_sign", "3")
        await pilot.pause()
        positive = tuple(run.index for run in session.runs if (session.conditions[run.condition].value or 0) > 3)
        assert app.tab.query_one(Input).value == "value>3"
        assert app.tab.order == positive
        await pilot.press("space", "a", "greater_than_sign")
        await pilot.pause()
        before = app.tab.order
        assert set(before) <= set(positive)
        assert "no column 'a'" in app.said()
        await pilot.press("b")
        await pilot.pause()
        assert app.tab.order == before
        await pilot.press("enter")
        assert app.tab.query(Input)
        await pilot.press("escape")
        await pilot.pause()
        assert not app.tab.query(Input)
        assert len(app.tab.order) == 32
        await pilot.press("slash", *"lighthouse", "enter")
        await pilot.pause()
        listed = tuple(
            run.index
            for run in session.runs
            if "lighthouse" in (session.prompts[run.prompt].text + run.text).casefold()
        )
        assert app.tab.order == listed
        assert "/ lighthouse" in app.said()
        assert app.focused is app.tab.table
        await pilot.press("slash", "backspace")
        await pilot.pause()
        assert app.tab.query_one(Input).value == "lighthous"
        await pilot.press("escape", "escape")
        assert len(app.tab.order) == 32
        assert app.left == 0


async def test_a_filter_that_nothing_meets_leaves_an_empty_table_and_no_run_to_open() -> None:
    async with drive() as (app, pilot):
        await pilot.press("slash", *"zzzz", "enter", "enter", "j", "n", "m")
        await pilot.pause()
        assert app.tab.order == ()
        assert app.opened == []
        assert "0 of 32 runs" in app.said()


def test_without_a_session_it_says_which_key_helps() -> None:
    async def run() -> None:
        for compact in (False, True):
            app = Host(None, compact=compact)
            async with app.run_test(size=(80, 10)) as pilot:
                await pilot.press("j", "S", "R", "m", "n", "enter")
                await pilot.pause()
                assert EMPTY in "\n".join(app.lines())
                assert app.tab.copy_text() == ""

    asyncio.run(run())


async def test_runs_that_arrive_leave_the_highlight_and_the_order_alone() -> None:
    async with drive() as (app, pilot):
        session = app.spot.session
        assert session
        plane = session.planes[0]

        def first(count: int) -> Session:
            part = dataclasses.replace(plane, x=plane.x[:count], y=plane.y[:count], norm=plane.norm[:count])
            return session.changed(runs=session.runs[:count], planes=(part,), state="interrupted")

        app.spot.take_session(first(12))
        app.tab.show(app.spot)
        await pilot.press("j", "j", "j")
        for count in (13, 20, 32):
            app.spot.take_session(first(count))
            app.tab.show(app.spot)
            await pilot.pause()
            assert app.highlighted() == 3
            assert app.tab.order == tuple(range(count))
            assert (
                len([line for line in app.lines()[1:] if ("  " in line and "σ" in line) or "baseline" in line]) == count
            )


async def test_what_is_copied_has_a_line_a_run_and_a_cell_a_column() -> None:
    async with drive() as (app, pilot):
        await pilot.press("m")
        rows = [line.split("\t") for line in app.tab.copy_text().splitlines()]
        assert len(rows) == 1 + len(app.tab.order)
        assert {len(row) for row in rows} == {len(rows[0])}
        assert {row[0] for row in rows[1:]} == {"1"}
        assert rows[1][rows[0].index("cos")] == cosine_text(float(app.spot.cosines()[app.tab.order[0]]))


async def test_in_ascii_every_sign_is_ascii_but_for_the_texts() -> None:
    async with drive(signs=ASCII) as (app, pilot):
        await pilot.press("j", "L")
        await pilot.pause()
        table = "".join(app.lines()[:33]).replace("σ", "")
        assert table.isascii()
        assert ">" in table
        assert "*" in table


@pytest.mark.parametrize("size", [(160, 48), (80, 24), (60, 16), (20, 4)])
async def test_prompt_value_and_cosine_are_there_at_every_size(size: tuple[int, int]) -> None:
    async with drive(size=size) as (app, _):
        header = app.lines()[0]
        if size[0] >= 60:
            assert all(title in header for title in ("prompt", "value", "cos"))
            assert app.tab.table.max_scroll_x == 0
        assert all(len(line) == size[0] for line in app.lines())


async def test_of_two_thousand_runs_those_in_view_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    session = many(2000)
    cell = RunCells.cell
    drawn: list[int] = []

    def noted(cells: RunCells, row: int, key: str) -> Any:
        drawn.append(row)
        return cell(cells, row, key)

    monkeypatch.setattr(RunCells, "cell", noted)
    async with drive() as (app, pilot):
        app.spot.take_session(session)
        app.tab.show(app.spot)
        await pilot.pause()
        assert set(drawn) <= set(range(app.size.height))
        drawn.clear()
        for _ in range(20):
            app.action_turn(1)
            await pilot.pause()
        assert drawn
        assert set(drawn) <= set(range(app.size.height))
        assert "2,000 of 2,000 runs" in app.said()
        assert app.tab.table.count == 2000


async def test_letters_typed_ahead_of_the_line_go_into_it() -> None:
    async with drive() as (app, pilot):
        theta = app.spot.theta
        for key, character in (("slash", "/"), *((letter, letter) for letter in "hmlnS"), ("enter", "\r")):
            app.post_message(events.Key(key, character))
        for _ in range(5):
            await pilot.pause()
        assert app.tab.listing.filter_text == "hmlnS"
        assert app.spot.theta == theta
        assert (app.tab.listing.only_lit, app.tab.listing.sort) == (False, "")
        assert app.focused is app.tab.table


async def test_a_hidden_tab_catches_up_when_it_is_shown() -> None:
    async with drive() as (app, pilot):
        app.tab.display = False
        await pilot.pause()
        app.action_turn(180)
        assert app.tab.listing.lit.tolist() != app.spot.lit().tolist()
        app.tab.display = True
        await pilot.pause()
        await pilot.pause()
        assert tuple("●" in line[:3] for line in app.lines()[1:33]) == tuple(app.spot.lit())
