"""The arguments of a study: plain data from a screen, a command line or a notebook, checked by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from engine.errors import ExplorerError
from engine.spec.refusal import did_you_mean


class Given:
    """What was given to a study.

    Args:
        arguments: by name; None and a missing name mean the default.
        known: the names there are.
        study: the study's name, for errors.

    Raises:
        ExplorerError: a name that is none.
    """

    def __init__(self, arguments: Mapping[str, Any], known: Sequence[str], study: str) -> None:
        for name in arguments:
            if name not in known:
                raise ExplorerError(f"{study} has no setting '{name}'", remedy=did_you_mean(name, list(known)))
        self._arguments = arguments

    @overload
    def whole(self, name: str, default: int, *, least: int | None = None, most: int | None = None) -> int: ...
    @overload
    def whole(
        self, name: str, default: None = None, *, least: int | None = None, most: int | None = None
    ) -> int | None: ...
    def whole(
        self, name: str, default: int | None = None, *, least: int | None = None, most: int | None = None
    ) -> int | None:
        """A whole number, at least `least` and at most `most`."""
        value = self._arguments.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise ExplorerError(f"{name} is not a whole number: {value!r}", remedy=f"write {name}=20, say")
        if least is not None and value < least:
            raise ExplorerError(f"{name} is {value}", remedy=f"choose {least} or more")
        if most is not None and value > most:
            raise ExplorerError(f"{name} is {value}", remedy=f"choose {most:,} or fewer")
        return value

    def text(self, name: str) -> str | None:
        """A text; None where none was given."""
        value = self._arguments.get(name)
        if value is None or isinstance(value, str):
            return value
        raise ExplorerError(f"{name} is not a text: {value!r}", remedy="give a name")

    def texts(self, name: str) -> list[str]:
        """Texts, as a list or parted by commas; empty where none was given."""
        value = self._arguments.get(name)
        if value is None:
            return []
        parts: Sequence[object] = value.split(",") if isinstance(value, str) else value if _is_list(value) else [value]
        return [str(part).strip() for part in parts]

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of the choices, the first by default."""
        value = self._arguments.get(name)
        if value is None:
            return choices[0]
        if value not in choices:
            raise ExplorerError(f"{name} is {value!r}", remedy=did_you_mean(str(value), list(choices)))
        return str(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
