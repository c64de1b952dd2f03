"""The tab of a survey, by its keys: listed, filtered, marked, drawn, and a neuron opened as a session of its own."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.survey import cell_experiment
from srm_explorer.engine.runs.resume import default_path
from srm_explorer.engine.session import load_session
from srm_explorer.tui.explorer.startup import LaunchOptions
from tests.surveyed import surveyed

pytestmark = pytest.mark.process


@pytest.fixture
def survey(own_folders: Path) -> Path:
    path = paths.session_path("many")
    surveyed(path, layers=(1, 2), neurons=30, planted={(2, 11): 9.0, (1, 4): 6.0}, then=6)
    return path


async def go_to(app: Any, pilot: Any, until: Any) -> None:
    await until(lambda: app.explorer.controller.sessions.session is not None, "the session")
    await pilot.press("3")
    await until(lambda: app.explorer.results.tab == "Survey", "its tab")
    await until(lambda: "60 of 60 neurons" in app.text(), "the neurons")


def test_neurons_are_filtered_sorted_marked_and_drawn(drive: Any, survey: Path, tmp_path: Path) -> None:
    async def test(app: Any, pilot: Any, until: Any) -> None:
        await go_to(app, pilot, until)
        tab = app.explorer.results.study_tabs[3]
        first = tab.page.table
        assert (first.rows[0][1], first.rows[0][2]) == (2, 11)
        marked = f"L{first.rows[1][1]} n{first.rows[1][2]}"
        status = app.status_line()
        assert all(told in status for told in ("enter open", "/ filter", "m mark", "v next page"))
        await pilot.press("down", "m", "slash", *"layer=2")
        await until(lambda: "30 of 60 neurons · 1 marked · / layer=2" in app.text(), "one layer")
        await pilot.press(*" kk>1")
        await until(lambda: "there is no column 'kk'" in app.text(), "the reason")
        await pilot.press("escape", "escape", "M")
        await until(lambda: "1 of 60 neurons · 1 marked · marked only" in app.text(), "the marked one")
        await pilot.press("escape", "S", "S", "R")
        await until(lambda: "60 of 60 neurons · by layer · reversed · 1 marked" in app.text(), "the order")
        assert [tab.listing.neuron(row)[0] for row in tab.listing.rows] == [2] * 30 + [1] * 30
        await pilot.press("f")
        await until(lambda: tab.table.key is not None and tab.listing.neuron(tab.table.key) == (1, 7), "its own neuron")
        # What is marked stands on both pictures, beside the experiment's own.
        await pilot.press("v")
        await until(lambda: "how far neurons move the texts" in app.text(), "the distribution")
        await until(lambda: all(f"│ {name}: ." in app.text() for name in ("L1 n7", marked)), "its marks")
        await pilot.press("v")
        await until(lambda: "60 neurons of 2 layers" in app.text(), "the map")
        await until(lambda: f"◆ {marked}: " in app.text() and "rank 2 of 60 neurons" in app.text(), "its marks")
        assert "/ filter" not in app.status_line()
        await pilot.resize_terminal(160, 48)
        await until(lambda: app.text().count("◆") == 4, "both on the larger map")
        await pilot.press("X", "c")
        app.screen.query_one(Input).value = str(tmp_path / "map.csv")
        await pilot.press("enter")
        await until(lambda: (tmp_path / "map.csv").exists(), "the file")
        rows = list(csv.DictReader((tmp_path / "map.csv").open(newline="")))
        assert len(rows) == 60
        assert max(rows, key=lambda row: float(row["effect"]))["neuron"] == "11"
        await pilot.press("v")
        await until(lambda: "6 of 6 neurons" in app.text(), "those it went on with")
        await pilot.press("v")
        await until(lambda: "among the others" in app.text(), "the one that was named")
        assert "m mark" not in app.status_line()
        await pilot.press("v")
        await until(lambda: "' door'" in app.text() and r"'\u202e'" in app.text(), "the tokens it moves")

    drive(test, LaunchOptions(session=survey), size=(80, 24))


def test_enter_asks_and_runs_a_neuron_and_marks_are_of_one_session(drive: Any, survey: Path, stored: Path) -> None:
    session = load_session(survey)
    experiment = cell_experiment(session.spec, 2, 11)
    path = default_path(experiment, "many-L2-n11")
    assert experiment.interventions[0].neurons == (11,)

    async def test(app: Any, pilot: Any, until: Any) -> None:
        submitted: list[Any] = []
        controller = app.explorer.controller
        controller.link.submit = lambda *given: submitted.append(given)
        await go_to(app, pilot, until)
        await pilot.press("enter")
        await until(lambda: "run L2 n11 as a session?" in app.text(), "the question")
        assert "36 runs, 288 tokens" in app.text()
        await pilot.press("n")
        await until(lambda: app.screen is app.explorer, "the way back")
        assert not submitted
        await pilot.press("enter")
        await until(lambda: "run L2 n11" in app.text(), "the question")
        await pilot.press("y")
        await until(lambda: submitted, "the run")
        assert submitted[0][0] == experiment
        assert submitted[0][2] == path
        assert path in controller.runs.state.followed
        # What was marked is of this survey alone, and another session surveys nothing.
        app.explorer.results.open_tab("Survey")
        await pilot.press("m")
        await until(lambda: "1 marked" in app.text(), "the mark")
        controller.sessions.open(stored)
        await until(lambda: "This session surveys no neurons" in app.text(), "the words")
        assert "under survey, neurons takes all" in " ".join(app.text().split())
        controller.sessions.open(survey)
        await until(lambda: "60 of 60 neurons" in app.text(), "the neurons")
        assert "marked" not in app.text()

    drive(test, LaunchOptions(session=survey), size=(100, 30))
