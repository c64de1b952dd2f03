from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.session.store import folder_lock
from srm_explorer.tui.sessions.notes import NotesDraft, NotesScreen
from srm_explorer.tui.widgets.dialogs import Confirm
from srm_explorer.tui.widgets.status import StatusLine
from tests import waiting


def opened(shelf: Any, name: str = "calm") -> Any:
    return lambda: NotesScreen(shelf.path(name))


async def test_notes_are_saved_into_the_session_with_its_vectors(shelf: Any, drive: Any) -> None:
    before = shelf.save("calm", vectors=True, notes="old")
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "old" in app.text())
        await pilot.press("enter", *"new q", "f2")
        await until(lambda: "notes saved in calm" in app.text())
        await pilot.press("!", "escape")
        await until(lambda: app.answers)
        assert app.answers == ["notes saved in calm"]
    after = load_session(shelf.path("calm"))
    assert after.notes == "old\nnew q!"
    assert after.changed(notes="old", revision=before.revision, saved=before.saved) == before
    assert after.vectors().keys() == before.vectors().keys()


async def test_notes_that_are_saved_under_a_box_close_neither_it_nor_themselves(shelf: Any, drive: Any) -> None:
    shelf.save("calm", notes="old")
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "old" in app.text())
        with folder_lock(shelf.folder):
            await pilot.press("!", "escape")
            app.push_screen(Confirm("really?"))
            await until(lambda: isinstance(app.screen, Confirm))
        await until(lambda: load_session(shelf.path("calm")).notes == "old!")
        await until(lambda: app.shown.query_one(StatusLine).said[0] == "notes saved in calm")
        assert isinstance(app.screen, Confirm)
        await pilot.press("y", "escape")
        await until(lambda: app.answers)
        assert app.answers == ["notes saved in calm"]


async def test_left_unchanged_nothing_is_written(shelf: Any, drive: Any) -> None:
    shelf.save("calm", notes="old")
    content = shelf.path("calm").read_bytes()
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "old" in app.text())
        await pilot.press("x", "backspace", "escape")
        await until(lambda: app.answers)
        assert app.answers == [None]
    assert shelf.path("calm").read_bytes() == content


async def test_a_conflict_is_saved_beside_and_told(shelf: Any, drive: Any) -> None:
    session = shelf.save("calm", notes="old")
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "old" in app.text())
        save_session(session.changed(notes="theirs"), shelf.path("calm"))
        await pilot.press("x", "f2")
        await until(lambda: "'calm' was changed elsewhere meanwhile; saved as 'calm-2'" in app.text())
        await pilot.press("y", "escape")
        await until(lambda: app.answers)
    assert load_session(shelf.path("calm")).notes == "theirs"
    assert load_session(shelf.path("calm-2")).notes == "oldxy"
    assert shelf.names() == {"calm.json", "calm-2.json"}


async def test_what_a_killed_screen_had_typed_comes_back_and_can_be_dropped(shelf: Any, drive: Any) -> None:
    shelf.save("calm", notes="old")
    child = os.fork()
    if child == 0:
        draft = NotesDraft(shelf.path("calm"))
        draft.keep("half a thou")
        waiting.until(
            lambda: [*(Path(os.environ["XDG_STATE_HOME"]) / "srm-explorer" / "notes").glob("*.md")], "the draft"
        )
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "half a thou" in app.text())
        assert "f2 saves them, f4 drops them" in app.text()
        await pilot.press("f4")
        assert "half a thou" not in app.text()
        assert "as saved" in app.text()
        await pilot.press("escape")
        await until(lambda: app.answers)
    async with drive(opened(shelf)) as (app, _, until):
        await until(lambda: "old" in app.text())
    assert load_session(shelf.path("calm")).notes == "old"


async def test_every_key_is_kept_before_it_is_saved(shelf: Any, drive: Any) -> None:
    shelf.save("calm")
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: not app.screen.query_one("#notes").disabled)
        await pilot.press(*"abc")
        folder = Path(os.environ["XDG_STATE_HOME"]) / "srm-explorer" / "notes"
        await until(lambda: [file.read_text() for file in folder.glob("*.md")] == ["abc"], "the draft")
    assert NotesDraft(shelf.path("calm")).text == "abc"


def test_two_screens_keep_drafts_of_their_own(own_folders: Path) -> None:
    path = own_folders / "calm.json"
    one, other = NotesDraft(path), NotesDraft(path)
    one.keep("one")
    other.keep("other")
    one.close()
    other.close()
    left = [NotesDraft(path), NotesDraft(path), NotesDraft(path)]
    assert sorted(draft.text or "" for draft in left) == ["", "one", "other"]
    for draft in left:
        draft.forget()
        draft.close()
    assert NotesDraft(path).text is None


async def test_a_session_that_is_gone_is_told(shelf: Any, drive: Any) -> None:
    async with drive(opened(shelf)) as (app, pilot, until):
        await until(lambda: "no such file" in app.text())
        await pilot.press("x", "f2", "f4", "escape")
        await until(lambda: app.answers)
        assert app.answers == [None]
