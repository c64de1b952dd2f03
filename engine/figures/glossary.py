"""What every heading of a table, every word of a legend and every number on the screen means, each in one place.

The help behind `?`, `srm-explorer explain` and docs/glossary.md are made of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from srm_explorer.engine.errors import ExplorerError, nearest
from srm_explorer.engine.figures.table import TableColumn

TEXT = Path(__file__).with_name("glossary.txt")
"""A term a line, its words before the meaning, below the heading of its section; set in, a line goes on."""


@dataclass(frozen=True)
class Term:
    """A word and what it means.

    Attributes:
        section: what it is about.
        words: as they stand on the screen; * for what differs from case to case.
        meaning: a sentence, without its end.
    """

    section: str
    words: tuple[str, ...]
    meaning: str

    @property
    def word(self) -> str:
        return self.words[0]

    @functools.cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(re.escape(word).replace(r"\*", ".+")) for word in self.words if "*" in word)

    def means(self, text: str) -> bool:
        """Whether a heading, a key or a legend's detail is one of its words."""
        return text in self.words or any(pattern.fullmatch(text) for pattern in self._patterns)

    @property
    def literal(self) -> int:
        """How much of it stands for itself: the longer, the better a match."""
        return max(len(word.replace("*", "")) for word in self.words)


@functools.cache
def glossary() -> tuple[Term, ...]:
    """Every term, section by section."""
    terms: list[Term] = []
    section = ""
    for line in TEXT.read_text("utf-8").replace("\n  ", " ").strip().splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
        elif line:
            words, _, meaning = line.partition(" = ")
            terms.append(Term(section, tuple(word.strip() for word in words.split(" | ")), meaning))
    return tuple(terms)


def term_of(text: str) -> Term | None:
    """The term that a heading, a key or another word of the screen stands for; None for none."""
    exact = next((term for term in glossary() if text in term.words), None)
    if exact is not None:
        return exact
    matching = [term for term in glossary() if term.means(text)]
    return max(matching, key=lambda term: term.literal, default=None)


def column_term(column: TableColumn, table: str = "") -> Term | None:
    """The term of a column: that of its key in this table, of its heading, or of its key anywhere; None for none."""
    named = (f"{table}.{column.key}", column.title, column.key)
    exact = (term for name in named for term in glossary() if name in term.words)
    return next(exact, None) or next((term for name in named[1:] if (term := term_of(name))), None)


def column_words(columns: Iterable[TableColumn], table: str = "") -> tuple[tuple[str, str], ...]:
    """Headings with their meanings, those of one meaning together.

    Args:
        columns: of a table.
        table: its name, where it has one.
    """
    titles: dict[str, list[str]] = {}
    for column in columns:
        term = column_term(column, table)
        if term is not None:
            titles.setdefault(term.meaning, []).append(column.title or term.word)
    return tuple((", ".join(dict.fromkeys(listed)), meaning) for meaning, listed in titles.items())


def terms_in(text: str, sections: Sequence[str]) -> tuple[Term, ...]:
    """The terms of some sections whose words stand in a text, as whole words."""
    return tuple(
        term
        for term in glossary()
        if term.section in sections and any(_standing(word).search(text) for word in term.words)
    )


@functools.cache
def _standing(word: str) -> re.Pattern[str]:
    """A word where it stands for itself: no part of another, and something in the place of its stars."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)".replace(r"\*", r"\S+"))


def explain(words: Sequence[str]) -> tuple[Term, ...]:
    """The terms that words stand for, whatever their case.

    Raises:
        ExplorerError: one that is none.
    """
    known = {word.casefold(): word for term in glossary() for word in term.words}
    terms: list[Term] = []
    for word in words:
        term = term_of(known.get(word.casefold(), word))
        if term is None:
            # All of them are no remedy: they fill a screen.
            close = nearest(word, [term.word for term in glossary()])
            near = f"did you mean '{close}'?; " if close else ""
            raise ExplorerError(f"there is no word {word!r}", remedy=f"{near}`srm-explorer explain` lists all")
        terms.append(term)
    return tuple(dict.fromkeys(terms))


def as_markdown() -> str:
    """The glossary as a page."""
    lines = ["# Glossary", "", "Every heading, every word of a legend. `srm-explorer explain WORD` tells one of them;"]
    lines.append("`?` those in view. This page is made of `engine/figures/glossary.txt` by `tools/write_reference.py`.")
    section = ""
    for term in glossary():
        if term.section != section:
            section = term.section
            lines += ["", f"## {section}", "", "| word | meaning |", "|---|---|"]
        lines.append("| {} | {} |".format(term.word.replace("|", "\\|"), term.meaning.replace("|", "\\|")))
    return "\n".join(lines) + "\n"
