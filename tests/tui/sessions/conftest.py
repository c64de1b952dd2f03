"""A folder of sessions, and the screens over it driven by keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from srm_explorer.engine import paths
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import Session, load_session, save_session
from tests.example import EXAMPLE as FILE
from tests.waiting import until_shown

EXAMPLE = load_session(FILE)


@dataclass(frozen=True)
class Shelf:
    """A sessions folder with made-up sessions; all are the example with something changed."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def save(self, name: str, *, vectors: bool = False, **changes: Any) -> Session:
        made = EXAMPLE.changed(revision=0, created=f"made {name}", sidecar=None, **changes)
        return save_session(made, self.path(name), vectors=dict(EXAMPLE.vectors()) if vectors else None).session

    def begin(self, name: str, done: int = 2) -> JournalWriter:
        """The folder of a run that is not over; its writer is this process until it is closed."""
        count = len(EXAMPLE.runs)
        layout = Layout(count, 0, (tuple(range(done)), tuple(range(done, count))))
        extra = RunStart(EXAMPLE.prompts, provenance=dict(EXAMPLE.provenance), created=f"made {name}")
        writer = JournalWriter.create(paths.run_folder(self.path(name)), EXAMPLE.spec, layout=layout, extra=extra)
        own = {site: rows[:done] for site, rows in EXAMPLE.vectors().items()}
        writer.append_batch(0, EXAMPLE.runs[:done], own, receipt={})
        return writer

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def shelf(own_folders: Path) -> Shelf:
    folder = own_folders / "sessions"
    folder.mkdir(parents=True)
    return Shelf(folder)


class Host(App[None]):
    """An app that shows one screen and notes what it answers and what is copied."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self.shown = screen
        self.answers: list[Any] = []
        self.copied: list[str] = []

    def on_mount(self) -> None:
        self.push_screen(self.shown, self.answers.append)

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    def text(self) -> str:
        """What is on the screen, line by line."""
        width, height = self.size
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)[: (width + 1) * height * 4]


Until = Callable[..., Awaitable[None]]
Drive = Callable[..., AbstractAsyncContextManager[tuple[Host, Pilot[None], Until]]]


@pytest.fixture
def drive() -> Drive:
    """Show a screen and do something with it; `until` waits for something to hold."""

    @asynccontextmanager
    async def over(
        screen: Callable[[], Screen[Any]], *, size: tuple[int, int] = (160, 48)
    ) -> AsyncIterator[tuple[Host, Pilot[None], Until]]:
        app = Host(screen())
        async with app.run_test(size=size) as pilot:

            async def until(holds: Callable[[], object], what: str = "") -> None:
                await until_shown(holds, lambda: f"{what or 'it'}:\n{app.text()}")

            yield app, pilot, until

    return over
