"""The tables of the comparison on the screen: effects of every session, and what is known of one difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from srm_explorer.engine.analyses import (
    NOT_SCORED,
    ComparedPair,
    ComparedSessions,
    Estimate,
    direction_detail,
    tested_size,
)
from srm_explorer.engine.figures import (
    MINUS,
    NOTHING,
    cell_text,
    count_of,
    intervention_captions,
    plane_title,
    short,
    three_digits,
)
from srm_explorer.tui.charts.palette import session_look, session_style
from srm_explorer.tui.text import told_apart
from srm_explorer.tui.widgets.table_render import Cell, Column

LEAST_NAME = 14
"""Cells of a session's name in the table, its marker with it."""
SCORE = "press w"
"""What is to be done where KL is not scored."""
_MEASURES = (("amplitude", "A"), ("changed", "changed %"), ("kl", "KL nats"), ("shift", "shift"))
_OF_AGAINST = {
    "amplitude A": "amplitude",
    "texts changed": "changed",
    "KL nats": "kl",
    "mean (ΔA, ΔB), size": "shift",
}
_REFUSED = "refused"


BEYOND_ARITHMETIC = "beyond arithmetic"

Row = tuple[str, str, str]

COLUMNS = (
    Column("what", "difference", least=14, share=2),
    Column("value", "value", width=10, align="right"),
    Column("interval", "95 %", least=12, share=2),
)


@dataclass(frozen=True)
class EffectRow:
    """A row of the table.

    Attributes:
        session: its place among those compared; None for a row of words.
        cells: by column.
        details: what is said of it below the table, a line each.
    """

    session: int | None
    cells: dict[str, Cell]
    details: tuple[str, ...] = ()


def effect_rows(compared: ComparedSessions, names: Sequence[str] | None = None) -> tuple[EffectRow, ...]:
    """The rows, the numbers of a column under one another, each with its interval.

    Args:
        names: what the sessions are called in them; by default what tells them apart, whole below the table.
    """
    first = compared.names[0]
    names = told_apart(compared.names) if names is None else names
    numbers: list[dict[str, Estimate | str | None]] = []
    heads: list[tuple[int, str, dict[str, Cell], tuple[str, ...]]] = []
    for at, (each, beyond) in enumerate(zip(compared.measured, compared.beyond, strict=True)):
        told: dict[str, Estimate | str | None] = {
            "amplitude": each.amplitude,
            "changed": each.changed,
            "kl": each.kl,
            "shift": beyond.shift,
        }
        missing = each.missing
        if missing.get("kl", "").startswith(NOT_SCORED):
            told["kl"] = NOT_SCORED
            missing["kl"] = f"KL {NOT_SCORED}: {SCORE}, or {missing['kl'].partition(': ')[2]}"
        numbers.append(told)
        done = "; ".join(intervention_captions(each.session.spec))
        plane = "" if each.plane is None else plane_title(each.plane)
        further: dict[str, Cell] = {"plane": plane, "done": done}
        if beyond.pair is not None and beyond.pair.p is not None:
            further["p"] = cell_text(beyond.pair.p, "p")
        heads.append((at, names[at], further, (f"{each.name}: {done}; {plane}", *dict.fromkeys(missing.values()))))
    for at, name in enumerate(compared.names[1:], 1):
        lines = [line for line in compared.against if line.name == name]
        told = {_OF_AGAINST[line.measure]: line.estimate or _REFUSED for line in lines if line.measure in _OF_AGAINST}
        numbers.append(told)
        tested = next((line.p for line in lines if _OF_AGAINST.get(line.measure) == "shift"), None)
        further = {} if tested is None else {"p": cell_text(tested, "p")}
        how = dict.fromkeys(f"{line.measure}: {line.refused or line.how}" for line in lines if line.refused or line.how)
        heads.append((at, f"{MINUS} {session_style(0).marker} {names[at]}", further, (f"{name} {MINUS} {first}", *how)))
    width = {key: max([cell_len(_value(told.get(key), key)) for told in numbers], default=0) for key, _ in _MEASURES}
    rows: list[EffectRow] = []
    for (at, label, further, details), told in zip(heads, numbers, strict=True):
        look = session_look(at)
        cells: dict[str, Cell] = {"session": (f"{session_style(at).marker} {label}", look), **further}
        cells |= {key: _cell(told.get(key), key, width[key]) for key, _ in _MEASURES}
        rows.append(EffectRow(at, cells, details))
    return tuple(rows)


def _value(told: Estimate | str | None, key: str) -> str:
    if not isinstance(told, Estimate):
        return ""
    return three_digits(told.value * (100 if key == "changed" else 1))


def _cell(told: Estimate | str | None, key: str, width: int) -> Cell:
    if not isinstance(told, Estimate):
        return (told, "dim") if told else ("–", "dim")
    value = _value(told, key)
    value = " " * (width - cell_len(value)) + value
    if told.low is None and told.high is None:
        return value
    factor = 100 if key == "changed" else 1
    # As close as can be: three of these stand beside a name in 80 columns.
    ends = ",".join("" if end is None else three_digits(end * factor) for end in (told.low, told.high))
    return f"{value} ({ends})"


def effect_columns(rows: tuple[EffectRow, ...]) -> tuple[Column, ...]:
    """Columns as wide as what stands in them; what was tested and done goes first where room is short."""

    def width(key: str, title: str) -> int:
        return max([cell_len(title), *(cell_len(text_of(row.cells.get(key, ""))) for row in rows)])

    # A name gives way before a number does; below the table it stands whole.
    columns = [Column("session", "session", least=min(LEAST_NAME, width("session", "session")), share=2)]
    columns += [
        Column(key, title, width=width(key, title), priority=1 if key == "shift" else 0) for key, title in _MEASURES
    ]
    columns.append(Column("p", "p", width=width("p", "p"), align="right", priority=2))
    columns.append(Column("plane", "plane", width=width("plane", "plane"), priority=3))
    return (*columns, Column("done", "what was done", least=min(30, width("done", "what was done")), priority=4))


def text_of(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


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
