"""The worker's queue: what runs, what waits, what ended lately; waiting jobs can be taken off it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from srm_explorer.engine.lines import clock
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.tui.widgets.help import push_help
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.table import Cell, Column, LineTable

if TYPE_CHECKING:
    from srm_explorer.engine.worker.protocol import JobState


_EVERY = 1.0
_STATES = {"running": "good", "queued": "accent", "failed": "bad", "interrupted": "warn"}


class QueueScreen(ModalScreen[Path | None]):
    """The jobs as a table; the result is the session of the job to look at, None where none was chosen.

    Args:
        look: asks for the jobs, which come by `take`.
        prune: takes a waiting job off the queue, by its id.
    """

    DEFAULT_CSS = """
    QueueScreen {
        align: center middle;
        & > Vertical {
            width: 90%; max-width: 100; height: 60%; max-height: 24; min-height: 10;
            border: round $primary; background: $surface; padding: 0 1;
        }
        LineTable { height: 1fr; }
        Static { height: 1; color: $foreground-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "prune", "take off", id="queue.prune", tooltip="Take the waiting job off the queue"),
        Binding("y", "copy", "copy", show=False, id="queue.copy", tooltip="Copy the path of its session"),
        Binding("question_mark,f1", "help", "help", id="queue.help", tooltip="Keys and words"),
        Binding("escape,q,Q", "leave", "back", id="queue.leave", tooltip="Go back"),
    ]

    def __init__(self, look: Callable[[], None], prune: Callable[[str], None]) -> None:
        super().__init__()
        self._look, self._prune = look, prune
        self._jobs: tuple[JobState, ...] = ()
        self._refusal: tuple[JobState, str] | None = None

    def compose(self) -> ComposeResult:
        """A table, what there is to say, the keys."""
        with Vertical() as box:
            box.border_title = "Queue of the worker"
            yield LineTable(opens=True)
            yield Static("asking the worker ...", id="message", markup=False)
        yield StatusLine()

    def on_mount(self) -> None:
        """Ask now and every second."""
        table = self.query_one(LineTable)
        table.set_columns(
            [
                Column("session", "session"),
                Column("state", "state", width=12),
                Column("done", "runs", width=22, align="right", priority=1),
                Column("left", "left", width=7, align="right", priority=2),
            ]
        )
        table.focus()
        self._look()
        self.set_interval(_EVERY, self._look)

    def take(self, jobs: tuple[JobState, ...]) -> None:
        """Show the worker's jobs."""
        self._jobs = jobs
        table = self.query_one(LineTable)
        table.set_rows(len(jobs), self._cell, keys=lambda row: self._jobs[row].job)
        self._write_message()
        self.refresh_bindings()

    @on(LineTable.Highlighted)
    def show_keys(self) -> None:
        """Other keys act on another job."""
        self.refresh_bindings()

    def offers(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether an action would change something: only a job that waits can be taken off."""
        job = self._highlighted()
        return action != "prune" or (job is not None and job.state == "queued")

    def _write_message(self) -> None:
        message = "" if self._jobs else "nothing runs and nothing waits; r in the explorer runs an experiment"
        if self._refusal:
            refused, why = self._refusal
            # A refusal stays while it is true: the jobs come anew every second, sooner than it is read.
            if any(job.job == refused.job and job.state == refused.state for job in self._jobs):
                message = why
        shown = self.query_one("#message", Static)
        if message != shown.content:
            # It would be laid out, and the whole screen drawn, every second.
            shown.update(message)

    def action_prune(self) -> None:
        """Take the highlighted job off the queue, where it waits."""
        job = self._highlighted()
        if job is None:
            return
        if job.state == "queued":
            self._refusal = None
            self._prune(job.job)
        else:
            why = "c in the explorer stops it" if job.state == "running" else "it is over"
            self._refusal = job, f"{Path(job.session).stem} does not wait: {why}"
        self._write_message()

    def action_copy(self) -> None:
        """Copy the path of the highlighted job's session."""
        if job := self._highlighted():
            self.app.copy_to_clipboard(job.session)

    def action_help(self) -> None:
        """What the keys do here."""
        push_help(self, "the worker's queue")

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss(None)

    @on(LineTable.Opened)
    def look_at(self, event: LineTable.Opened) -> None:
        """Answer with the job's session."""
        event.stop()
        if job := self._highlighted():
            self.dismiss(Path(job.session))

    def _highlighted(self) -> JobState | None:
        row = self.query_one(LineTable).cursor
        return self._jobs[row] if 0 <= row < len(self._jobs) else None

    def _cell(self, row: int, column: str) -> Cell:
        job = self._jobs[row]
        progress = Progress.from_dict(job.progress)
        if column == "session":
            return Path(job.session).stem
        if column == "state":
            waits = f"{job.state} {job.ahead}" if job.state == "queued" else job.state
            return waits, _STATES.get(job.state, "dim")
        if column == "done":
            return "" if progress is None else progress.cell(is_over=job.state != "running")
        left = None if progress is None else progress.seconds_left
        return clock(left) if job.state == "running" and left is not None else ""
