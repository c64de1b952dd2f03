"""The session file's text: JSON that a person can read and compare, one run a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Experiment
from srm_explorer.engine.session.fields import (
    DamagedError,
    as_float,
    json_line,
    take,
    take_choice,
    take_float_or_none,
    take_list,
    take_records,
    take_table,
)
from srm_explorer.engine.session.session import (
    SCHEMA_VERSION,
    PlaneRecord,
    PromptRecord,
    Resolved,
    RunRecord,
    Session,
    Sidecar,
    State,
)

Migration = Callable[[dict[str, Any]], dict[str, Any]]


def _with_effects(document: dict[str, Any]) -> dict[str, Any]:
    """Version 2 holds effects on the text, planes of any directions, and runs of control neurons."""
    return {**document, "schema_version": 2, "effects": {}}


MIGRATIONS: dict[int, Migration] = {1: _with_effects}
"""By the version it reads: a function from the document of that version to the document of the next."""


def migrated(
    data: object,
    where: str,
    *,
    current: int = SCHEMA_VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> dict[str, Any]:
    """The document as the current version would have written it.

    Args:
        data: parsed JSON.
        where: the file's name, for errors.
        current: the version to arrive at.
        migrations: the steps that are known.

    Raises:
        ExplorerError: no session at all, or one of a newer version.
    """
    document = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1 or "runs" not in document:
        raise ExplorerError(
            "this is no session file", where=where, remedy="name a session that `srm-explorer run` saved"
        )
    if version > current:
        raise ExplorerError(
            f"written by a newer version (schema {version}, this one reads up to {current})",
            where=where,
            remedy="upgrade srm-explorer",
        )
    while version < current:
        document = migrations[version](document)
        version += 1
    return document


T = TypeVar("T")

_STATES: tuple[State, ...] = ("finished", "interrupted")
_KINDS = ("baseline", "reference", "sweep", "control")


def session_bytes(session: Session) -> bytes:
    """Write a session as JSON in UTF-8: equal sessions give equal bytes."""
    entries = [json_line(name) + b": " + _entry(value) for name, value in _document(session).items()]
    return b"{\n" + b",\n".join(entries) + b"\n}\n"


def session_from(data: object, where: str) -> Session:
    """Read a session from parsed JSON; its `path` is not set.

    Raises:
        ExplorerError: no session, one of a newer version, or a damaged one, each in one line.
    """
    document = migrated(data, where)
    try:
        return _session(document, where)
    except DamagedError as error:
        remedy = "the file is damaged; restore it from a copy"
        raise ExplorerError(f"this is not what was saved: {error}", where=where, remedy=remedy) from None


def _document(session: Session) -> dict[str, Any]:
    sidecar = session.sidecar
    return {
        "schema_version": SCHEMA_VERSION,
        "name": session.name,
        "revision": session.revision,
        "state": session.state,
        "created": session.created,
        "saved": session.saved,
        "notes": session.notes,
        "vectors": None if sidecar is None else dataclasses.asdict(sidecar),
        "spec": session.spec.to_dict(),
        "conditions": [_condition_dict(condition) for condition in session.conditions],
        "resolved": list(session.resolved),
        "provenance": dict(session.provenance),
        "bands": dict(session.bands),
        "predictions": dict(session.predictions),
        "effects": dict(session.effects),
        "prompts": [prompt.to_dict() for prompt in session.prompts],
        "runs": [run.to_dict() for run in session.runs],
        "planes": [plane.to_dict() for plane in session.planes],
        "receipts": list(session.receipts),
        "events": list(session.events),
        "layout": dict(session.layout),
    }


def _entry(value: object) -> bytes:
    """One line an element of a list, one a field of a table, so that a comparison by lines shows what changed."""
    if isinstance(value, list) and value:
        items = cast("list[object]", value)
        return b"[\n" + b",\n".join(b"  " + json_line(item) for item in items) + b"\n]"
    if isinstance(value, dict) and value:
        table = cast("dict[str, object]", value)
        return b"{\n" + b",\n".join(b"  " + _field(name, item) for name, item in table.items()) + b"\n}"
    return json_line(cast("object", value))


def _field(name: str, value: object) -> bytes:
    return json_line(name) + b": " + json_line(value)


def _session(data: Mapping[str, Any], where: str) -> Session:
    spec = take_table(data, "spec")
    session = Session(
        name=take(data, "name", str),
        state=take_choice(data, "state", _STATES),
        spec=Experiment.from_dict(spec, where=f"{where}, spec"),
        conditions=_each(data, "conditions", _condition),
        resolved=_resolved(take_list(data, "resolved")),
        prompts=_each(data, "prompts", PromptRecord.from_dict),
        runs=_each(data, "runs", RunRecord.from_dict),
        planes=_each(data, "planes", PlaneRecord.from_dict),
        provenance=take_table(data, "provenance"),
        layout=take_table(data, "layout"),
        receipts=tuple(take_records(data, "receipts")),
        events=tuple(take_records(data, "events")),
        bands=take_table(data, "bands"),
        predictions=take_table(data, "predictions"),
        effects=take_table(data, "effects"),
        notes=take(data, "notes", str),
        created=take(data, "created", str),
        saved=take(data, "saved", str),
        revision=take(data, "revision", int),
        sidecar=_sidecar(take(data, "vectors", object)),
    )
    _check_references(session)
    return session


def _each(data: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    found: list[T] = []
    for index, record in enumerate(take_records(data, key)):
        try:
            found.append(read(record))
        except DamagedError as error:
            raise error.within(f"{key}[{index}]") from None
    return tuple(found)


def _check_references(session: Session) -> None:
    prompts, conditions = len(session.prompts), len(session.conditions)
    last = -1
    for place, run in enumerate(session.runs):
        if not (0 <= run.prompt < prompts and 0 <= run.condition < conditions and run.sample >= 0 and run.index > last):
            raise DamagedError(f"runs[{place}] belongs to no prompt, condition or place in the order")
        last = run.index
    for index, plane in enumerate(session.planes):
        if len(plane.x) != len(session.runs):
            raise DamagedError(f"planes[{index}] has {len(plane.x)} coordinates for {len(session.runs)} runs")
    if len(session.resolved) not in (0, conditions):
        raise DamagedError(f"resolved has {len(session.resolved)} rows for {conditions} conditions")


def _condition_dict(condition: Condition) -> dict[str, Any]:
    return {
        "index": condition.index,
        "kind": condition.kind,
        "values": list(condition.values),
        "label": condition.label,
        "value": condition.value,
        **({} if condition.control is None else {"control": condition.control}),
    }


def _condition(data: Mapping[str, Any]) -> Condition:
    return Condition(
        index=take(data, "index", int),
        kind=cast("Any", take_choice(data, "kind", _KINDS)),
        values=tuple(None if value is None else as_float(value, "values") for value in take_list(data, "values")),
        label=take(data, "label", str),
        value=take_float_or_none(data, "value"),
        control=take(data, "control", int) if "control" in data else None,
    )


def _resolved(rows: Sequence[object]) -> Resolved:
    found: list[tuple[tuple[float, ...] | None, ...]] = []
    for row in rows:
        if not isinstance(row, list) or not all(
            one is None or isinstance(one, list) for one in cast("list[object]", row)
        ):
            raise DamagedError("resolved is no table of lists")
        listed = cast("list[list[object] | None]", row)
        found.append(tuple(None if one is None else tuple(as_float(v, "resolved") for v in one) for one in listed))
    return tuple(found)


def _sidecar(data: object) -> Sidecar | None:
    if data is None:
        return None
    if not isinstance(data, dict):
        raise DamagedError("vectors is no table")
    table = cast("dict[str, Any]", data)
    file, sites = take(table, "file", str), take_table(table, "sites")
    # A session may come from someone else: it must not make us read a file elsewhere.
    if "/" in file or "\0" in file or not file.endswith(".safetensors"):
        raise DamagedError("vectors.file is no name of a file beside the session")
    if any(type(width) is not int for width in sites.values()):
        raise DamagedError("vectors.sites is no table of widths")
    return Sidecar(file, take(table, "sha256", str), sites)
