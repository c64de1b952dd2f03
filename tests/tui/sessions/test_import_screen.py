"""The import of files in the list of sessions, by keys, at the smallest usual terminal."""

from __future__ import annotations

import threading
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from textual.widgets import Input

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session import load_session, source_files
from srm_explorer.engine.session.source_files import Progress
from srm_explorer.tui.sessions.actions import Chosen
from srm_explorer.tui.sessions.importing import ImportScreen, read
from srm_explorer.tui.sessions.screen import SessionsScreen

from .conftest import Drive, Host, Shelf


@pytest.fixture
def captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a folder of three files of vectors in it, one of them broken."""
    folder = tmp_path / "my captures"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    for name, part in (("one", rows[:6]), ("two", rows[6:])):
        keys = [f"core_id={name}_{i // 2}_sweep={('baseline', '20')[i % 2]}" for i in range(6)]
        np.savez(folder / f"{name}.npz", **dict(zip(keys, part, strict=True)))
    (folder / "torn.npz").write_bytes((folder / "one.npz").read_bytes()[:300])
    (folder / "notes.md").write_text("not vectors")
    monkeypatch.chdir(tmp_path)
    return folder


def line(app: Host, name: str) -> str:
    return app.screen.query_one(f"#{name}", Input).value


async def test_files_are_typed_completed_imported_and_opened(drive: Drive, shelf: Shelf, captures: Path) -> None:
    async with drive(lambda: SessionsScreen(shelf.folder), size=(80, 24)) as (app, pilot, until):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, ImportScreen))
        await pilot.press(*"my", "tab")
        await until(lambda: line(app, "files") == "my\\ captures/", "the folder's name is whole")
        await pilot.press("tab")
        await until(lambda: "3: one.npz  torn.npz  two.npz" in app.text(), "the files are listed")
        await pilot.press("o", "tab")
        await until(lambda: line(app, "files") == "my\\ captures/one.npz")
        await pilot.press("down", *"theirs", "down", *"blocks.1.mlp.hook_post", "down", *"3", "enter")
        await until(lambda: app.answers, "the session is opened")
        assert app.answers == [Chosen("open", shelf.path("theirs"))]
        session = load_session(shelf.path("theirs"))
        assert (len(session.runs), session.spec.capture.sites) == (6, ("blocks.1.mlp.hook_post",))
        assert session.spec.interventions[0].neurons == (3,)


async def test_what_could_not_be_read_is_named_before_it_is_opened(drive: Drive, shelf: Shelf, captures: Path) -> None:
    async with drive(lambda: SessionsScreen(shelf.folder), size=(80, 24)) as (app, pilot, until):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, ImportScreen))
        await pilot.press("enter")
        await until(lambda: "no file is named" in app.text())
        await pilot.press(*"gone.npz", "enter")
        await until(lambda: "there is no such file" in app.text())
        await pilot.press("ctrl+u", *"my captures", "enter")
        await until(lambda: "enter  open it" in app.text())
        assert "12 runs, 6 prompts, 2 conditions imported from 2 of 3 files" in app.text()
        assert "torn.npz" in app.text()
        await pilot.press("enter")
        await until(lambda: app.answers)
        assert app.answers == [Chosen("open", shelf.path("my-captures"))]


@pytest.mark.process
async def test_texts_are_parted_by_a_models_tokenizer_as_the_command_does(
    drive: Drive, shelf: Shelf, captures: Path
) -> None:
    text = "core_id,sweep,prompt,output\na,baseline,The door,The man opened the door\na,20,The door,the the the the\n"
    (captures / "texts.csv").write_text(text)

    async with drive(lambda: SessionsScreen(shelf.folder), size=(80, 24)) as (app, pilot, until):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, ImportScreen))
        await pilot.press(*"my captures/texts.csv", "down", *"theirs", "up", "up", *"demo", "enter")
        await until(lambda: app.answers or "enter  open it" in app.text(), "it is made")
        session = load_session(shelf.path("theirs"))
        assert (session.tokenizer, len(session.pieces)) == ("demo", 2)


def test_what_the_command_refuses_is_told_in_its_line() -> None:
    said = b"odd\nsrm-explorer: model.name no/such: there is no such model; check it\n"
    with pytest.raises(ExplorerError, match=r"^model\.name no/such: there is no such model; check it$"):
        read(CompletedProcess([], 1, b"", said))


async def test_an_import_is_told_and_cancelled(
    drive: Drive, shelf: Shelf, captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, reached = threading.Event(), threading.Event()
    reading = source_files.read_arrays

    def slow(path: Path, **arguments: object) -> object:
        if path.stem == "two":
            reached.set()
            held.wait(60)
        return reading(path, **arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(source_files, "read_arrays", slow)
    async with drive(lambda: SessionsScreen(shelf.folder), size=(80, 24)) as (app, pilot, until):
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, ImportScreen))
        await pilot.press(*"my captures", "enter")
        await until(reached.is_set)
        # The screen is not blocked, and tells how far it is.
        box = app.screen
        assert isinstance(box, ImportScreen)
        box.post_message(ImportScreen.Progressed(Progress(captures / "two.npz", 3, 3, 6, 0)))
        await until(lambda: "file 3 of 3: two.npz" in app.text() and "6 vectors" in app.text())
        await pilot.press("escape")
        await until(lambda: "cancelled: nothing was saved" in app.text())
        held.set()
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, SessionsScreen))
        assert app.answers == []
        assert not shelf.names()
