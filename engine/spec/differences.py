"""What differs between two experiments."""

from __future__ import annotations

from typing import Any, cast

from engine.spec.experiment import Experiment


def differences(old: Experiment, new: Experiment) -> list[str]:
    """One line a field that differs: "generation.tokens: 50 -> 20"; empty for equal experiments."""
    before, after = _flat("", old.to_dict()), _flat("", new.to_dict())
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {_told(before.get(name))} -> {_told(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(path: str, value: object) -> dict[str, Any]:
    """Leaves by path; a list of plain values is one leaf, a list of tables is not."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, item in cast("dict[str, object]", value).items():
            found |= _flat(f"{path}.{name}".removeprefix("."), item)
        return found
    items = cast("list[object]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, dict) for item in items):
        found = {}
        for index, item in enumerate(items):
            found |= _flat(f"{path}[{index}]", item)
        return found
    return {path: value}


def _told(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"[{', '.join(_told(item) for item in cast('list[object]', value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
