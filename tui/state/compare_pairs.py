"""The differences that the comparison offers: of which groups, and what was inferred of them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from engine.errors import ExplorerError
from engine.figures.captions import pooled_caption
from engine.figures.group_choice import group_names
from engine.figures.numbers import MINUS, NOTHING, count_of, short, three_digits
from engine.figures.session import BASELINE
from engine.figures.table import cell_text
from tui.widgets.columns import Column

if TYPE_CHECKING:
    from engine.session import PlaneRecord, Session
    from engine.studies.compare import ComparedPair

BEYOND = "beyond arithmetic"
RESAMPLES = 2_000
"""Fewer than a report takes: a band is there a moment after its key."""

Row = tuple[str, str, str]

COLUMNS = (
    Column("what", "difference", least=14, share=2),
    Column("value", "value", width=10, align="right"),
    Column("interval", "95 %", least=12, share=2),
)


def pairs_of(one: Session, other: Session) -> tuple[tuple[str, str], ...]:
    """Pairs of groups worth comparing: like ones of two sessions; of one, each with the baseline, values, levels."""
    try:
        names = group_names(one)
        if one is not other:
            theirs = group_names(other)
            shared = [(name, name) for name in names if name in theirs]
            pooled = pooled_caption(one.spec), pooled_caption(other.spec)
            if pooled[0] in names and pooled[1] in theirs and pooled not in shared:
                shared.append(pooled)
            return tuple(sorted(shared, key=lambda pair: pair != pooled))
    except ExplorerError:
        return ()
    conditions = [name for name in names if "=" not in name and name != BASELINE]
    found = [(name, BASELINE) for name in conditions if BASELINE in names]
    values = conditions[1:]
    if len(values) > 1:
        found.append((values[-1], values[0]))
    levels = [name for name in names if "=" in name]
    mains = conditions[:1] or [BASELINE]
    for first, second in combinations(levels, 2):
        if first.partition("=")[0] == second.partition("=")[0]:
            found += [(f"{main}, {first}", f"{main}, {second}") for main in mains]
    return tuple(found)


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
    from engine.studies.compare import compare_groups

    one, other = sessions
    told = None if one is other else names
    return compare_groups(one, other, plane, [pair], levels, resamples=RESAMPLES, names=told)[0]


def rows_of(pair: ComparedPair, theta: int, threshold: float) -> tuple[Row, ...]:
    """What is known of a difference, and how large it is where the spotlight stands: name, value, interval."""
    from engine.studies.compare_chart import direction_detail

    found = pair.found
    region = found.region
    share, bands = found.shares[pair.thresholds.index(threshold)], found.share_bands
    band = None if bands is None else bands[:, pair.thresholds.index(threshold), theta]
    mean = None if found.mean_band is None else found.mean_band[:, theta]
    a, b = found.difference.tolist()
    amplitude = None if region is None else region.amplitude
    phase = direction_detail(pair).removeprefix("φ ").replace("undetermined", f"{NOTHING} undetermined")
    turn = NOTHING if found.phase_deg is None else f"{found.phase_deg:+.0f}°"
    around = "undetermined" if found.phase_interval is None else "{:+.0f} to {:+.0f}°".format(*found.phase_interval)
    return (
        (f"share > {short(threshold)} at {theta}°", cell_text(float(share[theta]), "percent"), _ends(band, 100, " %")),
        (f"mean at {theta}°", three_digits(float(found.mean[theta])), _ends(mean)),
        ("along 0°, along 90°", three_digits(a), three_digits(b)),
        ("size", three_digits(float((a * a + b * b) ** 0.5)), _ends(amplitude)),
        ("towards", phase.partition(" ")[0], phase.partition(" ")[2]),
        ("phase turns by", turn, around),
        ("p", cell_text(pair.p, "p"), pair.tested),
        ("units", str(found.units), f"{len(pair.matched.rows[0]):,} {MINUS} {len(pair.matched.rows[1]):,} runs"),
    )


def told_of(pair: ComparedPair) -> str:
    """What was subtracted and matched, one line."""
    part = "; part of it was set by the experiment, p is of the rest" if pair.tested == BEYOND else ""
    return f"{pair.label}; {pair.matched.told}; {count_of(pair.found.units, 'unit')}{part}"


def _ends(ends: object, factor: float = 1.0, unit: str = "") -> str:
    if ends is None:
        return NOTHING
    low, high = (three_digits(factor * float(end)) for end in ends)  # pyright: ignore[reportGeneralTypeIssues]
    return f"{low} to {high}{unit}"
