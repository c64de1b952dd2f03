from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.pairs import pairs_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import load_session
from srm_explorer.tui.backend.events import WorkerSeen

pytestmark = pytest.mark.process


async def go_to(app: Any, pilot: Any, until: Any, tab: str, topic: str = "") -> None:
    await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
    await pilot.press("3")
    app.explorer.results.open_tab(tab, topic)


async def find_page(app: Any, pilot: Any, until: Any, title: str) -> None:
    """Turn pages until one of that title is there, and its answer with it."""
    for _ in range(20):
        if title in app.text():
            return
        await until(lambda: "working it out" not in app.text(), "the answer")
        if title in app.text():
            return
        await pilot.press("v")
        await pilot.pause()
    raise AssertionError(f"no page '{title}':\n{app.text()}")


async def test_planes_are_listed_and_written_and_more_of_them_are_made_of_typed_directions(
    drive: Any, stored: Path, tmp_path: Path
) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await go_to(app, pilot, until, "Planes")
        await until(lambda: "energy in plane" in app.text(), "the planes")
        await pilot.press("X")
        assert "CSV, the numbers" in app.text()
        assert "screenshot" not in app.text()
        await pilot.press("c")
        line = app.screen.query_one(Input)
        assert line.value == "storm-planes.csv"
        line.value = str(tmp_path / "planes.csv")
        await pilot.press("enter")
        await until(lambda: (tmp_path / "planes.csv").exists(), "the file")
        table = app.explorer.results.study_tabs[1].page.table
        with (tmp_path / "planes.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        written = ["" if value is None else str(value) for row in table.rows for value in row]
        assert [value for row in rows for value in row.values()] == written
        before = len(app.explorer.controller.sessions.session.planes)
        await pilot.press("n")
        app.screen.query_one(Input).value = "pc1"
        await pilot.press("enter")
        assert "a plane has two directions" in app.text()
        app.screen.query_one(Input).value = "pc1 ; pc2"
        await pilot.press("enter")
        await until(lambda: len(app.explorer.controller.sessions.session.planes) == before + 1, "the plane")
        plane = load_session(stored).planes[-1]
        assert (plane.a, plane.b) == ("pc1", "pc2")


async def test_the_pairings_are_those_of_the_study_and_enter_makes_the_plane_of_a_partner(
    drive: Any, stored: Path
) -> None:
    """Every note of the table is in the help, where the page has no room; a page without a table writes nothing."""
    async with drive(session=stored, size=(100, 30)) as (app, pilot, until):
        await go_to(app, pilot, until, "Planes")
        await find_page(app, pilot, until, "co-activators of")
        asked = {"top": 20, "permutations": 2000, "seed": 0, "partners": "both"}
        table = tables_in(pairs_study(load_session(stored), asked))[0]
        first = {column.key: table.shown(0, at) for at, column in enumerate(table.columns) if column.keep == 0}
        row = next(line for line in app.text().splitlines() if f" {first['partner']} " in line)
        assert {"partner", "within_r", "within_q"} <= set(first)
        assert all(text in row for text in first.values()), (first, row)
        notes = app.explorer.results.study_tabs[1].page.table.notes
        assert "… ? tells the rest" in app.text()
        await pilot.press("question_mark")
        await until(lambda: "How the table is read" in app.text(), "the notes")
        assert app.screen._notes == notes
        assert notes[0] in " ".join(app.text().split())
        assert {"partner", "p", "q"} <= {title for titles, _ in app.screen.words for title in titles.split(", ")}
        await pilot.press("escape")
        await find_page(app, pilot, until, "w works it out")
        await pilot.press("X")
        await until(lambda: "this page holds no table yet" in app.text(), "the reason")
        assert app.screen is app.explorer
        await go_to(app, pilot, until, "Planes", "pairs")
        await until(lambda: "co-activators of" in app.text(), "the partners")
        before = len(app.explorer.controller.sessions.session.planes)
        await pilot.press("enter")
        await until(lambda: len(app.explorer.controller.sessions.session.planes) == before + 1, "the plane")
        await until(lambda: app.explorer.results.tab == "Polar", "the chart")
        saved = load_session(stored)
        assert len(saved.planes) == before + 1
        await until(lambda: f"n{saved.planes[-1].b}" in app.text(), "its name")


async def test_settings_are_fields_and_what_is_wrong_stays_in_its_row_with_the_remedy(drive: Any, stored: Path) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await go_to(app, pilot, until, "Planes", "pairs")
        await until(lambda: "co-activators of" in app.text(), "the partners")

        async def open_form() -> None:
            await pilot.press("e")
            await until(lambda: "settings of co-activation" in app.text(), "the form")

        def tells(*rows: tuple[str, str]) -> None:
            lines = app.text().splitlines()
            for label, value in rows:
                assert any(label in line and value in line for line in lines), label

        await open_form()
        tells(("partners", "both"), ("rows", "20"), ("permutations", "2000"), ("seed", "0"))
        assert "the one that is edited" in app.text()
        assert "its number in its layer" in app.text()
        await pilot.press("down", "space")
        await until(lambda: any("partners" in row and "site" in row for row in app.text().splitlines()), "the choice")
        await pilot.press("down", "enter", "ctrl+u", *"0", "enter")
        await until(lambda: "rows is 0; choose 1 or more" in app.text(), "what is wrong")
        await pilot.press("end", "w")
        await until(lambda: app.screen.form.key == "top", "the row that is wrong")
        await pilot.press("enter", "ctrl+u", *"3", "enter", "w")
        table = app.explorer.results.study_tabs[1].table
        await until(lambda: app.screen is app.explorer and table.count == 3, "three rows")
        await pilot.press("e", "enter", *"7", "escape", "escape")
        await until(lambda: app.screen is app.explorer, "the way back")
        assert table.count == 3
        await pilot.resize_terminal(160, 48)
        await open_form()
        tells(("partners", "site"), ("rows", "3"), ("permutations", "2000"), ("seed", "0"))
        assert "the one that is edited" in app.text()


async def test_without_a_saved_session_the_tabs_say_what_comes_first(drive: Any) -> None:
    async with drive() as (app, pilot, until):
        await pilot.press("3")
        while app.explorer.results.tab != "Effects":
            await pilot.press("right_square_bracket")
        await until(lambda: "r runs the experiment, o opens a saved session" in app.text(), "the words")


async def test_a_study_without_a_worker_says_so_and_can_be_tried_again(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await go_to(app, pilot, until, "Neuron")
        await until(lambda: "no worker is started here" in app.text(), "the reason")
        assert "w tries again" in app.text()
        await pilot.press("w")
        await until(lambda: "no worker is started here" in app.text(), "the reason again")


async def test_scoring_tells_how_far_it_is_and_says_that_it_was_stopped(drive: Any, stored: Path) -> None:
    async with drive(session=stored, size=(80, 24)) as (app, pilot, until):
        await until(lambda: app.explorer.results.state.session is not None, "the session")
        controller = app.explorer.controller
        controller.link.close()
        app.explorer.results.open_tab("Effects", "score")
        await until(lambda: "w works it out" in app.text(), "the page")
        await pilot.press("3", "w")
        await until(lambda: "working it out" in app.text(), "the question")
        for done in (40, 80):
            progress = Progress("running", done, 120, seconds_left=5.0)
            controller.take_event(WorkerSeen("working", 0, "busy", "scoring of the texts", progress))
            await until(lambda done=done: f"{done} of 120, 0:05 left · c stops it" in app.text(), "how far it is")
            assert f"{done} of 120" in app.status_line()
            await pilot.resize_terminal(160, 48)
        await pilot.press("c")
        await until(lambda: "scoring stopped after 80 of 120: nothing of it is saved" in app.status_line(), "the end")
        for size in ((160, 48), (80, 24)):
            await pilot.resize_terminal(*size)
            assert "scoring stopped after 80 of 120" in "\n".join(app.text().splitlines()[:-1])
            assert "w tries again" in app.text()
        controller.take_event(WorkerSeen("warm demo · cpu", 0, "warm"))
        await pilot.press("c")
        await until(lambda: "nothing is running" in app.status_line(), "that there is nothing")


async def test_a_session_is_not_asked_about_again_until_it_is_saved_anew(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await go_to(app, pilot, until, "Effects")
        book = app.explorer.controller.studies.cache
        await until(lambda: book._answers and "working it out" not in app.text(), "the answer")
        asked = set(book._answers)
        await pilot.press("left_square_bracket", "right_square_bracket")
        await pilot.pause()
        assert set(book._answers) == asked
        assert paths.session_path("storm") == stored


async def test_while_a_run_is_written_the_tabs_say_when_studies_begin(drive: Any, stored: Path) -> None:
    async with drive(session=stored) as (app, pilot, until):
        await go_to(app, pilot, until, "Effects")
        app.explorer.results.take_session(replace(load_session(stored), path=None))
        await until(lambda: "Studies begin when the run is finished" in app.text(), "the words")
        await pilot.press("X")
        await until(lambda: "first save a session" in app.text(), "the reason")


async def test_a_plane_whose_weights_cannot_be_read_is_asked_for_again_as_it_was_typed(
    drive: Any, stored: Path
) -> None:
    typed = "blocks.4.hook_resid_post : w_out(4.20) ; pc1"
    async with drive(session=stored) as (app, pilot, until):
        await go_to(app, pilot, until, "Planes")
        await until(lambda: "energy in plane" in app.text(), "the planes")
        before = stored.read_bytes()
        await pilot.press("n")
        app.screen.query_one(Input).value = typed
        await pilot.press("enter")
        await until(lambda: "no worker is started here" in app.text(), "the reason")
        await until(lambda: app.screen.query(Input) and app.screen.query_one(Input).value == typed, "the question")
        await pilot.press("escape")
        await pilot.press("n")
        app.screen.query_one(Input).value = typed.replace("4.20", "9.20")
        await pilot.press("enter")
        await until(lambda: "layer 9 is out of range for this model (6 layers)" in app.text(), "the range")
        assert stored.read_bytes() == before
