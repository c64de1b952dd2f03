"""The last line: the keys that work now, by importance, on every screen and in every state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import load_session
from srm_explorer.tui.backend.events import RunGrew, WorkerSeen
from srm_explorer.tui.keys import offered
from srm_explorer.tui.results.pane import TABS
from srm_explorer.tui.widgets.help import Help
from srm_explorer.tui.widgets.status import Hint, StatusLine, chosen_hints, shortened

from .conftest import painted

HALF = Progress("running", 200, 400, 50, 25, 50, 1000, 1930.4, 65.0)


def line_of(app: Any) -> StatusLine:
    return app.screen.query_one(StatusLine)


def spans(app: Any) -> list[tuple[int, int, Hint]]:
    """Where the last line tells which key; as it is drawn it decides what there is room for."""
    app.text()
    return line_of(app)._spans


def shown(app: Any) -> list[Hint]:
    """What the last line in view tells, as it stands there."""
    return [hint for _, _, hint in spans(app)]


def words(app: Any) -> list[str]:
    return [f"{hint.key} {hint.does}" for hint in shown(app)]


async def begin_run(app: Any, pilot: Any, session: Any, path: Path) -> None:
    app.explorer.controller.take_event(RunGrew(path, session, HALF, "running"))
    await pilot.pause()


async def test_what_stops_a_run_is_told_at_every_width_while_one_goes_on_and_only_then(
    drive: Any, stored: Path
) -> None:
    said = ("", "written to a file whose path is so long that no terminal of this world has room for its whole name")
    async with drive(session=stored, size=(200, 30)) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        assert "c cancel" not in app.status_line()
        await begin_run(app, pilot, load_session(stored), stored)
        for width in (200, 120, 80):
            await pilot.resize_terminal(width, 30)
            await until(lambda width=width: len(app.status_line()) == width, "the size")
            for pane in ("1", "2", "3"):
                await pilot.press(pane)
                for line in said:
                    app.explorer.say(line)
                    await pilot.pause()
                    assert "c cancel" in app.status_line(), (width, pane, app.status_line())
            app.explorer.say("")
            await pilot.pause()
            assert "200/400" in app.status_line().replace(" / ", "/")
        app.explorer.controller.runs.state.forget(stored)
        app.explorer.controller.runs.show()
        await until(lambda: "c cancel" not in app.status_line(), "no run")


async def test_where_it_is_narrow_the_least_important_go_and_no_word_is_cut(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        hinted: dict[int, list[str]] = {}
        for width in (200, 160, 120, 100, 80, 61):
            await pilot.resize_terminal(width, 30)
            await pilot.press("3")
            await until(lambda width=width: app.size.width == width and len(app.status_line()) == width, "the size")
            line, hints = app.status_line(), shown(app)
            hinted[width] = [hint.key + hint.does for hint in hints]
            assert line.rstrip().endswith("  ".join(f"{hint.key} {hint.does}" for hint in hints)), line
            left_out = [hint.rank for hint in line_of(app).hints if hint not in hints]
            assert max(hint.rank for hint in hints) <= min(left_out, default=99)
        assert all(set(narrower) <= set(wider) for wider, narrower in pairwise(hinted.values()))


def test_a_line_without_room_is_shortened_by_clauses_then_by_words() -> None:
    line = "worker died: 120 of 600 runs are kept · r resumes"
    for room in range(1, len(line) + 3):
        short = shortened(line, room, "…")
        assert len(short) <= room
        kept = short.rstrip("…")
        assert line.startswith(kept)
        assert room < 8 or kept == line or line[len(kept) :][0] in " ;:,"
    assert shortened(line, 40, "…") == "worker died: 120 of 600 runs are kept"


def test_a_path_is_shortened_before_what_is_said_of_it() -> None:
    line = f"/home/{'somebody/' * 9}torn.srm.zip: this is no packed session, or it was cut short; copy it again"
    assert shortened(line, len(line), "…") == line
    assert shortened(line, 90, "…") == "…/torn.srm.zip: this is no packed session, or it was cut short; copy it again"
    assert shortened(line, 70, "…") == "…/torn.srm.zip: this is no packed session, or it was cut short"


def test_the_least_important_hint_that_has_no_room_takes_all_below_it_along() -> None:
    hints = [Hint("a", "one", "a", 3), Hint("b", "b" * 30, "b", 2), Hint("?", "help", "?", 1), Hint("c", "d", "c", 5)]
    assert [hint.key for hint in chosen_hints(hints, 80)] == ["a", "b", "?", "c"]
    assert [hint.key for hint in chosen_hints(hints, 42)] == ["b", "?"]
    assert [hint.key for hint in chosen_hints(hints, 20)] == ["?"]


async def test_what_was_said_leaves_the_keys_their_room_when_the_next_one_is_pressed(drive: Any) -> None:
    async with drive(size=(80, 24)) as (app, pilot, until):
        explorer = app.explorer
        explorer.controller.take_event(WorkerSeen("older version: W drains and restarts", 0, "older"))
        await until(lambda: "the worker is of another version: W restarts it" in app.status_line(), "the line")
        await pilot.press("1")
        await until(lambda: "W restart worker" in app.status_line() and "? help  q quit" in app.status_line(), "keys")
        long = "a line that is said and so long that there is no room for keys on its right: none"
        explorer.say(long)
        await until(lambda: long[:60] in app.status_line() and "? help" not in app.status_line(), "the line")
        await pilot.press("2")
        await until(lambda: long[:50] in app.status_line() and "? help  q quit" in app.status_line(), "the keys")


State = tuple[str, Callable[[Any, Any, Any], Awaitable[None]]]


def keys(*pressed: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    async def go(app: Any, pilot: Any, until: Any) -> None:
        await pilot.press(*pressed)

    return go


def tab(name: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    async def go(app: Any, pilot: Any, until: Any) -> None:
        await pilot.press("3")
        app.explorer.results.pick(TABS.index(name))

    return go


async def run_view(app: Any, pilot: Any, until: Any) -> None:
    await tab("Runs")(app, pilot, until)
    await pilot.press("down", "enter")
    await until(lambda: app.screen is not app.explorer and "activation" in app.text(), "the run")


BEFORE_A_SESSION: tuple[State, ...] = (
    ("prompts", keys("1")),
    ("set", keys("1", "enter")),
    ("form", keys("2")),
    *((name, tab(name)) for name in ("Polar", "Runs", "Effects", "Log")),
    ("sessions", keys("o")),
)
WITH_A_SESSION: tuple[State, ...] = (
    *((name, tab(name)) for name in ("Polar", "Thresholds", "Runs", "Effects")),
    ("search", keys("1", "slash")),
    ("sessions", keys("o")),
    ("marked", keys("o", "m")),
    ("trash", keys("o", "T")),
    ("notes", keys("o", "N", "x")),
    ("compare", keys("o", "m", "c")),
    ("run", run_view),
    ("help", keys("question_mark")),
    ("presets", keys("2", "P")),
)


async def home(app: Any, pilot: Any) -> None:
    """Back to the explorer with nothing open."""
    while app.screen is not app.explorer:
        app.pop_screen()
        await pilot.pause()
    if app.focused is not None and hasattr(app.focused, "action_submit"):
        await pilot.press("escape")
    app.explorer.prompts.choice.view = "sets"
    app.explorer.prompts.choice.search = ""
    app.explorer.prompts._redraw()
    app.explorer.say("")
    await pilot.pause()


async def every_key_told_acts(app: Any, pilot: Any, until: Any, states: tuple[State, ...]) -> int:
    """Press each key that the last line tells, once in the first state that tells it; how many were."""
    # What is worked out anew may look as before.
    done = {"quit", "study.work"}
    for name, go in states:
        await home(app, pilot)
        await go(app, pilot, until)
        await pilot.pause()
        there = app.screen
        for key in offered(there):
            if key.id in done:
                continue
            done.add(key.id)
            if app.screen is not there or key.pressed[0] not in told(app):
                await home(app, pilot)
                await go(app, pilot, until)
                await pilot.pause()
                there = app.screen
            if key.pressed[0] not in told(app):
                continue
            await until(lambda: painted(app), "the charts")
            before = cells(app)
            await pilot.press(key.pressed[0])
            await until(
                lambda before=before, there=there: app.screen is not there or cells(app) != before,
                f"{name}: {key.id} changes something",
            )
    return len(done)


def told(app: Any) -> list[str]:
    return [hint.pressed for hint in line_of(app).hints]


def cells(app: Any) -> list[Any]:
    """What is on the screen, with its colours."""
    return [list(strip) for strip in app.screen._compositor.render_strips()]


async def test_every_key_that_is_told_does_something_with_nothing_there(drive: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("EDITOR", "true")
    async with drive() as (app, pilot, until):
        await until(lambda: "certainty" in app.text(), "the sets")
        assert not {key.id for key in offered(app.screen)} & {
            "spec.undo",
            "spec.redo",
            "run.resume",
            "run.cancel",
            "chart.export",
            "results.turn_left",
        }
        assert await every_key_told_acts(app, pilot, until, BEFORE_A_SESSION) > 20


@pytest.mark.process
async def test_every_key_that_is_told_does_something_with_a_session(drive: Any, stored: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("EDITOR", "true")
    async with drive(session=stored, size=(100, 30)) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        assert await every_key_told_acts(app, pilot, until, WITH_A_SESSION) > 40


async def test_a_letter_of_a_text_is_no_key(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        for opened in (("2", "enter"), ("s",), ("1", "slash"), ("o", "slash")):
            await home(app, pilot)
            await pilot.press(*opened)
            await until(lambda: hasattr(app.focused, "action_submit"), "a text field")
            field = app.focused
            assert "enter" in told(app)
            assert not [key for key in told(app) if len(key) == 1 or key in ("plus", "minus", "question_mark", "space")]
            assert app.focused is field
            if opened != ("s",):
                assert "f1" in told(app), "where ? is a letter"
                await pilot.press("f1")
                await until(lambda: isinstance(app.screen, Help), "the help")
                await pilot.press("f1")
                await until(lambda field=field: app.focused is field, "back in the text")


async def test_a_click_on_an_item_is_its_key(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "lit" in app.text(), "the session")
        await pilot.press("3")
        theta, threshold = app.explorer.results.state.theta, app.explorer.results.state.threshold

        async def click(name: str) -> None:
            start, end, _ = next(span for span in spans(app) if span[2].does == name)
            await pilot.click(line_of(app), offset=((start + end) // 2, 0))

        await click("turn")
        await until(lambda: app.explorer.results.state.theta == (theta - 1) % 360, "the turn")
        await click("threshold")
        await until(lambda: app.explorer.results.state.threshold != threshold, "the threshold")
        await click("open")
        await until(lambda: app.screen is not app.explorer, "the sessions")
        await click("back")
        await until(lambda: app.screen is app.explorer, "the explorer")
        await click("save as")
        await until(lambda: app.screen is not app.explorer, "the box")
        # In a box the last line is that of the box, and it says on what the line below says.
        await until(lambda: "esc leave it" in app.status_line(), "its keys")
        app.explorer.say("something came meanwhile")
        await until(lambda: "something came meanwhile" in app.status_line(), "the line")
        await click("leave it")
        await until(lambda: app.screen is app.explorer, "the explorer")
