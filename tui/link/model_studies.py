"""Studies that need a model, asked of the worker: of each study only the newest question matters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError
from engine.runner.model_table import read_model
from engine.runner.progress import Stopped
from tui.link.access import Access
from tui.link.events import LinkEvent, Studied, StudyFailed


class ModelStudies:
    """Has studies run that need a model; a newer question after the same study ends the older one.

    Args:
        access: leads to the worker.
        tell: takes the answers.
    """

    def __init__(self, access: Access, tell: Callable[[LinkEvent], None]) -> None:
        self._access = access
        self._tell = tell
        self._guard = threading.Lock()
        self._ends: dict[str, threading.Event] = {}
        self._unanswered: dict[str, Callable[[], None]] = {}

    def ask(
        self, name: str, session: str, model: Mapping[str, Any], arguments: Mapping[str, Any], base: Path, tag: object
    ) -> None:
        """Ask in a thread of its own; refused by a worker that runs an experiment, `ask_again` asks again."""
        end = self._begin(name)

        def ask() -> None:
            try:
                found = self._access.taking_worker().study(
                    name,
                    arguments,
                    session=Path(session) if session else None,
                    model=read_model(model) if model else None,
                    base=base,
                    is_wanted=lambda: not end.is_set(),
                )
                answer: LinkEvent = Studied(name, found, tag)
            except Stopped:
                return
            except ExplorerError as error:
                waits = self._access.is_busy()
                with self._guard:
                    if waits and not end.is_set():
                        self._unanswered[name] = ask
                answer = StudyFailed(name, error, tag, waits)
            if not end.is_set():
                self._tell(answer)

        _in_thread(ask)

    def end(self, name: str) -> None:
        """Give a study up, if it is under way; nothing is told of it any more."""
        with self._guard:
            self._unanswered.pop(name, None)
            end = self._ends.pop(name, None)
        if end is not None:
            end.set()

    def ask_again(self) -> None:
        """Ask what a busy worker refused, if anything."""
        with self._guard:
            again, self._unanswered = list(self._unanswered.values()), {}
        for ask in again:
            _in_thread(ask)

    def close(self) -> None:
        """Give every study up."""
        for name in list(self._ends):
            self.end(name)

    def _begin(self, name: str) -> threading.Event:
        self.end(name)
        end = threading.Event()
        with self._guard:
            self._ends[name] = end
        return end


def _in_thread(task: Callable[[], None]) -> None:
    threading.Thread(target=task, name="link-study", daemon=True).start()
