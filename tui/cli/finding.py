"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One fact; `problem` where an experiment cannot run because of it."""

    name: str
    told: str
    problem: bool = False
