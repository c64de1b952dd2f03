"""The session in view is renamed, thrown away or moved: here, in another terminal, while no screen is open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.manage import rename_session
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.trash import find_trashed, restore_session, trash_session
from srm_explorer.engine.session import ComputedTest, Ledger, load_session, record_tests, save_session
from srm_explorer.tui.sessions.notes import NotesDraft
from srm_explorer.tui.sessions.screen import SessionsScreen
from tests import waiting
from tests.example import EXAMPLE

SIZES = [(80, 24), (160, 48)]


def header(app: Any) -> str:
    return app.text().splitlines()[0]


def drafted(own_folders: Path) -> Any:
    """The session that the next start opens."""
    (file,) = (paths.state_folder() / "drafts").glob("*.json")
    return json.loads(file.read_text())["session"]


@pytest.fixture
def calm(stored: Path) -> Path:
    """Another session, saved before."""
    path = paths.session_path("calm")
    session = load_session(EXAMPLE)
    save_session(session.changed(revision=0, created="before"), path, vectors=dict(session.vectors()))
    return path


@pytest.mark.parametrize("size", SIZES)
async def test_renamed_in_the_list_everything_follows(drive: Any, stored: Path, own_folders: Path, size: Any) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):
        await until(lambda: "storm" in header(app), "the session")
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen) and "finished" in app.text(), "the list")
        await pilot.press("R", "ctrl+u", *"bright", "enter")
        await until(lambda: "storm is now bright" in app.text(), "the new name")
        await pilot.press("escape")
        await until(lambda: "bright" in header(app), "the header")
        assert "storm is now bright" in app.status_line()
        assert app.explorer.results.state.session.path == paths.session_path("bright")
        await pilot.press("D")
        assert "the experiment is now 'bright'" in app.status_line()
    waiting.until(lambda: drafted(own_folders) == str(paths.session_path("bright")), "the draft, which is written soon")


@pytest.mark.parametrize("size", SIZES)
async def test_thrown_away_in_the_list_the_last_session_there_is_comes_into_view(
    drive: Any, stored: Path, calm: Path, own_folders: Path, size: Any
) -> None:
    async with drive(session=stored, size=size) as (app, pilot, until):
        await until(lambda: "storm" in header(app), "the session")
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen) and "finished" in app.text(), "the list")
        await pilot.press(*"/storm", "enter", "D", "y", "escape")
        await until(lambda: not stored.exists(), "the trash")
        await pilot.press("escape")
        await until(lambda: "calm" in header(app), "the other session")
        assert "storm is in the trash: this is calm, the last one there is" in app.status_line()
    waiting.until(lambda: drafted(own_folders) == str(calm), "the draft, which is written soon")


async def test_thrown_away_with_no_other_nothing_is_in_view(drive: Any, stored: Path, own_folders: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "storm" in header(app), "the session")
        trash_session(stored)
        await until(lambda: "storm is in the trash, and no other session is there" in app.status_line(), "the line")
        assert "no session" in header(app)
        restore_session(find_trashed("storm"))
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen) and "finished" in app.text(), "the list")
        await pilot.press("enter")
        await until(lambda: "storm" in header(app), "the session again")
    waiting.until(lambda: drafted(own_folders) == str(stored), "the draft, which is written soon")


def by_command(path: Path) -> None:
    rename_session(path, "bright")


def by_hand(path: Path) -> None:
    for file in sorted(path.parent.glob("storm*")):
        file.rename(file.with_name(file.name.replace("storm", "bright")))


def its_file_alone(path: Path) -> None:
    path.rename(path.with_name("bright.json"))


@pytest.mark.parametrize(("move", "is_open"), [(by_command, True), (its_file_alone, True), (by_hand, False)])
async def test_renamed_elsewhere_it_is_followed_with_its_ledger_and_its_notes(
    drive: Any, stored: Path, calm: Path, own_folders: Path, move: Callable[[Path], None], is_open: bool
) -> None:
    record_tests(load_session(stored), [ComputedTest("difference", {}, 0.5)], "all")
    typed = NotesDraft(stored)
    typed.keep("half a thought")
    typed.close()
    bright = paths.session_path("bright")
    if not is_open:
        async with drive(session=stored) as (app, pilot, until):
            await until(lambda: "storm" in header(app), "the session")
            await pilot.press("q")
        move(stored)
    async with drive(session=stored if is_open else None, size=(80, 24)) as (app, pilot, until):
        if is_open:
            await until(lambda: "storm" in header(app), "the session")
            move(stored)
        await until(lambda: "bright" in header(app), "the new name")
        assert "storm is now bright" in app.status_line()
        await pilot.press("o")
        await until(lambda: isinstance(app.screen, SessionsScreen) and "finished" in app.text(), "the list")
        await pilot.press(*"/bright", "enter", "N")
        await until(lambda: "half a thought" in app.text(), "the notes that were typed")
        await pilot.press("f4", "escape")
    session = load_session(bright)
    assert "all" in {entry.family for entry in Ledger(session).entries()}
    assert session.vectors()
    assert not stored.exists()
    assert not paths.ledger_file(stored).exists()
    waiting.until(lambda: drafted(own_folders) == str(bright), "the draft, which is written soon")


async def test_what_is_gone_at_the_next_start_is_said_and_the_last_one_shown(
    drive: Any, stored: Path, calm: Path, own_folders: Path
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await until(lambda: "storm" in header(app), "the session")
        await pilot.press("q")
    stored.unlink()
    async with drive(size=(80, 24)) as (app, _, until):
        await until(lambda: "calm" in header(app), "the other session")
        assert "storm is gone: this is calm, the last one there is" in app.status_line()


async def test_another_session_that_took_the_name_is_not_taken_for_it(drive: Any, stored: Path, calm: Path) -> None:
    async with drive(session=stored) as (app, _, until):
        await until(lambda: "storm" in header(app), "the session")
        rename_session(stored, "bright")
        rename_session(calm, "storm")
        await until(lambda: "bright" in header(app), "the new name")
        assert app.explorer.results.state.session.created != "before"


async def test_a_run_that_is_not_saved_yet_is_followed_and_can_still_be_resumed(
    drive: Any, stored: Path, own_folders: Path
) -> None:
    session = load_session(EXAMPLE)
    gale = paths.session_path("gale")
    count = len(session.runs)
    layout = Layout(count, 0, (tuple(range(8)), tuple(range(8, count))))
    extra = RunStart(session.prompts, provenance=dict(session.provenance), created="made gale")
    writer = JournalWriter.create(paths.run_folder(gale), session.spec, layout=layout, extra=extra)
    writer.append_batch(0, session.runs[:8], {site: rows[:8] for site, rows in session.vectors().items()}, receipt={})
    with writer:
        async with drive() as (app, pilot, until):
            await until(lambda: "gale" in header(app) and app.explorer.results.state.session is not None, "the run")
            writer.close()
            await until(lambda: "resumes" in app.status_line(), "the offer")
            await pilot.press("o")
            await until(lambda: isinstance(app.screen, SessionsScreen) and "interrupted" in app.text(), "the list")
            await pilot.press(*"/gale", "enter", "R", "ctrl+u", *"wind", "enter")
            await until(lambda: "gale is now wind" in app.text(), "the new name")
            await pilot.press("escape", "escape")
            await until(lambda: "wind" in header(app), "the header")
            assert app.explorer.controller.runs.state.offer.path == paths.session_path("wind")
    waiting.until(lambda: drafted(own_folders) == str(paths.session_path("wind")), "the draft, which is written soon")
    assert paths.run_folder(paths.session_path("wind")).is_dir()
