from __future__ import annotations

import functools
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from srm_explorer.engine.analyses.bands import bands_study
from srm_explorer.engine.session import Session, load_session, save_session
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.backend.study_runner import StudyAnswer, StudyRunner
from srm_explorer.tui.results.log_tab import LogTab
from srm_explorer.tui.results.pane import ResultsPane
from srm_explorer.tui.results.state import BandKey, BandWatch
from srm_explorer.tui.widgets.chart import ChartView
from tests.waiting import PATIENCE, check_alive


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.pane = ResultsPane()

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.focus()

    def text(self) -> str:
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@asynccontextmanager
async def used(session: Session) -> AsyncIterator[tuple[Pilot[None], Host]]:
    host = Host()
    async with host.run_test(size=(116, 40)) as pilot:
        host.pane.take_session(session)
        await until(pilot, host, "")
        yield pilot, host


async def until(pilot: Pilot[None], host: Host, text: str, *, there: bool = True) -> None:
    """Wait until every chart in view is painted and a text is on the screen, or is not."""
    give_up = time.monotonic() + PATIENCE
    while True:
        await pilot.pause()
        check_alive()
        charts = [one for one in host.query(ChartView) if one.display and one.size.area]
        if all(one.settled() for one in charts) and (text in host.text()) is there:
            return
        assert time.monotonic() < give_up, f"'{text}' did not come:\n{host.text()}"


@pytest.fixture
def stored(spread_session: Callable[..., Session], tmp_path: Path) -> Session:
    """A session on disk without bands, whose runs have baselines to predict from."""
    made = spread_session(prompts=6, values=(-5, 20), thresholds=(0.5, 0.1))
    resolved = tuple(tuple(None if v is None else (v,) for v in one.values) for one in made.conditions)
    path = tmp_path / "spread.json"
    save_session(made.changed(resolved=resolved), path)
    return load_session(path)


class Instant(StudyRunner):
    """Computes at once, in the same process."""

    def run(self, name: str, session: Path, arguments: object, then: Callable[[StudyAnswer], object]) -> None:
        assert name == "bands"
        assert isinstance(arguments, dict)
        self._background.deliver(functools.partial(then, bands_study(load_session(session), arguments)))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srm_explorer.tui.backend.study_runner.StudyRunner", Instant)


@pytest.mark.process
async def test_bands_that_are_not_stored_are_computed_in_another_process_and_drawn(stored: Session) -> None:
    async with used(stored) as (pilot, host):
        assert "computing bands" in host.text()
        assert "95 %" not in host.text()
        # Drawn before they are known: arithmetic needs no resampling.
        assert "╌ arithmetic" in host.text()
        await until(pilot, host, "95 %")
        assert "┆" not in host.text()
        # A table of few columns, and everything behind a key.
        assert re.search(r"group +runs +A .*φ.* +p", host.text())
        await pilot.press("i")
        await until(pilot, host, "┆ 95 % band of 6 units")
        await pilot.press("i")
        await until(pilot, host, "┆ 95 % band of 6 units", there=False)
        assert "computing" not in host.text()


@pytest.mark.process
async def test_a_failure_is_one_line_of_the_log_and_the_chart_stays(
    stored: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stored.path is not None
    stored.path.unlink()
    async with used(stored) as (pilot, host):
        await until(pilot, host, "computing bands", there=False)
        assert "● clamped" in host.text()
        log = host.pane.query_one(LogTab).copy_text()
        assert log.startswith("no 95 % bands: ")
        assert "\n" not in log


@pytest.mark.usefixtures("at_once")
async def test_the_key_of_arithmetic_goes_round_three_ways_of_seeing(stored: Session) -> None:
    async with used(stored) as (pilot, host):
        await pilot.press("i")
        await until(pilot, host, "95 % band of 6 units")
        await pilot.press("a")
        await until(pilot, host, "minus arithmetic")
        assert "− predicted" in host.text()
        assert "beyond arithmetic p" in host.text()
        await pilot.press("a")
        await until(pilot, host, "axis out")
        assert "without n3" in host.text()
        assert "╌ arithmetic" not in host.text()
        # The runs below the chart, and the line between, are those that were observed.
        assert "observed: lit" in host.text()
        await pilot.press("a", "v")
        await until(pilot, host, "bold 0")
        assert "╌ arithmetic" in host.text()
        assert "observed" not in host.text()
        for tab, told in (("Thresholds", "share of runs − predicted"), ("Dose", "amplitude A − predicted")):
            await pilot.press("right_square_bracket")
            await until(pilot, host, f"[{tab}]")
            await pilot.press("a")
            await until(pilot, host, told)
            await pilot.press("a")
            await until(pilot, host, "without n3")
            await pilot.press("a")
            await until(pilot, host, "╌ arithmetic")


@pytest.mark.usefixtures("at_once")
async def test_the_cursor_counts_what_is_beyond_arithmetic(stored: Session) -> None:
    async with used(stored) as (pilot, host):
        await pilot.press("right_square_bracket", "a")
        await until(pilot, host, "− predicted")
        row = next(line for line in host.text().split("\n") if "θ 0°" in line and "spotlight" not in line)
        assert "● " in row
        assert "○" not in row
        await pilot.press("d")
        await until(pilot, host, "share of runs − baseline's")
        assert host.pane.state.transform == "observed"


@pytest.mark.usefixtures("at_once")
async def test_the_key_of_bands_goes_to_the_next_group(stored: Session) -> None:
    async with used(stored) as (pilot, host):
        await until(pilot, host, "● clamped")
        await pilot.press("i")
        await until(pilot, host, "95 % band of 6 units")

        def banded() -> str:
            lines = host.text().split("\n")
            row = next(at for at, line in enumerate(lines) if "95 % band" in line)
            text = "\n".join(lines[: row + 1])
            return "clamped" if text.rfind("● clamped") > text.rfind("○ baseline") else "baseline"

        assert banded() == "clamped"
        await pilot.press("B")
        await until(pilot, host, "95 % band of 6 units")
        assert banded() == "baseline"


@pytest.mark.process
def test_other_bands_end_the_ones_that_are_computed() -> None:
    told: list[str] = []

    class Counting(StudyRunner):
        def run(self, name: str, session: Path, arguments: object, then: Callable[[StudyAnswer], object]) -> None:
            told.append(f"run {arguments}")

        def cancel(self, name: str) -> None:
            told.append("cancel")

    watch = BandWatch(Counting(Background()), lambda key, answer: None)
    one, other = (BandKey(Path("s.json"), 1, 0, by) for by in ((), ("type",)))
    for key in (one, one, other, None, None, one):
        watch.want(key)
    runs = [f"run {key.arguments}" for key in (one, other)]
    assert told == [runs[0], runs[1], "cancel", runs[0]]
