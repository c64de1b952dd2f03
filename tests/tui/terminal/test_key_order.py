"""Keys that come in one burst act one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from srm_explorer.tui.terminal import textual_patches
from srm_explorer.tui.terminal.textual_patches import KeyOrder
from tests.waiting import PATIENCE, at_rest, until_shown


class Question(ModalScreen[str]):
    def compose(self) -> ComposeResult:
        yield Input()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Keys(Widget, can_focus=True):
    BINDINGS = [Binding("s", "ask", id="s"), Binding("x", "count", id="x"), Binding("o", "open", id="o")]  # noqa: RUF012

    counted = 0
    answer = ""

    def action_count(self) -> None:
        self.counted += 1

    def action_ask(self) -> None:
        self.app.push_screen(Question(), self.take)

    def action_open(self) -> None:
        field = Input()
        self.screen.mount(field)
        field.focus()

    def take(self, answer: str | None) -> None:
        self.answer = answer or ""


class Small(KeyOrder[None]):
    def compose(self) -> ComposeResult:
        yield Keys()


async def burst(app: Small, keys: str) -> None:
    """Send keys as a terminal does that has them all at once, and wait until all have acted."""
    for key in keys:
        app.post_message(events.Key("enter", None) if key == "\n" else events.Key(key, key))
    await until_shown(lambda: not app._busy and not app._ahead, "the last key's turn")
    await at_rest()


@pytest.fixture(autouse=True)
def no_key_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual_patches, "_PATIENCE", PATIENCE)


@asynccontextmanager
async def drive() -> AsyncIterator[tuple[Small, Keys]]:
    app = Small()
    async with app.run_test() as pilot:
        await pilot.pause()
        yield app, app.query_one(Keys)


async def test_letters_after_a_key_that_asks_a_question_are_its_answer() -> None:
    async with drive() as (app, keys):
        await burst(app, "xsxsox\nxx")
        assert (keys.answer, keys.counted) == ("xsox", 3)


async def test_letters_after_a_key_that_opens_a_line_are_its_text() -> None:
    async with drive() as (app, keys):
        await burst(app, "oxsox")
        assert (app.screen.query_one(Input).value, keys.counted) == ("xsox", 0)


async def test_a_key_whose_widget_is_removed_by_it_holds_nothing_up() -> None:
    class Passing(Keys):
        def action_count(self) -> None:
            self.app.query_one(Keys).counted += 1
            self.remove()

    async with drive() as (app, keys):
        passing = Passing()
        await app.screen.mount(passing)
        passing.focus()
        await at_rest()
        await burst(app, "x")
        keys.focus()
        await burst(app, "xx")
        assert keys.counted == 3


async def test_what_is_typed_after_the_end_was_asked_for_acts_on_nothing() -> None:
    async with drive() as (app, keys):
        await burst(app, "x")
        app.leaving = True
        await burst(app, "xxs")
        assert keys.counted == 1
        assert not isinstance(app.screen, Question)
