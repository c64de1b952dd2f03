"""The bands of a session's groups that are known: stored with it, or computed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from srm_explorer.engine.figures.bands import PlaneBands
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.session import Session
from srm_explorer.tui.backend.subprocesses import StudyAnswer, StudyRunner

KEPT = 32
"""Computed bands that are kept: every grouping of a few sessions."""


@dataclass(frozen=True)
class BandKey:
    """Which bands: of a saved session as it was at a revision, of one of its planes, under a grouping."""

    path: Path
    revision: int
    plane: int
    by: tuple[str, ...]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the study of bands is asked for."""
        return {"plane": self.plane, "by": list(self.by)}


class BandCache:
    """Bands by what they are of: read from sessions, or computed and put here."""

    def __init__(self) -> None:
        self._computed: OrderedDict[BandKey, PlaneBands | None] = OrderedDict()
        self._stored: tuple[Session, dict[tuple[int, tuple[str, ...]], PlaneBands | None]] | None = None

    def get(self, session: Session, plane: int, by: tuple[str, ...]) -> PlaneBands | None:
        """The bands of a plane under a grouping; None where they are not known yet."""
        if self._stored is None or self._stored[0] is not session:
            self._stored = (session, {})
        stored = self._stored[1]
        if (plane, by) not in stored:
            stored[plane, by] = stored_bands(session, plane, by)
        key = key_of(session, plane, by)
        return stored[plane, by] or (None if key is None else self._computed.get(key))

    def missing(self, session: Session, plane: int, by: tuple[str, ...]) -> BandKey | None:
        """What is to be computed; None where it is known, could not be computed, or nothing saved can be asked."""
        key = key_of(session, plane, by)
        if key is None or key in self._computed or self.get(session, plane, by) is not None:
            return None
        return key

    def put(self, key: BandKey, findings: Mapping[str, Any]) -> str:
        """Keep what a study found; what is wrong with it, empty where nothing is."""
        try:
            self._computed[key] = PlaneBands.from_dict(cast("Mapping[str, Any]", findings["bands"]))
        except (KeyError, TypeError, ValueError):
            self.fail(key)
            return "what was found holds no bands"
        self._trim()
        return ""

    def fail(self, key: BandKey) -> None:
        """Remember that these cannot be computed, so that they are asked for once only."""
        self._computed[key] = None
        self._trim()

    def _trim(self) -> None:
        while len(self._computed) > KEPT:
            self._computed.popitem(last=False)


def key_of(session: Session, plane: int, by: tuple[str, ...]) -> BandKey | None:
    """What bands of a session are called; None for one that grows and is not saved."""
    if session.path is None or not session.saved or not session.runs:
        return None
    return BandKey(session.path, session.revision, plane, by)


class BandWatch:
    """Has bands computed, and ends the computing when others are wanted.

    Args:
        runner: of studies.
        then: takes what was computed.
    """

    def __init__(self, runner: StudyRunner, then: Callable[[BandKey, StudyAnswer], object]) -> None:
        self._runner, self._then = runner, then
        self._wanted: BandKey | None = None

    def want(self, key: BandKey | None) -> None:
        """Compute some bands unless that is under way already; None ends what is."""
        if key == self._wanted:
            return
        self._wanted = key
        if key is None:
            self._runner.cancel("bands")
        else:
            self._runner.run("bands", key.path, key.arguments, lambda answer: self._then(key, answer))
