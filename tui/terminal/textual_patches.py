"""What Textual does otherwise here: keys one after the other, a focus that draws little, a writer that lasts."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, Self, TypeVar

from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual.app import App
from textual.dom import DOMNode, NoScreen
from textual.drivers import linux_driver
from textual.drivers._writer_thread import WriterThread
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

ReturnType = TypeVar("ReturnType")

_ROUNDS = 2
"""Ways from the focus up to the app that a key is given: one to be acted on, one for the messages of that action."""

_PATIENCE = 0.5
"""Seconds after which a key is taken for done, whatever became of it."""


class KeyOrder(App[ReturnType], Generic[ReturnType]):
    """An app in which a key is sent on only when the one before it was acted on.

    Keys that come in one burst would else all go to the widget that was in focus before the first of them: the letters
    after a key that opens a line or a question would act as keys behind it.

    Attributes:
        leaving: whether the end was asked for; what is typed then is for nobody.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leaving = False
        self._ahead: deque[events.Event] = deque()
        self._turn = 0
        self._busy = False

    async def on_event(self, event: events.Event) -> None:
        """Send a key or a pasted text on in its turn."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._busy:
            self._ahead.append(event)
        elif not self.leaving:
            await self._send(event)

    def take_paste(self, event: events.Paste) -> bool:
        """Take a pasted text in its turn, or leave it to the widget in focus."""
        return False

    async def _send(self, event: events.Event) -> None:
        self._busy = True
        self._turn += 1
        self.set_timer(_PATIENCE, lambda turn=self._turn: self._end_turn(turn))
        node = self.focused or self.screen
        if not (isinstance(event, events.Paste) and self.take_paste(event)):
            await super().on_event(event)
        self._climb(node, partial(self._end_turn, self._turn), _ROUNDS)

    def call_behind_messages(self, then: Callable[[], Awaitable[None]]) -> None:
        """Call something once what is on its way from the focus up to the app was acted on, or had time to be."""
        self.set_timer(_PATIENCE, then)
        if self.screen_stack:
            self._climb(self.focused or self.screen, then, _ROUNDS)

    def _climb(self, node: DOMNode, then: Callable[[], Awaitable[None]], rounds: int) -> None:
        """Go on from a widget to the app behind all messages that are on the same way; then call something."""
        if not node.call_later(self._step, node, then, rounds):
            # A widget that was closed meanwhile.
            self.call_later(self._arrive, then, rounds)

    def _step(self, node: DOMNode, then: Callable[[], Awaitable[None]], rounds: int) -> None:
        parent = node.parent
        if isinstance(parent, DOMNode) and parent is not self:
            self._climb(parent, then, rounds)
        else:
            self.call_later(self._arrive, then, rounds)

    async def _arrive(self, then: Callable[[], Awaitable[None]], rounds: int) -> None:
        if rounds > 1 and self.screen_stack:
            self._climb(self.focused or self.screen, then, rounds - 1)
        else:
            await then()

    async def _end_turn(self, turn: int) -> None:
        if turn != self._turn or not self._busy:
            return
        self._busy = False
        if self.screen_stack:
            # Whatever the key has changed, other keys may change something now.
            self.screen.refresh_bindings()
        if self._ahead and not self.leaving:
            await self._send(self._ahead.popleft())


_PLACED = re.compile(r"\x1b\[\d+;\d+H")
"""How frames begin: at a cell, whatever was shown there."""

_AROUND_A_FRAME = (SYNC_START, SYNC_END)


class LastingWriter(WriterThread):
    """Goes on taking what is written once the terminal is gone, and writes no frame twice in a row.

    Textual's own thread ends then. Its queue fills up, and the program waits for room in it for ever, deaf to the
    signal that tells it to end. And Textual often draws twice: what is laid out says how large it is, and is laid out
    again for that.
    """

    _frame = ""

    def write(self, text: str) -> None:
        """Write it, unless it is the frame that was written last and nothing else was since."""
        if text in _AROUND_A_FRAME:
            super().write(text)
        elif text != self._frame or not _PLACED.match(text):
            self._frame = text
            super().write(text)

    def forget(self) -> None:
        """Take the next frame for another one: what the terminal shows is not what was written."""
        self._frame = ""

    @property
    def is_behind(self) -> bool:
        """Whether something waits behind what the terminal is taking now."""
        return not self._queue.empty()

    def run(self) -> None:
        """Write until the end; where nobody can read it any more, drop what comes."""
        is_there = True
        while (text := self._queue.get()) is not None:
            try:
                if is_there:
                    self._file.write(text)
                    if self._queue.empty():
                        self._file.flush()
            except OSError:
                is_there = False
        with contextlib.suppress(OSError):
            self._file.flush()


class QuietFocus(Widget):
    """A widget that looks the same with the focus as without it, and so does what it holds.

    Textual styles and draws all of that anew at each turn of the focus, which over a slow line is half a screen.
    """

    def focus(self, scroll_visible: bool = True) -> Self:
        def go() -> None:
            with contextlib.suppress(NoScreen):
                self.screen.set_focus(self, scroll_visible=scroll_visible)

        self.app.call_later(go)
        return self

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Leave the styles as they are."""

    def _on_focus(self, event: events.Focus) -> None:
        event.prevent_default()
        self.has_focus = True
        if self.parent is not None:
            self.parent.post_message(events.DescendantFocus(self))

    def _on_blur(self, event: events.Blur) -> None:
        event.prevent_default()
        self.has_focus = False
        if self.parent is not None:
            self.parent.post_message(events.DescendantBlur(self))


def install_quiet_focus() -> None:
    """Have no screen draw itself whole at each turn of the focus: what has it, or had it, draws itself."""
    focused: Any = vars(Screen)["focused"]
    focused._repaint = False


_DRAW = Screen._on_timer_update


def _draw_when_taken(self: Screen[Any]) -> None:
    writer = getattr(self.app._driver, "_writer_thread", None)
    # The timer goes on until the screen has drawn itself.
    if not (isinstance(writer, LastingWriter) and writer.is_behind):
        _DRAW(self)
        if self.is_current and not self.is_active and not self.app._batch_count:
            # Textual marks a screen under a box whenever it was drawn, and would draw both at each message it gets.
            self._repaint_required = False


def install_skipped_frames() -> None:
    """Have a screen draw itself anew once the terminal has taken what was drawn before.

    Over a slow line each of many keys would else have its own picture sent, and all that is pressed next, also the key
    that leaves, waits behind them.
    """
    Screen._on_timer_update = _draw_when_taken


def install_steady_cursor() -> None:
    """Have the cursor of a line of text stand still: by blinking it sends its whole box twice a second."""
    blink: Any = vars(Input)["cursor_blink"]
    blink._default = False


def install_whole_paste() -> None:
    """Have a line of text take what was copied as it takes what a terminal pastes: several lines are refused aloud."""

    def paste(self: Input) -> None:
        self.app.post_message(events.Paste(self.app.clipboard))

    Input.action_paste = paste


def install_lasting_writer() -> None:
    """Have every screen write through it."""
    module: Any = linux_driver
    module.WriterThread = LastingWriter


def fingerprint(method: Callable[..., object]) -> str:
    """What identifies a method as this Textual has it; empty where its source cannot be read."""
    try:
        source = inspect.getsource(method)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:16]
