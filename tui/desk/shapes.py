"""What the worker has said of models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.runner.wire import Description


class Shapes:
    """Descriptions by the model's table, and which were asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Description] = {}
        self._asked: set[str] = set()

    def of(self, model: Mapping[str, Any]) -> Description | None:
        """The description of a model; None where it is not known."""
        return self._known.get(_key(model))

    def asks(self, model: Mapping[str, Any], *, again: bool) -> bool:
        """Note that a model is asked for; False where it was before, unless it is to be asked for again."""
        key = _key(model)
        if key in self._asked and not again:
            return False
        self._asked.add(key)
        return True

    def take(self, model: Mapping[str, Any], description: Description | None) -> None:
        """Note what a model is like; None where it could not be said."""
        if description is not None:
            self._known[_key(model)] = description


def _key(model: Mapping[str, Any]) -> str:
    return json.dumps(model, sort_keys=True)
