"""A session as one file that can be sent: a plain zip archive whose members are checked before any of it is there.

    session.json           the session's file, byte for byte: spec, prompts, texts, notes, bands, receipts, provenance
    vectors.safetensors    its full vectors, stored as they are
    ledger.jsonl           the tests that were computed on it, where there are any
    manifest.json          the format's version, the session's name, and of each member its bytes and SHA-256

It names no folder and no machine. `unzip -p FILE session.json` reads a member anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Annotated, BinaryIO, Literal, TypeAlias

from pydantic import Field

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.directions import known_directions
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.captions import DEMO
from srm_explorer.engine.io.files import (
    LARGEST_FILE,
    append_whole,
    as_explorer_error,
    open_regular,
    parse_json,
    sha256_of,
    write_atomic,
)
from srm_explorer.engine.io.lock import FileLock
from srm_explorer.engine.prompts import DATASET, available_prompt_sets
from srm_explorer.engine.runs.journal_reader import LOCK
from srm_explorer.engine.runs.trash import NameTakenError
from srm_explorer.engine.session.codec import DamagedError, Text, Whole, read_record
from srm_explorer.engine.session.serialization import read_session, session_bytes
from srm_explorer.engine.session.session import Session, pending_sidecar, sidecar_candidates
from srm_explorer.engine.session.store import folder_lock, load_session, refuse_taken, renamed_path, settle, stem_of

ENDING = ".srm.zip"
VERSION = 1
"""Of the archive's format; raised whenever an older program could misread it."""

SESSION, VECTORS, LEDGER, MANIFEST = "session.json", "vectors.safetensors", "ledger.jsonl", "manifest.json"
_LARGEST = {SESSION: LARGEST_FILE, LEDGER: 1 << 28, MANIFEST: 1 << 16}
"""Bytes a member may have; vectors are stored, so that none are larger than the archive."""
_PIECE = 1 << 20

Bytes: TypeAlias = Annotated[Whole, Field(ge=0)]


@dataclass(frozen=True)
class Member:
    """A file of an archive."""

    bytes: Bytes
    sha256: Text


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself."""

    format: Literal["srm-explorer session"]
    version: Whole
    name: Text
    members: Mapping[Text, Member]


@dataclass(frozen=True)
class _Versioned:
    """What the manifest of any version has."""

    version: Whole


@dataclass(frozen=True)
class Packed:
    """What became of packing or unpacking.

    Attributes:
        path: the archive, or the session's .json file.
        session: what is in it.
        size: bytes of the archive.
        notes: what to know of it, a line each: what is not in it, that it is not finished, and which files it takes
            besides to run its experiment anew, or to replay it.
    """

    path: Path
    session: Session
    size: int
    notes: tuple[str, ...] = ()


def pack_session(session: Session | Path | str, file: Path | str | None = None) -> Packed:
    """Write a session with its vectors and its ledger into one archive, whole or not at all.

    The files are those of one instant: a save meanwhile changes nothing in it. Equal sessions give equal archives.

    Args:
        session: itself as it was loaded, its .json file, or its name.
        file: the archive; by default "<name>.srm.zip" in the working folder. One that is there is never replaced, and
            does where it is what would be written.

    Raises:
        ExplorerError: the session is not saved (a run may be going on), or damaged; its vectors were altered; the
            archive's name is taken, or it cannot be written.
    """
    path = session.path if isinstance(session, Session) else _path_of(session)
    if path is None:
        raise ExplorerError("this session is in no file yet", where=str(getattr(session, "name", "")), remedy="save it")
    path = paths.absolute(path)
    run = paths.run_folder(path)
    if not paths.is_file(path) and paths.is_folder(run):
        remedy = "wait for it, or stop it" if _is_running(run) else "the same `srm-explorer run` goes on with it"
        raise ExplorerError("its runs are not saved as a session yet", where=stem_of(path), remedy=remedy)
    file = paths.absolute(paths.expanded(file or f"{stem_of(path)}{ENDING}"))
    if paths.is_folder(file):
        raise ExplorerError("a folder has this name", where=str(file), remedy="name a file in it")
    taken = os.path.lexists(file)
    if taken and not paths.is_file(file):
        raise _file_taken(file)
    with contextlib.ExitStack() as opened:
        with folder_lock(path.parent):
            # What is open stays as it is: a save puts another file under the name.
            packed = load_session(path)
            sources = {SESSION: path, VECTORS: _vectors_of(packed), LEDGER: paths.ledger_file(path)}
            try:
                files = {
                    member: opened.enter_context(open_regular(source))
                    for member, source in sources.items()
                    if source is not None and source.exists()
                }
            except OSError as error:
                what = f"cannot be read: {(error.strerror or str(error)).lower()}"
                raise ExplorerError(what, where=str(path), remedy="check its permissions") from error
        archive = _draft(file) if taken else file
        try:
            write_atomic(archive, lambda to: _write(to, stem_of(path), packed, files))
            if taken and (archive.stat().st_size, sha256_of(archive)) != (file.stat().st_size, sha256_of(file)):
                raise _file_taken(file)
        finally:
            if taken:
                archive.unlink(missing_ok=True)
    return Packed(file, packed, file.stat().st_size, tuple(_notes(packed, VECTORS in files, run)))


def unpack_session(file: Path | str, path: Path | str | None = None, *, folder: Path | None = None) -> Packed:
    """Check an archive and save the session that is in it, byte for byte under the name it had.

    Nothing is there before all of it was checked; killed at any instant, no session is there in part. Another session
    is never replaced; one that is there just so is what was asked for.

    Args:
        file: the archive.
        path: the .json file the session is to be, or its name; by default its own name in a folder.
        folder: which; the sessions folder by default.

    Raises:
        NameTakenError: another session has the name, or it is none.
        ExplorerError: no archive of ours, of a newer version, cut short, or with anything in it that its manifest does
            not name or that is not as it says, by member; it cannot be written.
    """
    file = paths.absolute(paths.expanded(file))
    with _archive(file) as archive:
        manifest = _manifest(archive, file)
        target = (folder or paths.sessions_folder()) / SESSION if path is None else _path_of(path)
        target = paths.absolute(target)
        with _named(target.parent):
            target = target if path is not None else renamed_path(target, manifest.name)
            if not paths.is_file(target):
                refuse_taken(target)
        content = _read(archive, SESSION, manifest, file)
        ledger = _read(archive, LEDGER, manifest, file) if LEDGER in manifest.members else b""
        session = _session(content, manifest, file)
        draft = _draft(target)
        if stem_of(target) != manifest.name:
            sidecar = session.sidecar
            if sidecar is not None:
                sidecar = dataclasses.replace(sidecar, file=f"{stem_of(target)}.safetensors")
            session = session.changed(name=stem_of(target), sidecar=sidecar)
            content = session_bytes(session)
        session = session.changed(path=target)
        try:
            if not _is_there(session, content, VECTORS in manifest.members):
                if VECTORS in manifest.members:
                    _check_room(manifest, target)
                    write_atomic(draft, lambda to: _copy(archive, VECTORS, manifest, file, to))
                _place(session, target, draft, content, ledger)
        except OSError as error:
            raise as_explorer_error(error, target) from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
    is_whole = session.sidecar is None or VECTORS in manifest.members
    return Packed(target, session, file.stat().st_size, tuple(_notes(session, is_whole, None)))


def _file_taken(file: Path) -> ExplorerError:
    return ExplorerError("there is another file of this name", where=str(file), remedy="name another one, or remove it")


def _draft(file: Path) -> Path:
    return file.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(6)}")


def _path_of(session: Path | str) -> Path:
    return session if isinstance(session, Path) else paths.session_path(session)


def _vectors_of(session: Session) -> Path | None:
    """The file of a session's vectors; None where there is none any more."""
    if session.sidecar is None or session.path is None:
        return None
    there = [path for path in sidecar_candidates(session.path, session.sidecar) if path.is_file()]
    # One alone is checked while it is packed.
    return session.vectors_path() if len(there) > 1 else next(iter(there), None)


def _notes(session: Session, is_whole: bool, run: Path | None) -> Generator[str]:
    if session.sidecar is not None and not is_whole:
        yield "its vectors are not where it says, and so not in it: charts, texts and tables can be shown"
    if session.state != "finished":
        going_on = "; the run that goes on is not in it" if run is not None and _is_running(run) else ""
        yield f"{session.kept} are finished and in it{going_on}"
    anew, replayed = _named_alone(session)
    if anew:
        yield f"not in it, and needed to run its experiment anew: {', '.join(anew)}"
    if replayed:
        yield f"not in it, and needed to replay it: {', '.join(replayed)}"


def _named_alone(session: Session) -> tuple[list[str], list[str]]:
    """What an experiment names and no packed session holds: what running it anew needs, and what replaying needs."""
    if session.is_imported:
        return [], []
    spec, provenance = session.spec, session.provenance
    inputs = session.told("inputs")
    shipped = dict(available_prompt_sets([paths.shipped_prompts()]))
    prompts = [
        name
        for name in spec.prompts.sets
        # Another folder may have a set of a shipped one's name.
        if not name.startswith(DATASET)
        and (name not in shipped or inputs.get(f"prompts {name}", "") not in ("", sha256_of(shipped[name])))
    ]
    directions = [text.removeprefix("direction ") for text in inputs if text.startswith("direction ")]
    source = str(session.told("model").get("source", ""))
    model = [spec.model.name] if spec.model.name != DEMO and Path(source).is_absolute() else []
    missing = [text for text in directions if text not in known_directions(provenance)]
    return [*prompts, *directions, *([spec.stats] if spec.stats else []), *model], [*missing, *model]


def _is_running(run: Path) -> bool:
    return FileLock(run / LOCK).is_taken()


def _write(file: BinaryIO, name: str, session: Session, files: Mapping[str, IO[bytes]]) -> None:
    members: dict[str, Member] = {}
    with zipfile.ZipFile(file, "w") as archive:
        for member, source in files.items():
            with archive.open(_entry(member), "w", force_zip64=True) as to:
                members[member] = _stream(source, to)
        expected = session.sidecar
        if VECTORS in members and expected is not None and members[VECTORS].sha256 != expected.sha256:
            what = "the vectors are not those this session was saved with (the file was altered)"
            raise ExplorerError(what, where=session.name, remedy="restore it from a copy")
        manifest = dataclasses.asdict(Manifest("srm-explorer session", VERSION, name, members))
        archive.writestr(_entry(MANIFEST), json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")


def _entry(member: str) -> zipfile.ZipInfo:
    """A member without what differs from machine to machine: time, owner, permissions."""
    entry = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    # Floats do not become smaller, and take long to find that out.
    entry.compress_type = zipfile.ZIP_STORED if member == VECTORS else zipfile.ZIP_DEFLATED
    return entry


def _stream(source: IO[bytes], to: IO[bytes], most: int | None = None) -> Member:
    """Copy a file piece by piece; how long it is, and its hash. It ends after `most` bytes and a piece."""
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        to.write(piece)
        size += len(piece)
        if most is not None and size > most:
            break
    return Member(size, digest.hexdigest())


@contextlib.contextmanager
def _archive(file: Path) -> Generator[zipfile.ZipFile]:
    """An archive open for reading, of which nothing is believed yet."""
    try:
        with open_regular(file) as opened, zipfile.ZipFile(opened) as archive:
            yield archive
    except FileNotFoundError:
        raise ExplorerError("there is no such file", where=str(file), remedy="check the path") from None
    except zipfile.BadZipFile as error:
        what = f"this is no packed session, or it was cut short ({str(error).lower()})"
        raise ExplorerError(what, where=str(file), remedy="copy it again from where it was made") from None
    except (OSError, ValueError) as error:
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ExplorerError(f"cannot be read: {what.lower()}", where=str(file), remedy="check the path") from error


def _refused(what: str, file: Path, member: str = "") -> ExplorerError:
    where = f"{file}, {member!r:.80}" if member else str(file)
    return ExplorerError(what, where=where, remedy="nothing of it was unpacked; get it again from where it was made")


def _manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    """What an archive says of itself, and that it holds that and nothing else."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    for number, entry in enumerate(archive.infolist()):
        name = entry.filename
        if name not in (SESSION, VECTORS, LEDGER, MANIFEST):
            raise _refused("a packed session has no such member", file, name)
        if entries[name] is not archive.infolist()[number]:
            raise _refused("the archive has two members of this name", file, name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _refused("it is a link or a device, not a file", file, name)
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused("it is encrypted, or compressed in a way that packed sessions are not", file, name)
        if name == VECTORS and entry.compress_type != zipfile.ZIP_STORED:
            raise _refused("vectors are stored in a packed session, and these are compressed", file, name)
        if entry.file_size > _LARGEST.get(name, entry.file_size):
            raise _refused(f"it is larger than the {_LARGEST[name]:,} bytes that it may have", file, name)
    if MANIFEST not in entries:
        raise _refused(f"this is no packed session: it has no {MANIFEST}", file)
    text = _bytes(archive, MANIFEST, file)
    try:
        data = parse_json(text.decode("utf-8"), f"{file}, {MANIFEST}")
        version = read_record(_Versioned, data).version
        if version > VERSION:
            what = f"packed by a newer version (format {version}, this one reads {VERSION})"
            raise ExplorerError(what, where=str(file), remedy="upgrade srm-explorer")
        manifest = read_record(Manifest, data)
    except (DamagedError, UnicodeDecodeError) as error:
        raise _refused(f"this is no manifest of a packed session: {error}", file, MANIFEST) from None
    if SESSION not in manifest.members:
        raise _refused("the manifest names no session", file, MANIFEST)
    for name in {*manifest.members, *entries} - {MANIFEST}:
        if name not in manifest.members:
            raise _refused("the manifest does not name it", file, name)
        if name not in entries:
            raise _refused("the manifest names it, and it is not there", file, name)
        if manifest.members[name].bytes != entries[name].file_size:
            says = f"it has {entries[name].file_size:,} bytes, and by the manifest {manifest.members[name].bytes:,}"
            raise _refused(says, file, name)
    return manifest


@contextlib.contextmanager
def _named(folder: Path) -> Generator[None]:
    """Say how to give it a name, where the one it has cannot be used."""
    try:
        yield
    except ExplorerError as error:
        remedy = "give it another with --session NAME"
        raise NameTakenError(error.what, where=error.where or str(folder), remedy=remedy) from None


def _bytes(archive: zipfile.ZipFile, member: str, file: Path) -> bytes:
    held = BytesIO()
    _checked_copy(archive, member, file, held)
    return held.getvalue()


def _checked_copy(archive: zipfile.ZipFile, member: str, file: Path, to: IO[bytes]) -> Member:
    try:
        with archive.open(member) as source:
            return _stream(source, to, archive.getinfo(member).file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _refused(f"it is damaged: {error}", file, member) from None


def _copy(archive: zipfile.ZipFile, member: str, manifest: Manifest, file: Path, to: IO[bytes]) -> None:
    """Copy a member; refused where it is not what the manifest says."""
    if _checked_copy(archive, member, file, to) != manifest.members[member]:
        raise _refused("it is not what was packed (its SHA-256 is another)", file, member)


def _read(archive: zipfile.ZipFile, member: str, manifest: Manifest, file: Path) -> bytes:
    held = BytesIO()
    _copy(archive, member, manifest, file, held)
    return held.getvalue()


def _session(content: bytes, manifest: Manifest, file: Path) -> Session:
    """The session of an archive, and that its vectors are those that are packed with it."""
    where = f"{file}, {SESSION}"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8", file, SESSION) from None
    session = read_session(parse_json(text, where), where)
    vectors = manifest.members.get(VECTORS)
    if vectors is not None and (session.sidecar is None or session.sidecar.sha256 != vectors.sha256):
        raise _refused("these are not the vectors that the session was saved with", file, VECTORS)
    return session


def _check_room(manifest: Manifest, target: Path) -> None:
    """Refuse vectors that the disk has no room for, before they fill it."""
    folder = next(folder for folder in target.parents if folder.is_dir())
    needed, free = manifest.members[VECTORS].bytes, shutil.disk_usage(folder).free
    if needed > free:
        what = f"there is no room: its vectors take {needed:,} bytes, {free:,} are free"
        raise ExplorerError(what, where=str(target.parent), remedy="free some space, or name a path on another disk")


def _is_there(session: Session, content: bytes, has_vectors: bool) -> bool:
    """Whether a session is there already, byte for byte and with its vectors, as after an unpacking that was killed."""
    path = session.path
    if path is None or not paths.is_file(path):
        return False
    with folder_lock(path.parent):
        if path.read_bytes() != content:
            return False
        try:
            if has_vectors:
                session.vectors_path()
        except ExplorerError:
            return False
        settle(path.with_name(f"{stem_of(path)}.safetensors"), session.sidecar)
        return True


def _place(session: Session, target: Path, draft: Path, content: bytes, ledger: bytes) -> None:
    """Put what was checked where it belongs; the session's file last, so that it is whole once it is there."""
    final = target.with_name(f"{stem_of(target)}.safetensors")
    with folder_lock(target.parent):
        with _named(target.parent):
            refuse_taken(target)
        if session.sidecar is not None and draft.exists():
            draft.replace(pending_sidecar(final, session.sidecar.sha256))
        kept = paths.ledger_file(target)
        # Lines that an unpacking which was cut short has left are not added again.
        known = set(kept.read_bytes().splitlines(keepends=True)) if kept.exists() else set[bytes]()
        lines = [line for line in ledger.splitlines(keepends=True) if line not in known]
        if lines:
            append_whole(kept, b"".join(lines))
        write_atomic(target, content)
        settle(final, session.sidecar)
