"""The command line: `srm-explorer ...`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from srm_explorer.engine.errors import NO_WINDOWS, ExplorerError, device_fault, is_limited, is_out_of_memory, unreached
from srm_explorer.tui.cli.output import flush, note, unwritten

if TYPE_CHECKING:
    from srm_explorer.tui.cli import (  # noqa: F401
        analyses,
        completion,
        config,
        demo,
        doctor,
        ensembles,
        figures,
        imports,
        keys,
        neuron,
        prompts,
        report,
        run,
        screen,
        serve,
        sessions,
        show,
        survey,
        sweep,
        tables,
        worker,
    )
else:

    def __getattr__(name: str) -> object:
        """A command's module, imported when it is first used: `--help` needs neither numpy nor torch."""
        if name.startswith("_"):
            raise AttributeError(name)
        return import_module(f"{__name__}.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 done, 1 failed or done in part, 2 wrong usage, 130 interrupted.

    Whatever a user can cause is one line on standard error; an exception of another kind is a bug and shows its trace.

    Args:
        argv: the arguments after the program's name; those of the process by default.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if sys.platform == "win32":
        note("; ".join(NO_WINDOWS))
        return 1
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a stand-in, not a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return _told(arguments) if _has_output() else 1
    finally:
        _drop_unwritten()


def _told(arguments: Sequence[str]) -> int:
    """Run a command and tell what a user can cause."""
    try:
        status = _run(arguments)
        flush()
    except ExplorerError as error:
        note(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has seen enough (`| head`).
        return 1
    except (MemoryError, RuntimeError, ImportError, OSError, SystemError) as error:
        # What an import says that ran out of memory halfway depends on where it was.
        refused = (unreached(error) or unwritten(error)) if isinstance(error, OSError) else device_fault(error)
        if refused is not None:
            note(str(refused))
            return 1
        if not is_out_of_memory(error) and not (isinstance(error, SystemError) and is_limited()):
            raise
        note(str(ExplorerError("there is not enough memory", remedy="free some, or raise what `ulimit -v` allows")))
        return 1
    return status


def _has_output() -> bool:
    """Whether there is a standard output; other streams that were closed (`2>&-`) lead nowhere from now on.

    A descriptor that is closed would be given to the next file that is opened, and be written to by whoever prints.
    """
    was_closed = sys.stdout is None  # pyright: ignore[reportUnnecessaryComparison]
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  (as long as we live)
    if was_closed:
        note("standard output is closed; send it elsewhere (> /dev/null drops it)")
    return not was_closed


def _run(arguments: Sequence[str]) -> int:
    if shell := os.environ.get("_SRM_EXPLORER_COMPLETE"):
        # Imported where a shell asks at a tab.
        from srm_explorer.tui.cli.completion import answer

        return answer(shell, arguments)
    if not arguments:
        from srm_explorer.tui.cli.screen import open_explorer

        return open_explorer()
    from srm_explorer.tui.cli.app import app

    try:
        app(args=list(arguments), prog_name="srm-explorer", standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def _drop_unwritten() -> None:
    """Let go of what nobody takes: Python tries it again at its end, and makes the exit status 120 of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
