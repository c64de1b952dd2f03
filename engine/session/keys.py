"""Keys of vectors, as the scripts write them that save one vector a run: what stands in them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

BASELINE = "baseline"

_NAMED = re.compile(r"(?:^|_)(core_id|prompt_id|[A-Za-z][A-Za-z0-9-]*)=")
"""A marker of a key; those that hold an underscore are known by name, and values may hold any."""


def has_markers(key: str) -> bool:
    """Whether a key says anything in the form "name=value"."""
    return _NAMED.search(key) is not None


def key_cells(
    key: str, row: int | None = None, *, of_file: Mapping[str, str] | None = None, alone: bool = False
) -> dict[str, str]:
    """What a key says, by the names of `session_from`; what stands before the first marker tells the prompt.

    Args:
        row: of a table of runs.
        of_file: what the name of its file says, where the key has no marker.
        alone: whether no other key is in its file, so that it tells no prompt from another there.
    """
    marks = list(_NAMED.finditer(key))
    if not marks and of_file:
        return {**of_file, **({} if alone else {"prompt_id": key if row is None else f"{key}[{row}]"})}
    first = marks[0].start() if marks else len(key)
    cells: dict[str, str] = {}
    if key[:first] or row is not None:
        cells["prompt_id"] = key[:first] + ("" if row is None else f"[{row}]")
    for mark, after in itertools.zip_longest(marks, marks[1:]):
        cells[mark[1]] = key[mark.end() : after.start() if after else None]
    if "sweep" in cells:
        cells["sweep"] = condition_of(cells["sweep"])
    return cells


def condition_of(cell: str) -> str:
    """A condition as `sweep` reads it: what is empty, or none, is the baseline."""
    return BASELINE if cell.strip().casefold() in ("", "none", BASELINE) else cell
