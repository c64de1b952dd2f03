"""JSON Schema (2020-12) of what is written: a session file, and an experiment as a file or a session has it.

Made of the models that read them, which alone check what no schema can say: that references and lengths fit.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

from pydantic import TypeAdapter

from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.session.effects import Effects
from srm_explorer.engine.session.serialization import SessionDocument
from srm_explorer.engine.session.session import SCHEMA_VERSION

SchemaKind: TypeAlias = Literal["session", "experiment"]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINED = "#/$defs/"


def schema(kind: SchemaKind) -> dict[str, Any]:
    """The JSON Schema of a session file (of any version that is read), or of an experiment as TOML or JSON gives it.

    Raises:
        ExplorerError: there is none of that.
    """
    if kind == "experiment":
        return {"$schema": DIALECT, **_of(Experiment), "title": "An experiment of srm-explorer"}
    if kind != "session":
        raise ExplorerError(
            f"there is no schema of {kind!r}", remedy=did_you_mean(str(kind), ("session", "experiment"))
        )
    made = _of(SessionDocument)
    fields = made["properties"]
    for name, model in (("Experiment", Experiment), ("Effects", Effects)):
        inner = _of(model)
        made["$defs"] |= {**inner.pop("$defs", {}), name: inner}
    fields["schema_version"] |= {"minimum": 1, "maximum": SCHEMA_VERSION}
    fields["spec"] = {"$ref": f"{_DEFINED}Experiment"}
    fields["effects"] = {"anyOf": [{"type": "object", "maxProperties": 0}, {"$ref": f"{_DEFINED}Effects"}]}
    # The first version had no effects.
    made["required"].remove("effects")
    first = {"properties": {"schema_version": {"const": 1}}}
    return {
        "$schema": DIALECT,
        **made,
        "title": "A session of srm-explorer",
        "if": first,
        "else": {"required": ["effects"]},
    }


def _of(model: type[Any]) -> dict[str, Any]:
    """A model's schema without the names that repeat its keys."""
    return cast("dict[str, Any]", _untitled(TypeAdapter(model).json_schema()))


def _untitled(part: Any) -> Any:
    if isinstance(part, list):
        return [_untitled(item) for item in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    table = cast("dict[str, Any]", part)
    # A key of a file may be called "title" too; its schema is a table, not a text.
    return {name: _untitled(item) for name, item in table.items() if name != "title" or not isinstance(item, str)}
