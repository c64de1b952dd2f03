"""The table that names a model, on its way between processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from engine.spec import ModelSpec
from engine.spec.fields import SpecPart
from engine.spec.problems import as_explorer_error


class _Named(SpecPart):
    model: ModelSpec


def read_model(table: Mapping[str, Any]) -> ModelSpec:
    """Read the `[model]` table of an experiment, as plain data.

    Raises:
        ExplorerError: names the field that is wrong, and the remedy.
    """
    try:
        return _Named.model_validate({"model": dict(table)}).model
    except ValidationError as error:
        raise as_explorer_error(error, _Named, "", {}) from None
