"""A run as it grows: what is finished so far, as a session, read off its folder by anyone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from srm_explorer.engine.analyses.directions import DIRECTIONS, known_directions
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.vectors import Matrix, read_vectors, widths
from srm_explorer.engine.runs.collect import forecast_of, session_of, unit_readings, with_first_changes
from srm_explorer.engine.runs.journal_reader import SPEC, BatchRecord, JournalReader
from srm_explorer.engine.runs.planes import Shadows, SpannedPlane, fixed_planes
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.runs.survey_journal import SurveyJournal
from srm_explorer.engine.runs.units import UNITS_PREFIX
from srm_explorer.engine.session import RunRecord, Session

Life: TypeAlias = Literal["written", "left", "gone"]
"""A process writes the folder; nobody does; it is not there any more (saved, or moved away), or it is another run's."""


class LiveRun:
    """Follows a run folder: `poll` reads on, and the vectors of every batch are read once.

    Attributes:
        session: the finished runs, equal to what `assemble_session` makes of them but for the statistics of units,
            which are measured once when the last baseline run is there; the same object until something comes to it,
            None before the first run.
        progress: how far the run is, as its writer last told; None before it has.

    Args:
        before: what was saved under its name earlier in the same run.

    Raises:
        ExplorerError: there is no run, or what it began with is damaged.
    """

    def __init__(self, folder: Path, before: Session | None = None) -> None:
        self.path = folder.with_name(f"{folder.name.removesuffix('.run')}.json")
        self.session: Session | None = None
        self.progress: Progress | None = None
        self.life: Life = "left"
        self._folder = folder
        self._before = before
        self._mark = _mark(folder)
        self._journal = JournalReader(folder)
        self._experiment = self._journal.experiment
        start = self._journal.start
        self._prompts = start.prompts
        self.created = start.created
        self._grid = self._journal.grid
        self._taken = 0
        self._plain: dict[int, RunRecord] = {}
        self._compared: dict[int, RunRecord] = {}
        self._known = known_directions({DIRECTIONS: start.directions})
        self._planes: list[SpannedPlane] | None = None
        self._shadows: list[Shadows] = []
        self._units: dict[str, dict[int, Matrix]] = {}
        self._unit_readings: list[dict[str, object] | None] = [None for _ in self._experiment.interventions]
        self._sites = {self._experiment.plane_site(plane) for plane in self._experiment.planes}
        self._forecast = forecast_of(self._journal)
        self._survey = SurveyJournal(self._journal) if self._experiment.survey else None
        units = {f"{UNITS_PREFIX}{index}" for index in range(len(self._experiment.interventions))}
        # Batches without a baseline have none of these, nor have runs that were begun without what they are for.
        self._readings = units | self._forecast.vector_names

    @property
    def done(self) -> int:
        return len(self._plain)

    @property
    def runs(self) -> int:
        return len(self._grid)

    def poll(self) -> bool:
        """Read on; tell whether there is anything new: runs, progress, or what became of the folder.

        Raises:
            ExplorerError: the folder is damaged.
        """
        if self.life == "gone":
            return False
        before = self.session, self.progress, self.life
        try:
            grown = bool(self._journal.poll())
            if not self._is_same():
                raise _GoneError
            for batch in self._journal.batches[self._taken :]:
                self._take(batch)
                self._taken += 1
                grown = True
            if self._survey is not None:
                self._survey.poll()
            if grown and self._plain:
                self.session = self._session()
            self.progress = self._progress()
            self.life = "left" if self._journal.writer_pid() is None else "written"
        except ExplorerError:
            if self._is_same():
                raise
            self.life = "gone"
        except _GoneError:
            self.life = "gone"
        # Sessions by identity: comparing them whole would take longer than making them.
        return before[0] is not self.session or before[1:] != (self.progress, self.life)

    def _take(self, batch: BatchRecord) -> None:
        indices = [run.index for run in batch.runs]
        # Not hashed, as it is when the run is saved: a shard is whole before its line is there.
        shard = self._folder / batch.shard
        vectors = read_vectors(shard, runs=len(indices), sites=self._sites, optional=self._readings)
        planes = self._spanned(vectors)
        for plane, (xy, norm) in zip(planes, self._shadows, strict=True):
            xy[indices], norm[indices] = plane.shadows(vectors[plane.site])
        self._forecast.take(batch.runs, [(plane.site, plane.plane) for plane in planes], vectors)
        self._plain.update((run.index, run) for run in batch.runs)
        self._tell_changes(batch)
        self._measure(batch, vectors)

    def _spanned(self, vectors: dict[str, Matrix | list[Matrix]]) -> list[SpannedPlane]:
        """The planes that stay the same whatever runs come; the others are there when the run is saved."""
        if self._planes is None:
            of = widths(vectors)
            fixed = fixed_planes(self._experiment, {site: of[site] for site in self._sites}, self._known)
            self._planes = [plane for _, plane in fixed]
            nothing = np.full(len(self._grid), np.nan)
            self._shadows = [(np.stack([nothing, nothing], axis=1), nothing.copy()) for _ in self._planes]
        return self._planes

    def _tell_changes(self, batch: BatchRecord) -> None:
        """Compare runs with their baselines: those that came, and those whose baseline did."""
        pairs = {(run.prompt, run.sample) for run in batch.runs}
        places = [self._grid.index(*pair, condition) for pair in pairs for condition in range(self._grid.conditions)]
        runs = [self._plain[index] for index in places if index in self._plain]
        self._compared.update((run.index, run) for run in with_first_changes(runs))

    def _measure(self, batch: BatchRecord, vectors: dict[str, Matrix | list[Matrix]]) -> None:
        for name, rows in vectors.items():
            if name.startswith(UNITS_PREFIX):
                kept = self._units.setdefault(name, {})
                baseline = [(run, row) for run, row in zip(batch.runs, rows, strict=True) if run.condition == 0]
                kept.update((run.index, row[:0] if run.is_broken else row) for run, row in baseline)
        baselines = self._grid.prompts * self._grid.samples
        if any(run.condition == 0 for run in batch.runs) and all(len(k) == baselines for k in self._units.values()):
            ordered: dict[str, Matrix | list[Matrix]] = {
                name: [row for _, row in sorted(kept.items())] for name, kept in self._units.items()
            }
            self._unit_readings = list(unit_readings(self._experiment, [True] * baselines, ordered))

    def _session(self) -> Session:
        order = sorted(self._compared)
        session = session_of(
            self._journal,
            self.path,
            self._before,
            self._prompts,
            [self._compared[index] for index in order],
            [
                plane.record(xy[order], norm[order])
                for plane, (xy, norm) in zip(self._planes or (), self._shadows, strict=True)
            ],
            self._unit_readings,
        )
        surveyed = None if self._survey is None else self._survey.tables()
        return session.changed(predictions=self._forecast.predictions(session), surveyed=surveyed)

    def _progress(self) -> Progress | None:
        progress = Progress.from_dict(self._journal.progress())
        if progress is None or progress.runs_done >= self.done:
            return progress
        # The journal is ahead of the file: the batch in flight that it tells of is finished.
        return dataclasses.replace(progress, runs_done=self.done, runs=len(self._grid), rows=0, step=0)

    def _is_same(self) -> bool:
        return _mark(self._folder) == self._mark


class _GoneError(Exception):
    """The folder is not there any more, or another run's."""


def _mark(folder: Path) -> tuple[int, int, int] | None:
    """Tell a run folder from the one of another run at the same place."""
    try:
        stat = (folder / SPEC).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns
