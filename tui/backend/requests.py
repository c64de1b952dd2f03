"""Questions about models: asked one at a time in a thread, of which only the newest of its kind matters or all do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Stopped
from srm_explorer.engine.worker.protocol import read_model
from srm_explorer.tui.backend.events import Described, DescribeFailed, LinkEvent, Said, Studied, StudyFailed, Tokenized
from srm_explorer.tui.backend.worker_access import WorkerConnector


class TaskThread:
    """A thread that runs tasks in order; daemonic, so that a long answer keeps no program from ending.

    Args:
        newest_only: whether a task that waits is dropped when a newer one comes.
    """

    def __init__(self, *, newest_only: bool) -> None:
        self._tasks: deque[Callable[[], None]] = deque(maxlen=1 if newest_only else None)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, task: Callable[[], None]) -> None:
        """Have a task run."""
        with self._changed:
            if self._closed:
                return
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="link-asking", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Run no more tasks."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._tasks)
                if self._closed:
                    return
                task = self._tasks.popleft()
            task()


_TEXTS = 1000
"""Texts whose tokens are counted at a time, so that a message stays small."""


class Questions:
    """Asks for shapes and tokens.

    Args:
        access: leads to the worker.
        tell: takes the answers.
    """

    def __init__(self, access: WorkerConnector, tell: Callable[[LinkEvent], None]) -> None:
        self._access = access
        self._tell = tell
        self._describing = TaskThread(newest_only=True)
        self._counting = TaskThread(newest_only=False)
        self._unanswered: Callable[[], None] | None = None

    def describe(self, model: Mapping[str, Any], base: Path) -> None:
        """Ask for a model's shape; refused by a worker that is busy with another model, `ask_again` asks again."""

        def ask() -> None:
            self._unanswered = None
            try:
                description = self._access.taking_worker().describe(read_model(model), base)
            except ExplorerError as error:
                if self._access.is_busy():
                    self._unanswered = ask
                self._tell(DescribeFailed(model, error))
            else:
                self._tell(Described(model, description))

        self._describing.put(ask)

    def ask_again(self) -> None:
        """Ask what a busy worker refused, if anything."""
        again, self._unanswered = self._unanswered, None
        if again is not None:
            self._describing.put(again)

    def count_tokens(
        self, model: Mapping[str, Any], base: Path, texts: Sequence[str], prepend_bos: bool | Literal["auto"]
    ) -> None:
        """Ask how many tokens texts have, in parts where there are many."""
        wanted = tuple(dict.fromkeys(texts))

        def ask() -> None:
            try:
                client, spec = self._access.taking_worker(), read_model(model)
                for start in range(0, len(wanted), _TEXTS):
                    part = wanted[start : start + _TEXTS]
                    tokens = client.tokenize(spec, base, part, prepend_bos)
                    self._tell(Tokenized({text: len(ids) for text, ids in zip(part, tokens.ids, strict=True)}))
            except ExplorerError as error:
                self._tell(Said(f"tokens are not counted: {error}"))

        self._counting.put(ask)

    def close(self) -> None:
        """Ask nothing more."""
        self._describing.close()
        self._counting.close()


class ModelStudies:
    """Has studies run that need a model; a newer question after the same study ends the older one.

    Args:
        access: leads to the worker.
        tell: takes the answers.
    """

    def __init__(self, access: WorkerConnector, tell: Callable[[LinkEvent], None]) -> None:
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
