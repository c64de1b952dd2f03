from __future__ import annotations

import csv
import dataclasses
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.runs.manage import rename_session
from srm_explorer.engine.runs.trash import trash_session
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.session.export import export
from srm_explorer.tui.compare.screen import CompareScreen
from srm_explorer.tui.glyphs import UNICODE
from srm_explorer.tui.sessions.actions import Chosen
from srm_explorer.tui.sessions.notes import NotesScreen
from srm_explorer.tui.sessions.row import Row, saved_at
from srm_explorer.tui.sessions.screen import SessionsScreen
from srm_explorer.tui.sessions.summary import TextIndex
from srm_explorer.tui.sessions.table import SessionTable, cell_of


def rows_of(app: Any) -> list[str]:
    """Names in the list, top down."""
    table = app.screen.query_one(SessionTable)
    return [table._shown[at].name for at in range(table.count)]


def highlighted(app: Any) -> str:
    row = app.screen.query_one(SessionTable).row
    return "" if row is None else row.name


def dated(shelf: Any, *names: str) -> None:
    """The first of them saved last."""
    for age, name in enumerate(names):
        instant = 1_000_000 - age
        saved = f'"saved": "{datetime.fromtimestamp(instant, UTC).isoformat()}"'.encode()
        path = shelf.path(name)
        path.write_bytes(re.sub(rb'"saved": "[^"]*"', saved, path.read_bytes(), count=1))
        os.utime(path, (instant, instant))


@pytest.fixture
def three(shelf: Any) -> Any:
    shelf.save("calm", vectors=True, notes="seen twice")
    shelf.save("storm", vectors=True)
    shelf.save("rain", state="interrupted")
    dated(shelf, "calm", "storm", "rain")
    return shelf


async def test_the_list_tells_name_model_site_runs_state_and_size(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, _, until):
        await until(lambda: "interrupted, run gone" in app.text(), "the state")
        lines = app.text().splitlines()
        calm = next(line for line in lines if " calm " in line)
        size = sum(three.path("calm").with_suffix(end).stat().st_size for end in (".json", ".safetensors"))
        for told in ("demo model", "L4 hook_post · n488 · clamp", " 32 ", "finished", f"{size / 1000:.0f} kB"):
            assert told in calm
        assert rows_of(app) == ["calm", "storm", "rain"]
        await until(lambda: "seen twice" in app.text() and "+n488" in app.text(), "notes and the chart")


async def test_a_narrow_screen_keeps_the_keys_for_help_and_back_in_sight(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen, size=(80, 24)) as (app, _, until):
        await until(lambda: "finished" in app.text())
        assert app.text().splitlines()[-1].rstrip().endswith("? help  esc back")
        assert "enter open" in app.text().splitlines()[-1]


async def test_a_title_or_a_key_sorts_the_sessions(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "finished" in app.text() and "interrupted, run gone" in app.text())
        table = app.screen.query_one(SessionTable)

        async def press(title: str) -> None:
            header = next(line for line in app.text().splitlines() if " state " in line)
            await pilot.click("SessionTable", offset=(header.index(f" {title}") - table.region.x + 1, 0))
            await pilot.pause()

        await press("name")
        assert rows_of(app) == ["calm", "rain", "storm"]
        assert highlighted(app) == "calm"
        await press("name")
        assert rows_of(app) == ["storm", "rain", "calm"]
        assert highlighted(app) == "calm"
        await press("name")
        assert rows_of(app) == ["calm", "storm", "rain"]
        await press("state")
        assert rows_of(app) == ["rain", "calm", "storm"]
        await pilot.press("S", "S")
        assert table.sort == ("size", True)
        sizes = [table._shown[at].size for at in range(3)]
        assert sizes == sorted(sizes, reverse=True)
        await pilot.press("S")
        assert rows_of(app) == ["calm", "storm", "rain"]


async def test_long_notes_leave_room_for_what_was_done(shelf: Any, drive: Any) -> None:
    shelf.save("calm", notes="".join(f"line {number}\n\n" for number in range(40)))
    async with drive(SessionsScreen, size=(80, 24)) as (app, _, until):
        await until(lambda: re.search(r"line \d …", app.text()), "the beginning of the notes")
        assert "line 10" not in app.text()
        assert "n488 · clamp" in app.text()
        assert "radius:" in app.text()


async def test_what_was_done_is_told_in_full_where_the_list_leaves_room(shelf: Any, drive: Any) -> None:
    shelf.save("calm")
    async with drive(SessionsScreen, size=(80, 24)) as (app, _, until):
        await until(lambda: "captures" in app.text(), "the preview")
        facts = [line[1:46] for line in app.text().splitlines()[9:22]]
        assert not any("…" in line for line in facts), facts


@pytest.mark.parametrize(
    ("keys", "answer"), [("enter", ("open", "calm")), ("d", ("duplicate", "calm")), ("escape", None), ("q", None)]
)
async def test_a_key_chooses_what_is_done_with_the_highlighted_session(
    three: Any, drive: Any, keys: str, answer: tuple[Any, str] | None
) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "finished" in app.text())
        await pilot.press(keys)
        await until(lambda: app.answers)
        assert app.answers == [None if answer is None else Chosen(answer[0], three.path(answer[1]))]


async def test_search_narrows_as_it_is_typed_and_escape_shows_all_again(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("slash", "s", "t", "o", "r")
        assert rows_of(app) == ["storm"]
        await pilot.press("enter", "j")
        assert highlighted(app) == "storm"
        await pilot.press("slash", "x", "x")
        assert "nothing matches 'xx'" in app.text()
        await pilot.press("escape")
        assert rows_of(app) == ["calm", "storm", "rain"]
        await pilot.press(*"/interr")
        assert rows_of(app) == ["rain"]


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_notes_prompts_and_texts_are_searched_too(three: Any, drive: Any, size: tuple[int, int]) -> None:
    session = load_session(three.path("rain"))
    runs = (dataclasses.replace(session.runs[0], text=' the Zebra keeper\nsaid "Éa"'), *session.runs[1:])
    prompts = (dataclasses.replace(session.prompts[0], text="Who lit the lantern?"), *session.prompts[1:])
    save_session(session.changed(runs=runs, prompts=prompts), session.path)
    async with drive(SessionsScreen, size=size) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        for typed, found, told in (
            ("seen TWICE", ["calm"], "in its notes: seen twice"),
            ("zebra", ["rain"], "in its texts: the zebra keeper said"),
            ('"éa"', ["rain"], "in its texts: "),
            ("lantern rain", ["rain"], "in its prompts: who lit the lantern?"),
            ("lantern quartz", [], "nothing matches 'lantern quartz'"),
        ):
            await pilot.press("slash", "ctrl+u", *typed)
            await until(lambda found=found: rows_of(app) == found, f"what has {typed}")
            await until(lambda told=told: told in app.text(), f"where {typed} is")
            assert f"Sessions: {len(found)} of 3" in app.text()
        await pilot.press("escape")
        assert len(rows_of(app)) == 3
        assert "Sessions: " not in app.text()


async def test_while_it_searches_it_says_so(three: Any, drive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    three.save("quartz", notes="½ of it")
    go_on = threading.Event()
    read = TextIndex.texts

    def waits(index: TextIndex, row: Row) -> Any:
        go_on.wait(60)
        return read(index, row)

    monkeypatch.setattr(TextIndex, "texts", waits)
    async with drive(SessionsScreen, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("slash", "½")
        assert "Sessions: 0 of 4, searching the texts, 0 done" in app.text()
        assert "searching the notes, prompts and texts of 4 sessions for '½'" in app.text()
        go_on.set()
        await until(lambda: rows_of(app) == ["quartz"] and "Sessions: 1 of 4 " in app.text(), "the end")


async def test_every_column_sorts_by_what_it_shows(three: Any, drive: Any) -> None:
    three.begin("gale").close()
    os.utime(three.path("rain"), (2e9, 2e9))
    async with drive(SessionsScreen) as (app, _, until):
        await until(lambda: "interrupted, run gone" in app.text() and " gale " in app.text())
        table = app.screen.query_one(SessionTable)
        for column in [column.key for column in table.columns]:
            table.sort_by(column)
            app.screen._show()
            shown = [cell_of(row, column, UNICODE) for row in table._shown]
            texts = [cell if isinstance(cell, str) else cell[0] for cell in shown]
            # Equal cells stand together, and the other way round the order is turned.
            assert len([text for text, before in zip(texts, [None, *texts], strict=False) if text != before]) == len(
                set(texts)
            ), column
            if column == "saved":
                assert [row.name for row in table._shown] == ["gale", "calm", "storm", "rain"]
                assert [saved_at(row) for row in table._shown] == sorted(map(saved_at, table._shown), reverse=True)
        table.sort_by(table.sort[0])
        table.sort_by(table.sort[0])
        app.screen._show()
        assert rows_of(app) == ["gale", "calm", "storm", "rain"]


async def test_marks_and_the_highlight_follow_a_session_that_another_terminal_renamed(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted, run gone" in app.text() and app.text().count("finished") >= 2)
        await pilot.press("m", "j", "m")
        rename_session(three.path("calm"), "bright")
        rename_session(three.path("storm"), "wind")
        await until(lambda: {"bright", "wind"} <= set(rows_of(app)) and highlighted(app) == "wind", "the new names")
        assert app.screen.query_one(SessionTable).marks == (three.path("bright"), three.path("wind"))
        await pilot.press("c")
        await until(lambda: isinstance(app.screen, CompareScreen) and "bright" in app.text(), "the comparison")
        rename_session(three.path("bright"), "dawn")
        await until(lambda: "bright is now dawn" in app.text().splitlines()[-1], "the name in the comparison")
        assert app.screen._paths == (three.path("dawn"), three.path("wind"))
        await pilot.press("escape")
        await until(lambda: {"dawn", "wind"} <= set(rows_of(app)), "the list")


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_names_are_whole_while_other_columns_have_room(shelf: Any, drive: Any, size: tuple[int, int]) -> None:
    names = ("lighthouse-at-dusk-n488-clamped-827c45", "storm")
    for name in names:
        shelf.save(name)
    async with drive(SessionsScreen, size=size) as (app, _, until):
        await until(lambda: app.text().count("finished") >= 2, "the list")
        assert all(f" {name} " in app.text() for name in names)


async def test_marked_sessions_are_compared_in_the_order_of_their_marks(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("c")
        assert "mark a session with m" in app.text()
        await pilot.press("m", "j", "m", "j", "m")
        assert app.screen.query_one(SessionTable).marks == (three.path("calm"), three.path("storm"), three.path("rain"))
        assert app.text().count("☑") == 3
        assert "3 marked: c compares them" in app.text()
        await pilot.press("k", "m", "home", "C")
        await until(lambda: isinstance(app.screen, CompareScreen))
        assert app.screen._paths == (three.path("calm"), three.path("rain"))


async def test_one_mark_and_the_highlighted_session_are_compared(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("j", "m", "home", "c")
        await until(lambda: isinstance(app.screen, CompareScreen))
        assert app.screen._paths == (three.path("storm"), three.path("calm"))


async def test_a_ninth_mark_is_refused_aloud(shelf: Any, drive: Any) -> None:
    for number in range(9):
        shelf.save(f"s{number}")
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: all(f"s{number} " in app.text() for number in range(9)))
        await pilot.press(*(["m", "j"] * 8))
        assert app.text().count("☑") == 8
        await pilot.press("m")
        assert app.text().count("☑") == 8
        assert "8 are marked, as many as can be compared" in app.text()
        await pilot.press("c")
        await until(lambda: "counts of 8 sessions" in app.text())


async def test_a_session_is_renamed_and_stays_highlighted(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("R", "ctrl+u", *"storm")
        assert "the name 'storm' is taken by storm.json" in app.text()
        await pilot.press("enter")
        assert three.names() >= {"calm.json", "storm.json"}
        await pilot.press("escape", "R", *"bright", "enter")
        await until(lambda: highlighted(app) == "bright", "the new name")
        assert three.names() == {
            *("bright.json", "bright.safetensors", "storm.json", "storm.safetensors", "rain.json"),
        }
        await until(lambda: "calm is now bright" in app.text(), "what was done")
        assert load_session(three.path("bright")).notes == "seen twice"


async def test_the_trash_takes_a_session_only_when_it_is_confirmed(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("D")
        text = " ".join(app.text().split())
        assert "Move calm to the trash?" in text
        assert "calm.json, calm.safetensors" in text
        await pilot.press("n")
        assert "calm.json" in three.names()
        await pilot.press("delete", "y")
        await until(lambda: rows_of(app) == ["storm", "rain"], "the list without it")
        assert three.names() == {"storm.json", "storm.safetensors", "rain.json"}
        (gone,) = paths.trash_folder().iterdir()
        assert load_session(gone / "calm.json").vectors()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_what_was_thrown_away_comes_back_by_u_the_last_first(
    three: Any, drive: Any, size: tuple[int, int]
) -> None:
    before = three.names()
    async with drive(SessionsScreen, size=size) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        for name in ("calm", "storm"):
            await pilot.press(*f"/{name}", "enter", "D", "y")
            await until(lambda name=name: f"{name} is in the trash: u brings it back" in app.text(), "the line")
            await pilot.press("escape")
        await until(lambda: rows_of(app) == ["rain"], "the last one")
        await pilot.press("D", "y")
        await until(lambda: "no session in" in app.text() and not three.names(), "nothing left")
        for name in ("rain", "storm", "calm"):
            await pilot.press("u")
            await until(lambda name=name: highlighted(app) == name, "back in the list")
            assert f"{name} is back" in app.text()
        await pilot.press("u")
        await until(lambda: "the trash is empty" in app.text(), "nothing more")
    assert three.names() == before
    assert load_session(three.path("calm")).vectors()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_trash_is_a_list_from_which_one_is_brought_back_or_deleted_when_confirmed(
    three: Any, drive: Any, size: tuple[int, int]
) -> None:
    for name in ("calm", "storm", "rain"):
        trash_session(three.path(name))
    three.save("calm", notes="another")
    async with drive(SessionsScreen, size=size) as (app, pilot, until):
        await until(lambda: "finished" in app.text())
        await pilot.press("T")
        await until(lambda: " calm " in app.text() and "kB" in app.text(), "the list")
        order = [app.text().index(f" {name} ") for name in ("rain", "storm", "calm")]
        assert order == sorted(order)
        await pilot.press("D")
        assert "Delete rain for good?" in app.text()
        await pilot.press("n", "j", "u")
        await until(lambda: "storm is back" in app.text(), "storm")
        await until(lambda: app.text().count(" kB ") == 3, "the list without it")
        await pilot.press("end", "enter")
        await until(lambda: "bring it back as" in app.text(), "another name")
        assert "the name 'calm' is taken by calm.json" in app.text()
        await pilot.press("ctrl+u", *"storm", "enter")
        assert "there is another 'storm'" in app.text()
        await pilot.press("ctrl+u", *"quiet", "enter")
        await until(lambda: "quiet is back" in app.text(), "calm, under another name")
        await pilot.press("E")
        assert "Delete all 1 for good?" in app.text()
        await pilot.press("y")
        await until(lambda: "the trash is empty" in app.text(), "nothing left")
        await pilot.press("escape")
        await until(lambda: highlighted(app) == "quiet", "the session that was brought back")
    assert load_session(three.path("quiet")).notes == "seen twice"
    assert load_session(three.path("calm")).notes == "another"
    assert not three.path("rain").exists()


async def test_runs_and_vectors_are_written_in_every_form_that_the_command_has(
    three: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        files = {"c": "a.csv", "q": "a.parquet", "n": "a.npz", "f": "texts.csv", "v": "factors.npz"}
        for kind, file in ((kind, tmp_path / name) for kind, name in files.items()):
            await pilot.press("x", kind, "ctrl+u", *file.name, "enter")
            await until(lambda file=file: file.exists() and f"written to {file.name}" in app.text(), "the file")
        await pilot.press("x", "c", "ctrl+u", *"a.csv", "enter")
        await until(lambda: "is there already" in app.text())
        await pilot.press("n")
    session = load_session(three.path("calm"))
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [run.text for run in session.runs]
    with np.load(tmp_path / "a.npz") as arrays, np.load(tmp_path / "factors.npz") as by_factors:
        assert len(arrays.files) == len(session.runs)
        assert arrays.files != by_factors.files
        for key, other in zip(arrays.files, by_factors.files, strict=True):
            np.testing.assert_array_equal(arrays[key], by_factors[other])
    export(session, parquet=tmp_path / "b.parquet", csv=tmp_path / "b.csv", keys="factors")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "texts.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.process
async def test_a_report_and_a_script_are_written(
    three: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Charts ask for the fonts of the system once."""
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    say = SessionsScreen.say

    def heard(screen: SessionsScreen, line: str, *rest: Any) -> None:
        said.append(line)
        say(screen, line, *rest)

    monkeypatch.setattr(SessionsScreen, "say", heard)

    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        for kind, file in (("s", tmp_path / "a.py"), ("r", tmp_path / "a.html")):
            await pilot.press("x", kind, "ctrl+u", *file.name, "enter")
            await until(lambda file=file: file.exists() and f"written to {file.name}" in app.text(), "the file")
    assert "<title>calm" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "TransformerBridge" in (tmp_path / "a.py").read_text(encoding="utf-8")
    assert said[:3] == ["writing a.py", "script written to a.py", "writing a.html"]
    assert "writing a.html: charts of plane 1 of 1, 50% done" in said[3:-1]


async def test_a_session_is_packed_and_unpacked_under_another_name(
    three: Any, drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.srm.zip").write_bytes(b"PK")
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        for told in ("calm is packed into", "there is such a file already"):
            await pilot.press("x", "p", "ctrl+u", *"a.srm.zip", "enter")
            await until(lambda told=told: told in app.text(), told)
        await pilot.press("escape", "U", "ctrl+u", *"none", "enter")
        await until(lambda: "there is no such file" in app.text())
        await pilot.press("ctrl+u", *"torn.srm.zip", "enter")
        await until(lambda: "torn.srm.zip: this is no packed session" in app.text())
        await pilot.press("U", "ctrl+u", *"a.srm.zip", "enter")
        await until(lambda: "calm is unpacked, every hash right" in app.text(), "that what is there is the same")
        calm = load_session(three.path("calm"))
        save_session(calm.changed(notes="seen thrice"), three.path("calm"))
        await pilot.press("U", "ctrl+u", *"a.srm.zip", "enter")
        await until(lambda: "the name 'calm' is taken by calm.json" in app.text(), "the question")
        await pilot.press("ctrl+u", *"quiet", "enter")
        await until(lambda: highlighted(app) == "quiet", "what was unpacked")
        assert "quiet is unpacked, every hash right" in app.text()
    quiet = load_session(three.path("quiet"))
    assert quiet.changed(name="calm", sidecar=calm.sidecar) == calm
    assert quiet.vectors_path().read_bytes() == calm.vectors_path().read_bytes()


async def test_notes_and_help_open_and_the_path_is_copied(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("y")
        assert app.copied == [str(three.path("calm"))]
        await pilot.press("question_mark")
        assert "Give it another name" in app.text()
        await pilot.press("escape", "N")
        await until(lambda: isinstance(app.screen, NotesScreen) and "seen twice" in app.text())
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, SessionsScreen))


async def test_a_run_under_way_is_followed_and_left_alone(three: Any, drive: Any) -> None:
    writer = three.begin("gale", done=8)
    writer.progress(
        {"stage": "running", "runs_done": 8, "runs": 32, "rows": 24, "step": 25, "steps": 50, "seconds_left": 41.0}
    )
    with writer:
        async with drive(SessionsScreen) as (app, pilot, until):
            await until(lambda: "running 62 % · 0:41 left" in app.text(), "how far it is")
            assert rows_of(app)[0] == "gale"
            assert "8 / 32" in app.text()
            for key, told in (("R", "a run is writing it"), ("D", "a run is writing it"), ("r", "enter follows it")):
                await pilot.press(key)
                assert told in app.text()
            await pilot.press("enter")
            await until(lambda: app.answers)
            assert app.answers == [Chosen("follow", three.path("gale"))]


@pytest.mark.parametrize(
    ("key", "name", "action"),
    [
        ("enter", "gale", "follow"),
        ("r", "gale", "resume"),
        ("r", "rain", "resume"),
        ("enter", "rain", "open"),
        ("d", "gale", "duplicate"),
    ],
)
async def test_what_a_killed_run_left_is_followed_or_resumed(
    three: Any, drive: Any, key: str, name: str, action: Any
) -> None:
    three.begin("gale").close()
    three.begin("rain").close()
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: app.text().count("interrupted") >= 2)
        await pilot.press(*f"/{name}", "enter", key)
        await until(lambda: app.answers)
        assert app.answers == [Chosen(action, three.path(name))]


async def test_what_cannot_go_on_says_why(three: Any, drive: Any) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("r")
        assert "calm: it is finished; d takes its spec" in app.text()
        await pilot.press("end", "r")
        assert "rain: its run folder is gone" in app.text()
        assert not app.answers


async def test_damaged_and_foreign_files_are_told_and_never_touched(shelf: Any, drive: Any) -> None:
    shelf.save("calm")
    contents = {"cut": b'{"schema_version": 1, "na', "other": b'{"name": "package"}', "noise": b"\xff\xfe"}
    for name, content in contents.items():
        shelf.path(name).write_bytes(content)
    dated(shelf, *contents, "calm")
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: app.text().count("cannot be read") == 3)
        assert "this is no session file" in app.text()
        assert "broken JSON" in app.text()
        for key in ("enter", "R", "x", "N", "d", "r"):
            await pilot.press("home", key)
        assert not app.answers
        await pilot.press("m", "j", "c")
        assert "cannot be read, so it cannot be compared" in app.text()
    assert {name: shelf.path(name).read_bytes() for name in contents} == contents


async def test_an_empty_folder_teaches_the_key_that_helps(shelf: Any, drive: Any) -> None:
    async with drive(SessionsScreen, size=(80, 24)) as (app, pilot, until):
        await until(lambda: "no session in" in app.text() and "r runs" in app.text())
        await pilot.press("enter", "m", "c", "r", "D", "x", "N", "y", "d", "R")
        assert not app.answers


async def test_a_session_that_comes_while_the_list_is_open_is_shown_and_the_highlight_stays(
    three: Any, drive: Any
) -> None:
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "interrupted" in app.text())
        await pilot.press("j")
        three.save("newest")
        await until(lambda: "newest" in rows_of(app), "the new one")
        assert rows_of(app)[0] == "newest"
        assert highlighted(app) == "storm"


async def test_two_hundred_sessions_are_listed_and_reached(shelf: Any, drive: Any) -> None:
    content = shelf.save("s000").path.read_bytes()
    for number in range(1, 200):
        shelf.path(f"s{number:03d}").write_bytes(content)
    dated(shelf, *(f"s{number:03d}" for number in range(200)))
    async with drive(SessionsScreen, size=(80, 24)) as (app, pilot, until):
        await until(lambda: len(rows_of(app)) == 200 and all(row.summary for row in app.screen._rows), "all of them")
        await pilot.press("end")
        assert highlighted(app) == "s199"
        await pilot.press(*"/s15", "enter", "j")
        assert rows_of(app) == [f"s{number}" for number in range(150, 160)]
        assert highlighted(app) == "s151"


async def test_a_marked_session_by_itself_has_its_own_groups_compared(shelf: Any, drive: Any) -> None:
    shelf.save("calm")
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "calm" in app.text())
        await pilot.press("c")
        await until(lambda: "mark a session with m" in app.text())
        await pilot.press("m", "c")
        await until(lambda: "calm: clamped − baseline" in app.text(), "its groups")


async def test_a_saved_session_that_goes_on_is_running_in_the_list_and_in_the_preview(three: Any, drive: Any) -> None:
    writer = three.begin("rain", done=8)
    async with drive(SessionsScreen) as (app, pilot, until):
        await until(lambda: "running" in app.text(), "the state")
        while highlighted(app) != "rain":
            await pilot.press("down")
        await until(lambda: "are saved" in app.text(), "the preview")
        assert "interrupted" not in app.text()
        assert "resume" not in app.text().splitlines()[-2]
    writer.close()


async def test_brackets_of_a_folder_and_of_a_name_are_their_own_and_no_markup(shelf: Any, drive: Any) -> None:
    """A closing tag that nothing opened, and a key without a value, ended the program."""
    inner = dataclasses.replace(shelf, folder=shelf.folder / "[" / "old]")
    inner.folder.mkdir(parents=True)
    inner.save("[bold] n[sys:a=b…]")

    async with drive(lambda: SessionsScreen(inner.folder)) as (app, pilot, until):
        await until(lambda: "[/old]" in app.text())
        await until(lambda: rows_of(app) == ["[bold] n[sys:a=b…]"])
        await pilot.press("N")
        await until(lambda: "Notes on [bold] n[sys:a=b…]" in app.text())
