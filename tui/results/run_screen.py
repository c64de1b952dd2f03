"""One run: what was written beside what the baseline wrote, and what the neuron did at every token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session import Session
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.results.run_detail import (
    Fact,
    RunPage,
    Stretch,
    TokenSeries,
    coordinates_of,
    row_of,
    run_page,
    series_of,
)
from srm_explorer.tui.results.runs_rows import RunRows
from srm_explorer.tui.results.state import ResultsState
from srm_explorer.tui.results.token_strip import TokenStrip
from srm_explorer.tui.widgets.help import push_help, words_of
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.table_render import one_line

LOOKS = {"shared": "", "alike": "$foreground-muted", "different": "$text-warning underline"}


class RunView(Screen[int]):
    """Steps through runs from an index, in the order of a table; leaves with the index of the run it showed last."""

    DEFAULT_CSS = """
    RunView {
        background: $surface;
        #run-title { height: 1; text-style: bold; background: $panel; padding: 0 1; text-wrap: nowrap; }
        #run-body { height: 1fr; padding: 0 1; scrollbar-size: 1 1; }
        #run-body > * { margin-bottom: 1; height: auto; }
        #run-texts > Static { width: 1fr; height: auto; }
        #run-baseline { margin-left: 2; }
        .-alone #run-baseline { display: none; }
        &.-narrow #run-texts { layout: vertical; }
        &.-narrow #run-texts > Static { width: 100%; }
        &.-narrow #run-baseline { margin: 1 0 0 0; }
    }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  (declared so by the base class)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,j", "run(1)", "next", id="run.next", tooltip="The next run of the table"),
        Binding("p,k", "run(-1)", "before", id="run.before", tooltip="The run before in the table"),
        Binding("b", "baseline", "baseline", id="run.baseline", tooltip="The baseline of this prompt, and back"),
        Binding("left,h", "token(-1)", "token", id="run.token-before", show=False, tooltip="The token before"),
        Binding("right,l", "token(1)", "token", id="run.token-next", tooltip="The next token"),
        Binding("shift+left,H", "token(-10)", "", id="run.tokens-before", show=False, tooltip="Ten tokens before"),
        Binding("shift+right,L", "token(10)", "", id="run.tokens-next", show=False, tooltip="Ten tokens on"),
        Binding("v", "neuron", "neuron", id="run.neuron", tooltip="The next neuron whose activations were kept"),
        Binding("up", "scroll(-1)", "", id="run.up", show=False, tooltip="Scroll up"),
        Binding("down", "scroll(1)", "", id="run.down", show=False, tooltip="Scroll down"),
        Binding("pageup", "scroll(-10)", "", id="run.page-up", show=False, tooltip="Scroll a page up"),
        Binding("pagedown", "scroll(10)", "", id="run.page-down", show=False, tooltip="Scroll a page down"),
        Binding("y", "copy", "copy", id="run.copy", tooltip="Copy prompt, texts and numbers"),
        Binding("question_mark,f1", "help", "help", id="run.help", tooltip="Keys and words"),
        Binding("escape,q", "leave", "back", id="run.leave", tooltip="Back to the table"),
    ]

    def __init__(self, state: ResultsState, index: int, order: Sequence[int] = ()) -> None:
        super().__init__()
        self.state = state
        self.index = index
        self.order = tuple(order)
        self.page: RunPage | None = None
        self._rows: RunRows | None = None
        self._back_to: int | None = None
        self._neuron, self._neurons = 0, 0
        self._background = Background(self.call_later)
        self._vectors: tuple[Session, Path] | None = None
        self._lock = Lock()

    def compose(self) -> ComposeResult:
        yield Static("", id="run-title", markup=False)
        with VerticalScroll(id="run-body", can_focus=False):
            yield Static("", id="run-prompt", markup=False)
            with Horizontal(id="run-texts"):
                yield Static("", id="run-continuation", markup=False)
                yield Static("", id="run-baseline", markup=False)
            yield Static("", id="run-facts", markup=False)
            yield TokenStrip(id="run-tokens")
        yield StatusLine()

    def on_mount(self) -> None:
        self.paint()

    def on_unmount(self) -> None:
        self._background.close()

    def paint(self) -> None:
        session, record = self.state.session, self.state.record()
        row = None if session is None else row_of(session, self.index)
        if session is None or row is None:
            self.query_one(StatusLine).said = (f"run {self.index} is not in this session", "warning")
            return
        if self._rows is None or self._rows.session is not session or self._rows.record is not record:
            self._rows = RunRows(session, record)
        page = self.page = run_page(self.state, self._rows, row)
        self.query_one("#run-title", Static).update(one_line(page.title))
        self.query_one("#run-prompt", Static).update(_named("prompt", page.prompt))
        self.query_one("#run-continuation", Static).update(
            self._text(page.name, page.continuation, page.baseline is not None)
        )
        self.query_one("#run-baseline", Static).update(self._text("baseline", page.baseline or (), True))
        self.query_one("#run-texts").set_class(page.baseline is None, "-alone")
        facts = [Content(page.comparison), *(_facts(line) for line in page.facts)]
        self.query_one("#run-facts", Static).update(Content("\n").join(facts))
        self._read(session, page)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now."""
        page = self.page
        match action:
            case "run":
                return self._neighbour(int(str(parameters[0]))) is not None
            case "baseline":
                has_other = page is not None and page.baseline_row not in (None, page.row)
                return self._back_to is not None or has_other
            case "token":
                return self.query_one(TokenStrip).can_move(int(str(parameters[0])))
            case "neuron":
                return self._neurons > 1
            case "copy":
                return page is not None
            case _:
                return True

    def _neighbour(self, step: int) -> int | None:
        """The run before or after this one in the table, by its index; None at the end."""
        session = self.state.session
        if session is None:
            return None
        order = self.order or tuple(run.index for run in session.runs)
        at = order.index(self.index) if self.index in order else -1 if step > 0 else len(order)
        return order[at + step] if 0 <= at + step < len(order) else None

    def action_run(self, step: int) -> None:
        if self.state.session is None:
            return
        index = self._neighbour(step)
        if index is not None:
            self._go(index, None)
        else:
            self.query_one(StatusLine).said = ("this is the last run" if step > 0 else "this is the first run", "plain")

    def action_baseline(self) -> None:
        page, session = self.page, self.state.session
        if page is None or session is None:
            return
        if self._back_to is not None:
            self._go(self._back_to, None)
        elif page.baseline_row is None or page.baseline_row == page.row:
            self.query_one(StatusLine).said = (page.comparison, "plain")
        else:
            self._go(session.runs[page.baseline_row].index, self.index)

    def action_token(self, step: int) -> None:
        self.query_one(TokenStrip).move(step)

    def action_neuron(self) -> None:
        self._neuron += 1
        if self.page is not None and self.state.session is not None:
            self._read(self.state.session, self.page)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#run-body").scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            return
        if self.page is not None:
            strip = self.query_one(TokenStrip)
            self.app.copy_to_clipboard(f"{self.page.text()}{strip.legend()}\n{strip.reading()}\n".rstrip() + "\n")
            self.query_one(StatusLine).said = ("copied the run", "good")

    def action_help(self) -> None:
        facts = () if self.page is None else self.page.facts
        push_help(self, "one run", words=words_of(name for line in facts for name, _ in line))

    def action_leave(self) -> None:
        self.dismiss(self.index)

    def _go(self, index: int, back_to: int | None) -> None:
        self.index, self._back_to = index, back_to
        self.query_one(StatusLine).said = ("", "plain")
        self.paint()

    def _text(self, name: str, stretches: Sequence[Stretch], marked: bool) -> Content:
        parts: list[tuple[str, str]] = [(f"{one_line(name)}\n", "bold")]
        differs = False
        for stretch in stretches:
            if stretch.kind != "shared" and not differs and marked:
                differs = True
                parts.append((glyphs_of(self.app).cursor, "bold $text-warning"))
            parts.append((_plain(stretch.text), LOOKS[stretch.kind]))
        if not stretches:
            parts.append(("(nothing)", "$foreground-muted"))
        return Content.assemble(*parts)

    def _read(self, session: Session, page: RunPage) -> None:
        """Read the activations in a thread: the file is checked by its hash, which takes a while where it is large."""
        try:
            coordinates = coordinates_of(session)
        except ExplorerError as error:
            self._background.cancel("tokens")
            self._show_tokens(error)
            return
        self._neurons = len(coordinates)
        coordinate = coordinates[self._neuron % len(coordinates)]

        def read() -> TokenSeries:
            # One thread at a time checks the file; the others find that it was.
            with self._lock:
                if self._vectors is None or self._vectors[0] is not session:
                    self._vectors = (session, session.vectors_path())
                path = self._vectors[1]
            return series_of(session, path, page.row, page.baseline_row, coordinate)

        self._background.run(read, self._show_tokens, key="tokens")

    def _show_tokens(self, series: TokenSeries | ExplorerError) -> None:
        strip = self.query_one(TokenStrip)
        if isinstance(series, ExplorerError):
            strip.show(None, f"no activation by token: {series}")
        else:
            strip.show(series)
        self.refresh_bindings()


def _named(name: str, text: str) -> Content:
    return Content.assemble((f"{name}\n", "bold"), _plain(text))


def _facts(line: Sequence[Fact]) -> Content:
    parts = [Content.assemble((f"{one_line(name)} ", "$foreground-muted"), one_line(value)) for name, value in line]
    return Content(" · ").join(parts)


def _plain(text: str) -> str:
    """A text with its line breaks, and nothing else that could move the cursor."""
    return "\n".join(one_line(line) for line in text.split("\n"))
