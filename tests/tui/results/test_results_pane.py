from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.tui.results.log_tab import MOST, LogTab
from srm_explorer.tui.results.pane import ResultsPane
from srm_explorer.tui.results.runs_tab import RunsTab
from srm_explorer.tui.widgets.chart import ChartView
from tests.waiting import until_shown


class Host(App[None]):
    def __init__(self, session: Session | None) -> None:
        super().__init__()
        self.session = session
        self.pane = ResultsPane()
        self.turned = 0
        self.opened: list[int] = []

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.focus()

    def on_results_pane_view_changed(self) -> None:
        self.turned += 1

    def on_results_pane_open_run(self, event: ResultsPane.OpenRun) -> None:
        self.opened.append(event.index)

    def lines(self) -> list[str]:
        """What stands on the screen."""
        return ["".join(segment.text for segment in strip) for strip in self.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())


@asynccontextmanager
async def used(
    session: Session | None, *, size: tuple[int, int] = (116, 46)
) -> AsyncIterator[tuple[Pilot[None], Host]]:
    host = Host(session)
    async with host.run_test(size=size) as pilot:
        if session is not None:
            host.pane.take_session(session)
        await settled(pilot, host)
        yield pilot, host


async def settled(pilot: Pilot[None], host: Host) -> None:
    """Wait until every chart in view is painted."""
    charts = host.query(ChartView)
    await pilot.pause()
    await until_shown(lambda: all(one.settled() for one in charts if one.display and one.size.area), "the chart")
    await pilot.pause()


def counted(session: Session, theta: int, threshold: float) -> tuple[int, int]:
    """Swept runs and baseline runs that the spotlight lights, counted one by one."""
    record, found = session.planes[0], [0, 0]
    for run, x, y, norm in zip(session.runs, record.x, record.y, record.norm, strict=True):
        cosine = (x * np.cos(np.deg2rad(theta)) + y * np.sin(np.deg2rad(theta))) / norm
        found[session.conditions[run.condition].kind == "baseline"] += bool(cosine > threshold + 1e-12)
    return found[0], found[1]


async def test_the_number_on_the_screen_is_the_count_of_the_session(spread_session: Callable[..., Session]) -> None:
    session = spread_session()
    async with used(session) as (pilot, host):
        theta = 0
        keys = {"l": 1, "right": 1, "h": -1, "left": -1, "L": 10, "shift+right": 10, "H": -10, "shift+left": -10}
        for key in (
            "l",
            "L",
            "L",
            "right",
            "h",
            "H",
            "left",
            "shift+left",
            "shift+right",
            "L",
            "L",
            "t",
            "L",
            "T",
            "L",
        ):
            await pilot.press(key)
            await settled(pilot, host)
            theta = (theta + keys.get(key, 0)) % 360
            told = re.search(
                r"spotlight θ (\d+)° +> (\S+) +lit (\d+) of (\d+) \(baseline (\d+) of (\d+)\)", host.text()
            )
            assert told, host.text()
            threshold = float(told[2].replace("−", "-"))
            assert int(told[1]) == theta
            assert (int(told[3]), int(told[5])) == counted(session, theta, threshold)
            assert (int(told[4]), int(told[6])) == (40, 10)
        assert host.turned == 15


async def test_the_cells_that_stand_out_on_the_screen_follow_the_keys(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session()) as (pilot, host):
        await pilot.press("v", "v")
        await settled(pilot, host)
        assert "compass" in host.lines()[0]
        chart = host.pane.query(ChartView).first()
        seen: set[frozenset[tuple[int, int]]] = set()
        for _ in range(6):
            await pilot.press("L")
            await pilot.pause()
            scene = chart.scene
            assert scene is not None
            state = host.pane.state
            over = scene.over(state.theta, state.threshold)
            lit = frozenset(place for place, (_, style) in over.items() if style.reverse)
            strips = host.screen._compositor.render_strips()
            x, y = chart.region.offset
            for col, row in lit:
                (segment,) = strips[y + row].crop(x + col, x + col + 1)
                assert segment.style is not None
                assert segment.style.reverse
            on_screen = sum(
                len(segment.text)
                for row in range(chart.size.height)
                for segment in strips[y + row].crop(x, x + chart.size.width)
                if segment.style is not None and segment.style.reverse
            )
            assert on_screen == len(lit) > 0
            seen.add(lit)
        assert len(seen) > 3


async def test_a_step_repaints_few_cells(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session(prompts=50)) as (pilot, host):
        await pilot.press("v", "v", "l")
        await settled(pilot, host)
        chart = host.pane.query(ChartView).first()
        picture = chart.scene.picture if chart.scene else None
        areas: list[int] = []
        refresh = chart.refresh

        def counting(*regions: object, **told: bool) -> Widget:
            areas.append(sum(region.area for region in regions) if regions else chart.size.area)  # pyright: ignore
            return refresh(*regions, **told)  # pyright: ignore

        chart.refresh = counting  # pyright: ignore
        for _ in range(12):
            await pilot.press("l")
            await pilot.pause()
        assert chart.scene is not None
        assert chart.scene.picture is picture
        assert 0 < max(areas) < chart.size.area / 12


@pytest.mark.parametrize(
    ("keys", "before", "after"),
    [
        (("v",), "share of runs with cosine", "radius: mean cosine"),
        (("g",), "pooled", "by value"),
        (("g", "g"), "pooled", "by type"),
        (("b",), "○ baseline", "no baseline"),
        (("p",), "plane 1 of 2", "n3 × n6"),
        (("right_square_bracket",), "[Polar]", "[Thresholds]"),
        (("left_square_bracket",), "[Polar]", "[Log]"),
        (("right_square_bracket", "d"), "[Polar]", "share of runs − baseline's"),
        (("right_square_bracket", "right_square_bracket"), "[Polar]", "amplitude A by clamp value"),
    ],
)
async def test_every_key_changes_what_is_seen(
    spread_session: Callable[..., Session], keys: tuple[str, ...], before: str, after: str
) -> None:
    async with used(spread_session(planes=2)) as (pilot, host):
        assert before in host.text()
        assert after not in host.text()
        await pilot.press(*keys)
        await settled(pilot, host)
        assert after in host.text()


async def test_the_cursor_tells_the_counts_above_the_chart(spread_session: Callable[..., Session]) -> None:
    session = spread_session()
    async with used(session) as (pilot, host):
        await pilot.press("right_square_bracket", "L", "L", "l")
        await settled(pilot, host)
        threshold = host.pane.state.threshold
        swept, base = counted(session, 21, threshold)
        assert re.search(rf"θ 21° > \S+ +○ {base} of 10 mean \S+ +● {swept} of 40 mean", host.text())
        await pilot.press("d")
        await settled(pilot, host)
        told = re.search(r"θ 21° > \S+ +● (\S+) mean", host.text())
        assert told
        assert float(told[1].replace("−", "-")) == pytest.approx(swept / 40 - base / 10, abs=0.001)


async def test_the_dose_tab_counts_above_the_next_threshold_and_says_why_it_is_empty(
    spread_session: Callable[..., Session],
) -> None:
    async with used(spread_session()) as (pilot, host):
        await pilot.press("right_square_bracket", "right_square_bracket")
        await settled(pilot, host)
        assert "largest share > .7" in host.text()
        await pilot.press("t")
        await settled(pilot, host)
        assert "largest share > .5" in host.text()
        only = [run for run in host.pane.state.session.runs if run.condition == 0]  # pyright: ignore
        host.pane.take_session(spread_session(finished=1, name="short"))
        await settled(pilot, host)
        assert only
        assert "it has no swept value" in host.text()


async def test_the_mouse_picks_tabs_and_points_the_spotlight(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session()) as (pilot, host):
        chart = host.pane.query(ChartView).first()
        line = next(at for at, text in enumerate(host.lines()) if "90°" in text)
        col = host.lines()[line].index("90°") + 3
        await pilot.click(ChartView, offset=(col - chart.region.x, line - chart.region.y + 2))
        await pilot.pause()
        assert abs(host.pane.state.theta - 90) <= 3
        strip = host.lines()[0]
        await pilot.click(offset=(strip.index("Dose") + 1, 0))
        await settled(pilot, host)
        assert host.pane.tab == "Dose"
        assert "[Dose]" in host.lines()[0]


async def test_lit_runs_stand_below_the_chart_where_there_is_room(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session()) as (pilot, host):
        lit = host.pane.query_one("#lit-runs", RunsTab)
        assert lit.display
        assert host.focused is lit.table
        await pilot.press("j", "enter")
        await pilot.pause()
        assert host.opened == [lit.order[1]]
        before = host.pane.state.theta
        await pilot.press("l", "left", "H")
        assert host.pane.state.theta == (before - 10) % 360
    async with used(spread_session(), size=(80, 20)) as (pilot, host):
        assert not host.pane.query_one("#lit-runs").display
        assert "lit" in host.lines()[-1]
        await pilot.press("l")
        assert host.pane.state.theta == 1
        await pilot.resize_terminal(116, 46)
        await settled(pilot, host)
        assert host.pane.query_one("#lit-runs").display


async def test_without_a_session_the_keys_that_help_are_named_and_no_key_fails() -> None:
    async with used(None) as (pilot, host):
        assert "r runs the experiment, o opens a saved session" in host.text()
        for key in ("l", "H", "t", "T", "v", "g", "b", "p", "right_square_bracket", "d", "t", "right_square_bracket"):
            await pilot.press(key)
        await settled(pilot, host)
        assert "No runs to show yet" in host.text()
        assert host.pane.warnings() == ()
        host.pane.take_session(None)
        await settled(pilot, host)
        assert "No runs to show yet" in host.text()


async def test_runs_that_arrive_are_drawn_and_the_spotlight_stays(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session(finished=5)) as (pilot, host):
        await pilot.press("L", "L")
        for finished in (15, 30, None):
            host.pane.take_session(spread_session(finished=finished))
            await settled(pilot, host)
            assert host.pane.state.theta == 20
            total = (finished or 50) * 4 // 5
            assert f"of {total} (baseline" in host.text()
            assert re.search(rf"\b{total}\b", host.text().partition("runs")[2])


async def test_warnings_beyond_the_first_are_for_help(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session(broken=(1, 2))) as (_, host):
        assert len(host.pane.warnings()) >= 1
        assert "not finite" in host.pane.warnings()[0]
        assert host.text().count("⚠") == 1


async def test_what_is_copied_and_exported_is_what_is_seen(
    spread_session: Callable[..., Session], tmp_path: Path
) -> None:
    async with used(spread_session()) as (pilot, host):
        await pilot.press("v", "v", "L")
        await settled(pilot, host)
        copied = host.pane.copy_text()
        chart = host.pane.query(ChartView).first()
        x, y = chart.region.offset
        rows = [line[x : x + chart.size.width].rstrip() for line in host.lines()[y : y + chart.size.height]]
        assert copied.split("\n")[: len("\n".join(rows).rstrip().split("\n"))] == "\n".join(rows).rstrip().split("\n")
        assert "spotlight θ 10°" in copied
        written = host.pane.export("text", tmp_path / "chart.txt")
        assert written.read_text() == copied
        again = host.pane.export("svg", tmp_path / "chart.txt")
        assert again.name == "chart-2.txt"


async def test_how_runs_are_grouped_stands_beside_the_tabs_of_a_narrow_terminal(
    spread_session: Callable[..., Session],
) -> None:
    async with used(spread_session(), size=(80, 22)) as (pilot, host):
        for grouping in ("pooled", "by value", "by type"):
            assert grouping in host.lines()[0]
            assert "…" not in host.lines()[0]
            await pilot.press("g")
            await pilot.pause()


async def test_the_log_scrolls_follows_and_forgets_the_oldest() -> None:
    async with used(None, size=(60, 16)) as (pilot, host):
        await pilot.press("left_square_bracket")
        log = host.pane.query_one(LogTab)
        assert host.focused is log
        for at in range(MOST + 10):
            host.pane.log_line(f"line {at}\x1b[31m")
        await pilot.pause()
        assert f"line {MOST + 9}" in host.text()
        await pilot.press("home")
        await pilot.pause()
        assert "line 10" in host.lines()[1]
        assert "\x1b" not in host.text()
        page = log.size.height - 1
        for key, top in (("pagedown", page), ("up", page - 1), ("down", page), ("k", page - 1), ("pageup", 0)):
            await pilot.press(key)
            await pilot.pause()
            assert f"line {10 + top}" in host.lines()[1]
        command = "srm-explorer open " + " ".join(f"--prompts some-folder/{at}/prompts.txt" for at in range(12))
        host.pane.log_line(command)
        await pilot.press("end")
        await pilot.pause()
        shown = " ".join(host.lines())
        assert all(word in shown.split() for word in command.split()), "no word is broken"
        await pilot.press("home")
        host.pane.log_line("another one")
        await pilot.pause()
        assert "another one" not in host.text()
        await pilot.press("end")
        await pilot.pause()
        assert "another one" in host.text()
        assert len(host.pane.copy_text().split("\n")) == MOST


async def test_the_cursor_names_every_group_where_there_are_many(spread_session: Callable[..., Session]) -> None:
    async with used(spread_session(values=range(-5, 6))) as (pilot, host):
        await pilot.press("g", "right_square_bracket", "L")
        await settled(pilot, host)
        state = host.pane.state
        row = next(line for line in host.lines() if "θ 10°" in line and "spotlight" not in line)
        counts = [int(found) for found in re.findall(r"[○▲■▼◆△□▽◁▷](\d+)", row)]
        level = state.session.spec.spotlight.thresholds.index(state.threshold)  # pyright: ignore
        assert counts == [group.sweep.counts[level, 10] for group in state.groups()]
        assert len(counts) == 12


def test_the_pane_is_shown_before_any_library_but_textual_is_loaded() -> None:
    code = "import sys, srm_explorer.tui.results.pane; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "textual" in loaded
    assert not {"numpy", "pydantic", "plotext"} & set(loaded)


async def test_a_run_opens_on_what_shows_something_and_says_where_nothing_does(
    spread_session: Callable[..., Session],
) -> None:
    session = spread_session(thresholds=(0.7, 0.5))
    plane = session.planes[0]
    near = np.stack([plane.x, plane.y], axis=1) / np.array(plane.norm)[:, None] * 0.49
    session = session.changed(planes=(PlaneRecord.of(plane.site, plane.a, plane.b, near, np.ones(len(near))),))
    async with used(session) as (pilot, host):
        # Every cosine is below both thresholds: the runs themselves, drawn in to where they are.
        assert host.pane.state.view == "compass"
        said = re.search(r"no run above \.5; the largest cosine is (\.\d+)", host.text())
        assert said
        assert float(said[1]) == pytest.approx(np.hypot(*near.T).max(), abs=1e-3)
        dots = host.text()
        await pilot.press("v")
        await settled(pilot, host)
        assert host.pane.state.view == "counts"
        assert "no run above .5" in host.text()
        assert f"the largest cosine is {said[1]}" in host.text()
        # Rings and the spotlight alone: half of what the runs take, and no fan of spokes.
        assert braille(host.text()) < braille(dots)


def braille(text: str) -> int:
    return sum(0x2800 < ord(character) < 0x2900 for character in text)
