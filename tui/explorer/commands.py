"""The keys that work in every pane of the explorer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.keys import all_keys, keys_of

if TYPE_CHECKING:
    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.palette import Command
    from srm_explorer.tui.results.export import ExportKind
    from srm_explorer.tui.widgets.pane import Pane
    from srm_explorer.tui.widgets.status import Tone


_EXPORTS: dict[str, tuple[ExportKind, str, str]] = {
    "s": ("svg", "svg", "SVG, a picture"),
    "t": ("text", "txt", "text without colours"),
    "a": ("ansi", "ans", "text with the terminal's colours"),
    "c": ("csv", "csv", "CSV, the numbers"),
}


class ExplorerKeys(Screen[None]):
    """Actions of the whole screen; the panes are in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run_experiment", "run", id="run.start", tooltip="Run the experiment, or queue it"),
        Binding("c", "cancel", "cancel", id="run.cancel", tooltip="Stop the run after its batch; again, now"),
        Binding("C", "resume", "resume", show=False, id="run.resume", tooltip="Go on with an unfinished run"),
        Binding("s", "save_as", "save as", id="session.save", tooltip="Copy the session in view to another name"),
        Binding("o", "sessions", "open", id="session.open", tooltip="List the sessions: open, compare, resume"),
        Binding("Q", "queue", "queue", show=False, id="run.queue", tooltip="See the worker's queue, and prune it"),
        Binding(
            "D", "duplicate", "duplicate", show=False, id="session.duplicate", tooltip="Edit the session's experiment"
        ),
        Binding("u", "undo", "undo", show=False, id="spec.undo", tooltip="Take the last edit of the experiment back"),
        Binding("U", "redo", "redo", show=False, id="spec.redo", tooltip="Make the edit again that was taken back"),
        Binding("z", "zoom", "zoom", show=False, id="pane.zoom", tooltip="Give the pane the whole screen, and back"),
        Binding("1", "pane(1)", "Prompts", show=False, id="pane.prompts", tooltip="Go to the prompts"),
        Binding("2", "pane(2)", "Intervention", show=False, id="pane.form", tooltip="Go to the intervention"),
        Binding("3", "pane(3)", "Results", show=False, id="pane.results", tooltip="Go to the results"),
        Binding("tab", "next_pane(1)", "next pane", show=False, id="pane.next", tooltip="Go to the next pane"),
        Binding(
            "shift+tab",
            "next_pane(-1)",
            "previous pane",
            show=False,
            id="pane.previous",
            tooltip="Go to the pane before",
        ),
        Binding("y", "copy", "copy", show=False, id="copy", tooltip="Copy what is in focus to the clipboard"),
        Binding(
            "X", "export", "export", show=False, id="chart.export", tooltip="Write the chart or table in view to a file"
        ),
        Binding("comma", "settings", "settings", show=False, id="settings", tooltip="Edit the settings in $EDITOR"),
        Binding(
            "W",
            "restart_worker",
            "restart worker",
            show=False,
            id="worker.restart",
            tooltip="Drain and restart the worker",
        ),
        Binding("colon", "palette", "commands", show=False, id="palette", tooltip="Find any command by its name"),
        Binding(
            "question_mark", "help", "help", id="help", tooltip="Keys of the pane in focus, and what the words mean"
        ),
        Binding("q", "app.leave", "quit", id="quit", tooltip="Leave; a run goes on without the screen"),
    ]

    desk: ExplorerController | None = None
    asked: Callable[[], None] | None = None
    current = 3

    @property
    def pane(self) -> Pane:
        """The pane the keys go to."""
        raise NotImplementedError

    def say(self, line: str, tone: Tone = "plain") -> None:
        """Say a line for a while."""
        raise NotImplementedError

    def refuse(self, error: ExplorerError) -> None:
        """Say what is wrong and its remedy."""
        raise NotImplementedError

    def action_run_experiment(self) -> None:
        """Run the experiment of the draft."""
        if desk := self.ready(self.action_run_experiment):
            desk.runs.run()

    def action_cancel(self) -> None:
        """Stop the run."""
        if desk := self.ready(self.action_cancel):
            desk.runs.cancel()

    def action_resume(self) -> None:
        """Go on with an unfinished run."""
        if desk := self.ready(self.action_resume):
            desk.runs.resume()

    def action_queue(self) -> None:
        """Show what runs and waits at the worker."""
        if desk := self.ready(self.action_queue):
            desk.runs.show_queue()

    def action_restart_worker(self) -> None:
        """Have a new worker take the place of the one that runs."""
        if desk := self.ready(self.action_restart_worker):
            desk.runs.restart_worker()

    def action_save_as(self) -> None:
        """Copy the session in view."""
        if desk := self.ready(self.action_save_as):
            desk.save_as()

    def action_sessions(self) -> None:
        """Show the sessions, and do with one what is chosen there."""
        if desk := self.ready(self.action_sessions):
            from srm_explorer.tui.sessions.screen import SessionsScreen

            self.app.push_screen(SessionsScreen(), desk.chosen)

    def action_duplicate(self) -> None:
        """Make the experiment of the session in view the draft."""
        if desk := self.ready(self.action_duplicate):
            desk.duplicate()

    def action_undo(self) -> None:
        """Take the last edit back."""
        if desk := self.ready(self.action_undo):
            desk.undo()

    def action_redo(self) -> None:
        """Make the edit again that was taken back."""
        if desk := self.ready(self.action_redo):
            desk.redo()

    def action_copy(self) -> None:
        """Copy what the widget in focus, or the one round it, gives."""
        chain = [] if self.focused is None else [self.focused, *self.focused.ancestors]
        for node in [*chain, self.pane.content]:
            copy_text = getattr(node, "copy_text", None)
            if copy_text is not None and (text := copy_text()):
                self.app.copy_to_clipboard(text)
                return
        self.say("there is nothing to copy here")

    def action_export(self) -> None:
        """Ask for a format and a file, and write the chart or table in view to it."""
        desk = self.ready(self.action_export)
        if desk is None:
            return
        try:
            stem, kinds = desk.results.exports()
        except ExplorerError as error:
            self.refuse(error)
            return
        from srm_explorer.tui.widgets.dialogs import Ask, Choose

        def chosen(key: str | None) -> None:
            if key is not None:
                kind, ending, _ = _EXPORTS[key]
                ask = Ask("write it to", f"{stem}.{ending}", check=_file_problem)
                self.app.push_screen(ask, lambda told: write(kind, told))

        def write(kind: ExportKind, told: str | None) -> None:
            if told is None:
                return
            try:
                written = desk.results.export(kind, Path(told).expanduser().absolute())
            except ExplorerError as error:
                self.refuse(error)
            else:
                self.say(f"written to {written}", "good")

        choices = [(key, what) for key, (kind, _, what) in _EXPORTS.items() if kind in kinds]
        self.app.push_screen(Choose(f"export the {'chart' if 'svg' in kinds else 'table'} in view as", choices), chosen)

    def action_palette(self) -> None:
        """Find a command."""
        self.app.action_command_palette()

    def action_help(self) -> None:
        """Show help for what is in focus."""
        from srm_explorer.tui.widgets.help import Help

        keymap = getattr(self.app, "own_keys", {})
        pane = self.pane
        chain = [] if self.focused is None else [self.focused, *self.focused.ancestors]
        inside = [node for node in chain if pane in node.ancestors]
        content = [] if pane.content is None else [pane.content]
        here = all_keys([*inside, *content], keymap)  # pyright: ignore[reportArgumentType]
        warnings = self.desk.results.warnings() if self.desk is not None and self.current == 3 else ()
        notes = self.desk.results.notes() if self.desk is not None and self.current == 3 else ()
        self.app.push_screen(Help(f"{pane.number} {pane.title}", here, keys_of(self, keymap), warnings, notes))

    def ready(self, action: Callable[[], None]) -> ExplorerController | None:
        """What acts, once everything is loaded; before, the action is done then."""
        if self.desk is None:
            self.asked = action
            self.say("loading, a moment")
        return self.desk

    def palette_commands(self) -> list[Command]:
        """Presets and sessions as commands; reads folders, so call it in a thread."""
        return self.desk.palette_commands() if self.desk is not None else []


def _file_problem(told: str) -> str:
    path = Path(told).expanduser()
    if not told.strip():
        return "name a file"
    if path.is_dir():
        return "that is a folder"
    return f"'{told}' is there already" if path.exists() else ""
