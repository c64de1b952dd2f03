"""A study that needs a model, on the command line: at the living worker, else in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ExplorerError
from engine.runner.client import Client
from engine.runner.progress import Meter, Progress, Stop, Stopped
from engine.spec import ModelSpec
from tui.cli.usable import usable_worker
from tui.cli.watch import Watch, holding, stoppable

_LOOK = 0.5
"""Seconds between two looks at how far the worker is."""


def model_findings(
    name: str, arguments: Mapping[str, Any], *, session: Path | None = None, model: ModelSpec | None = None, quiet: bool
) -> dict[str, Any]:
    """Run a study that needs a model: at a worker that is free, which has the model at hand, or in this process.

    Args:
        name: as `engine.studies` lists it.
        arguments: plain data, as the study takes it; relative paths start from the working folder.
        session: path of the session it is about; None where it is about a model alone.
        model: the model; None for the session's own.
        quiet: show nothing on standard error.

    Returns:
        what the study found.

    Raises:
        ExplorerError: what the study refuses, or the worker is gone.
        KeyboardInterrupt: it was stopped.
    """
    base = Path.cwd()
    with Watch(quiet=quiet) as watch, stoppable(watch, first="stopping") as stop:
        worker = usable_worker(watch, free=True)
        try:
            if worker is not None:
                return worker.study(
                    name, arguments, session=session, model=model, base=base, is_wanted=_looking(worker, watch, stop)
                )
            with holding(watch, stop):
                # Here, since torch takes seconds to import and a study at the worker needs none of it.
                from engine.runner.studies import run_model_study

            meter = Meter([watch.show], stop)
            return run_model_study(name, arguments, session=session, model=model, base=base, meter=meter)
        except Stopped:
            raise KeyboardInterrupt from None


def _looking(worker: Client, watch: Watch, stop: Stop) -> Callable[[], bool]:
    due = time.monotonic() + _LOOK

    def is_wanted() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LOOK
            try:
                progress = Progress.from_dict(worker.status().errand_progress)
            except ExplorerError:
                # Whatever is wrong, the study itself will tell.
                progress = None
            if progress is not None:
                watch.show(progress)
        return not stop.wishes

    return is_wanted
