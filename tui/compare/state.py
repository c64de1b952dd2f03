"""What the comparison shows: two to eight sessions, their planes, the view, and where the spotlight stands."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from rich.cells import cell_len

from srm_explorer.engine.analyses import (
    NOT_SCORED,
    OVER_VALUES,
    ComparedPair,
    ComparedSessions,
    CompareView,
    compare_figure,
    compare_groups,
    compared_sessions,
    curves_table_of,
    difference_chart,
    difference_curves,
    findings_of,
    held_out,
    recorded,
    same_axes,
    value_charts,
)
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import (
    BASELINE,
    MINUS,
    NOTHING,
    Comparison,
    DoseFigure,
    GroupNumbers,
    PolarFigure,
    SweptGroup,
    ThresholdFigure,
    compare,
    compared_groups,
    compared_numbers,
    degrees,
    dipped,
    exploratory_line,
    exploratory_sidecar,
    group_names,
    groups_csv,
    pooled_caption,
    short,
    tables_as_csv,
    telling_threshold,
    three_digits,
)
from srm_explorer.engine.io.files import CsvWriter, write_atomic
from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.engine.stats.spotlight import FULL_TURN
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.palette import session_look, session_style
from srm_explorer.tui.charts.picture import svg_of
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.charts.scenes import scene_of_polar, scene_of_thresholds
from srm_explorer.tui.compare.tables import (
    COLUMNS,
    SCORE,
    EffectRow,
    Row,
    effect_columns,
    effect_rows,
    rows_of,
    summary_of,
    text_of,
)
from srm_explorer.tui.text import told_apart
from srm_explorer.tui.widgets.table_render import Cell, Column


def pairs_of(first: Session, second: Session) -> tuple[tuple[str, str], ...]:
    """Pairs of groups worth comparing: like ones of two sessions; of one, each with the baseline, values, levels."""
    try:
        names = group_names(first)
        if first is not second:
            theirs = group_names(second)
            shared = [(name, name) for name in names if name in theirs]
            pooled = pooled_caption(first.spec), pooled_caption(second.spec)
            if pooled[0] in names and pooled[1] in theirs and pooled not in shared:
                shared.append(pooled)
            return tuple(sorted(shared, key=lambda pair: pair != pooled))
    except ExplorerError:
        return ()
    conditions = [name for name in names if "=" not in name and name != BASELINE]
    pairs = [(name, BASELINE) for name in conditions if BASELINE in names]
    values = conditions[1:]
    if len(values) > 1:
        pairs.append((values[-1], values[0]))
    levels = [name for name in names if "=" in name]
    mains = conditions[:1] or [BASELINE]
    for level, other in combinations(levels, 2):
        if level.partition("=")[0] == other.partition("=")[0]:
            pairs += [(f"{main}, {level}", f"{main}, {other}") for main in mains]
    return tuple(pairs)


def computed(
    sessions: tuple[Session, Session],
    plane: PlaneRecord,
    pair: tuple[str, str],
    levels: tuple[float, ...],
    names: tuple[str, str],
) -> ComparedPair:
    """Infer one difference.

    Raises:
        ExplorerError: a group has no run, or the sessions do not lie on the same axes.
    """
    first, second = sessions
    shown_names = None if first is second else names
    return compare_groups(first, second, plane, [pair], levels, names=shown_names)[0]


SAME = "the same experiment"


SMALLEST = (100, 32)
"""Columns and rows a written chart has at least."""
VIEWS: tuple[CompareView, ...] = get_args(CompareView)
Part: TypeAlias = Literal["chart", "effects", "numbers", "differences"]
_CALLED: dict[CompareView, str] = {
    "dose": "small multiples",
    "amplitude": "amplitude A",
    "changed": "share changed",
    "kl": "KL",
}
WIDEST_MARK = "●"
LONGEST_LABEL = 32
"""Cells of a group's name for which other columns go."""
MANY = 2
"""Sessions beyond which baselines are left out of the chart until they are asked for."""


class CompareState:
    """Sessions compared; every number of the screen comes from here.

    Attributes:
        comparison: the sessions.
        plane: index among their rows of planes.
        theta: the spotlight's angle in whole degrees, 0 to 359.
        threshold: cosine, one of either experiment's.
        view: what the chart shows.
        groups: of all, swept in the plane; empty where nothing can be.
        baselines: whether baselines are among them.
        subtracts: whether one group minus another is shown, not the sessions over one another.
        pairs: groups that can be subtracted, the second from the first.
        pair: index of the one that is.
    """

    score = SCORE
    """What is said to be done where KL is not scored."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.plane = 0
        self.theta = 0
        self.view: CompareView = "counts"
        self.groups: tuple[SweptGroup, ...] = ()
        self.baselines = len(comparison.sessions) <= MANY
        self.subtracts = self.is_alone
        self.pairs = pairs_of(*comparison.pair) if self.can_subtract else ()
        self.pair = 0
        self._inferred: dict[tuple[int, int], ComparedPair | ExplorerError] = {}
        self._measured: dict[int, ComparedSessions] = {}
        self._rows: dict[int, tuple[EffectRow, ...]] = {}
        self._fault = ""
        self._dipped: tuple[str, ...] = ()
        self._sweep()
        self.threshold = telling_threshold(self.groups) if self.groups else comparison.thresholds()[0]

    @classmethod
    def of(cls, *files: Path) -> CompareState:
        """Read the sessions; one file twice is one session whose groups are compared.

        Raises:
            ExplorerError: one of them cannot be read.
        """
        read = {file: load_session(file) for file in dict.fromkeys(files)}
        return cls(compare(*(read[file] for file in files)))

    @property
    def is_alone(self) -> bool:
        """Whether one session's own groups are compared."""
        return self.comparison.sessions[0] is self.comparison.sessions[1]

    @property
    def can_subtract(self) -> bool:
        """Whether there are two sessions, or one, and a plane that they have in common."""
        return len(self.comparison.sessions) == 2 and not self.comparison.own

    def frozen(self) -> CompareState:
        return copy.copy(self)

    def turn(self, angle: int) -> None:
        self.theta = (self.theta + angle) % FULL_TURN

    def next_threshold(self, step: int = 1) -> None:
        known = self.comparison.thresholds()
        self.threshold = known[(known.index(self.threshold) + step) % len(known)]

    def next_view(self, step: int = 1) -> None:
        if self.subtracts:
            self.view = "counts" if self.view == "mean" else "mean"
            return
        self.view = VIEWS[(VIEWS.index(self.view) + step) % len(VIEWS)]

    def show(self, view: CompareView) -> None:
        self.view = view

    def next_plane(self) -> None:
        if len(self.comparison.planes) > 1:
            self.go_to((self.plane + 1) % len(self.comparison.planes))

    def go_to(self, plane: int) -> None:
        """Show another row of planes."""
        if plane != self.plane:
            self.plane = plane
            self._sweep()

    def swap(self) -> None:
        self.comparison = self.comparison.swapped()
        self.plane = 0
        self.pairs = pairs_of(*self.comparison.pair) if self.can_subtract else ()
        self.pair, self._inferred, self._measured, self._rows = 0, {}, {}, {}
        self._sweep()

    def follow(self, sessions: Sequence[Session]) -> None:
        """Take the same sessions under the names they have now."""
        self.comparison = compare(*sessions)
        self._inferred, self._measured, self._rows = {}, {}, {}
        self._sweep()

    def toggle_baselines(self) -> None:
        self.baselines = not self.baselines
        self._sweep()

    def subtract(self) -> None:
        """Show one group minus another, or the sessions again.

        Raises:
            ExplorerError: these sessions have no plane in which that can be done.
        """
        if not self.can_subtract:
            raise ExplorerError(self.why_not)
        self.subtracts = not self.subtracts

    def next_pair(self, step: int = 1) -> None:
        """Subtract the next pair of groups; ExplorerError as `subtract`."""
        if not self.can_subtract:
            raise ExplorerError(self.why_not)
        self.subtracts = True
        self.pair = (self.pair + step) % max(1, len(self.pairs))

    @property
    def why_not(self) -> str:
        """Why curves of these sessions are not subtracted, and what to do."""
        if len(self.comparison.sessions) > 2:
            return "curves are subtracted of two sessions; the table has each one less the first"
        name = self.comparison.names[1]
        return (
            "no plane in common, so no curve is subtracted; the table has what can be told. "
            f"srm-explorer planes {name} --add A B adds a plane"
        )

    @property
    def compared(self) -> ComparedSessions | None:
        """What each session did in the planes in view; None until it is measured."""
        return self._measured.get(self.plane)

    def measure(self) -> None:
        """Measure every session in the planes in view, a moment's work, and what it is by the value.

        The tests go into the ledger of each session.
        """
        compared = compared_sessions(self.comparison, self.plane)
        self._rows[self.plane] = effect_rows(compared)
        # Read now, beside the screen: every chart over the values is made of these.
        if any(compared.by_value):
            value_charts(compared, self.threshold)
        self._measured[self.plane] = compared

    @property
    def effects(self) -> tuple[EffectRow, ...]:
        """The rows of the table of effects; none until they are measured."""
        return self._rows.get(self.plane, ())

    @property
    def unscored(self) -> tuple[Path, ...]:
        """Files of the sessions whose KL is not scored."""
        compared = self.compared
        measured = () if compared is None else compared.measured
        return tuple(
            each.session.path
            for each in measured
            if each.session.path is not None and each.missing.get("kl", "").startswith(NOT_SCORED)
        )

    @property
    def inferred(self) -> ComparedPair | ExplorerError | None:
        """The difference that is shown, or why there is none; None while it has to be computed."""
        if not self.pairs or not self.comparison.planes:
            return ExplorerError("there are no two groups to subtract")
        return self._inferred.get((self.plane, self.pair))

    def infer(self) -> None:
        """Compute the difference that is shown, a moment's work."""
        key = (self.plane, self.pair)
        plane = self.comparison.common(self.plane)
        assert plane is not None
        levels, names = self.comparison.thresholds(), (self.names[0], self.names[1])
        try:
            pair = computed(self.comparison.pair, plane, self.pairs[self.pair], levels, names)
        except ExplorerError as error:
            self._inferred[key] = error
        else:
            # With every difference that is tested, q of those before it grows.
            known = {key: shown for key, shown in self._inferred.items() if isinstance(shown, ComparedPair)}
            known[key] = pair
            self._inferred.update(zip(known, recorded([*known.values()]), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        return self.comparison.names

    @property
    def short_names(self) -> tuple[str, ...]:
        """What tells the sessions apart, for where there is no room for names."""
        return told_apart(self.names)

    @property
    def heading(self) -> str:
        return self._heading(self.names)

    @property
    def short_heading(self) -> str:
        return self._heading(self.short_names)

    def _heading(self, names: Sequence[str]) -> str:
        if not self.subtracts:
            of = " and ".join(names) if len(names) == 2 else f"{len(names)} sessions"
            return f"{_CALLED.get(self.view, self.view)} of {of}"
        minuend, subtrahend = self.pairs[self.pair] if self.pairs else ("", "")
        of = "mean" if self.view == "mean" else "counts"
        if self.is_alone:
            return f"{of} of {self.names[0]}: {minuend} {MINUS} {subtrahend}"
        return f"{of}: {names[0]} {minuend} {MINUS} {names[1]} {subtrahend}"

    @property
    def notes(self) -> tuple[str, ...]:
        shown = self.inferred if self.subtracts else None
        matched = () if shown is None or isinstance(shown, ExplorerError) else (summary_of(shown),)
        return (*self.exploratory, *self._dipped, *self.comparison.notes, *matched)

    @property
    def exploratory(self) -> tuple[str, ...]:
        """That a frozen analysis did not name this, for each session that has one."""
        return tuple(dict.fromkeys(filter(None, map(exploratory_line, self.comparison.sessions))))

    @property
    def caption(self) -> str:
        return f"θ {self.theta}°, cosine > {short(self.threshold)}"

    @property
    def waits(self) -> str:
        """What is being worked out before the view can be drawn; empty where nothing is."""
        if self.subtracts:
            return "subtracting" if self.inferred is None else ""
        return "measuring the sessions" if self.view in OVER_VALUES and self.compared is None else ""

    def figure(self) -> PolarFigure | ThresholdFigure | DoseFigure:
        """What the view shows.

        Raises:
            ExplorerError: there is nothing to show, or it is not worked out yet.
        """
        if self.waits:
            raise ExplorerError(f"{self.waits}: it is not there yet", remedy="try again in a moment")
        if self.subtracts:
            shown = self.inferred
            if shown is None or isinstance(shown, ExplorerError):
                raise shown or ExplorerError("there is nothing to subtract")
            return difference_chart(shown, None if self.view == "mean" else self.threshold)
        if self.view in OVER_VALUES and self.compared is not None:
            figure = value_charts(self.compared, self.threshold, OVER_VALUES[self.view], score=self.score)
            return dataclasses.replace(figure, warnings=(*figure.warnings, *self.comparison.notes))
        if not self.groups:
            raise ExplorerError(self._fault)
        return compare_figure(self.comparison, self.groups, self.view, self.threshold, self.plane)

    def scene(self, width: int, height: int) -> Scene:
        """Paint the view; where it cannot be, say why."""
        if self.waits:
            return Scene.message(self.waits, width, height)
        try:
            figure = self.figure()
        except ExplorerError as error:
            further = "; v shows the next view" if self.view in OVER_VALUES and not self.subtracts else ""
            return Scene.message(f"{error}{further}", width, height)
        match figure:
            case PolarFigure():
                return scene_of_polar(figure, width, height)
            case ThresholdFigure():
                return scene_of_thresholds(figure, width, height)
            case DoseFigure():
                return Scene(paint_dose(figure, width, height), warnings=figure.warnings, figure=figure)

    def look(self) -> tuple[Hashable, ...]:
        """What the chart depends on, besides its size and the spotlight's angle."""
        shown = self.subtracts and self.inferred
        shows = self.names, self.plane, self.view, self.threshold, self.baselines
        return *shows, self.subtracts, self.pair, type(shown), self.compared is None

    def write(self, file: Path, size: tuple[int, int]) -> Path:
        """Write the curves (.csv), or the chart as a picture (.svg) or as text with (.ans) or without (.txt) colours.

        Raises:
            ExplorerError: it cannot be written.
        """
        if file.suffix == ".csv":
            content = self.curves_csv()
        else:
            width, height = (max(length, least) for length, least in zip(size, SMALLEST, strict=True))
            shown = self.scene(width, height).shown(self.theta, self.threshold)
            caption = f"spotlight {self.caption}"
            if file.suffix == ".svg":
                content = svg_of(shown, caption)
            else:
                text = shown.ansi() if file.suffix == ".ans" else shown.text()
                content = f"{text.rstrip()}\n{caption}\n"
        write_atomic(file, content.encode("utf-8", "backslashreplace"))
        if file.suffix == ".csv" and (sidecar := exploratory_sidecar({"curves": self.notes})):
            write_atomic(file.with_name(f"{file.name}.json"), sidecar)
        return file

    def chart(self, width: int, height: int, *, colour: bool = True) -> str:
        """The view with the spotlight on it as text."""
        shown = self.scene(width, height).shown(self.theta, self.threshold)
        return shown.ansi() if colour else shown.text()

    @property
    def number_columns(self) -> tuple[Column, ...]:
        if self.subtracts:
            return COLUMNS
        labels = [cell_len(f"{WIDEST_MARK} {self._short(group)}") for group in self.groups]
        longest = min(LONGEST_LABEL, max([len("group"), *labels]))
        return (
            # The name is whole as long as a column beside it can go.
            Column("label", "group", least=longest),
            Column("runs", "runs", width=6, align="right", priority=4),
            Column("A", "A", width=6, align="right", priority=1),
            Column("phase", "φ", width=4, align="right", priority=2),
            Column("lit", "lit", width=6, align="right", priority=3),
            Column("share", "share", width=5, align="right"),
            Column("mean", "mean", width=7, align="right", priority=5),
        )

    @property
    def difference_columns(self) -> tuple[Column, ...]:
        fields = self.comparison.fields()
        # What was set takes the room: a field's name needs no more than it has.
        width = min(40, max([len(SAME), *(len(row[0]) for row in fields)]))
        if len(self.names) > 2:
            # Where room is short, a session is its marker.
            name, value = Column("name", "session", least=1), Column("is", "is", least=12, share=2)
            return Column("field", "field", width=width), name, value
        sides = zip(("old", "new"), self.short_names, strict=True)
        return Column("field", "field", width=width), *(Column(key, name, least=8) for key, name in sides)

    @property
    def difference_count(self) -> int:
        """Fields that differ; of more than two sessions, each has a row a session."""
        return len(self.comparison.fields())

    @property
    def difference_rows(self) -> tuple[dict[str, Cell], ...]:
        """What differs between the experiments, a row a field, or one a field and session where they are many."""
        return self._difference_rows(self.short_names)

    def _difference_rows(self, names: Sequence[str]) -> tuple[dict[str, Cell], ...]:
        fields = self.comparison.fields()
        if not fields:
            return ({"field": SAME},)
        if len(self.names) == 2:
            return tuple({"field": row[0], "old": row[1], "new": row[2]} for row in fields)
        return tuple(
            {
                "field": field if not at else "",
                "name": (f"{session_style(at).marker} {names[at]}", session_look(at)),
                "is": value,
            }
            for field, *values in fields
            for at, value in enumerate(values)
        )

    @property
    def number_count(self) -> int:
        return len(self._difference()) if self.subtracts else len(self.groups)

    def numbers(self) -> tuple[GroupNumbers, ...]:
        return compared_numbers(self.groups, self.theta, self.threshold) if self.groups else ()

    def _short(self, group: SweptGroup) -> str:
        """A group's name by what tells its session apart."""
        session = group.session or 0
        return f"{self.short_names[session]}{group.label.removeprefix(self.names[session])}"

    def number_cell(self, row: int, key: str, *, is_whole: bool = False) -> Cell:
        if self.subtracts:
            what, value, interval = self._difference()[row]
            return {"what": what, "value": value, "interval": interval}[key]
        group, swept = self.numbers()[row], self.groups[row]
        session = swept.session or 0
        label = f"{session_style(session, swept.role).marker} {group.label if is_whole else self._short(swept)}"
        cells: dict[str, Callable[[], Cell]] = {
            "label": lambda: (label, session_look(session)),
            "runs": lambda: f"{group.n_runs:,}",
            "A": lambda: three_digits(group.amplitude),
            "phase": lambda: degrees(group.phase_deg),
            "lit": lambda: f"{group.lit:,}" if group.total else NOTHING,
            "share": lambda: f"{100 * group.lit / group.total:.0f} %" if group.total else NOTHING,
            "mean": lambda: three_digits(group.mean),
        }
        return cells[key]()

    def text(self, part: Part, width: int, height: int) -> str:
        """What copying takes of a part: the chart, or a table with tabs between its cells."""
        if part == "chart":
            return self.chart(width, height, colour=False)
        if part == "differences" and len(self.names) == 2:
            return "\n".join(self.comparison.differences or (SAME,))
        effects = self.effects if self.compared is None else effect_rows(self.compared, self.names)
        tables = {
            "effects": ("Effects", effect_columns(effects), [row.cells for row in effects]),
            "differences": ("Differences", self.difference_columns, self._difference_rows(self.names)),
            "numbers": (
                f"Numbers at {self.caption}",
                self.number_columns,
                [
                    {c.key: self.number_cell(row, c.key, is_whole=True) for c in self.number_columns}
                    for row in range(self.number_count)
                ],
            ),
        }
        title, columns, rows = tables[part]
        lines = ["\t".join(text_of(row.get(column.key, "")) for column in columns) for row in rows]
        return "\n".join((title, "\t".join(column.title for column in columns), *lines))

    def curves_csv(self) -> str:
        shown = self.inferred if self.subtracts else None
        if shown is None or isinstance(shown, ExplorerError):
            if self.view in OVER_VALUES and self.compared is not None and not self.subtracts:
                return tables_as_csv(self.compared.tables)
            return groups_csv(self.groups, self.comparison.thresholds())
        return difference_csv(shown)

    @property
    def row_names(self) -> tuple[str, ...]:
        """What the rows of a difference are called; none where no difference is shown."""
        return tuple(name for name, _, _ in self._difference()) if self.subtracts else ()

    def _difference(self) -> tuple[Row, ...]:
        shown = self.inferred
        if shown is None or isinstance(shown, ExplorerError):
            return ((str(shown or "subtracting"), "", ""),)
        return rows_of(shown, self.theta, self.threshold)

    def hold_out(self) -> tuple[PlaneRecord, PlaneRecord]:
        """Make the plane in view on half of the first session's units, or find the one of all of them; takes a moment.

        Raises:
            ExplorerError: nothing of it was made of runs, or the vectors that it takes are not there.
        """
        if not self.can_subtract:
            raise ExplorerError(self.why_not)
        first, other = self.comparison.pair
        pairs = [(row[0], row[1]) for row in self.comparison.planes if row[0] is not None and row[1] is not None]
        plane = pairs[self.plane][0]
        if plane.held_out is not None:
            key = plane.site, plane.a, plane.b
            return next(pair for pair in pairs if pair[0].key == key)
        record = held_out(first, plane)
        return record, record if other is first else same_axes(first, other, record)

    def show_plane(self, pair: tuple[PlaneRecord, PlaneRecord]) -> None:
        """Go to a plane, which is added to those that both have where it is none of them."""
        known = [row[0].key for row in self.comparison.planes if row[0] is not None]
        if pair[0].key not in known:
            self.comparison = dataclasses.replace(self.comparison, planes=(*self.comparison.planes, pair))
            known.append(pair[0].key)
        self.plane = known.index(pair[0].key)
        self._sweep()

    def _sweep(self) -> None:
        sides = self.comparison.planes[self.plane] if self.comparison.planes else ()
        self._dipped = tuple(
            dict.fromkeys(
                line
                for session, plane in zip(self.comparison.sessions, sides, strict=False)
                if plane is not None
                for line in dipped(session, plane)
            )
        )
        try:
            self.groups = compared_groups(self.comparison, self.plane, baselines=self.baselines)
        except ExplorerError as error:
            self.groups, self._fault = (), str(error)


def difference_csv(pair: ComparedPair) -> str:
    """The curves of a difference with the ends of their bands, a row an angle."""
    table = curves_table_of(findings_of(curves=[difference_curves(pair)]))
    file = io.StringIO()
    writer = CsvWriter(file)
    writer.writerow([column.key for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return file.getvalue()
