"""Two to eight sessions on one chart: their curves under names that tell them apart, and the numbers side by side."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import differences
from srm_explorer.engine.experiment.directions import Component, GroupMean, MeanDifference, direction_of
from srm_explorer.engine.figures.captions import model_caption, plane_captions, plane_title
from srm_explorer.engine.figures.curves import LegendEntry, SweptGroup
from srm_explorer.engine.figures.groups import session_warnings, swept_groups
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.polar import PolarFigure, polar_counts, polar_mean, threshold_index
from srm_explorer.engine.figures.thresholds import ThresholdFigure, threshold_figure
from srm_explorer.engine.io.files import CsvWriter
from srm_explorer.engine.session import PlaneRecord, Session

FULL_TURN = 360
MOST_SESSIONS = 8
"""That are compared at once: as many as have a colour and a marker of their own."""
FIRST, SECOND = "1st direction", "2nd direction"
"""What the spokes of a chart are called on which every session lies in a plane of its own."""

Planes: TypeAlias = tuple[PlaneRecord | None, ...]
"""A plane of every session; None of one that has none."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Sessions and what of them can be compared.

    Attributes:
        sessions: two to eight; one twice where its own groups are compared.
        planes: a row for every plane that all have, in the first session's order; where none is, for each number of
            plane, those that sessions have under it.
        differences: one line a field of their experiments that differs; of more than two, see `fields`.
        notes: what the reader must know first: other models, no plane in common.
        own: whether no plane is common, so that every row holds sessions' own.
    """

    sessions: tuple[Session, ...]
    names: tuple[str, ...]
    planes: tuple[Planes, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    own: bool = False

    @property
    def pair(self) -> tuple[Session, Session]:
        """The first two."""
        return self.sessions[0], self.sessions[1]

    def common(self, plane: int) -> PlaneRecord | None:
        """A plane that all have, as the first session has it; None where each lies in its own."""
        return None if self.own or not self.planes else self.planes[plane][0]

    def fields(self) -> tuple[tuple[str, ...], ...]:
        """A row for every field of their experiments that differs: its name, then its value in every session."""
        first, *others = [session.spec for session in self.sessions]
        told = [dict(_parted(line) for line in differences(first, other)) for other in others]
        names = dict.fromkeys(name for each in told for name in each)
        before = {name: old for each in reversed(told) for name, (old, _) in each.items()}
        return tuple(
            (name, before[name], *(each[name][1] if name in each else before[name] for each in told)) for name in names
        )

    def thresholds(self) -> tuple[float, ...]:
        """All thresholds of the experiments, the largest first."""
        return tuple(
            sorted({level for session in self.sessions for level in session.spec.spotlight.thresholds}, reverse=True)
        )

    def swapped(self) -> Comparison:
        """The second session first; of more than two, each a place forward."""
        return compare(*self.sessions[1:], self.sessions[0])


@dataclass(frozen=True)
class GroupNumbers:
    """One group where the spotlight stands.

    Attributes:
        n_runs: runs, those that are not finite included.
        amplitude: of the mean; NaN without a finite run.
        phase_deg: of the mean; None where it is undefined.
        lit: finite runs whose cosine with the spotlight is above the threshold.
        total: finite runs.
        mean: mean cosine at the spotlight's angle.
    """

    label: str
    n_runs: int
    amplitude: float
    phase_deg: float | None
    lit: int
    total: int
    mean: float


def compare(*sessions: Session) -> Comparison:
    """Lay out two to eight sessions; nothing of them needs to be alike.

    Raises:
        ExplorerError: they are too many, or one alone.
    """
    if not 2 <= len(sessions) <= MOST_SESSIONS:
        what = f"{count_of(len(sessions), 'session')} cannot be compared at once"
        raise ExplorerError(what, remedy=f"choose two to {MOST_SESSIONS}")
    names = session_names(*sessions)
    first, *others = sessions
    is_alone = all(other is first for other in others)
    rows = [(plane, [_same(plane, other) for other in others]) for plane in first.planes]
    shared = [(plane, rest) for plane, rest in rows if None not in rest]
    common = [(plane, *rest) for plane, rest in shared if is_alone or _is_shared(plane)]
    notes: list[str] = []
    most = 0
    models = {model_caption(session): None for session in sessions}
    if len(models) > 1:
        notes.append(f"other models, {' and '.join(models)}: the same index does not mean the same neuron")
    for plane, _ in shared:
        if not is_alone and not _is_shared(plane):
            notes.append(f"{plane_title(plane)} is made of each session's own runs: other axes under one name")
    planes: tuple[Planes, ...] = tuple(common)
    if not common:
        notes.append("no plane in common: each session is drawn in its own")
        most = max(len(session.planes) for session in sessions)
        planes = tuple(
            tuple(s.planes[min(at, len(s.planes) - 1)] if s.planes else None for s in sessions) for at in range(most)
        )
    for name, session in zip(names, sessions, strict=True):
        if not session.runs:
            notes.append(f"no run of {name} is finished")
        elif not session.planes and not common and most:
            notes.append(f"{name} has no plane, so no curve: srm-explorer planes {session.name} --add A B")
    lines = tuple(differences(first.spec, others[0].spec)) if len(sessions) == 2 else ()
    return Comparison(tuple(sessions), names, planes, lines, tuple(notes), own=not common)


def _same(plane: PlaneRecord, session: Session) -> PlaneRecord | None:
    return next((record for record in session.planes if record.key == plane.key), None)


def _parted(line: str) -> tuple[str, tuple[str, str]]:
    """A line "field: old -> new" in its parts."""
    field, _, values = line.partition(": ")
    old, _, new = values.partition(" -> ")
    return field, (old, new)


def session_names(*sessions: Session) -> tuple[str, ...]:
    """What the sessions are called: by name; with their folder, or a number, where names are alike."""
    names = [session.name for session in sessions]
    if len(set(names)) == len(names):
        return tuple(names)
    folders = [session.path.parent.name if session.path else "" for session in sessions]
    longer = [
        f"{name} in {folder}" if names.count(name) > 1 else name for name, folder in zip(names, folders, strict=True)
    ]
    if all(folders) and len(set(longer)) == len(longer):
        return tuple(longer)
    numbered = [
        f"{name} ({names[:at].count(name) + 1})" if name in names[:at] else name for at, name in enumerate(names)
    ]
    return tuple(numbered)


def two_names(first: Session, other: Session) -> tuple[str, str]:
    """What two sessions are called."""
    names = session_names(first, other)
    return names[0], names[1]


def compared_groups(comparison: Comparison, plane: int = 0, *, baselines: bool = True) -> tuple[SweptGroup, ...]:
    """Sweep all sessions in one row of planes: "name · baseline", "name · clamped" of each that has a plane and runs.

    Without baselines a session's one group has its name.

    All are swept at whole degrees with all thresholds of all, whatever their own experiments ask for.

    Args:
        plane: row of `Comparison.planes`.
        baselines: whether baselines and references are among them, where a session has anything else.

    Raises:
        ExplorerError: none of them has a plane and a run.
    """
    levels = comparison.thresholds()
    groups: list[SweptGroup] = []
    for index, (session, name) in enumerate(zip(comparison.sessions, comparison.names, strict=True)):
        record = comparison.planes[plane][index] if comparison.planes else None
        if record is None or not session.runs:
            continue
        spotlight = session.spec.spotlight.model_copy(update={"angles": FULL_TURN})
        turned = session.changed(spec=session.spec.model_copy(update={"spotlight": spotlight}))
        swept = swept_groups(turned, record, thresholds=levels)
        # Of a session in which nothing was done, or finished, the baseline is all there is.
        kept = [group for group in swept if group.role == "pooled"] or swept[:1]
        # A reference last: charts without it give the other groups the same looks.
        for group in sorted(swept if baselines else kept, key=lambda group: group.role == "reference"):
            label = name if group.role == "pooled" and not baselines else f"{name} · {group.label}"
            groups.append(dataclasses.replace(group, label=label, session=index))
    if not groups:
        remedy = "the effects on their texts, and what differs between their experiments, are listed"
        raise ExplorerError(f"none of {_listed(comparison.names)} has a plane and a run", remedy=remedy)
    return tuple(groups)


def compared_numbers(groups: Sequence[SweptGroup], theta: int, threshold: float) -> tuple[GroupNumbers, ...]:
    """What `compared_groups` counted where the spotlight stands.

    Args:
        theta: the spotlight's angle in whole degrees.

    Raises:
        ExplorerError: they were not swept with this threshold.
    """
    at = theta % FULL_TURN
    return tuple(
        GroupNumbers(
            label=group.label,
            n_runs=group.n_runs,
            amplitude=group.sweep.amplitude,
            phase_deg=group.sweep.phase_deg,
            lit=int(group.sweep.counts[threshold_index(group, threshold), at]),
            total=group.sweep.n,
            mean=float(group.sweep.mean[at]),
        )
        for group in groups
    )


def compared_polar(
    comparison: Comparison,
    groups: Sequence[SweptGroup],
    view: Literal["counts", "mean"],
    threshold: float,
    plane: int = 0,
) -> PolarFigure:
    """The polar chart of all: shares above a threshold, or mean cosines; each in its own plane where none is common."""
    a, b = FIRST, SECOND
    record = comparison.common(plane)
    if record is not None:
        a, b = plane_captions(record)
    title = _title(comparison, plane)
    figure = polar_mean(groups, a, b, title) if view == "mean" else polar_counts(groups, a, b, threshold, title)
    return _told(figure, comparison, groups, plane)


def compared_thresholds(
    comparison: Comparison, groups: Sequence[SweptGroup], threshold: float, plane: int = 0
) -> ThresholdFigure:
    """Shares above one threshold over the angle, of all."""
    title = _title(comparison, plane)
    figure = threshold_figure(groups, title, share=True, levels=(threshold,), with_means=False)
    return _told(figure, comparison, groups, plane)


Figure = TypeVar("Figure", PolarFigure, ThresholdFigure)


def _told(figure: Figure, comparison: Comparison, groups: Sequence[SweptGroup], plane: int) -> Figure:
    """A chart whose curves have their sessions' colours, with the plane of each where they are not one."""
    of = {group.label: group.session for group in groups}
    legend: list[LegendEntry] = []
    for entry in figure.legend:
        session = of[entry.label]
        record = None if session is None else comparison.planes[plane][session]
        details = entry.details
        if comparison.own and record is not None:
            details = (*details[:1], plane_title(record), *details[1:])
        legend.append(dataclasses.replace(entry, session=session, details=details))
    warnings = (*figure.warnings, *_warnings(comparison, groups, plane))
    return dataclasses.replace(figure, legend=tuple(legend), warnings=warnings)


def _is_shared(plane: PlaneRecord) -> bool:
    """Whether a plane is one in all sessions: not where a direction is computed from a session's runs."""
    made_of_runs = Component | GroupMean | MeanDifference
    return not any(isinstance(direction_of(along), made_of_runs) for along in (plane.a, plane.b))


def _title(comparison: Comparison, plane: int) -> str:
    record = comparison.planes[plane][0]
    lies = "each in its own plane" if comparison.own or record is None else plane_title(record)
    return f"{_listed(comparison.names)} · {lies}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else count_of(len(names), "session")


def _warnings(comparison: Comparison, groups: Sequence[SweptGroup], plane: int) -> tuple[str, ...]:
    warnings: list[str] = list(comparison.notes)
    for index, (session, name) in enumerate(zip(comparison.sessions, comparison.names, strict=True)):
        record = comparison.planes[plane][index]
        notes = () if record is None or not session.runs else session_warnings(session, record, groups)
        warnings.extend(f"{name}: {warning}" for warning in notes)
    return tuple(dict.fromkeys(warnings))


def groups_csv(groups: Sequence[SweptGroup], levels: Sequence[float]) -> str:
    """The curves of all, a row a group and angle: mean cosine, and the count above every threshold."""
    file = io.StringIO()
    writer = CsvWriter(file)
    writer.writerow(["group", "runs", "angle_deg", "mean_similarity", *(f"count_thresh_{x:g}" for x in levels)])
    for group in groups:
        sweep = group.sweep
        order = [sweep.thresholds.index(level) for level in levels]
        for at, angle in enumerate(sweep.angles_deg.tolist()):
            counts = [int(sweep.counts[index, at]) for index in order]
            writer.writerow([group.label, sweep.n, f"{angle:g}", repr(float(sweep.mean[at])), *counts])
    return file.getvalue()
