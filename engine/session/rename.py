"""Renaming a session on disk, so that a cut at any instant leaves it whole under the old name or the new one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.io.files import as_explorer_error, sync_folder, write_atomic
from srm_explorer.engine.session.serialization import session_bytes
from srm_explorer.engine.session.session import Session
from srm_explorer.engine.session.store import folder_lock, load_session, settle, stem_of


def rename_session(path: Path, new_name: str) -> Path:
    """Give a session another name in its folder: its file, its vectors and its run folder.

    The file goes first: it finds its vectors under their old name as well as under the new one.

    Args:
        path: the .json file; it may be missing where only a run folder has the name.

    Returns:
        The new .json file; `path` where the name stays the same.

    Raises:
        ExplorerError: the name is none or is taken, the session is missing or damaged, or something cannot be moved.
    """
    path = paths.absolute(path)
    target = renamed_path(path, new_name)
    if target == path:
        return path
    with folder_lock(path.parent):
        refuse_taken(target)
        folder = paths.run_folder(path)
        try:
            if os.path.lexists(path) or not folder.is_dir():
                _move(load_session(path), path, target)
            if folder.is_dir():
                folder.rename(paths.run_folder(target))
            sync_folder(path.parent)
        except OSError as error:
            raise as_explorer_error(error, target) from error
    return target


def renamed_path(path: Path, new_name: str) -> Path:
    """The file that a session would be under another name.

    Raises:
        ExplorerError: that is no bare name.
    """
    if "/" in new_name:
        raise ExplorerError("a name holds no '/'", where=repr(new_name[:60]), remedy="use letters, digits, - and _")
    name = new_name.strip()
    paths.session_path(name)
    return path.with_name(f"{name.removesuffix('.json')}.json")


def refuse_taken(target: Path) -> None:
    """Refuse a name that a session, its vectors or a run has.

    Raises:
        ExplorerError: says which file has it.
    """
    for file in (target, target.with_name(f"{stem_of(target)}.safetensors"), paths.run_folder(target)):
        if os.path.lexists(file):
            what = f"the name '{stem_of(target)}' is taken by {file.name}"
            raise ExplorerError(what, remedy="choose another name")


def _move(session: Session, path: Path, target: Path) -> None:
    sidecar = session.sidecar
    vectors = path.with_name(f"{stem_of(path)}.safetensors")
    renamed = target.with_name(f"{stem_of(target)}.safetensors")
    settle(vectors, sidecar)
    path.rename(target)
    # Vectors under yet another name may be those of the session that this file was copied from by hand.
    if sidecar is not None and sidecar.file == vectors.name and vectors.is_file():
        vectors.rename(renamed)
        sidecar = dataclasses.replace(sidecar, file=renamed.name)
    write_atomic(target, session_bytes(session.changed(name=stem_of(target), sidecar=sidecar)))
