"""What a session's stored bands say, read as plain data: they are large, and a warning looks at little of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from engine.figures.packing import unpacked
from engine.session import PlaneRecord, Session


def stored_p(session: Session, plane: PlaneRecord, label: str) -> float | None:
    """The p of observed minus arithmetic of a group, as the session was saved with it; None where it was not."""
    for table in _stored(session, plane):
        for group in _records(table, "groups"):
            p: object = group.get("p_arithmetic")
            if group.get("label") == label and isinstance(p, int | float):
                return float(p)
    return None


def stored_nulls(session: Session, plane: PlaneRecord) -> Iterator[Mapping[str, Any]]:
    """Bands of random partners that the session holds of a plane, as plain data."""
    for table in _stored(session, plane):
        yield from (null for null in _records(table, "nulls") if null.get("kind") == "partners")


def lit_by_chance(null: Mapping[str, Any], level: float) -> float:
    """Runs that chance lights at most, at the two angles of the random partner."""
    counts: object = null.get("counts")
    try:
        band = unpacked(cast("Mapping[str, Any]", counts)[repr(float(level))])[1]
    except (KeyError, TypeError, ValueError):
        return 0.0
    turned = str(null.get("legend")).partition("(")[2].startswith("random")
    quarter = 0.0 if turned else 0.25
    places = [round(len(band) * part) % max(1, len(band)) for part in (quarter, quarter + 0.5)]
    return float(np.nan_to_num(band[places]).max()) if len(band) else 0.0


def _stored(session: Session, plane: PlaneRecord) -> Iterator[Mapping[str, Any]]:
    """Tables of the bands that the session holds of a plane, as plain data: they are large, and little is looked at."""
    index = next((place for place, one in enumerate(session.planes) if one is plane), -1)
    listed: object = session.bands.get("planes")
    for one in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(one, dict) and cast("Mapping[str, Any]", one).get("plane") == index:
            yield cast("Mapping[str, Any]", one)


def _records(table: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    listed: object = table.get(key)
    for one in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(one, dict):
            yield cast("Mapping[str, Any]", one)
