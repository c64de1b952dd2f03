"""Following a run on a terminal, on a pipe or in a notebook, and passing on the wish to stop it."""

from __future__ import annotations

import html
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Protocol

from srm_explorer.engine.errors import ExplorerError, memory_left
from srm_explorer.engine.lines import clock, file_size, note, visible
from srm_explorer.engine.runs import JournalReader, Progress, Stage, StopSignal, known_runs
from srm_explorer.engine.runs.journal_reader import writer_pid
from srm_explorer.engine.runs.progress import STAGES

_BEFORE_RUNNING: tuple[Stage, ...] = ("waiting", "loading", "testing")
_LINE_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal to draw a bar on."""
_REDRAWN_EVERY = 0.25
"""Seconds between two pictures of a notebook's bar: each is sent through the browser."""
_IMPORT = 1_300_000_000
"""Bytes of address space that torch and its libraries take, before any model."""


class _Bar(Protocol):
    """How far a run is, shown in one spot that changes."""

    def update(self, stage: str, share: float, text: str) -> None:
        """Show the stage, the share that is done, 0 to 1, and what else is known."""
        ...

    def say(self, line: str) -> None:
        """Show a line that stays."""
        ...

    def stop(self) -> None:
        """Take the bar away; the lines stay."""
        ...


class _TerminalBar:
    def __init__(self) -> None:
        # Here, since rich takes its time and most commands draw no bar.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[text]}"))
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(STAGES["loading"], total=1.0, text="")
        self._bar.start()

    def update(self, stage: str, share: float, text: str) -> None:
        self._bar.update(self._task, description=stage, completed=share, text=text)

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)

    def stop(self) -> None:
        self._bar.stop()


class _NotebookBar:
    """A bar in the output of a notebook's cell, by IPython alone: no widget that a saved notebook could not show."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._due = 0.0
        self._state = ("", 0.0, "")
        self._is_done = False
        # Drawn with the first that there is to tell: what has run already needs no bar.
        self._output: Any = None

    def update(self, stage: str, share: float, text: str) -> None:
        was, self._state = self._state[0], (stage, share, text)
        if stage != was or time.monotonic() > self._due:
            self._redraw()

    def say(self, line: str) -> None:
        self._lines.append(visible(line))
        self._redraw()

    def stop(self) -> None:
        self._is_done = True
        if self._output is not None:
            self._redraw()

    def _redraw(self) -> None:
        self._due = time.monotonic() + _REDRAWN_EVERY
        if self._output is None:
            self._output = import_module("IPython.display").display(self._drawn(), raw=True, display_id=True)
        else:
            self._output.update(self._drawn(), raw=True)

    def _drawn(self) -> dict[str, str]:
        stage, share, text = self._state
        bar = "" if self._is_done or not stage else f"{stage} {100 * share:.0f} % {text}".rstrip()
        lines = [f"<div>{html.escape(line)}</div>" for line in self._lines]
        if bar:
            progress = f'<progress max="1" value="{share:.4f}"></progress>'
            lines.append(f"<div>{html.escape(stage)} {progress} {html.escape(text)}</div>")
        return {"text/plain": "\n".join([*self._lines, *([bar] if bar else [])]), "text/html": "".join(lines)}


def _bar_here() -> _Bar | None:
    """What can be drawn on: a notebook's cell, else a terminal; None where lines must do."""
    # Only a kernel has loaded it: nobody else waits for it.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is not None:
        return _NotebookBar()
    return _TerminalBar() if sys.stderr.isatty() else None


@contextmanager
def staged() -> Generator[Callable[[str, float], None]]:
    """A bar for what has stages, told what is made and the share that is done; where none can be drawn, nothing."""
    bar = _bar_here()
    try:
        yield lambda what, share: None if bar is None else bar.update(what, share, "")
    finally:
        if bar is not None:
            bar.stop()


class Watch:
    """Shows how far a run is: a bar on a terminal or in a notebook, now and then a line on standard error elsewhere.

    Attributes:
        last: the progress that was shown last.
        holds: whether a wish to stop must wait, see `holding`.

    Args:
        quiet: show nothing.
        opening: lines to say once the run begins.
        study: what is under way where that is no run: "scoring".
    """

    def __init__(self, *, quiet: bool, opening: Sequence[str] = (), study: str = "") -> None:
        self.last = Progress("loading")
        self._study = study
        self._opening = opening
        self.holds = False
        self._quiet = quiet
        self._bar: _Bar | None = None
        self._due = time.monotonic() + _LINE_EVERY
        self._waits = False
        self._lacks = ""

    def show(self, progress: Progress) -> None:
        self.last = progress
        if progress.waits_for is not None and not self._waits:
            # At once: who is not told takes a long wait for a program that hangs.
            self.say(_waiting_for(progress.waits_for))
        self._waits = progress.waits_for is not None
        if progress.lacks and progress.lacks != self._lacks:
            self.say(progress.lacks)
        self._lacks = progress.lacks
        if progress.stage not in _BEFORE_RUNNING:
            self.open()
        if self._bar is not None:
            text = _state_of(progress, of_runs=not self._study)
            self._bar.update(self._stage(progress), progress.stage_share, text)
        elif not self._quiet and time.monotonic() > self._due and (state := _state_of(progress, not self._study)):
            self._due = time.monotonic() + _LINE_EVERY
            note(state if progress.stage == "running" and not self._study else f"{self._stage(progress)}: {state}")

    def __enter__(self) -> Watch:
        if not self._quiet:
            self._bar = _bar_here()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _stage(self, progress: Progress) -> str:
        return self._study if progress.stage == "running" and self._study else STAGES[progress.stage]

    def stopped(self) -> None:
        """Say of a study that it was stopped, and how far it was."""
        last = self.last
        far = f"after {_done_of(last)}" if last.runs else "before it began"
        line = f"{self._study} stopped {far}: nothing of it is saved; the same command begins it again"
        self.say(line) if self._bar is not None else note(line)

    def open(self) -> None:
        """Say the opening lines, once; an experiment that is refused has its one line of error alone."""
        lines, self._opening = self._opening, ()
        for line in lines:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        if self._bar is not None:
            self._bar.say(line)
        elif not self._quiet:
            note(line)


@contextmanager
def stoppable(watch: Watch, *, hears_hangup: bool = True, first: str = "", ends: bool = True) -> Generator[StopSignal]:
    """Turn ctrl+c into a wish: once, finish the batch or the survey's part and save; twice, save what is finished now.

    A hang-up or a request to terminate means: now. SIGUSR1, by which batch systems warn that a job's time is nearly up,
    means what the first ctrl+c does, however often it comes. Before the first batch there is nothing to save, and
    ctrl+c ends the program; the wish is noted too, since a library may swallow the exception where it lands. Once
    asked, ctrl+c has no effect on what is left to do after the block: saying what was saved, and ending.

    Args:
        watch: knows how far the run is, and tells that the wish was heard.
        hears_hangup: off where the run is in another process, which a hang-up does not concern.
        first: what to say of the first wish; empty for what is finished first.
        ends: whether the process ends after the block. In one that goes on, a notebook's, ctrl+c alone is listened for,
            in the thread that can, and is afterwards what it was before.
    """
    stop = StopSignal()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.ask()
        if watch.last.stage in _BEFORE_RUNNING and not watch.holds:
            raise KeyboardInterrupt
        if watch.last.stage in ("running", "survey", "lengths"):
            finishing = f"finishing the {watch.last.piece}, then saving; once more stops now"
            watch.say((first or finishing) if stop.level == 1 else "stopping")

    def on_end(number: int, frame: FrameType | None) -> None:
        stop.level += 2
        if watch.last.stage in _BEFORE_RUNNING and not watch.holds:
            raise KeyboardInterrupt

    def on_warning(number: int, frame: FrameType | None) -> None:
        if not stop.level:
            on_interrupt(number, frame)

    handlers = {signal.SIGINT: on_interrupt}
    if ends:
        handlers |= {signal.SIGTERM: on_end, signal.SIGUSR1: on_warning}
    elif threading.current_thread() is not threading.main_thread():
        handlers = {}
    if ends and hears_hangup and hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = on_end
    # What we were started to ignore stays ignored: nohup means that a hang-up is no wish.
    heard = {number: handler for number, handler in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # Who asked once too often still gets to read what was saved.
            deaf = ends and number == signal.SIGINT and stop.level
            signal.signal(number, signal.SIG_IGN if deaf else handler)


@contextmanager
def holding(watch: Watch, stop: StopSignal) -> Generator[None]:
    """Heed a wish to stop only at the end of the block, which imports libraries.

    torch ends the whole process, with a dump, over an exception that reaches it in the middle of its own import, and
    where it gets no memory.

    Raises:
        ExplorerError: so little memory may be taken that torch would do that.
    """
    left = memory_left()
    if left is not None and left < _IMPORT:
        what = (
            f"only {file_size(left)} of memory may still be taken here (`ulimit -v`); torch and its libraries need more"
        )
        raise ExplorerError(what, remedy=f"raise the limit by {file_size(_IMPORT - left)} and what the model takes")
    watch.holds = True
    try:
        with warnings.catch_warnings():
            # Of a library's own bars, which are not shown.
            warnings.filterwarnings("ignore", "IProgress not found")
            yield
    finally:
        watch.holds = False
    if stop.level:
        raise KeyboardInterrupt


def _waiting_for(pid: int) -> str:
    """What a run or a study waits for, as far as that can be known: the process, its run, and how long it takes."""
    holder = f"process {pid}" if pid else "another process"
    for folder in known_runs() if pid else ():
        if writer_pid(folder) == pid:
            try:
                journal = JournalReader(folder)
            except ExplorerError:
                continue
            progress = Progress.from_dict(journal.progress())
            state = "" if progress is None else _state_of(progress)
            if state and progress is not None and progress.stage != "running":
                state = f"{STAGES[progress.stage]}: {state}"
            return f"waiting for {holder}, which runs {folder.stem}" + (f" ({state})" if state else "")
    return f"waiting for {holder}, which has the model's device"


def _state_of(progress: Progress, of_runs: bool = True) -> str:
    left = "" if progress.seconds_left is None else f" · {clock(progress.seconds_left)} left"
    if progress.stage != "running":
        return f"{progress.counted}{left}" if progress.counted else ""
    memory = "" if progress.memory is None else f" · {file_size(progress.memory)}"
    done = f"{progress.runs_done:,} / {progress.runs:,} runs" if of_runs else _done_of(progress)
    rate = f" · {progress.rate:,.0f} tok/s" if progress.rate else ""
    return f"{done}{rate}{left}{memory}"


def _done_of(progress: Progress) -> str:
    return progress.counted or f"{progress.runs_done:,} of {progress.runs:,}"
