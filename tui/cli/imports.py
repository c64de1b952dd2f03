"""`srm-explorer import`: files that other programs wrote, as a session."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.arrays import Reduce
from srm_explorer.engine.session import save_session
from srm_explorer.engine.session.source_files import Import, Progress, Told, import_session, session_name
from srm_explorer.tui.cli.output import count, note, say, say_json, visible

NAMED = 8
"""Arrays named in messages; a file may have thousands."""


def import_command(
    files: Sequence[Path],
    session: str | None,
    site: str | None,
    neuron: int | None,
    reduce: Reduce | None,
    as_json: bool,
) -> None:
    """Make a session of the files, save it, and say what was left out of it."""
    if neuron is not None and site is None:
        raise ExplorerError("a neuron is one of a site", where="--neuron", remedy="give --site too")
    interventions = [] if neuron is None else [{"site": site, "neurons": [neuron], "op": "clamp"}]
    path = paths.session_path(session or session_name(files))
    with _progress(quiet=as_json) as told:
        done = import_session(files, name=path.stem, site=site, reduce=reduce, interventions=interventions, told=told)
        saved = save_session(done.session, path)
    if saved.note:
        note(saved.note)
    for line in done.unread:
        note(f"not imported: {line}")
    for line in done.notes:
        note(line)
    for key, why in done.skipped[:NAMED]:
        note(f"left out {key}: {why}")
    if len(done.skipped) > NAMED:
        note(f"left out {count(len(done.skipped) - NAMED, 'array')} more")
    if as_json:
        say_json(_summary(done, saved.path))
        return
    files_read = f"{len(done.files):,} of {count(len(done.files) + len(done.unread), 'file')}"
    session_ = saved.session
    whole = (count(len(session_.runs), "run"), count(len(session_.prompts), "prompt"))
    say(f"{', '.join(whole)}, {count(len(session_.conditions), 'condition')} imported from {files_read}")
    say(f"session {visible(saved.session.name)}: {visible(str(saved.path))}")


def _summary(done: Import, path: Path) -> dict[str, Any]:
    return {
        "session": str(path),
        "runs": len(done.session.runs),
        "prompts": len(done.session.prompts),
        "conditions": [condition.label for condition in done.session.conditions],
        "sites": dict(done.session.widths),
        "files": [str(file) for file in done.files],
        "not_imported": list(done.unread),
        "notes": list(done.notes),
        "left_out": [{"key": key, "why": why} for key, why in done.skipped],
    }


@contextmanager
def _progress(*, quiet: bool) -> Generator[Told | None]:
    """A bar over the files, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    # 40 ms that no command without a bar should wait for.
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def told(at: Progress) -> None:
            held = f"{count(at.vectors, 'vector')}, {count(at.texts, 'text')} of {visible(at.file.name)}"
            bar.update(task, description=held, completed=at.number - 1, total=at.files)

        yield told
