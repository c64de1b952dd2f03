"""What the same command means the second time: go on, show what is there, or refuse."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.errors import ExplorerError
from engine.files import LockedError, as_explorer_error, sync_folder
from engine.runner.journal import is_run_folder
from engine.runner.journal_reader import LOCK, JournalReader, writer_pid
from engine.runner.registry import forget_run
from engine.session import Session, load_session, trash_session
from engine.spec import Experiment, differences


class TakenError(ExplorerError):
    """A name cannot be used for an experiment unless what has it goes to the trash."""


@dataclass(frozen=True)
class Standing:
    """How far an experiment is, under the name it was given.

    Args:
        kind: `new`, `resume` (a run folder holds what is finished) or `finished`.
        session: what was saved last under this name, if anything.
    """

    kind: Literal["new", "resume", "finished"]
    session: Session | None = None


def default_path(experiment: Experiment, name: str) -> Path:
    """Name a session after its experiment file and the experiment's content."""
    return paths.session_path(f"{name}-{experiment.digest()}")


def standing(experiment: Experiment, hashes: Mapping[str, str], path: Path) -> Standing:
    """Find out how far an experiment is.

    Args:
        experiment: what is to be run.
        hashes: of the files it reads, as `Inputs` has them.
        path: the session's .json file.

    Raises:
        TakenError: the name belongs to another experiment; the differences are in the message.
    """
    session = load_session(path) if path.exists() else None
    folder = paths.run_folder(path)
    if session is not None:
        recorded: Mapping[str, str] = session.provenance.get("inputs", {})
        _refuse_another(path, differences(session.spec, experiment) + _changed(recorded, hashes))
        if session.state == "finished":
            return Standing("finished", session)
    if is_run_folder(folder):
        reader = JournalReader(folder)
        recorded = reader.extra.get("inputs", {})
        _refuse_another(folder, differences(reader.experiment, experiment) + _changed(recorded, hashes))
        return Standing("resume", session)
    if session is not None:
        raise TakenError(
            "the session is interrupted and its run folder is gone",
            where=str(path),
            remedy="put the folder back, or begin again with --restart",
        )
    return Standing("new")


def check_idle(path: Path) -> None:
    """Refuse a name whose run another process is writing, whatever state its files are in.

    Raises:
        LockedError: names the process.
    """
    folder = paths.run_folder(path)
    pid = writer_pid(folder)
    if pid is not None:
        raise LockedError(folder / LOCK, pid or None, remedy="wait for it, or stop it first")


def clear(path: Path) -> list[Path]:
    """Move what is under a name to the trash folder, for `--restart`; return where it went.

    Raises:
        ExplorerError: a run is being written there, or something cannot be moved.
    """
    check_idle(path)
    gone: list[Path] = []
    folder = paths.run_folder(path)
    if folder.is_dir():
        target = _free_place(paths.trash_folder(), folder.name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder, target)
        except OSError as error:
            raise as_explorer_error(error, target) from error
        forget_run(folder)
        gone.append(target)
    if path.exists():
        gone.append(trash_session(path))
    return gone


def remove_leftover(session: Session, path: Path) -> None:
    """Remove the run folder of a session that is finished: a writer that was killed while saving left it behind."""
    folder = paths.run_folder(path)
    if not is_run_folder(folder) or writer_pid(folder) is not None:
        return
    if JournalReader(folder).extra.get("created") == session.created:
        remove_run_folder(folder)


def remove_run_folder(folder: Path) -> None:
    """Remove a run folder whose session is saved; a name aside first, so that a half-removed one is no run."""
    aside = _free_place(folder.parent, f".{folder.name}.done")
    try:
        folder.rename(aside)
        sync_folder(folder.parent)
    except OSError:
        return
    shutil.rmtree(aside, ignore_errors=True)
    forget_run(folder)


def _refuse_another(where: Path, found: list[str]) -> None:
    if not found:
        return
    more = f" (+{len(found) - 3} more)" if len(found) > 3 else ""
    raise TakenError(
        f"another experiment has this name: {'; '.join(found[:3])}{more}",
        where=str(where),
        remedy="choose another name with --session, or move the old one to the trash with --restart",
    )


def _changed(recorded: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    return [f"the content of {name} changed" for name in now if recorded.get(name, now[name]) != now[name]]


def _free_place(folder: Path, name: str) -> Path:
    place = folder / name
    number = 2
    while place.exists():
        place = folder / f"{name}-{number}"
        number += 1
    return place
