"""The tab of a survey, by its keys: listed, filtered, marked, drawn, and a neuron opened as a session of its own."""

from __future__ import annotations

import csv
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.widgets import Input

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.survey import cell_experiment
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.resume import default_path
from srm_explorer.engine.runs.survey import FORCED, Plan
from srm_explorer.engine.runs.survey_journal import SurveyKept, SurveyPlanned
from srm_explorer.engine.session import SurveyTables, load_session
from srm_explorer.engine.session.survey import FORCED_AXES, PLAN_TABLES
from tests.surveyed import WIDTH, surveyed

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


async def test_neurons_are_filtered_sorted_marked_and_drawn(drive: Any, survey: Path, tmp_path: Path) -> None:
    async with drive(session=survey, size=(80, 24)) as (app, pilot, until):
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
        await until(lambda: tab.table.key == (1, 7), "its own neuron")
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


async def test_enter_asks_and_runs_a_neuron_and_marks_are_of_one_session(
    drive: Any, survey: Path, stored: Path
) -> None:
    session = load_session(survey)
    experiment = cell_experiment(session.spec, 2, 11)
    path = default_path(experiment, "many-L2-n11")
    assert experiment.interventions[0].neurons == (11,)
    async with drive(session=survey, size=(100, 30)) as (app, pilot, until):
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


def written_parts(writer: JournalWriter, tables: SurveyTables, ends: Sequence[int]) -> Iterator[None]:
    """Write the plan of a survey that scores, then a part up to each of these cells whenever it is asked for more."""
    forced = tables.forced
    assert forced is not None
    spans = tuple(itertools.pairwise((0, *ends)))
    own = {name: getattr(tables, name) for name in PLAN_TABLES}
    plan = Plan(**own, chose=tables.chose, forced=spans, free=(), chosen=(), rows=8, together=8)
    writer.append_tables(plan.to_arrays(), lambda shard, sha256: SurveyPlanned(shard, sha256, spans, (), 8, 8))
    for number, (start, stop) in enumerate(spans):
        arrays = {
            f"{FORCED}{name}": getattr(forced, name).take(range(start, stop), axis=axis)
            for name, axis in FORCED_AXES.items()
        }
        kept = functools.partial(SurveyKept, "forced", number)
        writer.append_tables(arrays, lambda shard, sha256, kept=kept: kept(shard, sha256, 8))
        yield


async def test_a_survey_that_goes_on_lists_what_is_finished_and_the_highlight_stays_on_its_neuron(
    drive: Any, own_folders: Path
) -> None:
    # The second part brings the neuron that moves the texts most.
    made = surveyed(None, layers=(1,), neurons=30, planted={(1, 4): 6.0, (1, 25): 20.0})
    path = paths.session_path("growing")
    extra = RunStart(made.prompts, created="now")
    layout = Layout(len(made.runs), 0, (tuple(range(len(made.runs))),))
    writer = JournalWriter.create(paths.run_folder(path), made.spec, layout=layout, extra=extra)
    vectors = {site: np.ones((len(made.runs), WIDTH), np.float32) for site in made.spec.capture.sites}
    tables = made.survey()
    assert tables is not None
    parts = written_parts(writer, tables, (10, 12, 30))
    with writer:
        writer.append_batch(0, made.runs, vectors, receipt={})
        async with drive(size=(120, 40)) as (app, pilot, until):
            results = app.explorer.results
            await until(lambda: results.state.session is not None, "the run")
            await pilot.press("3")
            results.open_tab("Survey")
            await until(lambda: "The survey has begun" in app.text(), "what is on its way")
            next(parts)
            await until(lambda: "10 of 10 neurons" in app.text(), "the first part")
            tab = results.study_tabs[3]
            assert "incomplete: 10 of 30 neurons are finished" in " ".join(app.text().split())
            assert (tab.page.table.rows[0][1], tab.page.table.rows[0][2], tab.table.cursor) == (1, 4, 0)
            await pilot.press("down")
            held = tab.table.key
            next(parts)  # A fifth more: the table stays.
            await until(lambda: results.state.session.survey().finished == (12, 0), "the second part")
            next(parts)
            await until(lambda: "30 of 30 neurons" in app.text(), "the last part")
            assert "incomplete" not in app.text()
            assert (tab.page.table.rows[0][2], tab.table.key) == (25, held)
            writer.close()
            await until(lambda: "resumes" in app.status_line(), "the offer")
            assert "30 of 30 neurons" in app.text()
