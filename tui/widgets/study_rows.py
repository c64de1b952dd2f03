"""A study's table as the screen shows it: its columns, what its rows lead to, and what stands where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len

from engine.errors import ExplorerError
from engine.figures.table import TableFigure
from engine.spec import Site
from engine.spec.refusal import RefusalError
from tui.state.study_book import Question, StudyBook, StudyPage
from tui.state.study_topics import Topic
from tui.widgets.columns import Column

WIDEST = 40
"""Cells of a column whose texts are long; the last such column shares what is left."""
NOTE_LINES = 5
"""Lines of notes under a table, at most."""
MEASURED = 200
"""Rows that a column's width is taken from."""


def columns_of(one: TableFigure) -> tuple[Column, ...]:
    """Columns as wide as what stands in them; the last one of texts takes what is left."""
    texts = [at for at, column in enumerate(one.columns) if column.shown == "text"]
    found: list[Column] = []
    for at, column in enumerate(one.columns):
        shown = [one.shown(row, at) for row in range(min(len(one.rows), MEASURED))]
        width = min(WIDEST, max([cell_len(column.title), *map(cell_len, shown)]))
        last = bool(texts) and at == texts[-1] and width >= WIDEST
        found.append(
            Column(
                column.key,
                column.title,
                width=None if last else width,
                align="left" if column.shown == "text" else "right",
                priority=column.keep,
                least=min(width, 16),
            )
        )
    return tuple(found)


def notes_within(notes: Sequence[str], width: int) -> str:
    """Notes wrapped to a width; where they take too many lines, the last one tells where all of them are."""
    lines = [part for note in notes for part in wrap(note, max(20, width))]
    if len(lines) <= NOTE_LINES:
        return "\n".join(lines)
    told = " … ? tells the rest"
    last = lines[NOTE_LINES - 1][: max(0, width - len(told))]
    return "\n".join([*lines[: NOTE_LINES - 1], last.rstrip(" ,;:") + told])


def neuron_in(one: TableFigure, row: int) -> tuple[int, int] | None:
    """Layer and neuron that a row tells of: its columns of these names, else the partner in the plane it proposes."""
    if not 0 <= row < len(one.rows):
        return None
    record = {column.key: value for column, value in zip(one.columns, one.rows[row], strict=True)}
    layer, neuron = record.get("layer"), record.get("neuron")
    if isinstance(layer, int) and isinstance(neuron, int):
        return layer, neuron
    choice = one.planes[row] if one.planes else None
    if choice is None or not isinstance(choice.b, int):
        return None
    try:
        site = Site.parse(choice.site)
    except RefusalError:
        return None
    return (site.layer, choice.b) if site.is_mlp else None


def page_of(topic: Topic, book: StudyBook, question: Question, number: int) -> StudyPage:
    """What a tab shows of a topic: a table of the answer, or words that say why there is none yet."""
    answer = book.answer(question)
    if isinstance(answer, ExplorerError):
        return StudyPage(topic.title, words=f"{answer}\n\ne changes its settings, w tries again")
    if answer is None:
        if waiting := book.waiting(question):
            return StudyPage(topic.title, words=f"{topic.teaches}\n\n{waiting}")
        return StudyPage(topic.title, words=f"{topic.teaches}\n\nw works it out, e changes its settings")
    return answer[min(number, len(answer) - 1)]
