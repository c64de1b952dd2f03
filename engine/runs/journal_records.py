"""What a run folder holds, as records: what the run began with, its batches, and what else happened on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from srm_explorer.engine.session import (
    DamagedError,
    Number,
    PromptRecord,
    RunRecord,
    Table,
    Text,
    Whole,
    plain,
)

CHECKSUM = "line_sha256"
"""The last entry of every line of a run folder; one that was begun by an older version has none."""
_CHECKSUM_END = re.compile(rb',?"line_sha256":"([0-9a-f]{64})"\}')


def with_checksum(line: bytes, before: str) -> bytes:
    """End a table, written as JSON on one line, with its checksum.

    Args:
        before: the checksum of the line before, so that none can be lost, repeated or moved; empty for the first.
    """
    return line[:-1] + b'%s"line_sha256":"%s"}' % (b"," if line != b"{}" else b"", _checksum(line, before))


def checksum_of(line: bytes, before: str) -> str | None:
    """The checksum that a line ends with; None where it has none.

    Raises:
        DamagedError: it is not that of the line behind the one before.
    """
    end = _CHECKSUM_END.search(line, max(0, len(line) - 82))
    if end is None or end.end() != len(line):
        return None
    if _checksum(line[: end.start()] + b"}", before) != end[1]:
        raise DamagedError("its checksum is not that of its content")
    return end[1].decode()


def _checksum(line: bytes, before: str) -> bytes:
    return hashlib.sha256(before.encode() + line).hexdigest().encode()


@dataclass(frozen=True)
class RunStart:
    """What a run began with, beside its experiment and its layout; an older version may have noted less.

    Attributes:
        prompts: in the experiment's order.
        inputs: hashes of the files that were read, by name.
        folder: the working folder; None where there was none.
        provenance: as the session will have it.
        created: when, ISO 8601.
        directions: vectors of files that the experiment names, and weights that planes can be made of, by their text.
        arithmetic: what predictions need, as `forecast_inputs` has it.
    """

    prompts: tuple[PromptRecord, ...] = ()
    inputs: Mapping[Text, Text] = field(default_factory=dict[str, str])
    folder: Text | None = None
    provenance: Table = field(default_factory=dict[str, Any])
    created: Text = ""
    directions: Mapping[Text, list[Number]] = field(default_factory=dict[str, list[float]])
    arithmetic: Mapping[Text, Mapping[Text, list[Number] | list[list[Number]]]] = field(
        default_factory=dict[str, Mapping[str, list[float] | list[list[float]]]]
    )

    @property
    def base(self) -> Path | None:
        """The folder that the experiment's relative paths start from; None where it was not noted."""
        base: object = self.provenance.get("base")
        return Path(base) if isinstance(base, str) else None


@dataclass(frozen=True)
class JournalHead:
    """What stands in spec.json; `extra` is missing where an older version noted nothing."""

    schema_version: Whole
    spec: Table
    extra: RunStart | None = None


@dataclass(frozen=True)
class BatchRecord:
    """A finished batch as its line says.

    Attributes:
        batch_index: its number in the layout.
        shard: name of the file with its vectors, rows in the order of `runs`.
        receipt: what the hooks reported.
        by: who had it, where that was not the process that writes the journal.
        device: that it ran on, where somebody else had it.
    """

    batch_index: Annotated[Whole, Field(validation_alias="batch")]
    shard: Text
    sha256: Text
    receipt: Table
    runs: tuple[RunRecord, ...]
    by: Text = ""
    device: Text = ""


class EventRecord(Protocol):
    """Something that happened: a dataclass with the kind that its line has under "event"."""

    EVENT: ClassVar[str]


def event_table(event: EventRecord) -> Table:
    return {"event": event.EVENT, **plain(event)}


@dataclass(frozen=True)
class ValuesResolved:
    """The raw values of every condition are known from here on: [condition][intervention], see `Session.resolved`."""

    EVENT: ClassVar[str] = "resolved"
    values: tuple[tuple[tuple[Number, ...] | None, ...], ...]


@dataclass(frozen=True)
class ControlsChosen:
    """The controls are chosen, as `Controls` has them."""

    EVENT: ClassVar[str] = "controls"
    chosen: Table


@dataclass(frozen=True)
class MeansKept:
    """Runs went through once more, for their means at the lengths at which others of their prompts stopped.

    Attributes:
        shard: name of the file with the means, [mark, d] a run, by the names that the runs' vectors have.
        runs: their indices.
    """

    EVENT: ClassVar[str] = "means"
    shard: Text
    sha256: Text
    runs: tuple[Whole, ...]


@dataclass(frozen=True)
class OutOfMemory:
    """A batch did not fit; from here on it has at most `rows` rows, where that was `by` somebody, of theirs."""

    EVENT: ClassVar[str] = "out of memory"
    rows: Annotated[Whole, Field(ge=1)]
    by: Text = ""


@dataclass(frozen=True)
class ActorJoined:
    """An actor of Ray takes batches from here on.

    Attributes:
        name: as batches name it.
        host: where it is.
        device: that its model is on.
        threads: of the processor, that it computes with.
    """

    EVENT: ClassVar[str] = "actor joined"
    name: Text
    host: Text
    device: Text
    threads: Whole


@dataclass(frozen=True)
class ActorLost:
    """An actor died, or could not begin; what it had goes to another."""

    EVENT: ClassVar[str] = "actor lost"
    name: Text
    host: Text
    why: Text


@dataclass(frozen=True)
class RunResumed:
    """Another start went on; what differs from the first one, by name: [then, now]."""

    EVENT: ClassVar[str] = "resumed"
    changed: Table


@dataclass(frozen=True)
class NotListed:
    """The run folder could not be put on the list of runs."""

    EVENT: ClassVar[str] = "not listed"
    why: Text


@dataclass(frozen=True)
class LockedByFile:
    """The folder has no `flock`: a lock file that names host and process stood for it."""

    EVENT: ClassVar[str] = "locked by a file"
    file: Text


@dataclass(frozen=True)
class PlaneName:
    """A plane of an experiment, by its site and directions."""

    site: Text
    a: Whole | Text
    b: Whole | Text


@dataclass(frozen=True)
class PlaneLeftOut:
    """A plane that could not be spanned when the session was saved."""

    EVENT: ClassVar[str] = "plane left out"
    plane: PlaneName
    why: Text
