"""Validation problems as one line: the first in full, with its place in the file and its remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean, nearest
from srm_explorer.engine.experiment.values import shown

_PLAIN = {
    "int_type": ("is not a whole number", "write a whole number"),
    "bool_type": ("is neither true nor false", "write true or false"),
    "tuple_type": ("is not a list", "write a list: [ ... ]"),
    "dict_type": ("is not a table", "write a table: { name = value }"),
    "model_type": ("is not a table", "give it its own table"),
}


def as_explorer_error(
    error: ValidationError, root: type[BaseModel], where: str, origins: Mapping[str, str]
) -> ExplorerError:
    """Tell the first problem, misspelt keys before all others, since they cause others.

    Args:
        error: what pydantic found.
        root: the model that was validated.
        where: the file's name, or empty.
        origins: for a field such as "generation.tokens", the place that its value came from if not from `where`.
    """
    problems = _sorted(error)
    first = problems[0]
    field, what, remedy = _problem_parts(first, root)
    more = len({dotted(problem["loc"]) for problem in problems} - {dotted(first["loc"])})
    file = next((origin for name, origin in origins.items() if covers(name, field)), where)
    located = ", ".join(part for part in (file, field) if part)
    counted = f"{remedy} (+{more} more)" if more else remedy
    return ExplorerError(what, where=located, remedy=counted)


def problems_of(error: ValidationError, root: type[BaseModel]) -> tuple[ExplorerError, ...]:
    """Tell every problem that pydantic found, one error a field."""
    problems: dict[str, ExplorerError] = {}
    for problem in _sorted(error):
        field, what, remedy = _problem_parts(problem, root)
        problems.setdefault(field, ExplorerError(what, where=field, remedy=remedy))
    return tuple(problems.values())


def table_keys(root: type[BaseModel], path: Sequence[int | str]) -> dict[str, Any]:
    """The keys a table of the file may have, with their annotations; empty where any key is allowed or none is."""
    model: type[BaseModel] | None = root
    for step in path:
        if isinstance(step, int):
            continue
        model = _model_in(model.model_fields[step].annotation) if model and step in model.model_fields else None
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()} if model else {}


def dotted(path: Sequence[int | str]) -> str:
    """A path as messages name it: "interventions[0].values"."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def belongs(key: str, root: type[BaseModel], path: Sequence[int | str]) -> str:
    """The remedy for an unknown key: the nearest one of its table, or the table where it is known."""
    keys = table_keys(root, path)
    if key not in root.model_fields and (close := nearest(key, keys)):
        return f"did you mean '{close}'?"
    if path and key in root.model_fields:
        return f"'{key}' belongs at the top of the file, before the first table"
    for name in root.model_fields:
        if key in table_keys(root, (name,)):
            return f"it belongs in [{name}]"
    return did_you_mean(key, keys)


def covers(name: str, field: str) -> bool:
    """Whether a field is the one of that name, or lies in it."""
    return field == name or field.startswith((f"{name}.", f"{name}["))


def _sorted(error: ValidationError) -> list[ErrorDetails]:
    return sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")


def _problem_parts(problem: ErrorDetails, root: type[BaseModel]) -> tuple[str, str, str]:
    """Field, what and remedy of one problem."""
    loc, kind, value = problem["loc"], problem["type"], problem["input"]
    field = dotted(loc)
    context = problem.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, SpecValueError):
        return ".".join(part for part in (field, cause.where) if part), cause.what, cause.remedy
    if kind == "extra_forbidden":
        table = dotted(loc[:-1])
        key = str(loc[-1])
        return f"[{table}]" if table else "", f"unknown key {shown(key)}", belongs(key, root, loc[:-1])
    if kind == "missing":
        table = dotted(loc[:-1])
        if table:
            return f"[{table}]", f"missing key '{loc[-1]}'", "add it"
        inner = _model_in(root.model_fields[str(loc[-1])].annotation)
        needed = [name for name, info in inner.model_fields.items() if info.is_required()] if inner else []
        return "", f"missing table [{loc[-1]}]", f"add it with {', '.join(needed)}" if needed else "add it"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        allowed = expected.replace(" or ", ", ").split(", ")
        close = nearest(value, allowed) if isinstance(value, str) else None
        hint = f"; did you mean '{close}'?" if close else ""
        return field, f"{shown(value)} is not allowed", f"choose {expected}{hint}"
    if kind in _PLAIN:
        what, remedy = _PLAIN[kind]
        return field, f"{shown(value)} {what}", remedy
    return field, f"{shown(value)} is not accepted", problem["msg"].lower().replace("input should be", "it should be")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if model := _model_in(inner):
            return model
    return None
