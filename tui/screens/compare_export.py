"""Writing a comparison to a file of the user's choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ExplorerError
from tui.screens.ask import Ask

if TYPE_CHECKING:
    from tui.screens.compare import CompareScreen
    from tui.state.compare_state import CompareState

ENDINGS = (".csv", ".svg", ".txt", ".ans")
SMALLEST = (100, 32)
"""Columns and rows a written chart has at least."""


def ask(screen: CompareScreen, state: CompareState, size: tuple[int, int]) -> None:
    """Ask for a file and write to it, in a thread."""
    frozen = state.frozen()

    def take(typed: str | None) -> None:
        if typed is None:
            return

        def work() -> None:
            try:
                line = f"written to {export(frozen, Path(typed.strip()).expanduser(), size)}"
            except ExplorerError as error:
                screen.post_message(screen.Failed(error))
            else:
                screen.app.call_from_thread(screen.say, line, "good")

        screen.run_worker(work, thread=True)

    detail = ".csv has the curves, .svg or .txt the chart, .ans the chart in colour; a file that is there is replaced"
    screen.app.push_screen(
        Ask("Write the comparison to", str(Path.cwd() / default_name(state)), detail=detail, check=problem), take
    )


def default_name(state: CompareState) -> str:
    """A name for the file: both sessions' and the ending of the curves."""
    plain = "-and-".join("".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in state.names)
    return f"{plain}.csv"


def problem(typed: str) -> str:
    """Why a text names no file that can be written; empty where it does."""
    try:
        file = Path(typed.strip()).expanduser()
        if file.suffix not in ENDINGS:
            return f"end the name in {', '.join(ENDINGS)}"
        return f"{file} is a folder; name a file" if file.is_dir() else ""
    except (OSError, RuntimeError, ValueError) as error:
        return f"this is no file: {error}"


def export(state: CompareState, file: Path, size: tuple[int, int]) -> Path:
    """Write the curves (.csv), or the chart as a picture (.svg) or as text with (.ans) or without (.txt) colours.

    Raises:
        ExplorerError: it cannot be written.
    """
    from engine.files import write_atomic
    from tui.paint.svg import svg_of

    if file.suffix == ".csv":
        content = state.curves_csv()
    else:
        width, height = (max(own, least) for own, least in zip(size, SMALLEST, strict=True))
        shown = state.scene(width, height).shown(state.theta, state.threshold)
        caption = f"spotlight {state.caption}"
        if file.suffix == ".svg":
            content = svg_of(shown, caption)
        else:
            text = shown.ansi() if file.suffix == ".ans" else shown.text()
            content = f"{text.rstrip()}\n{caption}\n"
    write_atomic(file, content.encode("utf-8", "backslashreplace"))
    return file
