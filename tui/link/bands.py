"""Bands that a session was not saved with: computed beside the screen, those that are wanted now alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui.link.study import StudyRunner, Told

if TYPE_CHECKING:
    from tui.state.sight import BandKey

STUDY = "bands"


class BandWatch:
    """Has bands computed, and ends the computing when others are wanted.

    Args:
        tell: is called in another thread with what was found.
        runner: of studies.
    """

    def __init__(self, tell: Callable[[BandKey, Told], None], runner: StudyRunner | None = None) -> None:
        self._tell = tell
        self._runner = runner or StudyRunner()
        self._wanted: BandKey | None = None

    def want(self, key: BandKey | None) -> None:
        """Compute some bands unless that is under way already; None ends what is."""
        if key == self._wanted:
            return
        self._wanted = key
        if key is None:
            self._runner.cancel(STUDY)
        else:
            self._runner.run(STUDY, key.path, key.arguments, functools.partial(self._tell, key))

    def close(self) -> None:
        """End what is under way."""
        self._runner.close()
