"""The whole app on a screen without a terminal, driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.command import CommandList
from textual.pilot import Pilot

from srm_explorer.engine import paths
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.tui.app import ExplorerApp
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.settings import Settings
from srm_explorer.tui.widgets.chart import ChartView
from tests.example import EXAMPLE
from tests.waiting import until_shown

Until = Callable[[Callable[[], Any], str], Awaitable[None]]
Drive = Callable[..., AbstractAsyncContextManager[tuple["Explored", Pilot[Any], Until]]]


class Explored(ExplorerApp):
    """The app, with what is on its screen as text."""

    def text(self) -> str:
        """The characters on the screen, line by line."""
        width, height = self.size
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip)[:width] for strip in strips[:height])

    def status_line(self) -> str:
        return self.text().splitlines()[-1]


def offered(app: ExplorerApp) -> str:
    """The first entry of the palette, empty while there is none."""
    entries = app.screen.query_one(CommandList)
    return str(entries.get_option_at_index(0).hit.text or "") if entries.option_count else ""


def painted(app: ExplorerApp) -> bool:
    """Whether every chart in view is."""
    return all(chart.settled() for chart in app.explorer.query(ChartView) if chart.display and chart.size.area)


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drive:
    """Start the app in an empty folder, wait until it is ready, and do something with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")

    @asynccontextmanager
    async def run(
        *, settings: Settings | None = None, size: tuple[int, int] = (160, 48), ready: bool = True, **start: Any
    ) -> AsyncIterator[tuple[Explored, Pilot[Any], Until]]:
        app = Explored(LaunchOptions(**start), settings)
        async with app.run_test(size=size, notifications=True) as pilot:

            async def until(holds: Callable[[], Any], what: str) -> None:
                await until_shown(holds, lambda: f"{what}:\n{app.text()}")

            if ready:
                await until(lambda: app.explorer.controller is not None, "the controller")
                await pilot.pause()
            yield app, pilot, until
            # Whatever the test has led to can be drawn.
            app.text()

    return run


@pytest.fixture
def stored(own_folders: Path) -> Path:
    """The example among the user's sessions."""
    path = paths.session_path("storm")
    session = load_session(EXAMPLE)
    save_session(session.changed(revision=0), path, vectors=dict(session.vectors()))
    return path
