"""What a list says of a session file, read from the first few of its lines, and remembered between starts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.figures import intervention_captions, model_caption, survey_caption
from srm_explorer.engine.io.files import open_regular, write_atomic
from srm_explorer.engine.runs import JournalReader
from srm_explorer.engine.runs.journal_reader import EVENTS, SPEC
from srm_explorer.engine.session import SCHEMA_VERSION, Session, State, load_session
from srm_explorer.engine.session.codec import DamagedError, read_record
from srm_explorer.engine.session.standing import STANDING, Standing
from srm_explorer.tui.sessions.row import Row, Summary, words_of

LONGEST_HEAD = 1 << 24
"""Bytes of what is read before the prompts; a file with more of them is read as a whole."""
_REMEMBERED = 20_000  # summaries; a folder of more is read again at every start
_VERSION = 4
_ASKED = (b"schema_version", b"state", b"created", b"saved", b"spec", b"conditions")
"""Fields before the prompts that are read whole."""
_OF_PROVENANCE = (b'  "model": ', f'  "{STANDING}": '.encode())
"""How the lines of the provenance begin that are read."""

Mark: TypeAlias = tuple[int, ...]
"""What tells a file from itself after any change: see `mark_of`."""


def mark_of(stat: os.stat_result) -> Mark:
    """Times of the last change of content and of anything, size, and number: a file put in its place has another."""
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


class _UnusualError(Exception):
    """A file that another program has laid out, or that is damaged."""


def read_summary(path: Path) -> Summary:
    """Read what a list says of a session file.

    A session is written one element a line, so that the lines up to its prompts, and their number, are enough where it
    is finished; its runs are counted, not read. Any other layout is read as a whole.
    """
    try:
        with open_regular(path) as file:
            return _from_head(file)
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        return Summary(problem=str(ExplorerError(what, where=str(path), remedy="check its permissions")))
    except (_UnusualError, ExplorerError):
        pass
    try:
        session = load_session(path)
    except ExplorerError as error:
        return Summary(problem=str(error))
    return _summary(session, len(session.runs), session.planned_runs)


def describe(experiment: Experiment) -> str:
    nothing = "nothing clamped" if experiment.model.is_known else "unknown"
    done = "; ".join(intervention_captions(experiment)) or nothing
    surveyed = survey_caption(experiment)
    return f"{surveyed}: {done}" if surveyed else done


def model_of(journal: JournalReader) -> str:
    """The name of the model that a run folder was begun with, as it shows."""
    return model_caption(_bare(journal.experiment, "interrupted", journal.start.provenance))


class SummaryCache:
    """Summaries by file and its mark, kept in the state folder; safe to use from several threads.

    Args:
        file: where they are kept; by default in the state folder.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or paths.state_folder() / "session-list.json"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Mark, Summary]] | None = None
        self._grown = False

    def get(self, path: Path, mark: Mark) -> Summary | None:
        """What was read of a file as it still is; None where it has to be read."""
        with self._lock:
            if self._known is None:
                self._known = _read(self._file)
            entry = self._known.get(str(path))
        return entry[1] if entry is not None and entry[0] == mark else None

    def put(self, path: Path, mark: Mark, summary: Summary) -> None:
        """Remember what was read; what could not be read is tried again at the next start."""
        with self._lock:
            known = self._known = _read(self._file) if self._known is None else self._known
            known.pop(str(path), None)
            known[str(path)] = (mark, summary)
            self._grown = True

    def save(self) -> None:
        """Keep what is new; a list that cannot be kept is read again the next time."""
        with self._lock:
            if not self._grown or self._known is None:
                return
            kept = [(path, entry) for path, entry in self._known.items() if not entry[1].problem][-_REMEMBERED:]
            self._grown = False
        entries = {path: [*mark, dataclasses.asdict(summary)] for path, (mark, summary) in kept}
        content = json.dumps({"version": _VERSION, "entries": entries}).encode("ascii")
        with contextlib.suppress(ExplorerError):
            write_atomic(self._file, content)


def _from_head(file: BinaryIO) -> Summary:
    if file.readline() != b"{\n":
        raise _UnusualError
    document, line = _head(file)
    prompts = _elements(file, line)
    try:
        if document["schema_version"] != SCHEMA_VERSION or document["state"] not in ("finished", "interrupted"):
            raise _UnusualError
        provenance = dict(document["provenance"])
        spec, saved = Experiment.from_dict(document["spec"]), str(document["saved"])
        session = _bare(spec, document["state"], provenance, saved, str(document["created"]))
        if not spec.model.is_known or (spec.survey and STANDING not in provenance):
            raise _UnusualError
        planned = len(Grid(prompts, spec.generation.samples, len(document["conditions"])))
    except (KeyError, TypeError, ValueError):
        raise _UnusualError from None
    runs = planned
    if session.state == "interrupted":
        line = file.readline()
        if not line.startswith(b'"runs": '):
            raise _UnusualError
        runs = _elements(file, line)
    file.seek(-2, 2)
    if file.read() != b"}\n":
        raise _UnusualError
    return _summary(session, runs, planned)


def _head(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """What is asked for of the fields before the prompts, and the line on which those begin."""
    head: list[bytes] = []
    length, name = 0, b""
    for line in file:
        if line.startswith(b'"'):
            name = line[1 : line.find(b'"', 1)]
            if name == b"prompts":
                return _table(b"{" + b"".join(head).rstrip().removesuffix(b",") + b"}"), line
        if name == b"provenance":
            if line.startswith(b"  ") and not line.startswith(_OF_PROVENANCE):
                continue
            if line.startswith(b"}"):
                # Behind the last of the lines that are read there is no comma.
                head[-1] = head[-1].rstrip(b",\n")
        elif name not in _ASKED:
            continue
        length += len(line)
        if length > LONGEST_HEAD:
            break
        head.append(line)
    raise _UnusualError


def _elements(file: BinaryIO, first: bytes) -> int:
    if first.rstrip(b",\n").endswith(b"[]"):
        return 0
    for count, line in enumerate(file):
        if line.startswith(b"]"):
            return count
    raise _UnusualError


def _summary(session: Session, runs: int, planned: int) -> Summary:
    done = describe(session.spec)
    return Summary(
        model_caption(session), done, session.state, runs, planned, session.saved, "", session.created, session.standing
    )


def _bare(spec: Experiment, state: State, provenance: dict[str, Any], saved: str = "", created: str = "") -> Session:
    """A session without its rows: enough for captions."""
    return Session(
        name="",
        state=state,
        spec=spec,
        conditions=(),
        resolved=(),
        prompts=(),
        runs=(),
        provenance=provenance,
        saved=saved,
        created=created,
    )


def _table(content: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(content))
    except (ValueError, RecursionError):
        raise _UnusualError from None


def _read(file: Path) -> dict[str, tuple[Mark, Summary]]:
    try:
        data: Any = json.loads(file.read_bytes())
        if data["version"] != _VERSION:
            return {}
        known: dict[str, tuple[Mark, Summary]] = {}
        for path, (mtime, ctime, size, number, fields) in data["entries"].items():
            standing = fields.pop("standing", None)
            summary = Summary(**fields, standing=None if standing is None else read_record(Standing, standing))
            if all(type(value) is type(getattr(_NOTHING, name)) for name, value in fields.items()):
                known[path] = (int(mtime), int(ctime), int(size), int(number)), summary
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, DamagedError):
        return {}
    return known


_NOTHING = Summary()


Texts: TypeAlias = dict[str, str]
"""Notes, prompts and texts of a session, in small letters, a sign between one text and the next: what is searched."""

_BETWEEN = "\0"

_TEXT = re.compile(rb'"text":("(?:[^"\\]|\\.)*")')
_NOTES = re.compile(rb'^"notes": (".*"),?$', re.MULTILINE)
MOST_TEXT = 1 << 28
"""Characters that are kept at most; what is beyond is read again for every search."""
AROUND = 28
"""Characters of a text before and after the word that was found in it."""


@dataclass(frozen=True)
class Hit:
    """Where a session has words that were searched for.

    Attributes:
        place: "notes", "prompts" or "texts"; empty where the list itself says all of them.
        excerpt: the first of them there, with what stands around it.
    """

    place: str = ""
    excerpt: str = ""


class TextIndex:
    """What sessions say, read once for each change of their files; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Path, tuple[Mark, Texts]] = {}
        self._size = 0

    def find(self, row: Row, words: Sequence[str]) -> Hit | None:
        """Look whether every word occurs in what the list says of a session, or in its notes, prompts and texts.

        Args:
            words: in small letters.
        """
        told = words_of(row)
        missing = [word for word in words if word not in told]
        if not missing:
            return Hit()
        texts = self.texts(row)
        if not all(any(word in text for text in texts.values()) for word in missing):
            return None
        return next(Hit(place, _around(text, missing[0])) for place, text in texts.items() if missing[0] in text)

    def texts(self, row: Row) -> Texts:
        """What a session, or a run that is not saved yet, says; nothing where it cannot be read."""
        file = row.path if row.saved else paths.run_folder(row.path) / EVENTS
        try:
            mark = mark_of(file.stat())
        except OSError:
            return {}
        with self._lock:
            known = self._kept.get(file)
            if known is not None and known[0] == mark:
                return known[1]
        texts = read_texts(file)
        with self._lock:
            if (known := self._kept.pop(file, None)) is not None:
                self._size -= sum(map(len, known[1].values()))
            size = sum(map(len, texts.values()))
            if self._size + size <= MOST_TEXT:
                self._kept[file] = mark, texts
                self._size += size
        return texts


def read_texts(file: Path) -> Texts:
    """Read what a session file says, or the events of a run folder, whose prompts are in the file beside them.

    A session is written one element a line, so that texts are found without reading it as a whole. Any other layout is.
    """
    with contextlib.suppress(OSError, ValueError, ExplorerError):
        with open_regular(file) as opened:
            content = opened.read()
        if file.name == EVENTS:
            with open_regular(file.with_name(SPEC)) as opened:
                return {"prompts": _said(opened.read()), "texts": _said(content)}
        notes = _NOTES.search(content)
        prompts, runs, rest = (content.find(b'\n"%s": [' % name) for name in (b"prompts", b"runs", b"planes"))
        if notes is not None and 0 < prompts < runs < rest:
            written = str(json.loads(notes[1])).casefold()
            return {"notes": written, "prompts": _said(content[prompts:runs]), "texts": _said(content[runs:rest])}
        session = load_session(file)
        said = {"prompts": session.prompts, "texts": session.runs}
        listed = {name: _BETWEEN.join(record.text for record in records).casefold() for name, records in said.items()}
        return {"notes": session.notes.casefold(), **listed}
    return {}


def _said(content: bytes) -> str:
    return _BETWEEN.join(json.loads(b"[%s]" % b",".join(_TEXT.findall(content)))).casefold()


def _around(text: str, word: str) -> str:
    """A word with what stands around it, on one line."""
    at = text.index(word)
    text = text[text.rfind(_BETWEEN, 0, at) + 1 :].partition(_BETWEEN)[0]
    at = text.index(word)
    first, last = max(0, at - AROUND), at + len(word) + AROUND
    before, after = "..." if first else "", "..." if last < len(text) else ""
    return f"{before}{' '.join(text[first:last].split())}{after}"
