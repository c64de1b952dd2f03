"""A screen at which nothing changes sends nothing: over a slow line every frame keeps a key waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.sessions.preview import SessionPreview
from srm_explorer.tui.sessions.screen import SessionsScreen

from .conftest import painted


@pytest.mark.drawn
@pytest.mark.parametrize("key", ["", "o", "Q", "question_mark", "colon"])
async def test_nothing_is_sent_where_nothing_changes(
    drive: Any, stored: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked() -> bool:
        """Whether what was opened has read what it shows."""
        screen = app.screen
        if isinstance(screen, SessionsScreen):
            return "storm" in str(screen.query_one(SessionPreview).border_title) and not screen._background.is_running(
                "look"
            )
        return screen is not app.explorer or not key

    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "lit" in app.text() and painted(app), "the session")
        if key:
            await pilot.press(key)
        await until(looked, "what the key opens")

        async def look() -> None:
            """As each of them does by itself, every second or two."""
            app.explorer.controller.look()
            if isinstance(app.screen, SessionsScreen):
                app.screen.look()
            if isinstance(app.screen, QueueScreen):
                app.screen.take(())
            await until(looked, "another look")

        # What a box covers has been drawn with it after one message.
        await look()
        frames: list[Any] = []
        with monkeypatch.context() as seen:
            seen.setattr(app, "_display", lambda screen, frame: frames.append(frame))
            for _ in range(3):
                await look()
        assert [frame for frame in frames if frame is not None] == []
