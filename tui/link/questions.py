"""Questions about models, asked of the worker in threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from engine.errors import ExplorerError
from engine.runner.model_table import read_model
from tui.link.access import Access
from tui.link.asking import Asking
from tui.link.events import Described, DescribeFailed, LinkEvent, Said, Tokenized

_TEXTS = 1000
"""Texts whose tokens are counted at a time, so that a message stays small."""


class Questions:
    """Asks for shapes and tokens.

    Args:
        access: leads to the worker.
        tell: takes the answers.
    """

    def __init__(self, access: Access, tell: Callable[[LinkEvent], None]) -> None:
        self._access = access
        self._tell = tell
        self._describing = Asking(newest_only=True)
        self._counting = Asking(newest_only=False)
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
