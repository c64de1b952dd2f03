"""A tab of studies: pages of tables, worked out when they are looked at, each row leading somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.tui.terminal.textual_patches import QuietFocus
from srm_explorer.tui.text import wrapped
from srm_explorer.tui.widgets.chart import PictureView
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import Column, one_line

if TYPE_CHECKING:
    from srm_explorer.engine.figures import HistogramFigure, PlaneChoice, SurveyMapFigure, TableFigure
    from srm_explorer.engine.session import Session
    from srm_explorer.tui.results.study_model import Question, StudyCache, StudyPage, StudySubject, Topic


NOTHING_SAVED = "Nothing is saved yet to be studied\n\nr runs the experiment, o opens a saved session"
STILL_RUNNING = (
    "Studies begin when the run is finished and saved\n\nuntil then Polar, Thresholds, Dose and Runs show it"
)


class StudyTab(QuietFocus, can_focus=True):
    """Shows the answers of studies."""

    DEFAULT_CSS = """
    StudyTab {
        layout: vertical;
        height: 1fr;
        .-title { height: 1; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        LineTable { height: 1fr; }
        .-words { height: 1fr; padding: 1 2; display: none; }
        .-notes { height: auto; color: $text-muted; }
        PictureView { height: 1fr; display: none; }
        &.-wordy, &.-drawn { LineTable, .-notes { display: none; } }
        &.-wordy .-words { display: block; }
        &.-drawn PictureView { display: block; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "page(1)", "next page", id="study.page", tooltip="Go to the next page of this tab"),
        Binding("V", "page(-1)", show=False, id="study.page_back", tooltip="Go to the page before"),
        Binding("w", "work", "work out", id="study.work", tooltip="Work out what this page shows; again, anew"),
        Binding("e", "settings", "settings", id="study.settings", tooltip="Choose neuron, groups and the like"),
        Binding("n", "new_plane", "new plane", id="study.new_plane", tooltip="Planes: make one of directions you type"),
        Binding("i", "card", "card", id="study.card", tooltip="Show the neuron of the highlighted row as a card"),
    ]

    @dataclass
    class Wanted(Message):
        """Something is to be worked out."""

        tab: StudyTab
        question: Question

    @dataclass
    class SettingsWanted(Message):
        """A person wants to choose settings."""

        tab: StudyTab
        topic: Topic
        settings: dict[str, Any]

    @dataclass
    class PlaneWanted(Message):
        """A row's plane is to be made."""

        choice: PlaneChoice

    class NewPlaneWanted(Message):
        """A person wants to name the directions of a plane."""

    @dataclass
    class CardWanted(Message):
        """A neuron is to be shown."""

        layer: int
        neuron: int

    @dataclass
    class RunWanted(Message):
        """A row's run is to be opened: its index among all planned runs, and those of all rows."""

        index: int
        order: tuple[int, ...]

    class Turned(Message):
        """Another page is in view."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.topics: tuple[Topic, ...] = ()
        self.page: StudyPage | None = None
        self._cache: StudyCache | None = None
        self._subject: StudySubject | None = None
        self._waits = ""
        self._topic = 0
        self._page_number = 0

    def compose(self) -> ComposeResult:
        yield Static("", classes="-title", markup=False)
        yield LineTable(reveals=True)
        yield Static(NOTHING_SAVED, classes="-words", markup=False)
        yield PictureView()
        yield Static("", classes="-notes", markup=False)

    def on_mount(self) -> None:
        self._write(self._waits or NOTHING_SAVED)

    def on_resize(self) -> None:
        if self.page is not None and self.page.drawing is not None:
            self._draw(self.page.drawing)
        elif self.page is not None and self.page.table is not None:
            self._fill(self.page.table)

    @property
    def table(self) -> LineTable:
        return self.query_one(LineTable)

    @property
    def target(self) -> Widget:
        """What takes the keys: the table, or the tab itself where words stand in its place."""
        return self if not self.is_mounted or self.has_class("-wordy") or self.has_class("-drawn") else self.table

    @property
    def _session(self) -> Session | None:
        return self._subject.session if self._subject is not None else None

    @property
    def topic(self) -> Topic | None:
        return self.topics[self._topic] if self.topics else None

    @property
    def can_ask(self) -> bool:
        return self._question() is not None

    def summary(self) -> tuple[str, ...]:
        """Where the page stands among the others, in few words; then in fewer, for narrow terminals."""
        if self.topic is None:
            return ("",)
        page, topic = self.page, self.topic.title
        part = f"{page.number + 1}/{page.pages}" if page is not None and page.pages > 1 else ""
        at = f"{self._topic + 1} of {len(self.topics)}" if len(self.topics) > 1 else ""
        where = ", ".join(filter(None, (at, part)))
        return f"{where} · {topic}" if where else topic, f"{topic} {part}".strip(), topic

    def furnish(self, topics: Sequence[Topic], cache: StudyCache) -> None:
        self.topics, self._cache = tuple(topics), cache

    def show(self, subject: StudySubject) -> None:
        self._subject = subject
        self.update_page()

    def wait(self, line: str) -> None:
        """Say what is on its way while there is no session; an empty line: nothing is."""
        self._waits = line
        self.update_page()

    def open_topic(self, study: str) -> None:
        studies = [topic.study for topic in self.topics]
        if study in studies:
            self._topic, self._page_number = studies.index(study), 0
            self._refresh()

    def update_page(self) -> None:
        if self.is_mounted and self.display:
            self._refresh()

    def copy_text(self) -> str:
        """The page as text: a line a row, cells separated by tabs, the notes below."""
        page = self.page
        if page is not None and page.drawing is not None:
            picture = self.query_one(PictureView).picture
            return "" if picture is None else f"{picture.text()}\n"
        if page is None or page.table is None:
            return page.words if page is not None else ""
        table, cells = page.table, range(len(page.table.columns))
        lines = [table.title, "\t".join(column.title for column in table.columns)]
        lines += ["\t".join(one_line(table.shown(row, at)) for at in cells) for row in self.rows_shown(table)]
        return "\n".join([*lines, *table.notes]) + "\n"

    def rows_shown(self, table: TableFigure) -> Sequence[int]:
        """Which rows of a table are on the page, in the order in which they are."""
        return range(len(table.rows))

    def tables(self) -> tuple[TableFigure, ...]:
        """All tables of the answer that the page in view is of."""
        return tuple(page.table for page in self.answered() if page.table is not None)

    def answered(self) -> tuple[StudyPage, ...]:
        """All pages of that answer."""
        question = self._question()
        answer = None if question is None or self._cache is None else self._cache.answer(question)
        return answer if isinstance(answer, tuple) else ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "card":
                return self._neuron(self.table.cursor) is not None
            case "new_plane":
                return self.name == "Planes" and self.can_ask
            case "work" | "settings":
                return self.can_ask
            case _:
                return bool(self.topics)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change what is in view."""
        match action:
            case "page":
                return len(self.topics) > 1 or (self.page is not None and self.page.pages > 1)
            case "work":
                question = self._question()
                return question is not None and self._cache is not None and not self._cache.is_asked(question)
            case _:
                return True

    def action_page(self, step: int) -> None:
        if not self.topics:
            return
        number = self._page_number + step
        if 0 <= number < (self.page.pages if self.page is not None else 1):
            self._page_number = number
        else:
            self._topic, self._page_number = (self._topic + step) % len(self.topics), 0
        self._refresh()
        self.post_message(self.Turned())

    def action_work(self) -> None:
        question = self._question()
        if question is None or self._cache is None or self._cache.is_asked(question):
            return
        self._cache.forget(question)
        self._ask(self._cache, question)
        self._refresh()

    def action_settings(self) -> None:
        topic, subject = self.topic, self._subject
        if topic is not None and subject is not None and self._cache is not None:
            self.post_message(self.SettingsWanted(self, topic, self._cache.settings(topic, subject)))

    def action_new_plane(self) -> None:
        self.post_message(self.NewPlaneWanted())

    def action_card(self) -> None:
        neuron = self._neuron(self.table.cursor)
        if neuron is not None:
            self.post_message(self.CardWanted(*neuron))

    @on(LineTable.Opened)
    def open_row(self, event: LineTable.Opened) -> None:
        event.stop()
        table = self.page.table if self.page is not None else None
        if table is None:
            return
        choice = table.planes[event.row] if table.planes else None
        run = table.runs[event.row] if table.runs else None
        neuron = self._neuron(event.row)
        if choice is not None:
            self.post_message(self.PlaneWanted(choice))
        elif run is not None:
            self.post_message(self.RunWanted(run, tuple(index for index in table.runs if index is not None)))
        elif neuron is not None:
            self.post_message(self.CardWanted(*neuron))

    @on(LineTable.Highlighted)
    def keep_highlight(self, event: LineTable.Highlighted) -> None:
        event.stop()
        self.table.opens = self._leads_on(event.row)
        self.refresh_bindings()

    def _question(self) -> Question | None:
        topic, subject = self.topic, self._subject
        if topic is None or subject is None or self._cache is None:
            return None
        return self._cache.question(topic, subject)

    def _without_question(self) -> str:
        """What is said where nothing can be asked yet."""
        topic = self.topic
        if topic is not None and not topic.needs_session:
            return topic.teaches
        return STILL_RUNNING if self._session is not None else self._waits or NOTHING_SAVED

    def _ask(self, cache: StudyCache, question: Question) -> None:
        if cache.ask(question):
            self.post_message(self.Wanted(self, question))

    def _leads_on(self, row: int) -> bool:
        """Whether a row opens anything: a plane, a run or a neuron."""
        table = self.page.table if self.page is not None else None
        if table is None or not 0 <= row < len(table.rows):
            return False
        leads = (table.planes and table.planes[row]) or (table.runs and table.runs[row] is not None)
        return bool(leads) or self._neuron(row) is not None

    def _neuron(self, row: int) -> tuple[int, int] | None:
        return self.page.neuron(row) if self.page is not None else None

    def _refresh(self) -> None:
        topic, question, cache = self.topic, self._question(), self._cache
        if topic is None or question is None or cache is None:
            self.page = None
            self._write(self._without_question())
            return
        if topic.at_once and cache.answer(question) is None:
            self._ask(cache, question)
        page = self.page = cache.page(topic, question, self._page_number)
        if page.drawing is not None:
            self._draw(page.drawing)
        elif page.table is None:
            self._write(page.words, page.title)
        else:
            self._fill(page.table)
        self.refresh_bindings()

    def _look(self, name: str) -> None:
        """Show what is in view in place of the table, which has the keys only where it is seen itself."""
        self.set_class(name == "-wordy", "-wordy")
        self.set_class(name == "-drawn", "-drawn")
        if name and self.table.has_focus:
            self.focus(scroll_visible=False)
        elif not name and self.has_focus:
            self.table.focus(scroll_visible=False)

    def _draw(self, figure: HistogramFigure | SurveyMapFigure) -> None:
        # Not imported with this module: the panes are shown before numpy is loaded.
        from srm_explorer.engine.figures import HistogramFigure
        from srm_explorer.tui.charts.histogram import paint_histogram
        from srm_explorer.tui.charts.survey_map import paint_survey_map

        self._look("-drawn")
        self.query_one(".-title", Static).update("")
        view = self.query_one(PictureView)

        def paint() -> None:
            if isinstance(figure, HistogramFigure):
                view.show(paint_histogram(figure, *view.size))
            else:
                view.show(paint_survey_map(figure, *view.size))

        self.call_after_refresh(paint)

    def _write(self, words: str, title: str = "") -> None:
        self._look("-wordy")
        self.query_one(".-title", Static).update(title)
        self.query_one(".-words", Static).update(words)

    def _fill(self, figure: TableFigure) -> None:
        self._look("")
        self.query_one(".-title", Static).update(figure.title)
        # Below a title and a header; the row that a table keeps for a bar sideways is no room.
        room = max(NOTE_LINES, self.size.height - 3 - len(figure.rows))
        self.query_one(".-notes", Static).update(notes_within(figure.notes, self.size.width, room))
        keys = [column.key for column in figure.columns]
        table = self.table
        table.set_columns(columns_of(figure))
        table.set_rows(len(figure.rows), lambda row, key: figure.shown(row, keys.index(key)), stay=table.held)
        table.opens = self._leads_on(table.cursor)


WIDEST = 40
"""Cells of a column whose texts are long; the last such column shares what is left."""
NOTE_LINES = 5
"""Lines of notes under a table, at most, where its rows need the room."""
MEASURED = 200
"""Rows that a column's width is taken from."""


def columns_of(figure: TableFigure, room: int = 0) -> tuple[Column, ...]:
    """The columns of a table on the screen.

    Args:
        room: cells beside each title, for the arrow of the column that rows are sorted by.
    """
    texts = [at for at, column in enumerate(figure.columns) if column.shown == "text"]
    columns: list[Column] = []
    for at, column in enumerate(figure.columns):
        shown = [figure.shown(row, at) for row in range(min(len(figure.rows), MEASURED))]
        width = min(WIDEST, max([cell_len(column.title) + room, *map(cell_len, shown)]))
        last = bool(texts) and at == texts[-1] and width >= WIDEST
        columns.append(
            Column(
                column.key,
                column.title,
                width=None if last else width,
                align="left" if column.shown == "text" else "right",
                priority=column.keep,
                least=min(width, 16),
            )
        )
    return tuple(columns)


def notes_within(notes: Sequence[str], width: int, most: int = NOTE_LINES) -> str:
    """Notes wrapped to a width; where they take more lines than `most`, the last one tells where all of them are."""
    lines = [part for note in notes for part in wrapped(note, max(20, width), hyphens=True)]
    if len(lines) <= most:
        return "\n".join(lines)
    hint = " … ? tells the rest"
    last = lines[most - 1][: max(0, width - len(hint))]
    return "\n".join([*lines[: most - 1], last.rstrip(" ,;:") + hint])
