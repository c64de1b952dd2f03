"""What the worker and those who talk to it say to each other: one JSON object a line, each of a kind known here.

A connection opens with `Hello`, answered by `Welcome`; from then on every request has one reply, in order. `Follow` is
the exception: its replies are `JobUpdate`, one whenever the job went on, and the last one says how it ended. A
`CallerContext` goes along with what was typed: what a relative path or a bare name means depends on it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from os import chdir, environ
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.fields import SpecPart
from srm_explorer.engine.experiment.site import ModelShape
from srm_explorer.engine.experiment.validation import as_explorer_error
from srm_explorer.engine.prompts import Turns

PROTOCOL = 1
LARGEST = 8 * 1024 * 1024
"""Bytes of one message, its newline included."""

JobStage = Literal["queued", "running", "finished", "interrupted", "shown", "failed"]
ENDED: tuple[JobStage, ...] = ("finished", "interrupted", "shown", "failed")


class _Strict(BaseModel):
    """A message that both sides must know alike: a field that one of them does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Tolerant(BaseModel):
    """A message that outlives an upgrade: fields that came later are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CallerContext(_Strict):
    """Where a command was typed: what a relative path or a bare name means depends on it."""

    folder: str
    environment: dict[str, str] = {}


class Fault(_Tolerant):
    """An ExplorerError on its way."""

    what: str
    where: str = ""
    remedy: str = ""


class JobState(_Tolerant):
    """How far a job is, whether a session is saved, and what there is to be said about it.

    Attributes:
        session: path of the .json file; its run folder lies beside it.
        progress: `Progress.to_dict`; None before the job's turn.
        resumed: finished runs that an earlier start left, and all runs; None where nothing was left.
        ahead: jobs that come before it.
    """

    job: str
    session: str
    state: JobStage
    progress: dict[str, Any] | None = None
    resumed: tuple[int, int] | None = None
    ahead: int = 0
    saved: bool = False
    told: tuple[str, ...] = ()
    fault: Fault | None = None


class Hello(_Tolerant):
    """The first message of a connection."""

    kind: Literal["hello"] = "hello"
    protocol: int
    build: str


class Submit(_Strict):
    """Run an experiment, or go on with it; a job for the same session that waits or runs is joined."""

    kind: Literal["submit"] = "submit"
    experiment: dict[str, Any]
    base: str
    session: str
    restart: bool = False
    place: CallerContext


class Follow(_Tolerant):
    """Be told whenever a job went on."""

    kind: Literal["follow"] = "follow"
    job: str


class Cancel(_Tolerant):
    """Stop a job: once, after the batch in flight; twice, now. One that waits is taken off the queue."""

    kind: Literal["cancel"] = "cancel"
    job: str
    times: Literal[1, 2] = 1


class Jobs(_Strict):
    """List the jobs: those that run and wait, then those that ended lately."""

    kind: Literal["list"] = "list"


class Prune(_Strict):
    """Take a job that waits off the queue; one that runs is left alone."""

    kind: Literal["prune"] = "prune"
    job: str


class Describe(_Strict):
    """Say how large a model is and which sites it has; loads it where nothing runs."""

    kind: Literal["describe"] = "describe"
    model: dict[str, Any]
    base: str
    place: CallerContext


class Tokenize(_Strict):
    """Turn texts into token ids as a run would."""

    kind: Literal["tokenize"] = "tokenize"
    model: dict[str, Any]
    base: str
    place: CallerContext
    texts: tuple[str | Turns, ...]
    prepend_bos: bool | Literal["auto", "once"] = "auto"
    chat_template: bool = False
    system: str | None = None


class Study(_Strict):
    """Run a study that needs a model, between two jobs; it is given up once the connection is closed.

    Attributes:
        name: as `srm_explorer.engine.analyses` lists it.
        session: path of the session it is about; empty where it is about a model alone.
        model: the `[model]` table; empty for the session's own.
        arguments: plain data, as the study takes it.
    """

    kind: Literal["study"] = "study"
    name: str
    session: str = ""
    model: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    base: str
    place: CallerContext


class Status(_Tolerant):
    """Say what the worker is doing."""

    kind: Literal["status"] = "status"


class Drain(_Tolerant):
    """Take no more jobs, finish those that are there, then end."""

    kind: Literal["drain"] = "drain"


class Quit(_Strict):
    """Stop the job that runs now, save what is finished, and end."""

    kind: Literal["stop"] = "stop"


class Welcome(_Tolerant):
    """The reply to `Hello`; `limited` where the versions differ: only status, follow, cancel and drain work."""

    kind: Literal["welcome"] = "welcome"
    protocol: int
    build: str
    pid: int
    limited: bool


class Accepted(_Tolerant):
    """The reply to `Submit`; `joined` where the job was there before."""

    kind: Literal["accepted"] = "accepted"
    job: JobState
    joined: bool


class JobUpdate(_Tolerant):
    """A followed job went on; the data is in its run folder."""

    kind: Literal["grew"] = "grew"
    job: JobState


class Listed(_Tolerant):
    """The reply to `Jobs`."""

    kind: Literal["jobs"] = "jobs"
    jobs: tuple[JobState, ...]


class Description(_Tolerant):
    """The reply to `Describe`: sizes that experiments are checked against, sites by TransformerLens name, the device.

    Four estimate what a run will need: bytes of the weights, sizes of `plan.Sizes`, and the bytes free on
    the device once the weights are there; 0 where a worker of another version does not say. How fast it is stands
    in `runs.pace`. `base_bytes` is what the process takes with the weights and nothing else, its libraries
    included; 0 where that was not looked at.
    """

    kind: Literal["description"] = "description"
    shape: ModelShape
    device: str
    is_demo: bool
    sites: tuple[str, ...]
    weight_bytes: int = 0
    kv_width: int = 0
    n_vocab: int = 0
    free_bytes: int = 0
    base_bytes: int = 0


class Tokens(_Tolerant):
    """The reply to `Tokenize`: for each text its ids, and the text of each id."""

    kind: Literal["tokens"] = "tokens"
    ids: tuple[tuple[int, ...], ...]
    pieces: tuple[tuple[str, ...], ...]


class StudyResult(_Tolerant):
    """The reply to `Study`: what it found, or the file that holds it, which is the asker's to remove."""

    kind: Literal["studied"] = "studied"
    findings: dict[str, Any] = {}
    file: str = ""


class WorkerState(_Tolerant):
    """The reply to `Status`; times in seconds.

    `errand` is the title of a study under way, and `errand_progress` how far it is, as `Progress.to_dict`;
    `environment` tells what its environment is, as `endpoint.environment` has it.
    """

    kind: Literal["state"] = "state"
    pid: int
    build: str
    protocol: int
    uptime: float
    idle: float
    idle_exit: float
    draining: bool
    model: str | None
    device: str | None
    jobs: tuple[JobState, ...]
    errand: str = ""
    errand_progress: dict[str, Any] | None = None
    environment: dict[str, str] = {}


class Done(_Tolerant):
    """The reply where there is nothing to say."""

    kind: Literal["done"] = "done"


class Refused(_Tolerant):
    """The reply to what cannot be done."""

    kind: Literal["refused"] = "refused"
    fault: Fault


Request = Hello | Submit | Follow | Cancel | Jobs | Prune | Describe | Tokenize | Study | Status | Drain | Quit
Reply = Welcome | Accepted | JobUpdate | Listed | Description | Tokens | StudyResult | WorkerState | Done | Refused
LASTING = (Status, Follow, Cancel, Drain)
"""Requests that also a worker of another version answers."""


_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLIES: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode(message: Request | Reply) -> bytes:
    """Write a message as a line.

    Raises:
        ExplorerError: it is larger than 8 MB, or holds a text that is not UTF-8.
    """
    try:
        line = message.model_dump_json().encode() + b"\n"
    except (PydanticSerializationError, UnicodeEncodeError):
        raise ExplorerError(
            "a path or text is not UTF-8", where=message.kind, remedy="rename the file, or run without the worker"
        ) from None
    if len(line) > LARGEST:
        raise oversized()
    return line


def read_request(line: bytes) -> Request:
    """Read what `encode` wrote; ExplorerError says in one line what is wrong with it."""
    try:
        return _REQUESTS.validate_json(line)
    except ValidationError as error:
        raise _malformed(error) from None


def read_reply(line: bytes) -> Reply:
    """Read what `encode` wrote; ExplorerError says in one line what is wrong with it."""
    try:
        return _REPLIES.validate_json(line)
    except ValidationError as error:
        raise _malformed(error) from None


class Lines:
    """The lines that come over a socket; a time-out of the socket loses nothing of a line that is half there."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._seen = 0

    def read(self, until: float | None = None) -> bytes | None:
        """Return the next line without its newline; None where the other side is gone.

        Args:
            until: when the line must be whole, in seconds of `time.monotonic`; by default the socket's own time-out
                holds for each part of it.

        Raises:
            ExplorerError: a line is larger than 8 MB; the connection is of no more use.
            TimeoutError: it is not whole in time.
        """
        while (end := self._buffer.find(b"\n", self._seen)) < 0:
            self._seen = len(self._buffer)
            if self._seen >= LARGEST:
                raise oversized()
            if until is not None:
                self._connection.settimeout(max(0.001, until - time.monotonic()))
            try:
                more = self._connection.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self._buffer += more
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._seen = 0
        return line


def oversized() -> ExplorerError:
    """The error for a message that is too large."""
    return ExplorerError("the message is larger than 8 MB", where="worker", remedy="send less at a time")


def as_fault(error: ExplorerError) -> Fault:
    """Put an error on its way."""
    return Fault(what=error.what, where=error.where, remedy=error.remedy)


def as_error(fault: Fault) -> ExplorerError:
    """Take an error off the wire."""
    return ExplorerError(fault.what, where=fault.where, remedy=fault.remedy)


def _malformed(error: ValidationError) -> ExplorerError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    reason = first["msg"][:200]
    where = f"message {location}" if location else "message"
    return ExplorerError(f"not understood: {reason}", where=where, remedy="the two sides may be of different versions")


class _Named(SpecPart):
    model: ModelSpec


def read_model(table: Mapping[str, Any]) -> ModelSpec:
    """Read the `[model]` table of an experiment, as plain data.

    Raises:
        ExplorerError: names the field that is wrong, and the remedy.
    """
    try:
        return _Named.model_validate({"model": dict(table)}).model
    except ValidationError as error:
        raise as_explorer_error(error, _Named, "", {}) from None


_VARIABLES = ("HOME", "SRM_EXPLORER_SESSIONS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Variables that say where things are."""


def current_context() -> CallerContext:
    """Return where this process stands.

    Raises:
        ExplorerError: its working folder is gone.
    """
    folder = str(paths.working_folder())
    return CallerContext(folder=folder, environment={name: environ[name] for name in _VARIABLES if name in environ})


@contextmanager
def in_context(context: CallerContext) -> Generator[None]:
    """Have relative paths and bare names mean what they mean where a command was typed.

    Raises:
        ExplorerError: its folder cannot be entered.
    """
    before = dict(environ)
    try:
        chdir(context.folder)
    except OSError as error:
        what = f"the folder cannot be entered: {(error.strerror or str(error)).lower()}"
        raise ExplorerError(what, where=context.folder, remedy="start from another folder") from None
    try:
        for name in _VARIABLES:
            environ.pop(name, None)
        environ.update({name: value for name, value in context.environment.items() if name in _VARIABLES})
        yield
    finally:
        for name in _VARIABLES:
            environ.pop(name, None)
            if name in before:
                environ[name] = before[name]
        # No folder stays in use because a worker lives.
        chdir("/")
