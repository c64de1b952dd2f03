"""What a run folder holds, as records: what the run began with, its batches, and what else happened on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from srm_explorer.engine.session import Number, PromptRecord, RunRecord, Table, Text, Whole, plain


@dataclass(frozen=True)
class RunStart:
    """What a run began with, beside its experiment and its layout; an older version may have noted less.

    Attributes:
        prompts: in the experiment's order.
        inputs: hashes of the files that were read, by name.
        folder: the working folder; None where there was none.
        provenance: as the session will have it.
        created: when, ISO 8601.
        directions: vectors of files and weights that planes are, or can be, made of, by their text.
        arithmetic: what predictions need, as `forecast_inputs` has it.
    """

    prompts: tuple[PromptRecord, ...] = ()
    inputs: Mapping[Text, Text] = field(default_factory=dict[str, str])
    folder: Text | None = None
    provenance: Table = field(default_factory=dict[str, Any])
    created: Text = ""
    directions: Table = field(default_factory=dict[str, Any])
    arithmetic: Table = field(default_factory=dict[str, Any])

    @property
    def base(self) -> Path | None:
        """The folder that the experiment's relative paths start from; None where it was not noted."""
        base: object = self.provenance.get("base")
        return Path(base) if isinstance(base, str) else None


@dataclass(frozen=True)
class BatchRecord:
    """A finished batch as its line says.

    Attributes:
        batch_index: its number in the layout.
        shard: name of the file with its vectors, rows in the order of `runs`.
        receipt: what the hooks reported.
    """

    batch_index: Annotated[Whole, Field(validation_alias="batch")]
    shard: Text
    sha256: Text
    receipt: Table
    runs: tuple[RunRecord, ...]


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
class OutOfMemory:
    """A batch did not fit; from here on it has at most `rows` rows."""

    EVENT: ClassVar[str] = "out of memory"
    rows: Whole


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
