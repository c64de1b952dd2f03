"""How fast models are on this machine, and how large: measured once, then learned from runs; kept between starts."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.io.files import write_atomic
from srm_explorer.engine.io.lock import FileLock

_REMEMBERED = 50
_PATIENCE = 2.0
"""Seconds that another process which keeps a pace is waited for."""


@dataclass(frozen=True)
class Pace:
    """What is known of a model on a device of this machine.

    Attributes:
        rate: tokens a second that it writes in a batch; 0 where that is not known.
        scored: tokens a second that the last survey scored under its neurons; 0 where that is not known.
        is_learned: whether a run told it; else it was measured by a few steps.
        sizes: its sizes, as `worker.protocol.Description` dumps them; empty where they are not known.
    """

    rate: float = 0.0
    is_learned: bool = False
    sizes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scored: float = 0.0

    @property
    def is_whole(self) -> bool:
        return self.rate > 0 and bool(self.sizes)


def known_pace(model: ModelSpec, base: Path) -> Pace:
    """What is known of a model here; a pace of nothing where that is nothing.

    Args:
        model: as an experiment names it; its device and dtype are part of what it is.
        base: the folder that a relative model folder is found from.
    """
    return _pace(_read().get(_key(model, base)))


def is_here(name: str, base: Path) -> bool:
    """Whether a model can be loaded without a download, as far as its folder tells."""
    if name == "demo" or paths.is_folder(base / name) or paths.is_folder(Path(name)):
        return True
    cache = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    return (Path(cache).expanduser() / f"models--{name.replace('/', '--')}" / "snapshots").is_dir()


def keep_pace(
    model: ModelSpec,
    base: Path,
    *,
    rate: float = 0.0,
    scored: float = 0.0,
    is_learned: bool = False,
    sizes: Mapping[str, Any] | None = None,
) -> None:
    """Keep what was measured, or learned from a run, which what is measured later does not replace.

    Written whole or not at all; what cannot be kept is not missed.
    """
    key = _key(model, base)
    with contextlib.suppress(ExplorerError), FileLock(_file().with_suffix(".lock"), timeout=_PATIENCE):
        entries = _read()
        before = _pace(entries.pop(key, None))
        good = math.isfinite(rate) and rate > 0 and (is_learned or not before.is_learned)
        pace = {
            "tokens_per_second": float(f"{rate:.4g}") if good else before.rate,
            "learned": is_learned if good else before.is_learned,
            "scored_a_second": float(f"{scored:.4g}") if math.isfinite(scored) and scored > 0 else before.scored,
            "sizes": dict(before.sizes if sizes is None else sizes),
        }
        newest = dict([*entries.items(), (key, pace)][-_REMEMBERED:])
        write_atomic(_file(), json.dumps({"models": newest}).encode())


def _key(model: ModelSpec, base: Path) -> str:
    """The model, where it computes and on which machine: folders of settings are shared between some."""
    folder = base / model.name
    name = str(folder.resolve()) if paths.is_folder(folder) else model.name
    return json.dumps([platform.node(), name, model.revision, model.device, model.dtype, model.tf32])


def _file() -> Path:
    return paths.state_folder() / "pace.json"


def _read() -> dict[str, Any]:
    try:
        data: Any = json.loads(_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    table: object = cast("dict[str, Any]", data).get("models") if isinstance(data, dict) else None
    return cast("dict[str, Any]", table) if isinstance(table, dict) else {}


def _pace(entry: object) -> Pace:
    if not isinstance(entry, dict):
        return Pace()
    kept = cast("dict[str, Any]", entry)
    sizes, known = kept.get("sizes"), _positive(kept.get("tokens_per_second"))
    return Pace(
        known,
        known > 0 and kept.get("learned") is True,
        cast("dict[str, Any]", sizes) if isinstance(sizes, dict) else {},
        _positive(kept.get("scored_a_second")),
    )


def _positive(rate: object) -> float:
    return rate if isinstance(rate, float) and 0 < rate < math.inf else 0.0
