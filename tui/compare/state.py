"""What the comparison shows: two sessions, a plane they share, the view, and where the spotlight stands."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

from srm_explorer.engine.analyses import (
    ComparedPair,
    compare_groups,
    curves_table_of,
    difference_chart,
    difference_curves,
    direction_detail,
    findings_of,
    held_out,
    recorded,
    same_axes,
    tested_size,
)
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import (
    BASELINE,
    MINUS,
    NOTHING,
    Comparison,
    GroupNumbers,
    SweptGroup,
    cell_text,
    compare,
    compared_dose,
    compared_groups,
    compared_numbers,
    compared_polar,
    compared_thresholds,
    count_of,
    degrees,
    dipped,
    exploratory_line,
    exploratory_sidecar,
    group_names,
    pooled_caption,
    short,
    telling_threshold,
    three_digits,
)
from srm_explorer.engine.io.files import CsvWriter, write_atomic
from srm_explorer.engine.session import PlaneRecord, Session, load_session
from srm_explorer.engine.stats.spotlight import FULL_TURN
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.picture import svg_of
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.charts.scenes import scene_of_polar, scene_of_thresholds
from srm_explorer.tui.widgets.table_render import Column

BEYOND_ARITHMETIC = "beyond arithmetic"

Row = tuple[str, str, str]

COLUMNS = (
    Column("what", "difference", least=14, share=2),
    Column("value", "value", width=10, align="right"),
    Column("interval", "95 %", least=12, share=2),
)


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


def _signed(degrees: float) -> str:
    return f"{degrees:+.0f}".replace("-", MINUS)


def rows_of(pair: ComparedPair, theta: int, threshold: float) -> tuple[Row, ...]:
    """What is known of a difference, and how large it is where the spotlight stands: name, value, interval."""
    estimate = pair.estimate
    region = estimate.region
    share, bands = estimate.shares[pair.thresholds.index(threshold)], estimate.share_bands
    band = None if bands is None else bands[:, pair.thresholds.index(threshold), theta]
    mean = None if estimate.mean_band is None else estimate.mean_band[:, theta]
    a, b = estimate.difference.tolist()
    amplitude = None if region is None else region.amplitude
    phase = direction_detail(pair).removeprefix("φ ").replace("undetermined", f"{NOTHING} undetermined")
    turn = NOTHING if estimate.phase_deg is None else f"{_signed(estimate.phase_deg)}°"
    ends = estimate.phase_interval
    around = "undetermined" if ends is None else f"{_signed(ends[0])} to {_signed(ends[1])}°"
    return (
        (f"share > {short(threshold)} at {theta}°", cell_text(float(share[theta]), "percent"), _ends(band, 100, " %")),
        (f"mean at {theta}°", three_digits(float(estimate.mean[theta])), _ends(mean)),
        ("along 0°, along 90°", three_digits(a), three_digits(b)),
        ("size", three_digits(float((a * a + b * b) ** 0.5)), _ends(amplitude)),
        ("towards", phase.partition(" ")[0], phase.partition(" ")[2]),
        ("phase turns by", turn, around),
        *_tests_of(pair),
        ("units", str(estimate.units), f"{len(pair.matched.rows[0]):,} {MINUS} {len(pair.matched.rows[1]):,} runs"),
        *((("texts changed", str(pair.matched.changed), "units"),) if pair.matched.changed is not None else ()),
    )


def _tests_of(pair: ComparedPair) -> tuple[Row, ...]:
    """What was tested with its size, its p, and the family that q is over; why there is no p where there is none."""
    if pair.p is None:
        return (("p", cell_text(None, "p"), pair.tested),)
    size, low, high = tested_size(pair)
    rows: list[Row] = []
    if pair.tested == BEYOND_ARITHMETIC:
        rows.append(
            (pair.tested, NOTHING if size is None else three_digits(size), _ends(None if low is None else (low, high)))
        )
    rows.append(("p, symmetry", cell_text(pair.p, "p"), pair.tested))
    rows.append(("p of the mean", cell_text(pair.p_mean, "p"), pair.tested))
    if pair.counted is not None:
        rows.append(("q", cell_text(pair.q, "p"), f"of {pair.counted.size:,} in {pair.counted.family}"))
        rows.append(("tested so far", f"{pair.counted.total:,}", "tests in all families"))
    return tuple(rows)


def summary_of(pair: ComparedPair) -> str:
    """What was subtracted and matched, one line."""
    part = "; part of it was set by the experiment, p is of the rest" if pair.tested == BEYOND_ARITHMETIC else ""
    problem = "" if pair.counted is None or not pair.counted.problem else f"; {pair.counted.problem}"
    return f"{pair.label}; {pair.matched.summary}; {count_of(pair.estimate.units, 'unit')}{part}{problem}"


def _ends(ends: object, factor: float = 1.0, unit: str = "") -> str:
    if ends is None:
        return NOTHING
    low, high = (three_digits(factor * float(end)) for end in ends)  # pyright: ignore[reportGeneralTypeIssues]
    return f"{low} to {high}{unit}"


SMALLEST = (100, 32)
"""Columns and rows a written chart has at least."""
View = Literal["counts", "mean", "thresholds", "dose"]
VIEWS: tuple[View, ...] = get_args(View)


class CompareState:
    """Two sessions compared; every number of the screen comes from here.

    Attributes:
        comparison: the two.
        plane: index among the planes that both have.
        theta: the spotlight's angle in whole degrees, 0 to 359.
        threshold: cosine, one of either experiment's.
        view: what the chart shows.
        groups: of both, swept in the plane; empty where nothing can be.
        subtracts: whether one group minus another is shown, not both sessions over one another.
        pairs: groups that can be subtracted, the second from the first.
        pair: index of the one that is.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.plane = 0
        self.theta = 0
        self.view: View = "counts"
        self.groups: tuple[SweptGroup, ...] = ()
        self.subtracts = comparison.sessions[0] is comparison.sessions[1]
        self.pairs = pairs_of(*comparison.sessions)
        self.pair = 0
        self._inferred: dict[tuple[int, int], ComparedPair | ExplorerError] = {}
        self._fault = ""
        self._dipped: tuple[str, ...] = ()
        self._sweep()
        self.threshold = telling_threshold(self.groups) if self.groups else comparison.thresholds()[0]

    @classmethod
    def of(cls, first: Path, second: Path) -> CompareState:
        """Read both sessions.

        Raises:
            ExplorerError: one of them cannot be read.
        """
        session = load_session(first)
        return cls(compare(session, session if second == first else load_session(second)))

    def frozen(self) -> CompareState:
        return copy.copy(self)

    def turn(self, angle: int) -> None:
        self.theta = (self.theta + angle) % FULL_TURN

    def next_threshold(self, step: int = 1) -> None:
        known = self.comparison.thresholds()
        self.threshold = known[(known.index(self.threshold) + step) % len(known)]

    def next_view(self) -> None:
        if self.subtracts:
            self.view = "counts" if self.view == "mean" else "mean"
            return
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]

    def next_plane(self) -> None:
        if len(self.comparison.planes) > 1:
            self.plane = (self.plane + 1) % len(self.comparison.planes)
            self._sweep()

    def swap(self) -> None:
        self.comparison = self.comparison.swapped()
        self.plane = 0
        self.pairs, self.pair, self._inferred = pairs_of(*self.comparison.sessions), 0, {}
        self._sweep()

    def subtract(self) -> None:
        self.subtracts = not self.subtracts

    def next_pair(self, step: int = 1) -> None:
        self.subtracts = True
        self.pair = (self.pair + step) % max(1, len(self.pairs))

    @property
    def inferred(self) -> ComparedPair | ExplorerError | None:
        """The difference that is shown, or why there is none; None while it has to be computed."""
        if not self.pairs or not self.comparison.planes:
            return ExplorerError("there are no two groups to subtract")
        return self._inferred.get((self.plane, self.pair))

    def infer(self) -> None:
        """Compute the difference that is shown, a moment's work."""
        key = (self.plane, self.pair)
        plane = self.comparison.planes[self.plane][0]
        levels = self.comparison.thresholds()
        try:
            pair = computed(self.comparison.sessions, plane, self.pairs[self.pair], levels, self.names)
        except ExplorerError as error:
            self._inferred[key] = error
        else:
            # With every difference that is tested, q of those before it grows.
            known = {key: shown for key, shown in self._inferred.items() if isinstance(shown, ComparedPair)}
            known[key] = pair
            self._inferred.update(zip(known, recorded([*known.values()]), strict=True))

    @property
    def names(self) -> tuple[str, str]:
        return self.comparison.names

    @property
    def heading(self) -> str:
        if not self.subtracts:
            return f"{self.view} of {self.names[0]} and {self.names[1]}"
        minuend, subtrahend = self.pairs[self.pair] if self.pairs else ("", "")
        of = "mean" if self.view == "mean" else "counts"
        if self.comparison.sessions[0] is self.comparison.sessions[1]:
            return f"{of} of {self.names[0]}: {minuend} {MINUS} {subtrahend}"
        return f"{of}: {self.names[0]} {minuend} {MINUS} {self.names[1]} {subtrahend}"

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
    def differences(self) -> tuple[str, ...]:
        return self.comparison.differences

    @property
    def caption(self) -> str:
        return f"θ {self.theta}°, cosine > {short(self.threshold)}"

    def scene(self, width: int, height: int) -> Scene:
        """Paint the view; where it cannot be, say why."""
        if self.subtracts:
            shown = self.inferred
            if shown is None or isinstance(shown, ExplorerError):
                return Scene.message("subtracting" if shown is None else str(shown), width, height)
            return difference_scene(shown, None if self.view == "mean" else self.threshold, width, height)
        if not self.groups:
            return Scene.message(self._fault, width, height)
        try:
            return comparison_scene(self.comparison, self.groups, self.plane, self.view, self.threshold, width, height)
        except ExplorerError as error:
            return Scene.message(f"no dose chart of both: {error}; v shows the next view", width, height)

    def look(self) -> tuple[Hashable, ...]:
        """What the chart depends on, besides its size and the spotlight's angle."""
        shown = self.subtracts and self.inferred
        return self.names, self.plane, self.view, self.threshold, self.subtracts, self.pair, type(shown)

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

    _group_columns = (
        Column("label", "group", least=22),
        Column("runs", "runs", width=6, align="right", priority=1),
        Column("A", "A", width=6, align="right"),
        Column("phase", "φ", width=4, align="right"),
        Column("lit", "lit", width=11, align="right"),
        Column("mean", "mean", width=7, align="right", priority=2),
    )

    @property
    def number_columns(self) -> tuple[Column, ...]:
        return COLUMNS if self.subtracts else self._group_columns

    @property
    def difference_columns(self) -> tuple[Column, ...]:
        old, new = self.names
        # What was set takes the room: a field's name needs no more than it has.
        width = min(40, max([len(SAME), *(len(line.partition(": ")[0]) for line in self.differences)]))
        return Column("field", "field", width=width), Column("old", old, least=8), Column("new", new, least=8)

    @property
    def number_count(self) -> int:
        return len(self._rows()) if self.subtracts else len(self.groups)

    def numbers(self) -> tuple[GroupNumbers, ...]:
        return compared_numbers(self.groups, self.theta, self.threshold) if self.groups else ()

    def number_cell(self, row: int, key: str) -> str:
        if self.subtracts:
            what, value, interval = self._rows()[row]
            return {"what": what, "value": value, "interval": interval}[key]
        group = self.numbers()[row]
        share = f" {100 * group.lit / group.total:3.0f} %" if group.total else ""
        cells: dict[str, Callable[[], str]] = {
            "label": lambda: group.label,
            "runs": lambda: f"{group.n_runs:,}",
            "A": lambda: three_digits(group.amplitude),
            "phase": lambda: degrees(group.phase_deg),
            "lit": lambda: f"{group.lit:,}{share}" if group.total else NOTHING,
            "mean": lambda: three_digits(group.mean),
        }
        return cells[key]()

    def difference_cell(self, row: int, key: str) -> str:
        if not self.differences:
            return SAME if key == "field" else ""
        field, _, values = self.differences[row].partition(": ")
        old, _, new = values.partition(" -> ")
        return {"field": field, "old": old, "new": new}[key]

    def text(self, part: int, width: int, height: int) -> str:
        """What copying takes of a part: the chart, the numbers with tabs between, or the differences."""
        if part == 0:
            return self.chart(width, height, colour=False)
        if part == 2:
            return "\n".join(self.differences or (SAME,))
        header = "\t".join(column.title for column in self.number_columns)
        rows = [
            "\t".join(self.number_cell(row, column.key) for column in self.number_columns)
            for row in range(self.number_count)
        ]
        return "\n".join((f"Numbers at {self.caption}", header, *rows))

    def curves_csv(self) -> str:
        shown = self.inferred if self.subtracts else None
        if shown is None or isinstance(shown, ExplorerError):
            return groups_csv(self.groups, self.comparison.thresholds())
        return difference_csv(shown)

    @property
    def row_names(self) -> tuple[str, ...]:
        """What the rows of a difference are called; none where no difference is shown."""
        return tuple(name for name, _, _ in self._rows()) if self.subtracts else ()

    def _rows(self) -> tuple[Row, ...]:
        shown = self.inferred
        if shown is None or isinstance(shown, ExplorerError):
            return ((str(shown or "subtracting"), "", ""),)
        return rows_of(shown, self.theta, self.threshold)

    def hold_out(self) -> tuple[PlaneRecord, PlaneRecord]:
        """Make the plane in view on half of the first session's units, or find the one of all of them; takes a moment.

        Raises:
            ExplorerError: nothing of it was made of runs, or the vectors that it takes are not there.
        """
        first, other = self.comparison.sessions
        plane = self.comparison.planes[self.plane][0]
        if plane.held_out is not None:
            key = plane.site, plane.a, plane.b
            return next(pair for pair in self.comparison.planes if pair[0].key == key)
        record = held_out(first, plane)
        return record, record if other is first else same_axes(first, other, record)

    def show_plane(self, pair: tuple[PlaneRecord, PlaneRecord]) -> None:
        """Go to a plane, which is added to those that both have where it is none of them."""
        known = [first.key for first, _ in self.comparison.planes]
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
                for line in dipped(session, plane)
            )
        )
        try:
            self.groups = compared_groups(self.comparison, self.plane)
        except ExplorerError as error:
            self.groups, self._fault = (), str(error)


def groups_csv(groups: Sequence[SweptGroup], levels: Sequence[float]) -> str:
    """The curves of both, a row a group and angle: mean cosine, and the count above every threshold."""
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


def difference_csv(pair: ComparedPair) -> str:
    """The curves of a difference with the ends of their bands, a row an angle."""
    table = curves_table_of(findings_of(curves=[difference_curves(pair)]))
    file = io.StringIO()
    writer = CsvWriter(file)
    writer.writerow([column.key for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return file.getvalue()


def comparison_scene(
    both: Comparison, groups: Sequence[SweptGroup], plane: int, view: View, threshold: float, width: int, height: int
) -> Scene:
    """Paint a view of both sessions.

    Raises:
        ExplorerError: there is no dose chart of both.
    """
    if view == "dose":
        dose = compared_dose(both, threshold, plane)
        return Scene(paint_dose(dose, width, height), warnings=dose.warnings)
    if view == "thresholds":
        return scene_of_thresholds(compared_thresholds(both, groups, threshold, plane), width, height)
    return scene_of_polar(compared_polar(both, groups, view, threshold, plane), width, height)


def difference_scene(pair: ComparedPair, threshold: float | None, width: int, height: int) -> Scene:
    """Paint one group minus another: shares above a threshold, or mean cosines where it is None."""
    return scene_of_thresholds(difference_chart(pair, threshold), width, height)
