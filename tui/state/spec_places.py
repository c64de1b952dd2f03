"""Which row of a form a problem belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection

_ITEM = re.compile(r"(interventions|planes)\[([0-9]+)\]")


def item_of(key: str) -> tuple[str, int] | None:
    """The section and number of the intervention or plane that a field belongs to; None for any other field."""
    match = _ITEM.match(key)
    return (match[1], int(match[2])) if match else None


def place_of(key: str) -> str:
    """The part of a field's name that says which intervention or plane it belongs to; empty for any other field."""
    match = _ITEM.match(key)
    return match[0] if match else ""


def row_of(where: str, shown: Collection[str], what: str = "") -> str:
    """The row at which a problem is shown.

    Args:
        where: the field an error names: "interventions[0].neurons[1]".
        shown: keys of the rows that are there.
        what: the error's own words, which tell a site's layer from its kind.

    Returns:
        the row's key; the heading's ("interventions", "planes") for one that is not in view; else `where`.
    """
    if where in shown:
        return where
    whole = re.sub(r"\[[0-9]+\]$", "", where)
    if whole in shown:
        return whole
    if where.startswith("interventions[") and where.endswith(".site"):
        place = where.removesuffix(".site")
        row = f"{place}.layer" if what.startswith("layer ") else f"{place}.kind"
        if row in shown:
            return row
    section = re.split(r"[.\[]", where)[0]
    return section if section in ("interventions", "planes") else where
