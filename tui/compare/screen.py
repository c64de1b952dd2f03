"""Two to eight sessions compared: curves overlaid, effects, numbers, and what differs between their experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.widgets.chart import ChartView
from srm_explorer.tui.widgets.dialogs import Choose
from srm_explorer.tui.widgets.help import push_help, words_of
from srm_explorer.tui.widgets.status import StatusLine, Tone
from srm_explorer.tui.widgets.table import LineTable

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session
    from srm_explorer.tui.compare.state import CompareState, Part

T = TypeVar("T")
W = TypeVar("W", bound=Widget)

LOOK = 2.0
"""Seconds between two looks at whether the sessions still have their names."""
WIDE = 120
"""Columns from which all parts are shown at once."""
AROUND = 6
"""Rows of the part with the effects besides its sessions': frame, header, what is said of a row."""
PARTS: tuple[Part, ...] = ("chart", "effects", "numbers", "differences")
"""In the order of tab."""


class CompareScreen(Screen["Path | None"]):
    """Compares saved sessions; the result is one that is to be scored, None after escape.

    Args:
        files: .json files, two to eight; one twice to compare its own groups.
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
        #effects LineTable { height: 1fr; }
        #told { height: 3; padding: 0 1; color: $text-muted; }
        #notes { display: none; height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
        #reading { width: 1fr; height: auto; padding: 0 1; }
        &.-alone #effects { display: none; }
        &.-narrow {
            #side, #effects { display: none; }
            #chart { width: 1fr; }
            &.-at-effects #parts { display: none; }
            &.-at-effects #effects { display: block; }
            #told { height: 6; }
            &.-at-numbers #side, &.-at-differences #side { display: block; width: 1fr; }
            &.-at-numbers #chart, &.-at-differences #chart { display: none; }
            &.-at-numbers #differences, &.-at-differences #numbers { display: none; }
            &.-at-numbers #numbers { max-height: 100%; }
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
        Binding(
            "v",
            "view(1)",
            "view",
            id="compare.view",
            tooltip="Counts, mean, counts over the angle; by the value all measures, amplitude, share changed, KL",
        ),
        Binding("V", "view(-1)", "", id="compare.view-back", show=False, tooltip="The view before"),
        Binding("p", "plane", "plane", id="compare.plane", tooltip="The next plane that all have, or of each its own"),
        Binding("b", "baselines", "baselines", id="compare.baselines", tooltip="Draw the baselines too, or not"),
        Binding(
            "P",
            "held_out",
            "",
            id="compare.held-out",
            show=False,
            tooltip="Make this plane on half of the units and show the other half; again, all of them",
        ),
        Binding(
            "tab", "part(1)", "part", id="compare.part", tooltip="The next part: chart, effects, numbers, differences"
        ),
        Binding("shift+tab", "part(-1)", "", id="compare.part-back", show=False, tooltip="The part before"),
        Binding("d", "subtract", "difference", id="compare.difference", tooltip="One group minus another, and back"),
        Binding("g", "pair(1)", "groups", id="compare.groups", tooltip="Subtract the next pair of groups"),
        Binding("G", "pair(-1)", "", id="compare.groups-back", show=False, tooltip="The pair before"),
        Binding("s", "swap", "swap", id="compare.swap", tooltip="Put the second session first, the first one last"),
        Binding("w", "score", "score", id="compare.score", tooltip="Go and score the highlighted session's KL"),
        Binding("y", "copy", "copy", id="compare.copy", tooltip="Copy the part in focus"),
        Binding(
            "X",
            "export",
            "export",
            id="compare.export",
            tooltip="Write a figure for a paper, a screenshot or text of the chart, or its numbers",
        ),
        Binding("question_mark,f1", "help", "help", id="compare.help", tooltip="Keys and words"),
        Binding("escape,q", "leave", "back", id="compare.leave", tooltip="Back to the sessions"),
    ]

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self._paths = files
        self._state: CompareState | None = None
        self._part: Part = "chart"
        self._background = Background(self.call_later)

    def compose(self) -> ComposeResult:
        yield Static("", id="notes", markup=False)
        with Horizontal(id="parts"):
            yield _part(_Chart(), "chart", "Curves")
            with Vertical(id="side"):
                yield _part(LineTable(), "numbers", "Numbers")
                yield _part(LineTable(), "differences", "Differences")
        with _part(Vertical(), "effects", "Effects"):
            yield LineTable(id="effects-table")
            yield Static("", id="told", markup=False)
        yield Static("reading the sessions", id="reading", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        self.set_class(len(set(self._paths)) < 2, "-alone")
        self._go("chart")
        self._background.run(self._read, self._take)
        self.set_interval(LOOK, self.look)

    def look(self) -> None:
        """Look whether the sessions still have their names; they are followed where another terminal renamed one."""
        state = self._state
        if state is None or self._background.is_running("look"):
            return
        sessions = state.comparison.sessions

        def search() -> dict[int, Session]:
            from srm_explorer.engine.runs.manage import followed
            from srm_explorer.engine.session import load_session

            listed = {id(session): session for session in sessions}
            found = {number: followed(session) for number, session in listed.items()}
            return {number: load_session(path) for number, path in found.items() if path is not None and path.exists()}

        def take(renamed: dict[int, Session] | ExplorerError) -> None:
            if renamed and not isinstance(renamed, ExplorerError) and state.comparison.sessions is sessions:
                old = {id(session): session.name for session in sessions}
                state.follow([renamed.get(id(session), session) for session in sessions])
                self._paths = tuple(session.path for session in state.comparison.sessions if session.path is not None)
                self.say("; ".join(f"{old[number]} is now {session.name}" for number, session in renamed.items()))
                self._show()

        self._background.run(search, take, key="look")

    def on_unmount(self) -> None:
        self._background.close()

    def on_resize(self, event: events.Resize) -> None:
        is_narrow = event.size.width < WIDE
        self.set_class(is_narrow, "-narrow")
        # As high as it will be when the sessions are measured, so that nothing moves then.
        rows = min(2 * len(self._paths) + AROUND, event.size.height * 2 // 5)
        self.query_one("#effects").styles.height = "1fr" if is_narrow else rows
        if self._state is not None:
            self._show_notes(self._state)

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

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something now, and not only say why it cannot."""
        state = self._state
        match action:
            case "leave" | "help" | "part":
                return True
            case "subtract" | "pair" | "held_out":
                return state is not None and state.can_subtract
            case "baselines":
                return state is not None and not state.subtracts
            case "plane":
                return state is not None and len(state.comparison.planes) > 1
            case "score":
                return state is not None and bool(state.unscored)
            case _:
                return state is not None

    def say(self, line: str, tone: Tone = "plain") -> None:
        self.query_one(StatusLine).said = (line, tone)

    def action_turn(self, degrees: int) -> None:
        if self._state is not None:
            self._state.turn(degrees)
            self.query_one(_Chart).point(self._state.theta, self._state.threshold)
            self._show_numbers()

    def action_threshold(self, step: int) -> None:
        self._change("next_threshold", step)

    def action_view(self, step: int) -> None:
        self._change("next_view", step)

    def action_baselines(self) -> None:
        self._change("toggle_baselines")

    def action_score(self) -> None:
        """Leave with the session that is to be scored: the highlighted one, else the first that is not."""
        state = self._state
        if state is None or state.compared is None:
            return
        row = self.query_one("#effects-table", LineTable).cursor
        at = state.effects[row].session if row < len(state.effects) else None
        paths = state.unscored
        chosen = None if at is None else state.comparison.sessions[at].path
        if not paths:
            self.say("the KL of every session is scored, or cannot be", "plain")
        else:
            self.dismiss(chosen if chosen in paths else paths[0])

    def action_plane(self) -> None:
        self._change("next_plane")

    def action_held_out(self) -> None:
        state = self._state
        if state is None or not state.comparison.planes:
            return
        if not state.can_subtract:
            self.say(state.why_not, "warning")
            return

        self._work_out("held out", state.frozen().hold_out, state.show_plane)

    def action_subtract(self) -> None:
        self._change("subtract")

    def action_pair(self, step: int) -> None:
        self._change("next_pair", step)

    def action_swap(self) -> None:
        self._change("swap")

    def action_part(self, step: int) -> None:
        parts: list[Part] = [part for part in PARTS if part != "effects" or not self.has_class("-alone")]
        self._go(parts[(parts.index(self._part) + step) % len(parts)])

    def action_copy(self) -> None:
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            return
        if self._state is not None:
            width, height = self.query_one(_Chart).content_size
            self.app.copy_to_clipboard(self._state.text(self._part, width or 100, height or 30))
            self.say(f"copied the {self._part}", "good")

    def action_export(self) -> None:
        if self._state is not None:
            self._ask_for_file(self._state.frozen(), self.query_one(_Chart).content_size)

    def action_help(self) -> None:
        state = self._state
        named = words_of(() if state is None else (*(["exploratory"] if state.exploratory else []), *state.row_names))
        scene = self.query_one(_Chart).scene
        warnings = () if scene is None else scene.warnings
        warnings = tuple(dict.fromkeys((*warnings, *(() if state is None else state.notes))))
        push_help(self, "the comparison", words=named, warnings=warnings)

    def action_leave(self) -> None:
        self.dismiss(None)

    def _change(self, change: str, *step: int) -> None:
        if self._state is not None:
            try:
                getattr(self._state, change)(*step)
            except ExplorerError as error:
                self.say(str(error), "warning")
                return
            self._show()

    def _go(self, part: Part) -> None:
        self._part = part
        for name in PARTS:
            self.query_one(f"#{name}").set_class(name == part, "-current")
            self.set_class(name == part, f"-at-{name}")
        self.query_one("#effects-table" if part == "effects" else f"#{part}").focus()
        if self._state is not None:
            self._show_notes(self._state)

    def _show(self) -> None:
        state = self._state
        if state is None:
            return
        self._show_notes(state)
        self.query_one(_Chart).border_title = Content(state.short_heading)
        # What is found by a copy is what both share: the difference by its plane and groups, sessions by their planes.
        if state.subtracts and state.inferred is None:
            self._work_out("infer", state.frozen().infer)
        if state.compared is None and not state.is_alone:
            self._work_out("measure", state.frozen().measure)
        table, rows = self.query_one("#differences", LineTable), state.difference_rows
        table.border_title = f"Differences ({state.difference_count})"
        table.set_columns(state.difference_columns)
        table.set_rows(len(rows), lambda row, key: rows[row].get(key, ""))
        self._show_effects(state)
        self._show_numbers()
        self.refresh_bindings()
        chart = self.query_one(_Chart)
        chart.point(state.theta, state.threshold)
        # What is painted is what is set now, whatever key comes meanwhile.
        chart.request(state.look(), state.frozen().scene)

    def _show_notes(self, state: CompareState) -> None:
        """The notes above all parts; in a small window one, and on the chart none that its own warnings have."""
        notes, lines = self.query_one("#notes", Static), state.notes
        if self.has_class("-narrow"):
            if self._part == "chart":
                lines = tuple(line for line in lines if line not in state.comparison.notes)
            more = f" (+ {len(lines) - 1} more: ?)" if len(lines) > 1 else ""
            lines = tuple(f"{line}{more}" for line in lines[:1])
        notes.update("\n".join(lines))
        notes.display = bool(lines)

    def _show_effects(self, state: CompareState) -> None:
        table, rows = self.query_one("#effects-table", LineTable), state.effects
        words = "effect (95 % interval), each session, then less the first" if rows else "measuring"
        self.query_one("#effects").border_title = f"Effects: {words}"
        if rows:
            # Not imported with this module: the screen is shown before numpy is loaded.
            from srm_explorer.tui.compare.tables import effect_columns

            table.set_columns(effect_columns(rows))
        table.set_rows(len(rows), lambda row, key: rows[row].cells.get(key, ""))
        self.tell_more()

    @on(LineTable.Highlighted)
    def tell_more(self) -> None:
        """Say below the table of effects what is known, or refused, of the highlighted row."""
        state, told = self._state, self.query_one("#told", Static)
        row = self.query_one("#effects-table", LineTable).cursor
        details = () if state is None or row >= len(state.effects) else state.effects[row].details
        told.update("\n".join(details))

    def _work_out(self, key: str, work: Callable[[], T], then: Callable[[T], object] = lambda _: None) -> None:
        """Do what takes a moment beside the screen, then show what it found; `key` is what one goes on of at a time."""

        def take(result: T | ExplorerError) -> None:
            if isinstance(result, ExplorerError):
                self.say(str(result), "error")
            else:
                then(result)
                self._show()

        self._background.run(work, take, key=key)

    def _ask_for_file(self, state: CompareState, size: tuple[int, int]) -> None:
        # What it asks of the engine is loaded when the first frame stands.
        from srm_explorer.tui.results.export import EXPORTS, ask_for_figure, ask_for_file

        def take(result: Path | ExplorerError) -> None:
            if isinstance(result, ExplorerError):
                self.say(str(result), "error")
            else:
                self.say(f"written to {result}", "good")

        def chosen(key: str | None) -> None:
            if key is None:
                return
            kind, ending, _ = EXPORTS[key]
            stem = default_stem(state)
            if kind in ("single", "double"):
                ask_for_figure(self.app.push_screen, self._background, self.say, stem, kind, state.figure)
            else:
                ask_for_file(
                    self.app.push_screen,
                    stem,
                    [f".{ending}"],
                    lambda file: self._background.run(lambda: state.write(file, size), take),
                )

        choices = [(key, what) for key, (_, _, what) in EXPORTS.items()]
        self.app.push_screen(Choose("export the comparison in view as", choices), chosen)

    def _show_numbers(self) -> None:
        state = self._state
        if state is None:
            return
        table = self.query_one("#numbers", LineTable)
        table.border_title = Content(f"Numbers at {state.caption}")
        self.query_one(_Chart).border_subtitle = Content(state.caption)
        table.set_columns(state.number_columns)
        table.set_rows(state.number_count, state.number_cell)


class _Chart(ChartView, can_focus=True):
    """The chart as a part that takes the focus."""


def _part(widget: W, name: Part, title: str) -> W:
    widget.id = name
    widget.add_class("part")
    widget.border_title = title
    return widget


def default_stem(state: CompareState) -> str:
    """A name for a file, without its ending: the first two sessions', and how many more."""
    names = [*state.names[:2], *([f"{len(state.names) - 2}-more"] if len(state.names) > 2 else [])]
    return "-and-".join("".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in names)
