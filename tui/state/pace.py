"""How fast models were when they last ran, kept between starts: what an estimate of time is made of."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any, cast

from engine import paths
from engine.errors import ExplorerError
from engine.files import write_atomic

_FILE = "pace.json"
_REMEMBERED = 50


def known_pace(model: str) -> float | None:
    """Tokens a second of the last run with a model, by its name; None where none is known."""
    return _read().get(model)


def keep_pace(model: str, rate: float) -> None:
    """Remember how fast a model was; a pace that cannot be kept is not missed."""
    if not math.isfinite(rate) or rate <= 0:
        return
    known = _read()
    known.pop(model, None)
    newest = [*known.items(), (model, float(f"{rate:.4g}"))][-_REMEMBERED:]
    with contextlib.suppress(ExplorerError):
        write_atomic(_file(), json.dumps({"tokens_per_second": dict(newest)}).encode())


def _file() -> Path:
    return paths.state_folder() / _FILE


def _read() -> dict[str, float]:
    try:
        data: Any = json.loads(_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    table: object = cast("dict[str, Any]", data).get("tokens_per_second") if isinstance(data, dict) else None
    if not isinstance(table, dict):
        return {}
    rates = cast("dict[str, object]", table)
    return {name: float(rate) for name, rate in rates.items() if isinstance(rate, int | float) and rate > 0}
