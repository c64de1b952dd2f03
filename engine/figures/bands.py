"""Bands: how sure the curves of a plane are, and what chance alone would have drawn."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.session import PlaneRecord, Session, repeated_prompts, units_of

Band: TypeAlias = NDArray[np.float64]
"""[2, point] lower and upper end."""

T = TypeVar("T")

FEW_POINTS = 30
"""Up to which a band is written as numbers that a person can read."""

MOST_BYTES = 1_000_000
"""Of a band that is read: a file may come from anyone."""


def encode_band(band: Band) -> str | list[list[float]]:
    """A band for a session file, to four significant digits: its numbers where they are few, else a text.

    The text is base64 of zlib of little-endian float32, lower ends first: it opens ten times as fast as numbers.
    """
    rounded = [[float(f"{value:.4g}") for value in row] for row in band.tolist()]
    if band.shape[1] <= FEW_POINTS:
        return rounded
    return base64.b64encode(zlib.compress(np.array(rounded, "<f4").tobytes())).decode("ascii")


def decode_band(data: object) -> Band:
    """Read what `encode_band` wrote.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if isinstance(data, str):
        whole = zlib.decompressobj()
        try:
            numbers = whole.decompress(base64.b64decode(data, validate=True), MOST_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if not whole.eof:
            raise ValueError("a band is cut short, or too long")
        return np.frombuffer(numbers, "<f4").astype(np.float64).reshape(2, -1)
    band = np.array(data, np.float64)
    if band.ndim != 2 or len(band) != 2:
        raise ValueError("a band has two ends")
    return band


def unpacked_curve(data: object) -> Band:
    """Read what `encode_band` wrote of a curve; TypeError or ValueError where it is something else, or has no point."""
    band = decode_band(data)
    if not band.shape[1]:
        raise ValueError("a band has a point at least")
    return band


def finite_pair(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pair itself, or None; ValueError where one of the two is not finite."""
    if pair is not None and not np.isfinite(pair).all():
        raise ValueError("a number is not finite")
    return pair


@dataclass(frozen=True, eq=False)
class GroupBand:
    """The uncertainty of one group's curves, from resampling units.

    Attributes:
        centre: (A, B) of the group's mean, mean cosines with the two directions.
        covariance: [2, 2] of (A, B).
        radius2: the joint region is every z with (z - centre)' covariance^-1 (z - centre) <= radius2.
        phase_deg: the angle the region subtends, from its first to its last degree counter-clockwise; None where the
            region contains the origin: phase undetermined.
        amplitude: smallest and largest norm over the region.
        counts: by threshold, the simultaneous band of the count curve, [2, angle], in runs.
        p_arithmetic: sign-flip permutation p of (A, B) observed minus arithmetic, of symmetry around (0, 0); None where
            there is no prediction.
        q_arithmetic: the same corrected over the family.
        p_mean: by resampled units, that the mean over units of observed minus arithmetic is (0, 0); None where units
            are too few, here and below, or in sessions saved before it was.
        beyond: length of that mean, and the ends of where it may lie.
        changed: units whose texts changed, and units in which that can be told: only these are evidence.
    """

    label: str
    units: int
    centre: tuple[float, float]
    covariance: NDArray[np.float64]
    radius2: float
    phase_deg: tuple[float, float] | None
    amplitude: tuple[float, float]
    counts: Mapping[float, Band] = field(default_factory=dict[float, Band])
    p_arithmetic: float | None = None
    q_arithmetic: float | None = None
    p_mean: float | None = None
    beyond: tuple[float, float, float] | None = None
    changed: tuple[int, int] | None = None

    def mean_band(self, n_angles: int) -> Band:
        """The simultaneous band of the mean curve, [2, angle]: the joint region seen along every direction."""
        radians = np.deg2rad(np.arange(n_angles) * 360.0 / n_angles)
        along = np.stack([np.cos(radians), np.sin(radians)], axis=1)
        middle = along @ np.array(self.centre)
        spread = np.einsum("ij,jk,ik->i", along, self.covariance, along)
        half = np.sqrt(np.maximum(self.radius2 * spread, 0.0))
        return np.stack([middle - half, middle + half])


@dataclass(frozen=True, eq=False)
class NullBand:
    """What chance draws of one group of runs.

    Attributes:
        kind: "partners" (n, random partner) planes of the site, the default; "controls" matched neurons that were
            clamped alike; "isotropic" random planes; "second moment" planes drawn from the baseline's second moment.
        legend: "95 % of 200 (n373, random) planes", "range of 19 matched neurons clamped alike".
        members: planes or neurons it was made of.
        mean: [2, angle] of the mean cosine.
        counts: by threshold [2, angle], in runs.
    """

    kind: Literal["partners", "controls", "isotropic", "second moment"]
    legend: str
    group: str
    members: int
    mean: Band
    counts: Mapping[float, Band]


@dataclass(frozen=True, eq=False)
class DoseBand:
    """The simultaneous band of one panel of the dose chart over the swept values.

    Attributes:
        panel: "amplitude", "phase", "share", "norm", "energy" or "mean", as the panels of the dose chart.
        labels: [value] of the groups, in the chart's order.
        band: [2, value].
        threshold: that shares are counted above; None for any other panel.
    """

    panel: str
    labels: tuple[str, ...]
    band: Band
    threshold: float | None = None


@dataclass(frozen=True, eq=False)
class PlaneBands:
    """Everything computed about the certainty of one plane's curves under one grouping.

    Attributes:
        plane: index of the plane in the session.
        by: how runs were grouped, as `swept_groups` takes it.
        level: of the intervals, 0.95.
        family: hypotheses that q-values were corrected over.
        total: tests computed on the session in all families, when somebody looked at these; 0 before.
        counted: what q is over, in words; empty before.
        dose: bands of the dose chart; empty where the grouping is not by condition.
    """

    plane: int
    by: tuple[str, ...]
    level: float
    resamples: int
    seed: int
    family: int
    groups: tuple[GroupBand, ...]
    nulls: tuple[NullBand, ...] = ()
    dose: tuple[DoseBand, ...] = ()
    total: int = 0
    counted: str = ""

    def of(self, label: str) -> GroupBand | None:
        return next((band for band in self.groups if band.label == label), None)

    def null_of(self, label: str) -> NullBand | None:
        """What chance draws of a group: by controls where there are any, else by partners."""
        nulls = [null for null in self.nulls if null.group == label]
        return next((null for null in nulls if null.kind == "controls"), nulls[0] if nulls else None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a session file; bands are rounded to four significant digits."""
        bands = {name: [_table(band) for band in getattr(self, name)] for name in ("groups", "nulls", "dose")}
        return {**vars(self), "by": list(self.by), **bands}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlaneBands:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        try:
            bands = _read(cls, data)
        except (AttributeError, IndexError, OverflowError) as error:
            raise ValueError(str(error)) from None
        if any(dose.band.shape[1] != len(dose.labels) for dose in bands.dose):
            raise ValueError("a band of a dose has other values than it names")
        return bands


def _table(band: GroupBand | NullBand | DoseBand) -> dict[str, Any]:
    table = dict(vars(band))
    for name, value in table.items():
        if name == "counts":
            table[name] = {repr(float(threshold)): encode_band(curve) for threshold, curve in value.items()}
        elif name in ("mean", "band", "covariance"):
            table[name] = value.tolist() if name == "covariance" else encode_band(value)
        elif isinstance(value, tuple):
            table[name] = list(cast("tuple[object, ...]", value))
    return table


def _read(kind: type[T], data: Mapping[str, Any]) -> T:
    # Older sessions hold dose bands without a threshold, and know of no ledger.
    names = [field.name for field in fields(cast("Any", kind))]
    values = {name: data[name] for name in names if name in data or name not in _LATER}
    values |= {name: _LATER[name] for name in names if name not in values}
    return kind(**{name: _READERS[name](value) for name, value in values.items()})


def _pair(value: Sequence[float | str] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _numbers(value: Sequence[float] | None) -> tuple[float, float, float] | None:
    if value is None:
        return None
    length, low, high = map(float, value)
    return length, low, high


def _counts(value: Sequence[int] | None) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


def _texts(value: Sequence[object]) -> tuple[str, ...]:
    return tuple(map(str, value))


_LATER: dict[str, Any] = {
    **dict.fromkeys(("threshold", "p_mean", "beyond", "changed"), None),
    "total": 0,
    "counted": "",
}
"""What older sessions do not hold."""

_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("plane", "resamples", "seed", "family", "total", "units", "members"), int),
    **dict.fromkeys(("label", "legend", "group", "panel", "counted"), str),
    **dict.fromkeys(("level", "radius2"), float),
    **dict.fromkeys(("by", "labels"), _texts),
    **dict.fromkeys(("p_arithmetic", "q_arithmetic", "p_mean", "threshold"), _number),
    "beyond": _numbers,
    "changed": _counts,
    "kind": lambda kind: kind,
    "centre": lambda centre: (float(centre[0]), float(centre[1])),
    "covariance": lambda rows: np.array(rows, np.float64).reshape(2, 2),
    "phase_deg": lambda ends: finite_pair(_pair(ends)),
    "amplitude": lambda ends: _pair(ends) or (np.nan, np.nan),
    "counts": lambda counts: {float(threshold): unpacked_curve(rows) for threshold, rows in counts.items()},
    "mean": unpacked_curve,
    "band": decode_band,
    "groups": lambda rows: tuple(_read(GroupBand, row) for row in rows),
    "nulls": lambda rows: tuple(_read(NullBand, row) for row in rows),
    "dose": lambda rows: tuple(_read(DoseBand, row) for row in rows),
}
"""By field of the records above."""


def stored_p(session: Session, plane: PlaneRecord, label: str) -> float | None:
    """The p of observed minus arithmetic of a group, as the session was saved with it; None where it was not."""
    for table in _stored(session, plane):
        for group in _records(table, "groups"):
            p: object = group.get("p_arithmetic")
            if group.get("label") == label and isinstance(p, int | float):
                return float(p)
    return None


def stored_tests(session: Session) -> Iterator[tuple[PlaneRecord, tuple[str, ...], str, float]]:
    """The tests of observed minus arithmetic that a session was saved with: plane, grouping, group and p."""
    for plane in session.planes:
        for table in _stored(session, plane):
            by = table.get("by")
            grouping = tuple(map(str, cast("list[object]", by))) if isinstance(by, list) else ()
            for group in _records(table, "groups"):
                p: object = group.get("p_arithmetic")
                if isinstance(p, int | float) and 0 <= p <= 1:
                    yield plane, grouping, str(group.get("label")), float(p)


def stored_nulls(session: Session, plane: PlaneRecord) -> Iterator[Mapping[str, Any]]:
    """Bands of random partners that the session holds of a plane, as plain data."""
    for table in _stored(session, plane):
        yield from (null for null in _records(table, "nulls") if null.get("kind") == "partners")


def lit_by_chance(null: Mapping[str, Any], level: float) -> float:
    """Runs that chance lights at most, at the two angles of the random partner."""
    counts: object = null.get("counts")
    try:
        band = decode_band(cast("Mapping[str, Any]", counts)[repr(float(level))])[1]
    except (KeyError, TypeError, ValueError):
        return 0.0
    turned = str(null.get("legend")).partition("(")[2].startswith("random")
    quarter = 0.0 if turned else 0.25
    angles = [round(len(band) * part) % max(1, len(band)) for part in (quarter, quarter + 0.5)]
    return float(np.nan_to_num(band[angles]).max()) if len(band) else 0.0


def _stored(session: Session, plane: PlaneRecord) -> Iterator[Mapping[str, Any]]:
    """Tables of the bands that the session holds of a plane, as plain data: they are large, and little is looked at."""
    index = next((index for index, known in enumerate(session.planes) if known is plane), -1)
    listed: object = session.bands.get("planes")
    for record in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(record, dict) and cast("Mapping[str, Any]", record).get("plane") == index:
            table = cast("Mapping[str, Any]", record)
            if not counts_copies(session, [group.get("units") for group in _records(table, "groups")]):
                yield table


def counts_copies(session: Session, units: Iterable[object]) -> bool:
    """Whether bands were computed, by an earlier version, over more units than a session has: copies of a prompt."""
    number = max((count for count in units if isinstance(count, int)), default=0)
    return number > 0 and bool(repeated_prompts(session.prompts)) and number > len(units_of(session))


def _records(table: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    listed: object = table.get(key)
    for record in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(record, dict):
            yield cast("Mapping[str, Any]", record)
