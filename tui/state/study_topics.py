"""What the tabs of studies can work out, and with which settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from engine.errors import ExplorerError
from engine.spec.refusal import did_you_mean, nearest

if TYPE_CHECKING:
    from engine.session import Session

Settings: TypeAlias = dict[str, Any]
"""Plain data, as a study takes it."""


@dataclass(frozen=True, eq=False)
class StudySubject:
    """What a study is asked about.

    Attributes:
        session: in view; None before there is one.
        plane: index of the plane in view.
        by: how runs are grouped.
        draft: the experiment that is being edited, as plain data; empty before it is known.
    """

    session: Session | None
    plane: int = 0
    by: tuple[str, ...] = ()
    draft: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Topic:
    """One thing that can be worked out.

    Attributes:
        study: its name in `engine.studies`.
        title: what it is called on its tab.
        teaches: what it answers, and what it takes; stands where nothing is worked out yet.
        settings: makes its settings for a subject.
        model: whether the worker does it, with the model.
        at_once: whether it begins as soon as it is looked at.
        needs_session: whether there is nothing to ask before a session is saved.
    """

    study: str
    title: str
    teaches: str
    settings: Callable[[StudySubject], Settings]
    model: bool = False
    at_once: bool = True
    needs_session: bool = True


def settings_line(settings: Mapping[str, Any]) -> str:
    """Settings as a line to edit: `neuron=373 groups=baseline,clamped k=200`."""
    return " ".join(shlex.quote(f"{name}={_written(value)}") for name, value in settings.items())


def read_settings(line: str, known: Mapping[str, Any]) -> Settings:
    """Read a line that `settings_line` wrote and a person edited; names left out keep their value.

    Raises:
        ExplorerError: no name=value, or a name that is not known.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        raise ExplorerError("a quotation mark is not closed", remedy="close it") from None
    found = dict(known)
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            hint = nearest(name, list(known)) or next(iter(known), "name")
            raise ExplorerError(f"'{word}' sets nothing", remedy=f"write {hint}=...")
        if name not in known:
            raise ExplorerError(f"there is no setting '{name}'", remedy=did_you_mean(name, list(known)))
        found[name] = _read(text, known[name])
    return found


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType]
        return ",".join(value)  # pyright: ignore[reportUnknownArgumentType]
    return json.dumps(value, ensure_ascii=False)


def _read(text: str, before: object) -> object:
    if not text:
        return [] if isinstance(before, list | tuple) else None
    if isinstance(before, list | tuple):
        return [_plain(part) for part in text.split(",")] if not text.startswith("[") else _plain(text)
    return _plain(text)


def _plain(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
