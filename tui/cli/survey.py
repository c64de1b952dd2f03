"""`srm-explorer survey`: many neurons changed alike, one after the other; what came of it, and one of them opened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.analyses import (
    cell_experiment,
    marked,
    survey_csv,
    survey_of,
    survey_study,
    surveyed_cell,
    tables_in,
    values_on_prompts,
)
from srm_explorer.engine.experiment import Experiment, SpecSource, available_presets, read_experiment
from srm_explorer.engine.experiment.survey_file import survey_overrides
from srm_explorer.engine.figures import HistogramFigure, SurveyMapFigure
from srm_explorer.engine.io.files import check_writable, write_atomic
from srm_explorer.engine.runs import default_path, read_inputs
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.charts.histogram import paint_histogram
from srm_explorer.tui.charts.survey_map import paint_survey_map
from srm_explorer.tui.cli import pictures
from srm_explorer.tui.cli.figures import FigureFile
from srm_explorer.tui.cli.output import note, say, say_json, screen_size, visible
from srm_explorer.tui.cli.run import measure_here, price, run_experiment_watched, say_plan, spec_of
from srm_explorer.tui.cli.tables import say_tables
from srm_explorer.tui.experiment.cost import estimate_here
from srm_explorer.tui.explorer.draft import as_draft

MOST = 20
"""Rows of a table that are printed."""

_OF_ONE = ("named", "tokens")


@dataclass(frozen=True)
class SurveyRun:
    """What is to be surveyed, as it was typed; None where the experiment itself says it."""

    neurons: str | None = None
    layers: str | None = None
    depth: Literal["forced", "free"] | None = None
    then: str | None = None
    vectors: str | None = None
    score: Literal["generated", "prompts"] | None = None

    @property
    def overrides(self) -> list[str]:
        """Its fields, for the experiment."""
        return survey_overrides(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


@dataclass(frozen=True)
class SurveyView:
    """What is told of a survey, and how.

    Attributes:
        settings: of `survey_study`; those that are None were not given.
        chart: which is drawn below the tables.
        most: rows of a table.
    """

    settings: Mapping[str, Any]
    chart: Literal["distribution", "map", "none"] = "distribution"
    most: int = MOST
    csv: Path | None = None
    file: FigureFile | None = None
    width: int | None = None
    height: int | None = None
    as_json: bool = False

    @property
    def asked(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: value for name, value in self.settings.items() if value is not None}

    def check(self) -> None:
        """Make sure that its table can be written, before anything is computed for it."""
        if self.csv is not None:
            check_writable(paths.absolute(self.csv).parent)


def survey_command(
    named: str,
    overrides: Sequence[str],
    what: SurveyRun,
    session: str | None,
    view: SurveyView,
    *,
    restart: bool,
    plan: bool,
) -> int:
    """Survey the neurons of an experiment, or go on with it, and tell what came of it; exit status."""
    spec, changes = spec_of(named), [*overrides, *what.overrides]
    view.check()
    if plan:
        _plan(spec, changes, as_json=view.as_json)
        return 0
    experiment, source = _read(spec, changes)
    path = default_path(experiment, source.name) if session is None else paths.session_path(session)
    ran = run_experiment_watched(experiment, source, path, restart=restart, quiet=view.as_json)
    done = ran.outcome.session if _is_told(ran.outcome.session) else None
    if not view.as_json:
        say(*ran.lines(), *([""] if done is not None else []))
    elif done is None:
        say_json({**ran.summary(), "tables": []}, "survey")
    if done is not None:
        _tell(done, view, ran.summary())
    return ran.status


def show_survey(session: str, view: SurveyView) -> None:
    """Tell what a saved survey found."""
    view.check()
    _tell(load_session(paths.session_path(session)), view, {"session": session})


def open_cell(session: str, cell: str, save_as: str | None, *, plan: bool, restart: bool, as_json: bool) -> int:
    """Run one neuron of a survey as a session of its own, or say that it was; exit status.

    Args:
        save_as: name or path of that session; None for a name made of the survey's and the neuron's.
    """
    opened = load_session(paths.session_path(session))
    layer, neuron = surveyed_cell(opened, cell)
    _, name, base = as_draft(opened)
    experiment = cell_experiment(opened.spec, layer, neuron, values_on_prompts(opened, layer, neuron))
    path = default_path(experiment, f"{name}-L{layer}-n{neuron}") if save_as is None else paths.session_path(save_as)
    if plan:
        say_plan(experiment, base, None, as_json)
        return 0
    source = SpecSource(path.stem, base)
    ran = run_experiment_watched(experiment, source, path, restart=restart, quiet=as_json)
    ran.say(as_json)
    return ran.status


def is_survey(named: str) -> bool:
    """Whether what was named is a saved survey, and no experiment to be surveyed."""
    if named in available_presets() or named.endswith(".toml"):
        return False
    path = paths.session_path(named)
    return path.exists() and bool(load_session(path).spec.survey)


def _read(spec: str, changes: Sequence[str]) -> tuple[Experiment, SpecSource]:
    try:
        experiment, source = read_experiment(spec, overrides=changes)
    except ExplorerError as error:
        # What was typed is an option of this command, and no --set.
        where = re.sub(r"^--set, survey\.", "--", error.where)
        raise ExplorerError(error.what, where=where, remedy=error.remedy) from None
    if not experiment.survey:
        raise ExplorerError("no neurons are named to survey", remedy="give --neurons all, or 0..99, or top:200")
    return experiment, source


def _is_told(session: Session | None) -> bool:
    tables = session.survey() if session is not None else None
    return tables is not None and any(part is not None and len(part.cells) for part in (tables.forced, tables.free))


def _tell(session: Session, view: SurveyView, further: Mapping[str, Any]) -> None:
    texts = {"texts": view.asked["texts"]} if "texts" in view.asked else {}
    survey = survey_of(session, **texts)
    findings = marked(survey_study(session, view.asked, survey), session)
    if view.csv is not None:
        mark = "\t" if view.csv.suffix.lower() == ".tsv" else ","
        by = {findings["depth"]: view.asked["measure"]} if "measure" in view.asked else {}
        write_atomic(view.csv, survey_csv(session, {**texts, **by}, mark, survey))
    tables = tables_in(findings)
    # What is told of the neuron that was named comes first.
    own, others = ([table for table in tables if (table.name in _OF_ONE) is named] for named in (True, False))
    if view.as_json:
        said = {**further, "depth": findings["depth"], "depths": findings["depths"]}
        say_tables(tables, form="json", further=said, kind="survey" if "how" in said else "tables")
    else:
        say_tables(own)
        say("")
        say_tables(others, most=view.most)
        _draw(findings, view)
    if view.csv is not None and not view.as_json:
        note(f"a row a layer, neuron and value written to {visible(str(view.csv))}")
    if view.file is not None:
        chart = "map" if view.chart == "map" else "distribution"
        shown = _map(findings) if chart == "map" else _distribution(findings)
        view.file.write(shown, f"the {chart} of {session.name}", quiet=view.as_json)


def _draw(findings: Mapping[str, Any], view: SurveyView) -> None:
    width, height = screen_size(view.width, view.height)
    if view.chart == "distribution":
        spread = _distribution(findings)
        rows = max(min(height, 24), 9)
        say("", pictures.chart(lambda: paint_histogram(spread, width, rows), lambda: spread, width, rows))
    elif view.chart == "map":
        lies = _map(findings)
        rows = max(min(height, 3 * len(lies.rows) + 8), 9)
        say("", pictures.chart(lambda: paint_survey_map(lies, width, rows), lambda: lies, width, rows))


def _distribution(findings: Mapping[str, Any]) -> HistogramFigure:
    return HistogramFigure.from_dict(findings["histogram"])


def _map(findings: Mapping[str, Any]) -> SurveyMapFigure:
    return SurveyMapFigure.from_dict(findings["map"])


def _plan(spec: str, changes: Sequence[str], *, as_json: bool) -> None:
    """Print what a survey would cost; run nothing."""
    experiment, source = _read(spec, changes)
    if source.note and not as_json:
        note(source.note)
    inputs = read_inputs(experiment, source.base)
    measure_here(experiment.model, source.base)
    cost, pace = estimate_here(experiment, source.base, len(inputs.prompts), inputs.units, inputs.prompt_tokens)
    warnings = inputs.warnings(experiment)
    if as_json:
        say_json(
            {
                "prompts": len(inputs.prompts),
                "units": inputs.units,
                "neurons": cost.neurons,
                "values": cost.values,
                "runs": cost.runs,
                "texts_scored": cost.scored,
                "tokens": cost.tokens,
                "tokens_scored": cost.scored_tokens,
                "seconds": cost.seconds,
                "tokens_per_second": pace.rate or None,
                "memory": cost.memory,
                "disk": cost.disk,
                "warnings": list(warnings),
            },
            "survey plan",
        )
        return
    say(price(cost, pace), *(visible(f"⚠ {warning}") for warning in warnings))
    if not cost.neurons:
        note("how many neurons there are is known once the model was loaded here: a run tells it")
