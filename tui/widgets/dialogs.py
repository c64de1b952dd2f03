"""Boxes over the screen: a question with a line of text, with a few answers, or with yes and no."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.errors import unreached
from srm_explorer.tui.widgets.status import StatusLine

BOX = """
    align: center middle;
    & > Vertical {
        width: auto;
        max-width: 90%;
        min-width: 30;
        height: auto;
        max-height: 90%;
        padding: 0 1;
        border: round $warning;
        background: $surface;
        color: $foreground;
    }
    Static { width: auto; max-width: 100%; height: auto; }
    .-detail { color: $text-muted; }
    .-choices { margin-top: 1; }
"""


class Choose(ModalScreen[str | None]):
    """A question with a few answers, each with its key; the result is the key, None after escape.

    Args:
        question: one line.
        choices: key and what it means, in order: a letter, digit or "enter".
        detail: further lines under the question.
    """

    DEFAULT_CSS = f"Choose {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", id="choose.leave", tooltip="Close the question and change nothing")
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], *, detail: str = "") -> None:
        super().__init__()
        self._question = question
        self._choices = tuple(choices)
        self._detail = detail

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            width = max((len(key) for key, _ in self._choices), default=1)
            lines = [f"{key:>{width}}  {meaning}" for key, meaning in self._choices]
            yield Static("\n".join([*lines, f"{'esc':>{width}}  leave it"]), classes="-choices", markup=False)
        yield StatusLine()

    def on_key(self, event: events.Key) -> None:
        """Answer with the key that was pressed, where it is one of the choices."""
        pressed = event.character if event.character and event.character.isprintable() else event.key
        for key, _ in self._choices:
            if pressed == key or event.key == key:
                event.stop()
                self.dismiss(key)
                return

    def action_leave(self) -> None:
        self.dismiss(None)


class Confirm(ModalScreen[bool]):
    """A question that `y` (or enter) affirms and `n` (or escape) denies.

    Args:
        question: one line.
        detail: further lines under the question, such as what will be lost.
        yes: what affirming does.
        no: what denying does.
    """

    DEFAULT_CSS = f"Confirm {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "yes", "Yes", id="confirm.yes", tooltip="Do it"),
        Binding("n,escape", "no", "No", id="confirm.no", tooltip="Change nothing"),
    ]

    def __init__(self, question: str, *, detail: str = "", yes: str = "yes", no: str = "no") -> None:
        super().__init__()
        self._question = question
        self._detail = detail
        self._yes, self._no = yes, no

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            yield Static(f"y  {self._yes}\nn  {self._no}", classes="-choices", markup=False)
        yield StatusLine()

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)


class Ask(ModalScreen[str | None]):
    """A question with one line to type; the result is the line, None after escape.

    Args:
        question: one line.
        value: what the line holds at first, selected: what is typed takes its place.
        detail: further lines under the question.
        check: tells what is wrong with a line, empty where nothing is; the answer is taken only then.
    """

    DEFAULT_CSS = f"""
    Ask {{
        {BOX}
        & > Vertical {{ width: 64; }}
        Input {{ margin-top: 1; }}
        .-problem {{ color: $text-error; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it", id="ask.leave", tooltip="Close the question and change nothing")
    ]

    def __init__(
        self, question: str, value: str = "", *, detail: str = "", check: Callable[[str], str] | None = None
    ) -> None:
        super().__init__()
        self._question, self._value, self._detail = question, value, detail
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            if self._detail:
                yield Static(self._detail, classes="-detail", markup=False)
            yield Input(self._value, compact=True)
            yield Static("", classes="-problem", markup=False)
            yield Static("enter  take it\n  esc  leave it", classes="-choices", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def show_problem(self, event: Input.Changed) -> None:
        self.query_one(".-problem", Static).update(self._problem(event.value))

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        problem = self._problem(event.value)
        if problem:
            self.query_one(".-problem", Static).update(problem)
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)

    def _problem(self, line: str) -> str:
        try:
            return self._check(line) if self._check is not None else ""
        except OSError as error:
            refused = unreached(error)
            if refused is None:
                raise
            return str(refused)


COLUMNS, ROWS = 60, 16
"""The smallest terminal that shows more than a message."""


def has_room(size: Size) -> bool:
    """Whether a terminal of this size shows more than a plain message."""
    return size.width >= COLUMNS and size.height >= ROWS


class TooSmall(Screen[None]):
    """A plain message until the terminal is larger."""

    DEFAULT_CSS = """
    TooSmall { align: center middle; }
    TooSmall Static { width: auto; max-width: 100%; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Quit", id="small.quit", tooltip="Quit; a run goes on")
    ]

    def compose(self) -> ComposeResult:
        yield Static(f"make this terminal at least {COLUMNS} x {ROWS}\nq quits", markup=False)

    def on_screen_resume(self) -> None:
        """Give way also where the terminal grew while a box stood on it, which work in the background had opened."""
        if has_room(self.app.size):
            self.dismiss()


def named_here(name: str) -> str:
    """The path of a file in the working folder, to be proposed; the bare name where that folder is gone."""
    try:
        return str(Path.cwd() / name)
    except OSError:
        return name


def refusal(act: Callable[[], object]) -> str:
    """Why something is refused that a person asks for; empty where it is not."""
    try:
        act()
    except ExplorerError as error:
        return str(error)
    return ""


def typed_file(typed: str) -> Path:
    """The file that a text names, as it is meant from the working folder.

    Raises:
        ExplorerError: a `~user` who is nobody, or the working folder is gone.
    """
    return paths.absolute(paths.expanded(typed.strip()))


def file_problem(typed: str) -> str:
    """Why a text names no file that can be written; empty where it does."""
    if not typed.strip():
        return "name a file"
    try:
        file = typed_file(typed)
        return f"{file} is a folder; name a file" if paths.is_folder(file) else ""
    except ExplorerError as error:
        return str(error)
    except (OSError, RuntimeError, ValueError) as error:
        return f"this is no file: {error}"


_MOST_ENTRIES = 20_000
"""Entries of a folder that are looked at."""


@dataclass(frozen=True)
class Completion:
    """What a typed path goes on to.

    Attributes:
        typed: the path as it was typed.
        text: it, as far as all that it may become are alike.
        names: what it may become: files that fit and folders, these with a `/`; without their folder.
        problem: why there is none; empty where there is one.
    """

    typed: str
    text: str
    names: tuple[str, ...] = ()
    problem: str = ""


def complete(typed: str, fits: Callable[[str], bool], what: str) -> Completion:
    """Go on with a path from the working folder; `~` is the home folder, and hidden names come once their dot is.

    Args:
        fits: whether a file of this name may be meant.
        what: what is looked for: "file of prompts".
    """
    if typed.startswith("~") and "/" not in typed:
        return Completion(typed, f"{typed}/")
    before, slash, start = typed.rpartition("/")
    folder = f"{before}{slash}" or "."
    names: list[str] = []
    try:
        with os.scandir(paths.absolute(paths.expanded(folder))) as entries:
            for _, entry in zip(range(_MOST_ENTRIES), entries, strict=False):
                if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith(".")):
                    if entry.is_dir():
                        names.append(f"{entry.name}/")
                    elif fits(entry.name):
                        names.append(entry.name)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Completion(typed, typed, problem=f"{folder}: {(reason or str(error)).lower()}")
    except ExplorerError as error:
        return Completion(typed, typed, problem=str(error))
    if not names:
        return Completion(typed, typed, problem=f"no folder or {what} in {folder} begins with {start!r}")
    names.sort()
    common = os.path.commonprefix(names)  # noqa: RUF071  (letter by letter)
    return Completion(typed, f"{before}{slash}{common}", tuple(names))


def about_completion(names: Sequence[str], room: int) -> str:
    """What a path may become, as many names as so many cells hold."""
    shown: list[str] = []
    for name in names:
        if sum(len(other) + 2 for other in shown) + len(name) > room:
            break
        shown.append(name)
    more = f"  (+{len(names) - len(shown):,} more)" if len(shown) < len(names) else ""
    return f"{len(names):,}: {'  '.join(shown)}{more}"
