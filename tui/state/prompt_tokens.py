"""How many tokens prompts have, by model, each text asked once."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

MOST_TEXTS = 2_000
MOST_CHARACTERS = 1_000_000
"""What is asked for at once at most."""

PATIENCE = 10.0
"""Seconds after which an answer that has not come may be asked for again."""


@dataclass
class _Question:
    model: Hashable
    texts: set[str]
    asked: float


class TokenBook:
    """Token counts by model and text; one question a model is under way at a time.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._model: Hashable = None
        self._counts: dict[Hashable, dict[str, int]] = {}
        self._open: list[_Question] = []
        self._refused: set[tuple[Hashable, str]] = set()

    def use(self, model: Hashable) -> None:
        """Count by this model from now on; what is known of others is kept."""
        self._model = model

    def count(self, text: str) -> int | None:
        """Tokens of a text; None where it is not known."""
        return self._counts.get(self._model, {}).get(text)

    def is_asked(self, text: str) -> bool:
        """Whether the answer for a text is awaited."""
        return any(one.model == self._model and text in one.texts for one in self._open)

    def retry(self) -> None:
        """Let what could not be counted, or has been awaited for long, be asked for again."""
        self._refused.clear()
        late = self._clock() - PATIENCE
        self._open = [one for one in self._open if one.asked > late]

    def ask(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The next texts to ask for; none while an answer for this model is awaited, or when all are known."""
        if any(one.model == self._model for one in self._open):
            return ()
        known = self._counts.get(self._model, {})
        wanted: list[str] = []
        characters = 0
        for text in dict.fromkeys(texts):
            if text in known or (self._model, text) in self._refused:
                continue
            if wanted and (len(wanted) >= MOST_TEXTS or characters + len(text) > MOST_CHARACTERS):
                break
            wanted.append(text)
            characters += len(text)
        if wanted:
            self._open.append(_Question(self._model, set(wanted), self._clock()))
        return tuple(wanted)

    def take(self, counts: Mapping[str, int]) -> bool:
        """Take an answer, or a part of it, to the oldest question that it fits; an empty one ends the oldest.

        Returns:
            Whether anything was learnt about the model in use.
        """
        for one in self._open:
            if not counts:
                self._open.remove(one)
                self._refused.update((one.model, text) for text in one.texts)
                return False
            if counts.keys() <= one.texts:
                one.texts -= counts.keys()
                if not one.texts:
                    self._open.remove(one)
                self._counts.setdefault(one.model, {}).update(counts)
                return one.model == self._model
        self._counts.setdefault(self._model, {}).update(counts)
        return bool(counts)
