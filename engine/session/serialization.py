"""The session file's text: JSON that a person can read and compare, one run a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Condition, Experiment
from srm_explorer.engine.session.codec import DamagedError, Number, Table, Text, Whole, json_line, read_record
from srm_explorer.engine.session.session import (
    SCHEMA_VERSION,
    PlaneRecord,
    PromptRecord,
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
    data: object, where: str, *, current: int = SCHEMA_VERSION, migrations: Mapping[int, Migration] = MIGRATIONS
) -> dict[str, Any]:
    """The document as the current version would have written it.

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


@dataclass(frozen=True)
class ConditionRecord:
    """A `Condition` as it is read."""

    index: Whole
    kind: Literal["baseline", "reference", "sweep", "control"]
    values: tuple[Number | None, ...]
    label: Text
    value: Number | None
    control: Whole | None = None


@dataclass(frozen=True)
class SessionDocument:
    """The fields of a session file in their order, which are those of a `Session` but for `vectors`, its sidecar."""

    schema_version: Whole
    name: Text
    revision: Whole
    state: State
    created: Text
    saved: Text
    notes: Text
    vectors: Sidecar | None
    spec: Table
    conditions: tuple[ConditionRecord, ...]
    resolved: tuple[tuple[tuple[Number, ...] | None, ...], ...]
    provenance: Table
    bands: Table
    predictions: Table
    effects: Table
    prompts: tuple[PromptRecord, ...]
    runs: tuple[RunRecord, ...]
    planes: tuple[PlaneRecord, ...]
    receipts: tuple[Table, ...]
    events: tuple[Table, ...]
    layout: Table


def session_bytes(session: Session) -> bytes:
    """Write a session as JSON in UTF-8: equal sessions give equal bytes."""
    document: dict[str, object] = {name: getattr(session, name, None) for name in SessionDocument.__annotations__}
    document |= {
        "schema_version": SCHEMA_VERSION,
        "vectors": session.sidecar,
        "spec": session.spec.to_dict(),
        "conditions": [_condition_table(condition) for condition in session.conditions],
        "planes": [_plane_table(plane) for plane in session.planes],
    }
    return b"{\n" + b",\n".join(json_line(name) + b": " + _entry(value) for name, value in document.items()) + b"\n}\n"


def read_session(data: object, where: str) -> Session:
    """Read a session from parsed JSON; its `path` is not set.

    Raises:
        ExplorerError: no session, one of a newer version, or a damaged one, each in one line.
    """
    document = migrated(data, where)
    try:
        return _session(read_record(SessionDocument, document), where)
    except DamagedError as error:
        remedy = "the file is damaged; restore it from a copy"
        raise ExplorerError(f"this is not what was saved: {error}", where=where, remedy=remedy) from None


def _entry(value: object) -> bytes:
    """One line an element of a list, one a field of a table, so that a comparison by lines shows what changed."""
    if isinstance(value, list | tuple) and value:
        items = cast("list[object]", value)
        return b"[\n" + b",\n".join(b"  " + json_line(item) for item in items) + b"\n]"
    if isinstance(value, Mapping) and value:
        table = cast("Mapping[str, object]", value)
        return b"{\n" + b",\n".join(b"  " + _field(name, item) for name, item in table.items()) + b"\n}"
    if isinstance(value, Sidecar):
        return _entry(vars(value))
    return json_line(cast("object", value))


def _field(name: str, value: object) -> bytes:
    return json_line(name) + b": " + json_line(value)


def _session(document: SessionDocument, where: str) -> Session:
    fields: dict[str, Any] = {
        **vars(document),
        "sidecar": _checked(document.vectors),
        "spec": Experiment.from_dict(document.spec, where=f"{where}, spec"),
        "conditions": tuple(Condition(**vars(record)) for record in document.conditions),
    }
    del fields["schema_version"], fields["vectors"]
    session = Session(**fields)
    _check_references(session)
    return session


def _check_references(session: Session) -> None:
    prompts, conditions = len(session.prompts), len(session.conditions)
    last = -1
    for row, run in enumerate(session.runs):
        if not (0 <= run.prompt < prompts and 0 <= run.condition < conditions and run.sample >= 0 and run.index > last):
            raise DamagedError(f"runs[{row}] belongs to no prompt, condition or place in the order")
        last = run.index
    for index, plane in enumerate(session.planes):
        if not len(plane.x) == len(plane.y) == len(plane.norm):
            raise DamagedError(f"planes[{index}].x, y and norm differ in length")
        if len(plane.x) != len(session.runs):
            raise DamagedError(f"planes[{index}] has {len(plane.x)} coordinates for {len(session.runs)} runs")
        if len(plane.shorter) not in (0, len(session.runs)):
            raise DamagedError(
                f"planes[{index}].shorter is of {len(plane.shorter)} runs where there are {len(session.runs)}"
            )
    if len(session.resolved) not in (0, conditions):
        raise DamagedError(f"resolved has {len(session.resolved)} rows for {conditions} conditions")


def _condition_table(condition: Condition) -> Table:
    """A condition as a table, which names a control only where it belongs to one."""
    return {name: value for name, value in vars(condition).items() if name != "control" or value is not None}


def _plane_table(plane: PlaneRecord) -> Table:
    """A plane as a table, which tells of means over the first tokens, and of a split, only where there are any."""
    table = {name: value for name, value in vars(plane).items() if name not in ("shorter", "held_out") or value}
    return table if plane.held_out is None else {**table, "held_out": vars(plane.held_out)}


def _checked(sidecar: Sidecar | None) -> Sidecar | None:
    # A session may come from someone else: it must not make us read a file elsewhere.
    if sidecar is not None and (
        "/" in sidecar.file or "\0" in sidecar.file or not sidecar.file.endswith(".safetensors")
    ):
        raise DamagedError("vectors.file is no name of a file beside the session")
    return sidecar
