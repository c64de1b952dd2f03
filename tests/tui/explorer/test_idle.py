"""What is sent is what changes, and nothing where nothing does: over a slow line every frame keeps a key waiting."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from textual._compositor import ChopsUpdate

from srm_explorer.tui.explorer.queue import QueueScreen
from srm_explorer.tui.sessions.preview import SessionPreview
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.widgets.chart import PictureView
from srm_explorer.tui.widgets.form import LineForm

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


@pytest.mark.drawn
async def test_the_highlight_of_the_form_sends_the_lines_that_it_leaves_and_enters(
    drive: Any, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "lit" in app.text() and painted(app), "the session")
        await pilot.press("2")
        form, frames = app.explorer.query_one(LineForm).region, list[Any]()
        for key in ("j", "k"):
            with monkeypatch.context() as seen:
                seen.setattr(app, "_display", lambda screen, frame: frames.append(frame))
                await pilot.press(key)
        sent = [frame for frame in frames if frame is not None]
        assert sent
        assert all(isinstance(frame, ChopsUpdate) for frame in sent), "no frame is the whole screen"
        rows = {row for frame in sent for row, _, _ in frame.spans if form.y <= row < form.bottom}
        shown = app.text().split("\n")
        assert ["layer" in shown[row] or "neuron" in shown[row] for row in sorted(rows)] == [True, True]


async def test_cells_of_a_picture_that_look_alike_are_sent_as_one_text(drive: Any, stored: Path) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen), "the list")
        picture = app.screen.query_one(PictureView)
        await until(lambda: picture.picture is not None, "the preview's chart")
        for y in range(picture.size.height):
            looks = [segment.style for segment in picture.render_line(y)]
            assert all(one != other for one, other in pairwise(looks))
