"""Two sessions side by side: curves overlaid, numbers, and what differs between their experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.widgets.chart import ChartView
from srm_explorer.tui.widgets.dialogs import Ask, file_problem, named_here
from srm_explorer.tui.widgets.help import push_help, words_of
from srm_explorer.tui.widgets.status import StatusLine, Tone
from srm_explorer.tui.widgets.table import LineTable

if TYPE_CHECKING:
    from srm_explorer.engine.session import PlaneRecord
    from srm_explorer.tui.compare.state import CompareState


WIDE = 120
"""Columns from which all parts are shown at once."""


class CompareScreen(Screen[None]):
    """Compares two saved sessions.

    Args:
        first: its .json file.
        second: its .json file.
    """

    DEFAULT_CSS = """
    CompareScreen {
        background: $surface;
        #parts { height: 1fr; }
        #side { width: 1fr; }
        .part {
            border: round $panel-lighten-2;
            border-title-color: $text-muted;
            &.-current { border: round $primary; border-title-color: $text; border-title-style: bold; }
        }
        #chart { width: 3fr; height: 1fr; }
        #side { width: 2fr; height: 1fr; }
        #numbers { height: 1fr; max-height: 12; }
        #differences { height: 1fr; }
        #notes { display: none; height: auto; padding: 0 1; color: $text-warning; }
        #reading { width: 1fr; height: auto; padding: 0 1; }
        &.-narrow {
            #side { display: none; }
            #chart { width: 1fr; }
            &.-at-1 #side, &.-at-2 #side { display: block; width: 1fr; }
            &.-at-1 #chart, &.-at-2 #chart, &.-at-1 #differences, &.-at-2 #numbers { display: none; }
            &.-at-1 #numbers { max-height: 100%; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "turn", id="compare.back", tooltip="Turn the spotlight back by 1°"),
        Binding("right,l", "turn(1)", "turn", id="compare.on", show=False, tooltip="Turn the spotlight on by 1°"),
        Binding("shift+left,H", "turn(-10)", "", id="compare.back-10", show=False, tooltip="Turn it back by 10°"),
        Binding("shift+right,L", "turn(10)", "", id="compare.on-10", show=False, tooltip="Turn it on by 10°"),
        Binding("t", "threshold(1)", "threshold", id="compare.threshold", tooltip="Count above the next threshold"),
        Binding("T", "threshold(-1)", "", id="compare.threshold-back", show=False, tooltip="The threshold before"),
        Binding("v", "view", "view", id="compare.view", tooltip="Counts, mean, counts over the angle, dose"),
        Binding("p", "plane", "plane", id="compare.plane", tooltip="The next plane that both have"),
        Binding(
            "P",
            "held_out",
            "",
            id="compare.held-out",
            show=False,
            tooltip="Make this plane on half of the units and show the other half; again, all of them",
        ),
        Binding("tab", "part(1)", "part", id="compare.part", tooltip="The next part: chart, numbers, differences"),
        Binding("shift+tab", "part(-1)", "", id="compare.part-back", show=False, tooltip="The part before"),
        Binding("d", "subtract", "difference", id="compare.difference", tooltip="One group minus another, and back"),
        Binding("g", "pair(1)", "groups", id="compare.groups", tooltip="Subtract the next pair of groups"),
        Binding("G", "pair(-1)", "", id="compare.groups-back", show=False, tooltip="The pair before"),
        Binding("s", "swap", "swap", id="compare.swap", tooltip="Put the second session first"),
        Binding("y", "copy", "copy", id="compare.copy", tooltip="Copy the part in focus"),
        Binding(
            "X", "export", "export", id="compare.export", tooltip="Write the curves as CSV, or the chart as SVG or text"
        ),
        Binding("question_mark", "help", "help", id="compare.help", tooltip="Keys and words"),
        Binding("escape,q", "leave", "back", id="compare.leave", tooltip="Back to the sessions"),
    ]

    def __init__(self, first: Path, second: Path) -> None:
        super().__init__()
        self._paths = (first, second)
        self._state: CompareState | None = None
        self._part = 0
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        yield Static("", id="notes", markup=False)
        with Horizontal(id="parts"):
            yield _part(_Chart(), "chart", "Curves")
            with Vertical(id="side"):
                yield _part(LineTable(), "numbers", "Numbers")
                yield _part(LineTable(), "differences", "Differences")
        yield Static("reading both sessions", id="reading", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self._go(0)
        self._background.run(self._read, self._take)

    def on_unmount(self) -> None:
        self._background.close()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < WIDE, "-narrow")

    def _read(self) -> CompareState:
        # Not imported with this module: the screen is shown before numpy is loaded.
        from srm_explorer.tui.compare.state import CompareState

        return CompareState.of(*self._paths)

    def _take(self, result: CompareState | ExplorerError) -> None:
        if isinstance(result, ExplorerError):
            self.say(str(result), "error")
            self.query_one("#reading", Static).update("")
            return
        self._state = result
        self.refresh_bindings()
        self.query_one("#reading").remove()
        self._show()

    @on(ChartView.Wheeled)
    def step_threshold(self, message: ChartView.Wheeled) -> None:
        self.action_threshold(-message.step)

    @on(ChartView.Pointed)
    def point_at(self, message: ChartView.Pointed) -> None:
        if self._state is not None:
            self.action_turn(message.theta - self._state.theta)

    def say(self, line: str, tone: Tone = "plain") -> None:
        self.query_one(StatusLine).said = (line, tone)

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now."""
        state = self._state
        if action in ("leave", "help", "part"):
            return True
        return state is not None and (action != "plane" or len(state.comparison.planes) > 1)

    def action_turn(self, degrees: int) -> None:
        if self._state is not None:
            self._state.turn(degrees)
            self.query_one(_Chart).point(self._state.theta, self._state.threshold)
            self._show_numbers()

    def action_threshold(self, step: int) -> None:
        self._change("next_threshold", step)

    def action_view(self) -> None:
        self._change("next_view")

    def action_plane(self) -> None:
        self._change("next_plane")

    def action_held_out(self) -> None:
        state = self._state
        if state is None or not state.comparison.planes:
            return

        def take(result: tuple[PlaneRecord, PlaneRecord] | ExplorerError) -> None:
            if isinstance(result, ExplorerError):
                self.say(str(result), "error")
            elif self._state is state:
                state.show_plane(result)
                self._show()

        self._background.run(state.frozen().hold_out, take, key="held out")

    def action_subtract(self) -> None:
        self._change("subtract")

    def action_pair(self, step: int) -> None:
        self._change("next_pair", step)

    def action_swap(self) -> None:
        self._change("swap")

    def action_part(self, step: int) -> None:
        self._go((self._part + step) % 3)

    def action_copy(self) -> None:
        if self._state is not None:
            width, height = self.query_one(_Chart).content_size
            self.app.copy_to_clipboard(self._state.text(self._part, width or 100, height or 30))
            self.say(f"copied the {('chart', 'numbers', 'differences')[self._part]}", "good")

    def action_export(self) -> None:
        if self._state is not None:
            self._ask_for_file(self._state.frozen(), self.query_one(_Chart).content_size)

    def action_help(self) -> None:
        state = self._state
        named = words_of(() if state is None else (*(["exploratory"] if state.exploratory else []), *state.row_names))
        scene = self.query_one(_Chart).scene
        push_help(self, "the comparison", words=named, warnings=() if scene is None else scene.warnings)

    def action_leave(self) -> None:
        self.dismiss()

    def _change(self, change: str, *step: int) -> None:
        if self._state is not None:
            getattr(self._state, change)(*step)
            self._show()

    def _go(self, part: int) -> None:
        self._part = part
        for at, name in enumerate(("chart", "numbers", "differences")):
            self.query_one(f"#{name}").set_class(at == part, "-current")
            self.set_class(at == part, f"-at-{at}")
        self.query_one(f"#{('chart', 'numbers', 'differences')[part]}").focus()

    def _show(self) -> None:
        state = self._state
        if state is None:
            return
        notes = self.query_one("#notes", Static)
        notes.update("\n".join(state.notes))
        notes.display = bool(state.notes)
        self.query_one(_Chart).border_title = Content(state.heading)
        lines = state.differences
        if state.subtracts and state.inferred is None:
            self._infer(state)
        table = self.query_one("#differences", LineTable)
        table.border_title = f"Differences ({len(lines)})"
        table.set_columns(state.difference_columns)
        table.set_rows(max(1, len(lines)), state.difference_cell)
        self._show_numbers()
        chart = self.query_one(_Chart)
        chart.point(state.theta, state.threshold)
        # What is painted is what is set now, whatever key comes meanwhile.
        chart.request(state.look(), state.frozen().scene)

    def _infer(self, state: CompareState) -> None:
        def take(result: ExplorerError | None) -> None:
            if isinstance(result, ExplorerError):
                self.say(str(result), "error")
            else:
                self._show()

        # It writes into what both share: the difference by its plane and groups.
        self._background.run(state.frozen().infer, take, key="infer")

    def _ask_for_file(self, state: CompareState, size: tuple[int, int]) -> None:
        def take(result: Path | ExplorerError) -> None:
            if isinstance(result, ExplorerError):
                self.say(str(result), "error")
            else:
                self.say(f"written to {result}", "good")

        def write(typed: str | None) -> None:
            if typed is not None:
                self._background.run(lambda: state.write(Path(typed.strip()).expanduser(), size), take)

        detail = (
            ".csv has the curves, .svg or .txt the chart, .ans the chart in colour; a file that is there is replaced"
        )
        default = named_here(default_name(state))
        self.app.push_screen(Ask("Write the comparison to", default, detail=detail, check=problem), write)

    def _show_numbers(self) -> None:
        state = self._state
        if state is None:
            return
        table = self.query_one("#numbers", LineTable)
        table.border_title = f"Numbers at {state.caption}"
        self.query_one(_Chart).border_subtitle = state.caption
        table.set_columns(state.number_columns)
        table.set_rows(state.number_count, state.number_cell)


class _Chart(ChartView, can_focus=True):
    """The chart as a part that takes the focus."""


def _part(widget: ChartView | LineTable, name: str, title: str) -> ChartView | LineTable:
    widget.id = name
    widget.add_class("part")
    widget.border_title = title
    return cast("ChartView | LineTable", widget)


ENDINGS = (".csv", ".svg", ".txt", ".ans")


def default_name(state: CompareState) -> str:
    """A name for the file: both sessions' and the ending of the curves."""
    plain = "-and-".join("".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in state.names)
    return f"{plain}.csv"


def problem(typed: str) -> str:
    if Path(typed.strip()).suffix not in ENDINGS:
        return f"end the name in {', '.join(ENDINGS)}"
    return file_problem(typed)
