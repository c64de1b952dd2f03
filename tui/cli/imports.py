"""`srm-explorer import`: files that other programs wrote, as a session."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srm_explorer.engine import paths
from srm_explorer.engine.io.arrays import Reduce
from srm_explorer.engine.session import save_session
from srm_explorer.engine.session.imported import Split
from srm_explorer.engine.session.source_files import Import, Progress, Told, clamped, import_session, session_name
from srm_explorer.tui.cli.output import count, note, say, say_json, visible


def import_command(
    files: Sequence[Path],
    session: str | None,
    site: str | None,
    neuron: int | None,
    reduce: Reduce | None,
    tokenizer: str | None,
    as_json: bool,
) -> int:
    """Make a session of the files, save it, and say what was left out of it; exit status, 1 where a file was."""
    interventions = clamped(site, neuron)
    path = paths.session_path(session or session_name(files))
    split = None if tokenizer is None else _split(tokenizer)
    with _progress(quiet=as_json) as told:
        done = import_session(
            files, name=path.stem, site=site, reduce=reduce, interventions=interventions, split=split, told=told
        )
        saved = save_session(done.session, path)
    if saved.note:
        note(saved.note)
    for line in done.remarks():
        note(line)
    if as_json:
        say_json(_summary(done, saved.path), "imported")
    else:
        say(done.summary())
        say(f"session {visible(saved.session.name)}: {visible(str(saved.path))}")
    return 1 if done.unread else 0


def _split(name: str) -> Split:
    # Here, since it imports torch, which takes seconds that no other import needs.
    from srm_explorer.engine.model import load_tokenizer

    tokenizer = load_tokenizer(name)
    return Split(name, lambda text: tokenizer.encode(text, prepend_bos=False))


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
