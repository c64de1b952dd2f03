"""From a run folder to a session."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from srm_explorer.engine.analyses import DIRECTIONS, W_OUT
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, Site, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.figures.arithmetic import SiteEdits
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.runs.controls import chosen_in, with_own_means
from srm_explorer.engine.runs.forecast import OWN_PREFIX, Forecast, own_readings
from srm_explorer.engine.runs.journal_reader import JournalReader, compact
from srm_explorer.engine.runs.journal_records import MeansKept, ValuesResolved
from srm_explorer.engine.runs.planes import SpannedPlane, planes_in
from srm_explorer.engine.runs.survey_journal import (
    SurveyKept,
    SurveyPlanned,
    survey_is_complete,
    survey_layout,
    survey_standing,
    survey_tables,
)
from srm_explorer.engine.runs.units import UNITS_PREFIX, Reading, check_resolved
from srm_explorer.engine.session import DamagedError, PlaneRecord, PromptRecord, Resolved, RunRecord, Session, plain
from srm_explorer.engine.session.controls import CONTROLS
from srm_explorer.engine.session.lengths import by_mark, differ_in_length, marks_of, means_of_tokens, shortened
from srm_explorer.engine.session.session import SHORTER, ShorterShadows
from srm_explorer.engine.session.standing import STANDING
from srm_explorer.engine.session.survey import SURVEY
from srm_explorer.engine.session.units import broken_texts
from srm_explorer.engine.stats.text import first_divergence

DEVICES = "devices"
"""What a session's provenance calls the devices of batches, where they differ from its device."""

Captured = dict[str, Matrix | list[Matrix]]
"""By site, rows in the order of the runs: [run, d], or a list of [token, d]."""

SURVEY_LAYOUT = "survey"
"""What a session's layout calls that of its survey."""

_OF_SHARDS = ("batch", MeansKept.EVENT, SurveyPlanned.EVENT, SurveyKept.EVENT)
"""Events that a session has no use for: they name files of the run folder."""


def grid_of(experiment: Experiment, n_prompts: int) -> Grid:
    return Grid(n_prompts, experiment.generation.samples, len(conditions(experiment)))


def assemble_session(journal: JournalReader, path: Path, before: Session | None) -> tuple[Session, Captured]:
    """Gather what a run folder holds into a session: finished, or interrupted where runs are missing.

    Args:
        journal: read to its end.
        before: what was saved under this name earlier in the same run; its notes and revision are kept.

    Returns:
        the session, not saved yet, and the full vectors of the captured sites; beside them, under names that begin with
        `SHORTER`, means over the first tokens, where texts of one prompt differ in length and not every token was kept,
        and under those that begin with `SURVEY` the tables of a survey.

    Raises:
        ExplorerError: vectors of a finished batch are missing or damaged.
    """
    experiment = journal.experiment
    runs, kept = compact(journal)
    captured = {site: vectors for site, vectors in kept.items() if not site.startswith((UNITS_PREFIX, OWN_PREFIX))}
    units = unit_readings(experiment, [run.condition == 0 and not run.is_broken for run in runs], kept)
    prompts = journal.start.prompts
    runs = with_first_changes(runs)
    session = session_of(journal, path, before, prompts, runs, (), units)
    if not runs:
        return session, captured
    spanned, events = planes_in(session, kept)
    shorter = Shorter.of(journal, runs, kept)
    records = tuple(plane.record(*plane.shadows(kept[plane.site]), shorter.shadows(plane)) for plane in spanned)
    session = session.changed(planes=records, events=(*session.events, *events))
    forecast = forecast_of(journal)
    planes = [(plane.site, plane.plane) for plane in spanned]
    forecast.take(runs, planes, kept)
    if shorter.runs:
        forecast.take(shorter.runs, planes, shorter.kept)
    session = session.changed(predictions=forecast.predictions(session), surveyed=survey_tables(journal))
    tables = {} if session.surveyed is None else session.surveyed.to_arrays()
    return session, {**captured, **shorter.saved, **tables}


@dataclass(frozen=True, eq=False)
class Shorter:
    """The runs of a journal over their first tokens, as many as they have in common with others of their prompts.

    Attributes:
        marks: [run] how many; None where no two texts of a prompt differ in length, or not all means are there yet.
        runs: [mark of each run] the runs, their texts shortened.
        kept: by name, [mark of each run, d].
        saved: what is saved of it, by name: [mark, d] a run.
    """

    marks: list[tuple[int, ...]] | None
    runs: list[RunRecord]
    kept: dict[str, Matrix]
    saved: Captured

    @classmethod
    def of(cls, journal: JournalReader, runs: Sequence[RunRecord], kept: Mapping[str, Matrix | list[Matrix]]) -> Self:
        """Gather them; `kept` are the vectors of the runs by name, over all of their tokens."""
        experiment = journal.experiment
        marks = marks_of(experiment, conditions(experiment), runs)
        if not differ_in_length(experiment, runs) or (takes_pass(experiment) and _means_missing(journal, runs)):
            return cls(None, [], {}, {})
        means = journal.shorter_means()
        by_name: dict[str, list[Matrix]] = {}
        for name in dict.fromkeys(name for named in means.values() for name in named):
            nothing = np.zeros((0, next(iter(means.values()))[name].shape[1]), np.float32)
            by_name[name] = [means[run.index][name] if own else nothing for run, own in zip(runs, marks, strict=True)]
        saved: Captured = {f"{SHORTER}{site}": by_name[site] for site in experiment.capture.sites if site in by_name}
        for site in experiment.capture.sites:
            tokens = kept[site]
            if isinstance(tokens, list):
                by_name[site] = means_of_tokens(runs, tokens, marks)
        return cls(
            marks,
            [shortened(run, mark) for run, own in zip(runs, marks, strict=True) for mark in own],
            {name: np.concatenate(rows) for name, rows in by_name.items()},
            saved,
        )

    def shadows(self, plane: SpannedPlane) -> ShorterShadows:
        """Where they lie in a plane, as its record has it; empty where nothing is known of that."""
        if self.marks is None:
            return ()
        if not self.runs:
            return tuple(() for _ in self.marks)
        xy, norm = plane.shadows(self.kept[plane.site])
        return by_mark(self.marks, xy, norm)


def forecast_of(journal: JournalReader) -> Forecast:
    """Begin to predict the runs of a journal; one begun by an older version tells less."""
    return Forecast(journal.experiment, journal.start.arithmetic)


def session_of(
    journal: JournalReader,
    path: Path,
    before: Session | None,
    prompts: Sequence[PromptRecord],
    runs: Sequence[RunRecord],
    planes: Sequence[PlaneRecord],
    units: Sequence[Mapping[str, Any] | None],
) -> Session:
    """Put a session together from what was made of a journal's runs.

    Args:
        units: for each intervention what units are taken from, None where that is not measured.
    """
    experiment = journal.experiment
    controls, directions = chosen_in(journal), journal.start.directions
    executed = dataclasses.replace(
        journal.plan, batches=tuple(tuple(run.index for run in batch.runs) for batch in journal.in_order)
    )
    parts, standing = survey_layout(journal), survey_standing(journal)
    return Session(
        name=path.name.removesuffix(".json"),
        state="finished" if is_complete(journal, runs) else "interrupted",
        spec=experiment.as_run(),
        conditions=conditions(experiment),
        resolved=resolved_in(journal),
        prompts=tuple(prompts),
        runs=tuple(runs),
        planes=tuple(planes),
        provenance={
            **journal.start.provenance,
            "units": list(units),
            **({} if controls is None else {CONTROLS: plain(controls)}),
            **_w_out(journal),
            **_devices(journal),
            **({DIRECTIONS: directions} if directions else {}),
            **({} if standing is None else {STANDING: standing.to_dict()}),
        },
        layout={**plain(executed), **({} if parts is None else {SURVEY_LAYOUT: plain(parts)})},
        receipts=tuple({"batch": batch.batch_index, **batch.receipt} for batch in journal.in_order),
        events=tuple(event for event in journal.events if event["event"] not in _OF_SHARDS),
        created=journal.start.created,
        notes=before.notes if before else "",
        revision=before.revision if before else 0,
    )


def takes_pass(experiment: Experiment) -> bool:
    """Whether anything is kept of a run as a mean alone, so that its means over fewer tokens take another pass."""
    return experiment.capture.reduce == "mean" or bool(own_readings(experiment))


def is_complete(journal: JournalReader, runs: Sequence[RunRecord]) -> bool:
    """Whether a journal holds all that was planned: every run, the means that another pass takes of them, a survey."""
    if not survey_is_complete(journal):
        return False
    return len(runs) == len(journal.grid) and not (takes_pass(journal.experiment) and _means_missing(journal, runs))


def _means_missing(journal: JournalReader, runs: Sequence[RunRecord]) -> bool:
    marks = marks_of(journal.experiment, conditions(journal.experiment), runs)
    done = {index for event in journal.events_of(MeansKept) for index in event.runs}
    return any(own and run.index not in done for run, own in zip(runs, marks, strict=True))


def _w_out(journal: JournalReader) -> dict[str, Any]:
    """Rows of W_out of the neurons that were edited, by their site and number: what they write by construction."""
    rows = cast("dict[str, list[list[float]]]", journal.start.arithmetic.get("rows", {}))
    by_site: dict[str, dict[str, Any]] = {}
    for site, matrix in rows.items():
        neurons = SiteEdits.of(journal.experiment, site).neurons
        home = str(Site(Site.parse(site).layer, "mlp.hook_post"))
        by_site[home] = {
            str(neuron): [float(f"{entry:.9g}") for entry in row] for neuron, row in zip(neurons, matrix, strict=False)
        }
    return {W_OUT: by_site} if by_site else {}


def _devices(journal: JournalReader) -> dict[str, Any]:
    """Batches that ran on another device than the run began on, by device; nothing where there is none."""
    began, by_device = journal.start.provenance.get("device"), dict[str, list[int]]()
    for batch in journal.in_order:
        if batch.device and batch.device != began:
            by_device.setdefault(batch.device, []).append(batch.batch_index)
    return {DEVICES: by_device} if by_device else {}


def unit_readings(
    experiment: Experiment, is_baseline: Sequence[bool], kept: Mapping[str, Matrix | list[Matrix]]
) -> list[dict[str, Any] | None]:
    """Measure what units are taken from, as plain data; None for an intervention where nothing was measured.

    Args:
        is_baseline: [run] whether a run is one that units are measured on.
        kept: vectors by name; those of `UNITS_PREFIX` hold a [token, k] array a run.
    """
    readings = _readings(experiment, is_baseline, kept)
    return [
        None if reading is None else reading.to_dict(intervention)
        for intervention, reading in zip(experiment.interventions, readings, strict=True)
    ]


def not_finite(runs: Sequence[RunRecord], captured: Captured) -> tuple[str, ...]:
    """Say which runs have logits, or vectors, with numbers that are not finite, a line a site."""
    lines = list(broken_texts(runs))
    for site, vectors in captured.items():
        if site.startswith((SHORTER, SURVEY)):
            continue
        bad = [str(run.index) for run, vector in zip(runs, vectors, strict=True) if not np.isfinite(vector).all()]
        if bad:
            listed = ", ".join(bad[:5]) + (", …" if len(bad) > 5 else "")
            lines.append(f"{site}: {len(bad)} runs have vectors that are not finite; sweeps leave out runs {listed}")
    return tuple(lines)


def resolved_in(journal: JournalReader) -> Resolved:
    """Read the raw values that were frozen in a journal; empty while units wait for the baseline.

    Raises:
        ExplorerError: they are not what was written.
    """
    resolved = journal.events_of(ValuesResolved)
    if not resolved:
        return ()
    experiment = journal.experiment
    try:
        check_resolved(experiment, resolved[0].values)
    except DamagedError as error:
        what = f"its values are damaged: {error}"
        raise ExplorerError(what, where=str(journal.folder), remedy="start again with --restart") from None
    return with_own_means(resolved[0].values, experiment, conditions(experiment), chosen_in(journal))


def measured_in(journal: JournalReader) -> list[Reading | None]:
    """Measure what units are taken from on the baseline runs a journal holds."""
    runs, kept = compact(journal)
    return _readings(journal.experiment, [run.condition == 0 and not run.is_broken for run in runs], kept)


def with_first_changes(runs: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Note in each run the first token that differs from its baseline's, as the metric `first_change`.

    Runs whose text is the baseline's, and baselines, have no such metric.
    """
    baseline = {(run.prompt, run.sample): run.token_ids for run in runs if run.condition == 0}
    return tuple(_with_first_change(run, baseline.get((run.prompt, run.sample))) for run in runs)


def _with_first_change(run: RunRecord, baseline: tuple[int, ...] | None) -> RunRecord:
    if baseline is None:
        return run
    first = first_divergence(run.token_ids, baseline)
    return run if first is None else dataclasses.replace(run, metrics={**run.metrics, "first_change": float(first)})


def _readings(
    experiment: Experiment, is_baseline: Sequence[bool], kept: Mapping[str, Matrix | list[Matrix]]
) -> list[Reading | None]:
    readings: list[Reading | None] = []
    for index, edit in enumerate(experiment.interventions):
        by_run = kept.get(f"{UNITS_PREFIX}{index}", [])
        baseline = [tokens for chosen, tokens in zip(is_baseline, by_run, strict=False) if chosen and len(tokens)]
        measured = np.concatenate(baseline) if baseline else None
        readings.append(None if measured is None else Reading.of(measured, is_direction=edit.direction is not None))
    return readings
