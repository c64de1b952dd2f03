"""What every tab and every screen looks like, from stored sessions.

`pytest tests/tui/test_pictures.py --snapshot-update` takes the pictures anew; look at what changed before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from srm_explorer.engine.runs.progress import Progress
from srm_explorer.tui.backend.events import RunGrew, WorkerSeen
from srm_explorer.tui.compare.screen import CompareScreen
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.results.run_screen import RunView
from srm_explorer.tui.sessions.notes import NotesScreen
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.settings import Settings
from srm_explorer.tui.widgets.help import Help

from .pictures import SIZES, Painter, Scene, paint, stage

pytestmark = [pytest.mark.slow, pytest.mark.drawn]

WIDE, NARROW = SIZES
STORED = LaunchOptions(session=Path("saved_sessions/example.json"))
NEW = LaunchOptions(spec="demo")
TO_ERROR = ("2", "j", "enter", "ctrl+u", *"9999", "enter")

Look = Callable[..., None]


class Text(SingleFileSnapshotExtension):
    file_extension = "txt"
    _write_mode = WriteMode.TEXT


class Svg(SingleFileSnapshotExtension):
    file_extension = "svg"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion, subtests: pytest.Subtests
) -> Look:
    """Compare every picture that a scene takes with the one that is kept."""
    stage(tmp_path, monkeypatch)

    def compare(scene: Scene, size: str, start: LaunchOptions, settings: Settings | None = None) -> None:
        painter = paint(scene, size, start, settings)
        for kind, pictures in ((Text, painter.pictures), (Svg, painter.svgs)):
            kept = snapshot.use_extension(kind)
            for name, picture in pictures.items():
                with subtests.test(name):
                    assert str(tmp_path) not in picture
                    assert picture == kept(name=name)

    return compare


@pytest.mark.parametrize("size", SIZES)
def test_results(size: str, look: Look) -> None:
    async def scene(p: Painter) -> None:
        await p.until(" lit ")
        await p.take("polar-counts", svg=size == WIDE)
        await p.press("g")
        await p.take("polar-by-value")
        await p.press("g", "v")
        await p.take("polar-mean")
        await p.press("a", until="− predicted")
        await p.take("polar-beyond")
        await p.press("a", until="axis out")
        await p.take("polar-axis-out")
        await p.press("a", "B", until="bold 0")
        await p.take("polar-baseline-band")
        await p.press("B")
        await p.press("v", *"LLLt", until=lambda: p.app.explorer.results.state.theta == 30)
        await p.take("compass", svg=True)
        await p.press("]")
        await p.take("thresholds", svg=size == WIDE)
        await p.press("d")
        await p.take("thresholds-difference")
        await p.press("a", until="− predicted")
        await p.take("thresholds-beyond")
        await p.press("a", "a")
        await p.press("]")
        await p.take("dose", svg=size == NARROW)
        await p.press("a", until="− predicted")
        await p.take("dose-beyond")
        await p.press("a", "a")
        await p.press("]")
        await p.take("runs", svg=size == NARROW)
        await p.press("slash", *"value>3")
        await p.take("runs-filtered")
        await p.press("enter", "enter", until=lambda: isinstance(p.app.screen, RunView))
        await p.take("run-view", svg=size == WIDE)
        await p.press("escape", "]", until=lambda: "working it out" not in p.text() and "[Effects]" in p.text())
        await p.take("effects")
        p.app.explorer.results.log_line("example is finished: 32 runs")
        await p.press("]", "]", "]", "]", until="example is finished")
        await p.take("log")

    look(scene, size, STORED)


@pytest.mark.parametrize("size", SIZES)
def test_explorer(size: str, look: Look) -> None:
    async def scene(p: Painter) -> None:
        await p.take("empty")
        await p.press("1", until="certainty")
        await p.take("prompt-sets")
        await p.press("enter")
        await p.take("prompts")
        await p.press("slash", *"door", "enter")
        await p.take("prompts-searched")
        await p.press("escape", "x")
        await p.take("factors")
        await p.press("2", until="50 units see")
        await p.take("intervention")
        await p.press(*TO_ERROR, until="0 to 511")
        await p.take("intervention-error", svg=True)
        await p.press("P")
        await p.take("presets", svg=size == NARROW)
        await p.press("escape", "3", "question_mark", until=lambda: isinstance(p.app.screen, Help))
        await p.take("help", svg=size == NARROW)
        await p.press("escape", "colon", *"thresh")
        await p.take("palette")

    look(scene, size, NEW)


@pytest.mark.parametrize("size", SIZES)
def test_sessions(size: str, look: Look) -> None:
    async def scene(p: Painter) -> None:
        await p.press("o", until=lambda: isinstance(p.app.screen, SessionsScreen))
        await p.until("gentle")
        await p.take("sessions", svg=size == NARROW)
        await p.press("D")
        await p.take("confirm")
        await p.press("escape", "m", "j", "c", until=lambda: isinstance(p.app.screen, CompareScreen))
        await p.take("compare", svg=size == NARROW)
        await p.press("v", "tab")
        await p.take("compare-numbers")
        await p.press("escape", "N", until=lambda: isinstance(p.app.screen, NotesScreen))
        await p.take("notes")

    look(scene, size, NEW)


@pytest.mark.parametrize("size", SIZES)
def test_a_run(size: str, look: Look) -> None:
    async def scene(p: Painter) -> None:
        await p.until(" lit ")
        p.app.explorer.controller.take_event(WorkerSeen("busy demo · cpu", 2, "busy"))
        told = Progress("running", runs_done=412, runs=600, rate=1930.0, seconds_left=5.0)
        p.app.explorer.controller.take_event(RunGrew(Path("saved_sessions/storm.json"), None, told, "running"))
        await p.until("412")
        await p.take("running")
        await p.press("c")
        await p.take("cancel")

    look(scene, size, STORED)


@pytest.mark.parametrize("look_of", ["light", "terminal", "ascii", "block"])
def test_looks(look_of: str, look: Look) -> None:
    settings = {
        "light": Settings(theme="light"),
        "terminal": Settings(theme="terminal"),
        "ascii": Settings(glyphs="ascii", markers="ascii"),
        "block": Settings(markers="block"),
    }

    async def scene(p: Painter) -> None:
        await p.until(" lit ")
        await p.press("v", "v", *"LLLt", until=lambda: p.app.explorer.results.state.theta == 30)
        await p.take("compass", svg=look_of == "light")
        await p.press(*TO_ERROR, until="0 to 511")
        await p.take("intervention-error")

    look(scene, "160x48", STORED, settings[look_of])


def test_without_colours(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(p: Painter) -> None:
        await p.until(" lit ")
        await p.press("v", "v", *"LLLt", until=lambda: p.app.explorer.results.state.theta == 30)
        await p.take("compass")

    look(scene, "160x48", STORED)


def test_too_small(look: Look) -> None:
    async def scene(p: Painter) -> None:
        await p.take("too-small")

    look(scene, "50x12", NEW)
