"""What the same command means the second time: go on, show what is there, or refuse."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, differences
from srm_explorer.engine.experiment.load import default_stem
from srm_explorer.engine.io.files import check_writable, sync_folder
from srm_explorer.engine.io.lock import LockedError
from srm_explorer.engine.io.vectors import check_vectors
from srm_explorer.engine.runs.inputs import Inputs, read_inputs
from srm_explorer.engine.runs.journal import forget_run, is_run_folder, sweep_beside
from srm_explorer.engine.runs.journal_reader import LOCK, JournalReader, writer_pid
from srm_explorer.engine.runs.trash import go_on, trash_session
from srm_explorer.engine.session import Session, load_session


class TakenError(ExplorerError):
    """A name cannot be used for an experiment unless what has it goes to the trash."""


@dataclass(frozen=True)
class RunStatus:
    """How far an experiment is, under the name it was given.

    Args:
        kind: `new`, `resume` (a run folder holds what is finished) or `finished`.
    """

    kind: Literal["new", "resume", "finished"]
    session: Session | None = None


def default_path(experiment: Experiment, name: str) -> Path:
    """Where an experiment is saved unless another name is given: a stem and six digits of its content.

    Args:
        experiment: what runs.
        name: the preset's or the file's; where it is the bundled model's and another runs, that one's stands for it.
            What an earlier version began or saved under the name as it is keeps it.
    """
    path = paths.session_path(f"{default_stem(name, experiment.model.name)}-{experiment.digest()}")
    before = paths.session_path(f"{name}-{experiment.digest()}")
    was_begun = paths.is_there(before) or is_run_folder(paths.run_folder(before))
    return before if was_begun and not paths.is_there(path) and not is_run_folder(paths.run_folder(path)) else path


def run_status(experiment: Experiment, hashes: Mapping[str, str], path: Path) -> RunStatus:
    """Find out how far an experiment is.

    Args:
        hashes: of the files it reads, as `Inputs` has them.

    Raises:
        TakenError: the name belongs to another experiment; the differences are in the message.
    """
    session = load_session(path) if paths.is_there(path) else None
    folder = paths.run_folder(path)
    if session is not None:
        recorded: Mapping[str, str] = session.told("inputs")
        _refuse_another(path, _differences(session.spec, experiment) + _changed(recorded, hashes))
        if session.state == "finished":
            return RunStatus("finished", session)
    if is_run_folder(folder):
        reader = JournalReader(folder)
        recorded = reader.start.inputs
        _refuse_another(folder, _differences(reader.experiment, experiment) + _changed(recorded, hashes))
        return RunStatus("resume", session)
    if session is not None:
        raise TakenError(
            "the session is interrupted and its run folder is gone",
            where=str(path),
            remedy="put the folder back, or begin again with --restart",
        )
    return RunStatus("new")


def _differences(begun: Experiment, experiment: Experiment) -> list[str]:
    """What differs from a run that was begun; what the model decided for it then is not decided again."""
    return differences(begun, experiment.with_residual(begun.capture.residual == "centred"))


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
    begun = go_on(path)
    if os.path.lexists(path) or paths.run_folder(path).is_dir():
        return [trash_session(path)]
    return [] if begun is None else [begun]


def remove_if_saved(folder: Path, path: Path) -> None:
    """Remove a run folder whose session is complete and reads back, vectors included; else it stays as it is.

    What is left of one whose removal was cut short goes too.

    Raises:
        ExplorerError: the session cannot be read, or lacks vectors.
    """
    session = load_session(path)
    sweep_beside(folder)
    if not is_run_folder(folder) or session.state != "finished" or writer_pid(folder) is not None:
        return
    if JournalReader(folder).start.created == session.created:
        check_vectors(session.vectors_path(), runs=len(session.runs), sites=session.spec.capture.sites)
        remove_run_folder(folder)


def remove_run_folder(folder: Path) -> None:
    """Remove a run folder whose session is saved; a name aside first, so that a half-removed one is no run."""
    aside = _free_path(folder.parent, f".{folder.name}.done")
    try:
        folder.rename(aside)
        sync_folder(folder.parent)
    except OSError:
        return
    shutil.rmtree(aside, ignore_errors=True)
    forget_run(folder)


def _refuse_another(where: Path, changes: list[str]) -> None:
    if not changes:
        return
    more = f" (+{len(changes) - 3} more)" if len(changes) > 3 else ""
    raise TakenError(
        f"another experiment has this name: {'; '.join(changes[:3])}{more}",
        where=str(where),
        remedy="choose another name with --session, or move the old one to the trash with --restart",
    )


def _changed(recorded: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    return [f"the content of {name} changed" for name in now if recorded.get(name, now[name]) != now[name]]


def _free_path(folder: Path, name: str) -> Path:
    path = folder / name
    number = 2
    while path.exists():
        path = folder / f"{name}-{number}"
        number += 1
    return path


@dataclass(frozen=True)
class Outcome:
    """What came of a command to run an experiment.

    Args:
        session: what is saved now; None where a run was stopped before its first batch was finished.
        status: `finished` now, `interrupted`, or `shown` because it was finished before.
        resumed: runs that an earlier start had finished.
        notes: lines the user should read: odd prompts, a save under another name.
    """

    session: Session | None
    path: Path
    status: Literal["finished", "interrupted", "shown"]
    resumed: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preflight:
    """An experiment before its model is loaded: what it reads, how far it is, and what is odd about its prompts."""

    inputs: Inputs
    standing: RunStatus
    notes: tuple[str, ...]


def preflight(experiment: Experiment, base: Path, path: Path, *, restart: bool) -> Preflight:
    """Read what an experiment needs and find out how far it is.

    Args:
        restart: what has this name does not count.

    Raises:
        ExplorerError: a broken or missing input, no prompt, a name that belongs to another experiment, or a folder that
            nothing can be saved in.
    """
    inputs = read_inputs(experiment, base)
    if not inputs.prompts:
        raise ExplorerError("there is no prompt to run", where="prompts", remedy="choose other sets or factors")
    standing = RunStatus("new") if restart else run_status(experiment, inputs.hashes, path)
    if standing.kind != "finished":
        # Said now, not when the model has been loaded to no end.
        check_writable(path.parent)
    notes = (*(str(problem) for problem in inputs.problems), *inputs.warnings(experiment))
    return Preflight(inputs, standing, notes)


def already_finished(checked: Preflight, path: Path) -> Outcome | None:
    """Return the outcome of an experiment that was finished before; None where there is something to run."""
    session = checked.standing.session
    if session is None or checked.standing.kind != "finished":
        return None
    remove_if_saved(paths.run_folder(path), path)
    return Outcome(session, path, "shown", notes=checked.notes)
