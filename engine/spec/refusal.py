"""A value that a spec cannot hold, with its remedy, before it is known which file it stands in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from engine.errors import ExplorerError


class RefusalError(ExplorerError, ValueError):
    """Why a value is refused and what to write instead; validation completes it with its place in the file.

    Args:
        what: the fact, with the offending value.
        remedy: what to write instead.
        field: the key below the validated table that it concerns, "values"; empty when it is the value itself.
    """

    def __init__(self, what: str, remedy: str = "", field: str = "") -> None:
        super().__init__(what, where=field, remedy=remedy)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like the word, or None when none does."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(names), n=1, cutoff=0.55)
    return names[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest known one, else all of them."""
    names = list(known)
    close = nearest(word, names)
    return f"did you mean '{close}'?" if close else f"choose one of {', '.join(names)}"
