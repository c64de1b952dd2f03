"""The list of experiments that can be loaded: those that ship, the user's own, and the files of the working folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.screen import ModalScreen


@dataclass(frozen=True)
class ChosenSpec:
    """An experiment that was chosen: its data, its name, and the folder its relative paths start from."""

    data: dict[str, Any]
    name: str
    base: Path


class Presets(ModalScreen[ChosenSpec | None]):
    """A list with a preview; the result is None where nothing was chosen."""
