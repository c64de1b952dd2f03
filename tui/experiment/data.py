"""An experiment as plain data whose fields are reached by name: "interventions[0].values"."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from typing import Any, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import CaptureSpec, Experiment, InterventionSpec, ModelSpec, PlaneSpec, PromptsSpec
from srm_explorer.engine.experiment.fields import SpecPart, dumped

Data = dict[str, Any]

_STEP = re.compile(r"\.|\[([0-9]+)\]")


def blank(part: type[SpecPart], **required: Any) -> Data:
    """A table whose fields are at their defaults, and those that have none as they are given; it is not validated."""
    defaults = dumped(part.model_construct(**dict.fromkeys(required)))
    return {**defaults, **required}


_EMPTY = blank(
    Experiment,
    model=blank(ModelSpec, name="demo"),
    prompts=blank(PromptsSpec, sets=[]),
    capture=blank(CaptureSpec, sites=[]),
)
INTERVENTION = blank(InterventionSpec, site="", op="clamp")
_PLANE = blank(PlaneSpec, a=0, b=1)


def normal(data: object) -> Data:
    """The data with every field a form shows, as `Experiment.to_dict` gives it where it is an experiment.

    What is refused stays as it is, so that it can be shown and put right; only what is no table or list is replaced.
    """
    try:
        return Experiment.from_dict(data).to_dict()
    except ExplorerError:
        pass
    tables = _table(data)
    whole: Data = copy.deepcopy(_EMPTY)
    for name, empty in whole.items():
        value = tables.get(name, empty)
        if isinstance(empty, dict):
            whole[name] = {**cast("Data", empty), **copy.deepcopy(_table(value))}
        elif isinstance(empty, list):
            item = INTERVENTION if name == "interventions" else _PLANE
            items = cast("list[object]", value) if isinstance(value, list) else []
            whole[name] = [{**copy.deepcopy(item), **copy.deepcopy(_table(table))} for table in items]
        else:
            whole[name] = value
    return whole | {name: value for name, value in tables.items() if name not in whole}


def _steps(path: str) -> list[str | int]:
    """The steps of a field's name: "planes[0].a" is planes, 0, a."""
    return [int(step) if step.isdecimal() else step for step in _STEP.split(path) if step]


def value_at(data: Data, path: str) -> Any:
    value: Any = data
    for step in _steps(path):
        if isinstance(value, dict):
            value = cast("dict[str | int, Any]", value).get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[step]
        else:
            return None
    return value


def put(data: Data, path: str, value: Any) -> None:
    """Set a field that is there, in place."""
    *tables, last = _steps(path)
    table: Any = data
    for step in tables:
        table = table[step]
    table[last] = value


def _table(value: object) -> Data:
    return cast("Data", value) if isinstance(value, dict) else {}


_ITEM = re.compile(r"(interventions|planes)\[([0-9]+)\]")


def item_of(key: str) -> tuple[str, int] | None:
    """The section and number of the intervention or plane that a field belongs to; None for any other field."""
    match = _ITEM.match(key)
    return (match[1], int(match[2])) if match else None


def item_prefix(key: str) -> str:
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
        item = where.removesuffix(".site")
        row = f"{item}.layer" if what.startswith("layer ") else f"{item}.kind"
        if row in shown:
            return row
    section = re.split(r"[.\[]", where)[0]
    return section if section in ("interventions", "planes") else where
