"""Session files of earlier versions, brought up to date in memory; a file is rewritten only when it is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from engine.errors import ExplorerError
from engine.session.session import SCHEMA_VERSION

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
