from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from textual._compositor import ChopsUpdate
from textual.command import CommandPalette

from srm_explorer.tui.experiment.files import Presets
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.settings import load_settings, settings_path
from srm_explorer.tui.widgets.chart import ChartView
from srm_explorer.tui.widgets.dialogs import Confirm, TooSmall
from srm_explorer.tui.widgets.status import Going

from .conftest import offered, painted


def shown_panes(app: Any) -> list[int]:
    return [pane.number for pane in app.explorer.panes if pane.region.area and pane.display]


async def test_a_wide_screen_shows_all_panes_and_keys_go_between_them(drive: Any) -> None:
    async with drive() as (app, pilot, _):
        for title in ("1 Prompts", "2 Intervention", "3 Results"):
            assert title in app.text()
        assert shown_panes(app) == [1, 2, 3]
        for key, number in (("1", 1), ("2", 2), ("3", 3), ("tab", 1), ("tab", 2), ("shift+tab", 1), ("shift+tab", 3)):
            await pilot.press(key)
            assert app.explorer.current == number
            assert app.explorer.pane in app.focused.ancestors


@pytest.mark.drawn
async def test_the_focus_turns_without_sending_what_looks_the_same(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "lit" in app.text() and painted(app), "the session")
        frames: list[Any] = []
        chart = next(chart for chart in app.explorer.query(ChartView) if chart.display)
        x, y = chart.region.center
        for number in (1, 2, 3, 1):
            with monkeypatch.context() as seen:
                seen.setattr(app, "_display", lambda screen, frame: frames.append(frame))
                await pilot.press("tab")
            frame, *every = (pane.styles.border_top for pane in (app.explorer.pane, *app.explorer.panes))
            assert every.index(frame) == number - 1
            assert every.count(frame) == 1, "one frame tells where the focus is"
            assert ["bold" in pane.border_title for pane in app.explorer.panes].index(True) == number - 1
        sent = [frame for frame in frames if frame is not None]
        assert sent
        assert all(isinstance(frame, ChopsUpdate) for frame in sent), "no frame is the whole screen"
        assert not [frame for frame in sent for row, start, end in frame.spans if row == int(y) and start <= x < end]


async def test_a_narrow_screen_shows_one_pane_at_a_time_with_the_same_keys(drive: Any) -> None:
    async with drive(size=(80, 24)) as (app, pilot, _):
        for key, told in (
            ("1", "[1 Prompts]"),
            ("2", "[2 Intervention]"),
            ("3", "[3 Results]"),
            ("tab", "[1 Prompts]"),
        ):
            await pilot.press(key)
            await pilot.pause()
            assert told in app.text().splitlines()[1]
            assert shown_panes(app) == [app.explorer.current]
        assert all(len(line) == 80 for line in app.text().splitlines())


async def test_a_pane_can_have_the_whole_screen_and_give_it_back(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("2", "z")
        await until(lambda: shown_panes(app) == [2], "the zoom")
        assert app.explorer.panes[1].region.width == 160
        await pilot.press("3")
        await until(lambda: shown_panes(app) == [3], "the other pane")
        await pilot.press("z")
        await until(lambda: shown_panes(app) == [1, 2, 3], "all panes")


@pytest.mark.parametrize("size", [(59, 30), (100, 15), (20, 5)])
async def test_below_the_smallest_size_there_is_a_plain_message_until_there_is_room(
    drive: Any, size: tuple[int, int]
) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("2")
        await pilot.resize_terminal(*size)
        await until(lambda: isinstance(app.screen, TooSmall), "the message")
        assert "60 x 16" in " ".join(app.text().split())
        await pilot.resize_terminal(100, 30)
        await until(lambda: app.screen is app.explorer, "the explorer")
        await until(lambda: shown_panes(app) == [2], "the pane")


async def test_the_plain_message_gives_way_also_from_under_a_box_that_opened_on_it(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.resize_terminal(20, 5)
        await until(lambda: isinstance(app.screen, TooSmall), "the message")
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, TooSmall)
        app.push_screen(Confirm("asked by work in the background"))
        await pilot.resize_terminal(100, 30)
        await until(lambda: isinstance(app.screen, Confirm), "the question")
        await pilot.press("escape")
        await until(lambda: app.screen is app.explorer, "the explorer")


async def test_a_screen_that_grows_shows_all_panes_again(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.resize_terminal(80, 24)
        await until(lambda: shown_panes(app) == [3], "one pane")
        await pilot.resize_terminal(200, 60)
        await until(lambda: shown_panes(app) == [1, 2, 3], "all panes")
        left = app.explorer.panes[0].region.width
        assert 36 <= left <= 64


async def test_the_mouse_picks_panes(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.click(app.explorer.prompts, offset=(5, 2))
        await until(lambda: app.explorer.current == 1, "the prompts")
    async with drive(size=(80, 24)) as (app, pilot, until):
        await pilot.click(app.explorer._pane_line, offset=(18, 0))
        await until(lambda: app.explorer.current == 2, "the intervention")


@pytest.mark.parametrize("size", [(160, 48), (110, 30)])
async def test_the_status_line_tells_keys_of_the_pane_and_always_help_and_quit(
    drive: Any, stored: Path, size: tuple[int, int]
) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        for key in ("1", "2", "3"):
            await pilot.press(key)
            await pilot.pause()
            assert re.search(r"r run .*\? help  q quit", app.status_line())
        assert "t threshold" in app.status_line()
        await pilot.press("1")
        await until(lambda: "t threshold" not in app.status_line(), "other keys")


async def test_the_header_tells_the_model_and_what_is_done_to_it(drive: Any) -> None:
    async with drive() as (app, _, until):
        header = app.text().splitlines()[0]
        assert "srm-explorer  demo model · L4 hook_post" in header
        assert "clamp n488 · n488 × n20" in header
        assert "no session" in header
        await until(lambda: "no worker" in app.text().splitlines()[0], "the worker")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_the_header_names_the_neuron_that_is_edited_and_the_plane_that_follows_it(
    drive: Any, size: tuple[int, int]
) -> None:
    async with drive(size=size) as (app, pilot, until):
        await pilot.press("2", "down", "enter", *"137", "enter")
        await until(lambda: "clamp n137 · n137 × n20" in app.text().splitlines()[0], "the neuron in the header")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_a_run_whose_planes_hold_nothing_that_is_edited_is_asked_about(drive: Any, size: tuple[int, int]) -> None:
    async with drive(size=size) as (app, pilot, until):

        def told() -> str:
            return " ".join(re.sub("[│╭╮╰╯─]", " ", app.text()).split())

        await pilot.press("2", "down", "enter", *"1 2", "enter")
        # As fully as the form has room.
        warning = "! in no plane: n1, n2 are clamped" if app.size.width == 80 else "! no plane holds what is edited"
        await until(lambda: warning in told(), "the warning in the form")
        assert told().index("neuron 1 2") < told().index(warning) < told().index("operation")
        await pilot.press("r")
        await until(lambda: "run it all the same?" in told(), "the question")
        assert "No plane holds what is edited: n1, n2" in told()
        await pilot.press("n")
        await until(lambda: app.screen is app.explorer, "the explorer")
        assert app.explorer.controller.runs.state.path is None


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_an_error_goes_to_the_row_that_it_names_and_marks_it(drive: Any, size: tuple[int, int]) -> None:
    async with drive(size=size) as (app, pilot, until):

        def marked() -> str:
            return next((line.rpartition("▸")[2] for line in app.text().splitlines()[::-1] if "▸" in line), "")

        form = app.explorer.intervention.form
        await pilot.press("2")
        form.select("spotlight.thresholds")
        await pilot.press("enter", "x", "enter", "home", "3", "r")
        await until(lambda: app.explorer.current == 2 and marked().startswith("thresholds"), "the row")
        assert re.match("thresholds *!x", marked())
        await pilot.press("escape")
        # What is refused only when the prompts are read goes to its row too.
        form.select("planes[0].a")
        await pilot.press("enter", *"mean(kind=none)", "enter", "home", "3", "r")
        await until(lambda: app.explorer.current == 2 and marked().startswith("0° at"), "the plane's row")
        assert re.match(r"0° at +!mean", marked())
        assert "no prompt has a factor" in app.text()


async def test_the_keys_that_matter_most_stay_where_the_line_is_short(drive: Any, stored: Path) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "spotlight θ" in app.text(), "the chart")
        await pilot.press("3")
        for going in (None, Going(0.5, ("412 / 600 runs", "1,930 tok/s", "0:05 left", "2.1 GB"))):
            app.explorer.status.going = going
            await pilot.pause()
            line = app.status_line()
            assert re.search(r"r run .*← turn .*t threshold .*\? help  q quit", line), line
        assert "412/600  1,930 tok/s" in line


@pytest.mark.parametrize("width", [60, 80, 160])
async def test_first_hints_stand_above_the_last_line_until_they_were_used(drive: Any, width: int) -> None:
    settings_path().write_text("hints_left = 1\n")
    async with drive(size=(width, 24)) as (app, pilot, _):
        line = app.text().splitlines()[-2]
        assert re.search(r"r runs.* \? .*words.* : finds (all|anything)", line), line
        assert "?" not in line.rstrip()[-1:]
        await pilot.press("q")
    assert load_settings().hints_left == 0
    async with drive(size=(width, 24)) as (app, _, _):
        assert not re.search(r": finds", app.text())


async def test_a_command_of_a_pane_that_is_not_in_view_goes_there(drive: Any) -> None:
    async with drive(size=(80, 24)) as (app, pilot, until):
        await pilot.press("3", "colon")
        await until(lambda: isinstance(app.screen, CommandPalette), "the palette")
        await pilot.press(*"presets")
        await until(lambda: offered(app).startswith("presets"), "the entry")
        await pilot.press("enter")
        await until(lambda: app.explorer.current == 2 and isinstance(app.screen, Presets), "the presets")


async def test_what_is_said_behind_another_screen_is_said_on_it(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen), "the sessions")
        app.explorer.say("storm is finished", "good")
        await until(lambda: "storm is finished" in app.text(), "the line")
