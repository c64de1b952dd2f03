"""A tab of studies: pages of tables, worked out when they are looked at, each row leading somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.tui.results.study_model import Question, StudyCache, StudyPage, Topic
from srm_explorer.tui.widgets.picture_view import PictureView
from srm_explorer.tui.widgets.table import LineTable
from srm_explorer.tui.widgets.table_render import Column

if TYPE_CHECKING:
    from srm_explorer.engine.figures.histogram import HistogramFigure
    from srm_explorer.engine.figures.table import PlaneChoice
    from srm_explorer.tui.results.study_model import StudySubject


class StudyKeys(Widget, can_focus=True):
    """Actions of a tab of studies; what it shows is in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "page(1)", "next page", id="study.page", tooltip="Go to the next page of this tab"),
        Binding("V", "page(-1)", show=False, id="study.page_back", tooltip="Go to the page before"),
        Binding("w", "work", "work out", id="study.work", tooltip="Work out what this page shows; again, anew"),
        Binding("e", "settings", "settings", id="study.settings", tooltip="Choose neuron, groups and the like"),
        Binding("n", "new_plane", "new plane", id="study.new_plane", tooltip="Planes: make one of directions you type"),
        Binding("i", "card", "card", id="study.card", tooltip="Show the neuron of the highlighted row as a card"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a key to others where it would do nothing."""
        return self.can_act(action)

    def can_act(self, action: str) -> bool:
        """Whether an action would do something now."""
        raise NotImplementedError

    def turn_page(self, step: int) -> None:
        """Show another page."""
        raise NotImplementedError

    def work(self) -> None:
        """Ask for what the page shows."""
        raise NotImplementedError

    def ask_settings(self) -> None:
        """Let a person choose the settings."""
        raise NotImplementedError

    def open_card(self) -> None:
        """Show a neuron."""
        raise NotImplementedError

    def ask_plane(self) -> None:
        """Let a person name the directions of a plane."""
        raise NotImplementedError

    def action_new_plane(self) -> None:
        """Make a plane of directions that are typed."""
        self.ask_plane()

    def action_page(self, step: int) -> None:
        """Go to another page, round and round."""
        self.turn_page(step)

    def action_work(self) -> None:
        """Work out what the page shows."""
        self.work()

    def action_settings(self) -> None:
        """Choose the settings."""
        self.ask_settings()

    def action_card(self) -> None:
        """Show the neuron of the highlighted row."""
        self.open_card()


NOTHING_SAVED = "Nothing is saved yet to be studied\n\nr runs the experiment, o opens a saved session"
STILL_RUNNING = (
    "Studies begin when the run is finished and saved\n\nuntil then Polar, Thresholds, Dose and Runs show it"
)


class StudyTab(StudyKeys):
    """Shows the answers of studies.

    Args:
        name: of the tab.
    """

    DEFAULT_CSS = """
    StudyTab {
        layout: vertical;
        height: 1fr;
        .-title { height: 1; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        LineTable { height: 1fr; }
        .-words { height: 1fr; padding: 1 2; display: none; }
        .-notes { height: auto; max-height: 5; color: $text-muted; }
        PictureView { height: 1fr; display: none; }
        &.-wordy, &.-drawn { LineTable, .-notes { display: none; } }
        &.-wordy .-words { display: block; }
        &.-drawn PictureView { display: block; }
    }
    """

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

    def __init__(self, name: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(name=name, id=id)
        self.topics: tuple[Topic, ...] = ()
        self._book: StudyCache | None = None
        self._subject: StudySubject | None = None
        self._at = (0, 0)
        self._page: StudyPage | None = None

    def compose(self) -> ComposeResult:
        """The page's title, its table or the words in its place, and its notes."""
        yield Static("", classes="-title", markup=False)
        yield LineTable()
        yield Static(NOTHING_SAVED, classes="-words", markup=False)
        yield PictureView()
        yield Static("", classes="-notes", markup=False)

    def on_mount(self) -> None:
        """Teach how to begin."""
        self._write(NOTHING_SAVED)

    @property
    def table(self) -> LineTable:
        """The table of the page."""
        return self.query_one(LineTable)

    @property
    def target(self) -> Widget:
        """What takes the keys: the table, or the tab itself where words stand in its place."""
        return self if not self.is_mounted or self.has_class("-wordy") or self.has_class("-drawn") else self.table

    @property
    def shown(self) -> StudyPage | None:
        """The page in view."""
        return self._page

    @property
    def topic(self) -> Topic | None:
        """What the page in view is about."""
        return self.topics[self._at[0] % len(self.topics)] if self.topics else None

    def told(self) -> str:
        """Where the page stands among the others, in few words."""
        if not self.topics or self.topic is None:
            return ""
        page = self._page
        part = f", {page.number + 1}/{page.pages}" if page is not None and page.pages > 1 else ""
        return f"{self._at[0] % len(self.topics) + 1} of {len(self.topics)}{part} · {self.topic.title}"

    def furnish(self, topics: Sequence[Topic], book: StudyCache) -> None:
        """Take what can be worked out, and where the answers are kept."""
        self.topics, self._book = tuple(topics), book

    def show(self, subject: StudySubject) -> None:
        """Show what is known about a subject; ask for what is to begin by itself."""
        self._subject = subject
        if self.is_mounted and self.display:
            self._refresh()

    def look(self, topic: str) -> None:
        """Turn to a topic, by its study."""
        known = [one.study for one in self.topics]
        if topic in known:
            self._at = (known.index(topic), 0)
            self._refresh()

    def go_again(self) -> None:
        """Show what came of a question."""
        if self.is_mounted and self.display:
            self._refresh()

    def copy_text(self) -> str:
        """The page as text: a line a row, cells separated by tabs, the notes below."""
        page = self._page
        if page is None or page.table is None:
            return page.words if page is not None else ""
        one = page.table
        lines = [one.title, "\t".join(column.title for column in one.columns)]
        lines += ["\t".join(one.shown(row, at) for at in range(len(one.columns))) for row in range(len(one.rows))]
        return "\n".join([*lines, *one.notes]) + "\n"

    def turn_page(self, step: int) -> None:
        """Go to the next table of the topic, then to the next topic, round and round."""
        if not self.topics:
            return
        topic, page = self._at
        pages = self._page.pages if self._page is not None else 1
        page += step
        if 0 <= page < pages:
            self._at = (topic, page)
        else:
            self._at = ((topic + step) % len(self.topics), 0)
        self._refresh()
        self.post_message(self.Turned())

    def work(self) -> None:
        """Work out what the page shows, anew where it was before."""
        question = self._question()
        if question is None or self._book is None or self._book.is_asked(question):
            return
        self._book.forget(question)
        self._ask(question)

    def ask_settings(self) -> None:
        """Let a person choose the settings of what the page is about."""
        topic, subject = self.topic, self._subject
        if topic is not None and subject is not None and self._book is not None:
            self.post_message(self.SettingsWanted(self, topic, self._book.settings(topic, subject)))

    def ask_plane(self) -> None:
        """Let a person name the directions of a plane."""
        self.post_message(self.NewPlaneWanted())

    def open_card(self) -> None:
        """Show the neuron of the highlighted row."""
        neuron = self._neuron(self.table.cursor)
        if neuron is not None:
            self.post_message(self.CardWanted(*neuron))

    def can_act(self, action: str) -> bool:
        """Whether a key would do something on this page."""
        if action == "card":
            return self._neuron(self.table.cursor) is not None
        if action == "new_plane":
            return self.name == "Planes" and self._question() is not None
        if action in ("work", "settings"):
            return self._question() is not None
        return bool(self.topics)

    @on(LineTable.Opened)
    def open_row(self, event: LineTable.Opened) -> None:
        """Make the row's plane, or open its run, or its neuron."""
        event.stop()
        one = self._page.table if self._page is not None else None
        if one is None:
            return
        choice = one.planes[event.row] if one.planes else None
        run = one.runs[event.row] if one.runs else None
        neuron = self._neuron(event.row)
        if choice is not None:
            self.post_message(self.PlaneWanted(choice))
        elif run is not None:
            self.post_message(self.RunWanted(run, tuple(index for index in one.runs if index is not None)))
        elif neuron is not None:
            self.post_message(self.CardWanted(*neuron))

    @on(LineTable.Highlighted)
    def keep_highlight(self, event: LineTable.Highlighted) -> None:
        """Keep to the tab what concerns it alone."""
        event.stop()
        self.refresh_bindings()

    def _question(self) -> Question | None:
        topic, subject = self.topic, self._subject
        if topic is None or subject is None or self._book is None:
            return None
        return self._book.question(topic, subject)

    def _ask(self, question: Question) -> None:
        assert self._book is not None
        if self._book.ask(question):
            self.post_message(self.Wanted(self, question))
        self._refresh()

    def _neuron(self, row: int) -> tuple[int, int] | None:
        one = self._page.table if self._page is not None else None
        return neuron_in(one, row) if one is not None else None

    def _refresh(self) -> None:
        topic, question, book = self.topic, self._question(), self._book
        if topic is None or question is None or book is None:
            self._page = None
            runs = self._subject is not None and self._subject.session is not None
            self._write(
                (STILL_RUNNING if runs else NOTHING_SAVED) if topic is None or topic.needs_session else topic.teaches
            )
            return
        if topic.at_once and book.answer(question) is None and book.ask(question):
            self.post_message(self.Wanted(self, question))
        page = self._page = page_of(topic, book, question, self._at[1])
        if page.histogram is not None:
            self._draw(page.histogram)
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

    def _draw(self, figure: HistogramFigure) -> None:
        from srm_explorer.tui.charts.histogram import paint_histogram

        self._look("-drawn")
        self.query_one(".-title", Static).update("")
        view = self.query_one(PictureView)
        self.call_after_refresh(lambda: view.show(paint_histogram(figure, *view.size)))

    def on_resize(self) -> None:
        """Draw for the new size."""
        if self._page is not None and self._page.histogram is not None:
            self._draw(self._page.histogram)
        elif self._page is not None and self._page.table is not None:
            self._fill(self._page.table)

    def _write(self, words: str, title: str = "") -> None:
        self._look("-wordy")
        self.query_one(".-title", Static).update(title)
        self.query_one(".-words", Static).update(words)

    def _fill(self, one: TableFigure) -> None:
        self._look("")
        self.query_one(".-title", Static).update(one.title)
        self.query_one(".-notes", Static).update(notes_within(one.notes, self.size.width))
        keys = [column.key for column in one.columns]
        table = self.table
        table.set_columns(columns_of(one))
        table.set_rows(len(one.rows), lambda row, key: one.shown(row, keys.index(key)), stay=table.held)


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
    except SpecValueError:
        return None
    return (site.layer, choice.b) if site.is_mlp else None


def page_of(topic: Topic, book: StudyCache, question: Question, number: int) -> StudyPage:
    """What a tab shows of a topic: a table of the answer, or words that say why there is none yet."""
    answer = book.answer(question)
    if isinstance(answer, ExplorerError):
        return StudyPage(topic.title, words=f"{answer}\n\ne changes its settings, w tries again")
    if answer is None:
        if waiting := book.waiting(question):
            return StudyPage(topic.title, words=f"{topic.teaches}\n\n{waiting}")
        return StudyPage(topic.title, words=f"{topic.teaches}\n\nw works it out, e changes its settings")
    return answer[min(number, len(answer) - 1)]
