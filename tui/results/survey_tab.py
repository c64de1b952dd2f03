"""The tab of a survey: its neurons as a table that is sorted, filtered and marked, their distribution, their map."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.results.filtered_tab import FilteredTab
from srm_explorer.tui.results.study_tab import StudyTab, columns_of, notes_within
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import Cell

if TYPE_CHECKING:
    from srm_explorer.engine.figures import HistogramFigure, HistogramMark, SurveyMapFigure, TableFigure
    from srm_explorer.tui.results.study_model import Question, StudySubject
    from srm_explorer.tui.results.table_listing import TableListing

HINT = "373   layer=11   kl>.5   q<.05   marked   !marked"
NO_SURVEY = (
    "This session surveys no neurons\n\n2 goes to the experiment: under survey, neurons takes all, top:200 or 0..99; "
    "every one of them is then changed as its intervention says"
)
STILL_SURVEYED = (
    "The survey has begun\n\n"
    "the first neurons are listed as soon as they are finished; the last line tells how far it is"
)
GROWTH = 1.25
"""What is finished of a survey that goes on is ranked anew when there is so many times as much."""
NOTES = 2
"""Lines of notes under the table, which has the room that there is."""


class SurveyTab(StudyTab, FilteredTab):
    """Lists a survey's neurons, and draws them; a row leads to the neuron's own session."""

    DEFAULT_CSS = """
    SurveyTab {
        .-listed { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        .-listed.-problem { color: $text-error; }
        .-filter { height: 1; border: none; padding: 0; background: $surface-lighten-1; }
        &.-wordy, &.-drawn { .-listed { display: none; } }
    }
    """

    HINT = HINT
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "filter",
            "filter",
            id="survey.filter",
            key_display="/",
            tooltip=f"List some neurons: {' '.join(HINT.split())}",
        ),
        Binding("S", "sort", "sort", id="survey.sort", tooltip="Sort by the next column"),
        Binding("R", "reverse", "reverse", id="survey.reverse", show=False, tooltip="Turn the order round"),
        Binding(
            "m,space", "mark", "mark", id="survey.mark", tooltip="Mark the highlighted neuron, or take its mark away"
        ),
        Binding(
            "M",
            "only_marked",
            "marked only",
            id="survey.only-marked",
            show=False,
            tooltip="List what is marked, or all",
        ),
        Binding("f", "find", show=False, id="survey.chosen", tooltip="Highlight the neuron of the experiment itself"),
        Binding("escape", "leave_filter", "all", id="survey.all", show=False, tooltip="Leave the filter, then drop it"),
    ]

    @dataclass
    class CellWanted(Message):
        """A neuron is to be opened as a session of its own."""

        layer: int
        neuron: int

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._listings: dict[str, TableListing] = {}
        """By the name of its table; each is sorted and filtered by itself, marked are neurons on all of them."""
        self._marks: set[tuple[int, int]] = set()
        self._asked: Question | None = None
        """The newest question about a survey that goes on."""
        self._asked_of = (0, 0)
        self._ranked: Question | None = None
        """The newest that was answered."""

    def compose(self) -> ComposeResult:
        *above, picture, notes = super().compose()
        yield from above
        yield Static("", classes="-listed", markup=False)
        yield picture
        yield notes

    @property
    def listing(self) -> TableListing:
        # Not imported with this module: the panes are shown before numpy is loaded.
        from srm_explorer.tui.results.table_listing import TableListing

        table = self._listed_table()
        name = "" if table is None else table.name
        if name not in self._listings:
            self._listings[name] = TableListing(self._marks)
        return self._listings[name]

    def drop_filter(self) -> None:
        self.listing.only_marked = False

    def rows_shown(self, table: TableFigure) -> Sequence[int]:
        return self.listing.rows

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "leave_filter":
                listing = self.listing if self._listed_table() is not None else None
                return listing is not None and bool(listing.filter_text or listing.only_marked or self.is_typing)
            case "filter" | "sort" | "reverse":
                return self._listed_table() is not None
            case "mark" | "only_marked" | "find":
                return self._listed_table() is not None and self.listing.has_neurons
            case _:
                return super().check_action(action, parameters)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change what is in view."""
        match action:
            case "only_marked":
                return bool(self._marks or self.listing.only_marked)
            case "filter" | "sort" | "reverse" | "mark":
                return True
            case _:
                return super().offers(action, parameters)

    def action_mark(self) -> None:
        listing, at = self.listing, self.table.cursor
        if 0 <= at < len(listing.rows):
            listing.mark(listing.rows[at])
            self.show_listing()

    def action_find(self) -> None:
        """Highlight the first row of the experiment's own neuron, which the others were compared with."""
        chosen = self._chosen()
        found = next((at for at in range(len(self.listing.rows)) if self._neuron(at) == chosen), None)
        if found is not None:
            self.table.go(found)

    def action_only_marked(self) -> None:
        self.listing.only_marked = not self.listing.only_marked
        self.listing.list_again()
        self.show_listing()

    @on(LineTable.Opened)
    def open_row(self, event: LineTable.Opened) -> None:
        # Not a card as on other tabs, whose handler would be called too.
        event.stop().prevent_default()
        cell = self._neuron(event.row)
        if cell is not None:
            self.post_message(self.CellWanted(*cell))

    def _chosen(self) -> tuple[int, int] | None:
        """Layer and neuron of the experiment's intervention, whose place was taken by every other."""
        session = self._session
        edits = session.spec.interventions if session is not None else ()
        if not edits or not edits[0].neurons:
            return None
        from srm_explorer.engine.experiment import Site

        return Site.parse(edits[0].site).layer, edits[0].neurons[0]

    def _listed_table(self) -> TableFigure | None:
        """The table in view; None where words or a picture stand in its place."""
        return self.page.table if self.page is not None else None

    def _neuron(self, row: int) -> tuple[int, int] | None:
        listing = self.listing
        return listing.neuron(listing.rows[row]) if 0 <= row < len(listing.rows) else None

    def _question(self) -> Question | None:
        session = self._session
        if session is None or not session.spec.survey:
            return None
        return super()._question() if session.path is not None else self._ranked or self._asked

    def _refresh(self) -> None:
        self._follow()
        super()._refresh()

    def _follow(self) -> None:
        """Ask about what is finished of a survey that goes on; until there is more, what was answered last is shown."""
        topic, subject, cache, session = self.topic, self._subject, self._cache, self._session
        if topic is None or subject is None or cache is None or session is None or session.path is not None:
            self._asked = self._ranked = None
            return
        tables = session.surveyed
        finished = (0, 0) if tables is None else tables.finished
        question = cache.question_of_run(topic, subject, sum(finished)) if any(finished) else None
        if question is None:
            self._asked = self._ranked = None
            return
        last = self._asked
        if last is None or (last.path, last.settings) != (question.path, question.settings):
            self._ranked = None
        else:
            answer = cache.answer(last)
            if isinstance(answer, tuple):
                self._ranked = last
            if answer is None or not any(
                now > before and now >= GROWTH * before for now, before in zip(finished, self._asked_of, strict=True)
            ):
                return
        self._asked, self._asked_of = question, finished
        self._ask(cache, question)

    def _without_question(self) -> str:
        if self._session is None:
            return super()._without_question()
        return STILL_SURVEYED if self._session.spec.survey else NO_SURVEY

    def _leads_on(self, row: int) -> bool:
        return self._neuron(row) is not None

    def show(self, subject: StudySubject) -> None:
        before = self._session
        if before is not None and (subject.session is None or subject.session.created != before.created):
            self._marks.clear()
            self._listings.clear()
        super().show(subject)

    def _draw(self, figure: HistogramFigure | SurveyMapFigure) -> None:
        """Draw what is marked in the table, too."""
        from srm_explorer.engine.figures import HistogramFigure, SurveyMapFigure

        known = [page.drawing for page in self.answered() if isinstance(page.drawing, SurveyMapFigure)]
        others = _places_of(self._marks, known[0]) if known else ()
        if not others:
            super()._draw(figure)
        elif isinstance(figure, HistogramFigure):
            marks = (*figure.marks, *_marks_at(others, known[0], figure.decades))
            # From left to right, as their names are written over them.
            super()._draw(replace(figure, marks=tuple(sorted(marks, key=lambda mark: mark.value))))
        else:
            super()._draw(replace(figure, marks=(*figure.marks, *others)))

    def _fill(self, figure: TableFigure) -> None:
        self._look("")
        self.query_one(".-title", Static).update(figure.title)
        self.query_one(".-notes", Static).update(notes_within(figure.notes, self.size.width, NOTES))
        self.listing.take(figure)
        self.table.set_columns(columns_of(figure, room=1))
        self.show_listing()

    def show_listing(self) -> None:
        """Show the rows that are listed now."""
        figure, listing, table = self._listed_table(), self.listing, self.table
        if figure is None:
            return
        # The table asks for the rows it has been given, also while others are listed.
        rows, at, signs = listing.rows, listing.columns, glyphs_of(self.app)
        keys = [column.key for column in figure.columns]

        chosen = self._chosen()

        def cell(row: int, key: str) -> Cell:
            shown = figure.shown(rows[row], keys.index(key))
            return (shown, "base") if listing.neuron(rows[row]) == chosen else shown

        def key(row: int) -> object:
            # By neuron, where rows have one: in the next table it stands in another row.
            cells = figure.rows[rows[row]]
            return rows[row] if at is None else (cells[at[0]], cells[at[1]])

        def mark(row: int) -> Cell:
            return (signs.lit, "lit") if listing.is_marked(rows[row]) else ""

        table.set_sort(listing.sort or None, listing.descending)
        table.set_rows(len(rows), cell, key, mark, stay=table.held)
        table.opens = self._leads_on(table.cursor)
        line = self.query_one(".-listed", Static)
        line.set_class(bool(listing.problem), "-problem")
        line.update(listing.problem or listing.summary(signs.separator))
        self.refresh_bindings()


def _places_of(cells: Collection[tuple[int, int]], figure: SurveyMapFigure) -> tuple[tuple[int, int, str], ...]:
    """Where neurons lie on a map, and what they are called there; without those it names itself."""
    named = {figure.neuron(row, column) for row, column, _ in figure.marks}
    several, width = len(set(figure.layers)) > 1, figure.effects.shape[1]
    places: list[tuple[int, int, str]] = []
    for row, column in itertools.product(range(len(figure.layers)), range(width)):
        layer, neuron = figure.neuron(row, column)
        if (layer, neuron) in cells and (layer, neuron) not in named:
            places.append((row, column, f"L{layer} n{neuron}" if several else f"n{neuron}"))
    return tuple(places)


def _marks_at(
    places: Collection[tuple[int, int, str]], figure: SurveyMapFigure, decades: bool
) -> tuple[HistogramMark, ...]:
    """The same as marks of the histogram of what the map shows; without those that have no place on its axis."""
    from srm_explorer.engine.figures import HistogramMark, three_digits

    marks: list[HistogramMark] = []
    for row, column, name in places:
        effect = float(figure.effects[row, column])
        if math.isfinite(effect) and (effect > 0 or not decades):
            marks.append(HistogramMark(math.log10(effect) if decades else effect, name, three_digits(effect)))
    return tuple(marks)
