"""How many tokens prompts have, by model, each text asked once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping

MOST_TEXTS = 2_000
MOST_CHARACTERS = 1_000_000
"""What is asked for at once at most."""


class TokenBook:
    """Token counts by model and text; one question is under way at a time."""

    def __init__(self) -> None:
        self._model: Hashable = None
        self._counts: dict[Hashable, dict[str, int]] = {}
        self._asked: deque[tuple[Hashable, frozenset[str]]] = deque()
        self._refused: set[tuple[Hashable, str]] = set()

    def use(self, model: Hashable) -> None:
        """Count by this model from now on; what is known of others is kept."""
        self._model = model

    def count(self, text: str) -> int | None:
        """Tokens of a text; None where it is not known."""
        return self._counts.get(self._model, {}).get(text)

    def is_asked(self, text: str) -> bool:
        """Whether the answer for a text is awaited."""
        return any(model == self._model and text in texts for model, texts in self._asked)

    def retry(self) -> None:
        """Ask again for what could not be counted."""
        self._refused.clear()

    def ask(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The next texts to ask for; none while an answer for this model is awaited, or when all are known."""
        if any(model == self._model for model, _ in self._asked):
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
            self._asked.append((self._model, frozenset(wanted)))
        return tuple(wanted)

    def take(self, counts: Mapping[str, int]) -> bool:
        """Take an answer, for the oldest question that it fits; an empty one says that the oldest has none.

        Returns:
            Whether anything was learnt about the model in use.
        """
        for asked in self._asked:
            model, texts = asked
            if counts.keys() <= texts:
                self._asked.remove(asked)
                self._counts.setdefault(model, {}).update(counts)
                self._refused.update((model, text) for text in texts - counts.keys())
                return bool(counts) and model == self._model
        self._counts.setdefault(self._model, {}).update(counts)
        return True
