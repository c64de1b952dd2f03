"""What a worker is asked about models: their shapes, the tokens of texts, and studies that need one."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.fields import Bos
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.worker.protocol import read_model
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.backend.events import Described, DescribeFailed, LinkEvent, Said, Studied, StudyFailed, Tokenized
from srm_explorer.tui.backend.worker_access import WorkerConnector

_TEXTS = 1000
"""Texts that are split at a time, so that a message stays small."""


class ModelQuestions:
    """Asks for shapes and tokens, a question of a kind at a time, and for studies, of each kind the newest alone.

    Args:
        connector: leads to the worker.
        background: asks; what it is told is taken in its threads.
        tell: takes the answers.
    """

    def __init__(self, connector: WorkerConnector, background: Background, tell: Callable[[LinkEvent], None]) -> None:
        self._connector, self._background, self._tell = connector, background, tell
        self._refused_shape: Callable[[], None] | None = None
        self._refused_studies: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def describe(self, model: Mapping[str, Any], base: Path) -> None:
        """Ask for a model's shape; refused by a worker that is busy with another model, `ask_again` asks again."""

        def ask() -> None:
            self._refused_shape = None
            try:
                description = self._connector.taking_worker().describe(read_model(model), base)
            except ExplorerError as error:
                if self._connector.is_busy():
                    self._refused_shape = ask
                self._tell(DescribeFailed(model, error))
            else:
                self._tell(Described(model, description))

        self._background.run(ask, key="describe", turn="next")

    def tokenize(
        self,
        model: Mapping[str, Any],
        base: Path,
        texts: Sequence[str | Turns],
        prepend_bos: Bos,
        chat_template: bool,
        system: str | None,
        tag: Hashable,
    ) -> None:
        """Ask for the tokens of prompts, in parts where there are many; an empty answer where there are none."""
        unique = tuple(dict.fromkeys(texts))

        def ask() -> None:
            try:
                client, spec = self._connector.taking_worker(), read_model(model)
                for start in range(0, len(unique), _TEXTS):
                    part = unique[start : start + _TEXTS]
                    tokens = client.tokenize(spec, base, part, prepend_bos, chat_template=chat_template, system=system)
                    # The vocabulary is finite, the prompts may be many.
                    pieces = (tuple(map(sys.intern, row)) for row in tokens.pieces)
                    self._tell(Tokenized(tag, dict(zip(part, pieces, strict=True))))
            except ExplorerError as error:
                self._tell(Said(f"tokens are not counted: {error}"))
                self._tell(Tokenized(tag, {}))

        self._background.run(ask, key="count tokens", turn="queue")

    def study(
        self, name: str, session: str, model: Mapping[str, Any], arguments: Mapping[str, Any], base: Path, tag: object
    ) -> None:
        """Ask in a thread; refused by a worker that runs an experiment, `ask_again` asks again."""
        ended = threading.Event()

        def ask() -> Mapping[str, Any]:
            return self._connector.taking_worker().study(
                name,
                arguments,
                session=Path(session) if session else None,
                model=read_model(model) if model else None,
                base=base,
                is_wanted=lambda: not ended.is_set(),
            )

        def answer(findings: Mapping[str, Any] | ExplorerError) -> None:
            if isinstance(findings, ExplorerError):
                waits = self._connector.is_busy()
                with self._lock:
                    if waits and not ended.is_set():
                        self._refused_studies[name] = begin
                event: LinkEvent = StudyFailed(name, findings, tag, waits)
            else:
                event = Studied(name, findings, tag)
            if not ended.is_set():
                self._tell(event)

        begin = functools.partial(self._background.run, ask, answer, key=("study", name), on_cancel=ended.set)
        self.end_study(name)
        begin()

    def end_study(self, name: str) -> None:
        """Give a study up, one that waits too; the worker stops it, and nothing is told of it."""
        self._background.cancel(("study", name))
        with self._lock:
            self._refused_studies.pop(name, None)

    def ask_again(self) -> None:
        """Ask what a busy worker refused, if anything."""
        shape, self._refused_shape = self._refused_shape, None
        if shape is not None:
            self._background.run(shape, key="describe", turn="next")
        with self._lock:
            studies, self._refused_studies = list(self._refused_studies.values()), {}
        for begin in studies:
            begin()
