"""What a notebook calls: run an experiment under a progress bar; ask a session for its meaning, by a study's name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.planes import with_plane
from srm_explorer.engine.analyses.registry import STUDIES, study_session, tables_in
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.experiment import Experiment, ModelSpec, SpecSource, read_experiment
from srm_explorer.engine.experiment.load import as_overrides, with_overrides
from srm_explorer.engine.experiment.survey_file import Listed, survey_overrides
from srm_explorer.engine.figures.captions import unseen_caption
from srm_explorer.engine.figures.html import tables_html
from srm_explorer.engine.figures.table import PlaneChoice, TableFigure
from srm_explorer.engine.launch.start import model_findings, outcome_line, outside_vectors, start_run
from srm_explorer.engine.launch.watch import Watch
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.runs.resume import already_finished, default_path, preflight
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.export import chosen_site

AGAIN = "the same call"

MODEL_STUDIES = ("neuron", "patching", "score", "tokens", "usage", "weights", "directions", "weighted-pairs")
"""Names of studies that need a model, as `engine.model_analyses.run` has them, which imports torch."""


class Interrupted(KeyboardInterrupt):
    """A run or a study that was stopped; a notebook shows its one line, and runs no cell that comes after."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Findings(dict[str, Any]):
    """What a study found, as the dictionary that its `--json` prints; as a notebook's last line it shows its tables."""

    @property
    def tables(self) -> tuple[TableFigure, ...]:
        """Its tables, numbers as they were computed."""
        return tables_in(self)

    def frame(self, table: int = 0) -> Any:
        """One of its tables as a pandas frame, numbers as they were computed; an empty cell is missing.

        Args:
            table: which, from 0.

        Raises:
            ExplorerError: it has no such table, or pandas is not installed.
        """
        if not 0 <= table < len(self.tables):
            raise ExplorerError(f"there is no table {table}", remedy=f"choose 0 to {len(self.tables) - 1}")
        return self.tables[table].frame()

    def __repr__(self) -> str:
        shown = ", ".join(f"{table.title} ({len(table.rows):,} rows)" for table in self.tables)
        return f"Findings: {shown or 'no table'}; keys {', '.join(self)}"

    def _repr_html_(self) -> str:
        return tables_html(self.tables)


def run(
    experiment: Experiment | tuple[Experiment, SpecSource] | str | Path | None = None,
    *,
    set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002 - the command's word for it
    session: str | Path | None = None,
    restart: bool = False,
    progress: bool = True,
    **fields: Any,
) -> Session:
    """Run an experiment under a progress bar, or go on with it, and return its session, which is saved.

    At a living worker, which has the model at hand, else in this process. The stop button (ctrl+c in a terminal) has
    the batch in flight finished and saved, a second time stops at once; the same call goes on from there. What has run
    already is opened.

    Args:
        experiment: a preset's name ("demo"), or an experiment file's path; one that was made, whose relative paths
            start from the working folder; what `read_experiment` gives; left out, it is made of `fields` alone.
        set: fields to set, as the command line's `--set` has them: ["generation.tokens=20"], or a dictionary,
            {"interventions.0.values": [-3, 3]}.
        session: the session's name or path; by default the preset's or the file's, and six digits of its content.
        restart: move what has this name to the trash first.
        progress: whether to show how far it is.
        fields: tables and fields of the experiment file by their names, generation={"tokens": 20}: what is set in a
            table leaves its other fields as they are; a list, interventions=[...], stands in place of the whole.

    Raises:
        ExplorerError: what the command would refuse: no such preset, file or field, a name that is taken.
        KeyboardInterrupt: it was stopped; what is finished is saved.
    """
    chosen = [set] if isinstance(set, str) else as_overrides(set) if isinstance(set, Mapping) else list(set)
    made, source = _read(experiment, [*as_overrides(fields), *chosen])
    path = default_path(made, source.name) if session is None else paths.session_path(str(session))
    notes = tuple(filter(None, [source.note, unseen_caption(made)]))
    began = time.monotonic()
    with Watch(quiet=not progress, opening=notes) as watch:
        outcome = None if restart else already_finished(preflight(made, source.base, path, restart=False), path)
        if outcome is None:
            watch.show(Progress("loading"))
            outcome = start_run(made, source.base, path, watch, restart=restart, ends=False)
        watch.open()
        for line in outcome.notes:
            if line not in notes:
                watch.say(line)
        told = outcome_line(outcome, time.monotonic() - began, watch.last.tokens, again=AGAIN)
        if outcome.session is None or outcome.status == "interrupted":
            raise Interrupted(told) from None
        watch.say(told)
    return outcome.session


def survey(
    experiment: Experiment | tuple[Experiment, SpecSource] | str | Path | None = None,
    *,
    neurons: Listed | None = None,
    layers: Listed | None = None,
    depth: Literal["forced", "free"] | None = None,
    then: str | None = None,
    vectors: Listed | None = None,
    score: Literal["generated", "prompts"] | None = None,
    set: Sequence[str] | Mapping[str, Any] = (),  # noqa: A002 - the command's word for it
    session: str | Path | None = None,
    restart: bool = False,
    progress: bool = True,
    **fields: Any,
) -> Session:
    """Do to many neurons what an experiment does to its one, as `run` does; the session's `survey()` has the numbers.

    `study("survey", session)` ranks them, `session.frame("survey")` has a row a layer, neuron and value.

    Args:
        experiment: as `run` takes it; its single intervention is the template, whose neuron and layer are replaced.
        neurons: "all", "0..99, 373", "11.373", "top:200", a list of them, or a file that lists them; that of the
            experiment if None.
        layers: "0..11" or "all"; the template's if None.
        depth: "forced" scores texts under every neuron, "free" has texts written.
        then: "top:50", how many go on from forced to free.
        vectors: neurons of which full vectors are kept.
        score: "generated" scores what the baseline writes, "prompts" the prompts themselves.
        set, session, restart, progress, fields: as `run` has them.

    Raises:
        ExplorerError: what the command would refuse.
        KeyboardInterrupt: it was stopped; what is finished is saved.
    """
    given = survey_overrides(neurons=neurons, layers=layers, depth=depth, then=then, vectors=vectors, score=score)
    chosen = [set] if isinstance(set, str) else as_overrides(set) if isinstance(set, Mapping) else list(set)
    made, source = _read(experiment, [*as_overrides(fields), *chosen, *given])
    if not made.survey:
        raise ExplorerError("no neurons are named to survey", remedy="give neurons='all'")
    return run((made, source), session=session, restart=restart, progress=progress)


def study(
    name: str,
    session: Session | str | Path | None = None,
    *,
    model: ModelSpec | str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Findings:
    """Ask a session for its meaning: what `srm-explorer NAME SESSION --setting value` prints, as data and tables.

    Args:
        name: effects, collapse, pairs, dose, planes, finder, controls, survey, compare, ledger, analysis, confirm,
            bands, ensemble; and those that load the model, at a worker if one is free: score, patching, tokens, neuron,
            usage, weights, directions, weighted-pairs. `effects` with `tokens` is the study "tokens", with `score=True`
            "score", with `rule` alone "collapse"; `pairs` with `weights=True` is "weighted-pairs".
        session: a session, its name or its path; one that was never saved has no study that needs the model.
        model: for "neuron", "usage" and "weights", the model where it is not the session's: a name, a folder, "demo".
        progress: whether to show how far a study with a model is.
        settings: as the command's options are called, without dashes: plane=1, tokens=" he, she", rule="published".

    Raises:
        ExplorerError: no such study, session or setting, or what the study itself refuses.
        KeyboardInterrupt: it was stopped; nothing of it is saved.
    """
    name = _named(name, settings)
    opened = load_session(session) if isinstance(session, str | Path) else session
    if name in STUDIES:
        if opened is None:
            raise ExplorerError(f"the study '{name}' is about a session", remedy=f"srm.study('{name}', session)")
        return Findings(study_session(name, opened, settings))
    if name not in MODEL_STUDIES:
        raise ExplorerError(f"there is no study '{name}'", remedy=did_you_mean(name, [*STUDIES, *MODEL_STUDIES]))
    if opened is not None and opened.path is None:
        raise ExplorerError("this session is in no file yet", where=opened.name, remedy="save the session first")
    spec = ModelSpec(name=model) if isinstance(model, str) else model
    try:
        found = model_findings(
            name, settings, session=opened and opened.path, model=spec, quiet=not progress, ends=False
        )
    except KeyboardInterrupt:
        raise Interrupted(f"{name} was stopped, and nothing of it is saved") from None
    return Findings(found)


def add_plane(
    session: Session,
    a: int | str,
    b: int | str,
    *,
    site: str | None = None,
    held_out: int | None = None,
    progress: bool = True,
) -> Session:
    """Make a plane of a session's vectors, as `srm-explorer planes SESSION --add A B` does; the session with it.

    It is not saved: `save_session(session, session.path)` does so. Weights of neurons are asked of the model.

    Args:
        a: what lies at 0 degrees: a coordinate's number, or a direction as experiment files have it: "pc1",
            "mean(type=plain)", "w_out(4.20)", "file.npz#name".
        b: what lies at 90 degrees, as far as `a` leaves it free.
        site: where it lies; needed where several sites were captured.
        held_out: seed of a split of the units: made of one half, shown on the other; None for all units.
        progress: whether to show how far loading a model is.

    Raises:
        ExplorerError: no such site or direction, directions that are parallel, vectors that were not kept.
    """
    sites = session.spec.capture.sites
    if site is None and len(sites) > 1:
        remedy = f"name one: site={' or '.join(map(repr, sites))}"
        raise ExplorerError(f"it captured {len(sites)} sites", where=session.name, remedy=remedy)
    chosen = chosen_site(session, site)
    chosen_site(session, chosen)
    choice = PlaneChoice(chosen, str(a), str(b), held_out)
    weights = outside_vectors(session, chosen, [str(a), str(b)], quiet=not progress, ends=False)
    return with_plane(session, session.vectors([chosen])[chosen], choice, weights)


def _read(
    experiment: Experiment | tuple[Experiment, SpecSource] | str | Path | None, overrides: Sequence[str]
) -> tuple[Experiment, SpecSource]:
    match experiment:
        case str() | Path():
            return read_experiment(str(experiment), overrides=overrides)
        case (Experiment() as made, SpecSource() as source):
            data, stem, base = made.to_dict(), source.name, source.base
        case Experiment():
            data, stem, base = experiment.to_dict(), "experiment", paths.working_folder()
        case None:
            data, stem, base = {}, "experiment", paths.working_folder()
        case _:
            what = f"a {type(experiment).__name__} is no experiment"
            raise ExplorerError(what, remedy="give a preset's name, a file's path, or an Experiment")
    return with_overrides(data, overrides, stem=stem, base=base)


def _named(name: str, settings: dict[str, Any]) -> str:
    """The study that a command's options choose."""
    if name == "effects":
        if settings.get("tokens") is not None:
            return "tokens"
        if settings.pop("score", False):
            return "score"
        if settings.get("rule") is not None and settings.keys() <= {"rule", "family"}:
            return "collapse"
    if name == "pairs" and settings.pop("weights", False):
        return "weighted-pairs"
    return name
