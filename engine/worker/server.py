"""The worker's side of its socket: a thread that lets connections in, and one for each of them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.endpoint import build, environment, is_same_user
from srm_explorer.engine.worker.protocol import (
    ENDED,
    LASTING,
    PROTOCOL,
    Accepted,
    Cancel,
    Describe,
    Description,
    Done,
    Drain,
    Follow,
    Hello,
    Jobs,
    JobUpdate,
    Lines,
    Listed,
    Prune,
    Quit,
    Refused,
    Reply,
    Request,
    Status,
    Study,
    StudyResult,
    Submit,
    Tokenize,
    Tokens,
    Welcome,
    WorkerState,
    as_fault,
    encode,
    oversized,
    read_request,
)
from srm_explorer.engine.worker.queue import JobQueue


def welcome(hello: Hello) -> Welcome:
    """Answer the first message of a connection."""
    return Welcome(protocol=PROTOCOL, build=build(), pid=os.getpid(), limited=not _is_same(hello))


def check_allowed(hello: Hello | None, request: Request) -> None:
    """Refuse what comes before a hello, and all but `LASTING` requests from another version.

    Raises:
        ExplorerError: it is refused; what can be done instead is in the message.
    """
    if hello is None:
        raise ExplorerError("a connection begins with hello", where=request.kind, remedy="say hello first")
    if not _is_same(hello) and not isinstance(request, LASTING):
        raise ExplorerError(
            f"the worker is of another version ({build()}, protocol {PROTOCOL})",
            where=request.kind,
            remedy="`srm-explorer worker restart` lets it finish and starts a new one",
        )


def _is_same(hello: Hello) -> bool:
    return (hello.protocol, hello.build) == (PROTOCOL, build())


MOST = 64
"""Connections at a time; one more is told so."""

FIRST_WITHIN = 10.0
"""Seconds from the connection to its first request; a program of ours needs none."""

_LOOKS = (Status, Jobs, Follow)
"""Requests that keep no idle worker alive: a screen that is open looks all the time."""


class Models(Protocol):
    """What answers for models, from any thread."""

    def describe(self, message: Describe) -> Description:
        """Describe a model; ExplorerError where that is not possible now."""
        ...

    def tokenize(self, message: Tokenize) -> Tokens:
        """Turn texts into token ids; ExplorerError where there is no such tokenizer."""
        ...

    def study(self, message: Study, is_wanted: Callable[[], bool]) -> StudyResult:
        """Run a study as long as somebody waits for it; ExplorerError where it refuses, or nobody waits any more."""
        ...

    def loaded(self) -> tuple[str, str] | None:
        """Name the model that is loaded, and its device."""
        ...


class Service:
    """Answers on a socket until it is closed.

    Args:
        listener: bound and listening.
        queue: the jobs.
        models: answers for models.
        idle_exit: seconds after which the worker ends by itself, to be told.
        log: takes a line.
        first_within: seconds in which a connection must have asked for something.
    """

    def __init__(
        self,
        listener: socket.socket,
        queue: JobQueue,
        models: Models,
        idle_exit: float,
        log: Callable[[str], None],
        first_within: float = FIRST_WITHIN,
    ) -> None:
        self._listener = listener
        self._queue = queue
        self._models = models
        self._idle_exit = idle_exit
        self._log = log
        self._first_within = first_within
        self._began = time.monotonic()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._guard = threading.Lock()

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._let_in, name="socket", daemon=True).start()

    def close(self, patience: float = 2.0) -> None:
        """Let nobody in any more, and let those who are in hear the last word, for so many seconds."""
        with contextlib.suppress(OSError):
            # Closing alone does not wake the thread that waits for a connection.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            talking = list(self._open.items())
        for connection, _ in talking:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        until = time.monotonic() + patience
        for _, thread in talking:
            thread.join(max(0.0, until - time.monotonic()))

    def _let_in(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                # Out of file descriptors, say: that passes.
                time.sleep(0.1)
                continue
            if not is_same_user(connection):
                self._log("refused a connection of another user")
                connection.close()
                continue
            thread = threading.Thread(target=self._talk, args=[connection], name="connection", daemon=True)
            with self._guard:
                is_full = len(self._open) >= MOST
                if not is_full:
                    self._open[connection] = thread
            if is_full:
                self._turn_away(connection)
            else:
                thread.start()

    def _turn_away(self, connection: socket.socket) -> None:
        error = ExplorerError(f"the worker has {MOST} connections already", remedy="try again in a few seconds")
        self._log("turned a connection away")
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1.0)
            self._send(connection, Refused(fault=as_fault(error)))

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._answer_all(connection)
        finally:
            with self._guard:
                del self._open[connection]

    def _answer_all(self, connection: socket.socket) -> None:
        lines = Lines(connection)
        hello: Hello | None = None
        until: float | None = time.monotonic() + self._first_within
        while True:
            try:
                line = lines.read(until)
            except TimeoutError:
                late = ExplorerError("no request came in time", where="worker", remedy="connect again")
                self._send(connection, Refused(fault=as_fault(late)))
                return
            except ExplorerError as error:
                self._send(connection, Refused(fault=as_fault(error)))
                return
            if line is None:
                return
            try:
                request = read_request(line)
                if isinstance(request, Hello):
                    hello = request
                    self._send(connection, welcome(request))
                    continue
                check_allowed(hello, request)
                # Who has asked for something is one of us, and may take its time for what comes next.
                until = None
                connection.settimeout(None)
                if not isinstance(request, _LOOKS):
                    self._queue.touch()
                if isinstance(request, Follow):
                    self._follow(connection, request.job)
                    continue
                if isinstance(request, Study):
                    reply: Reply = self._study(connection, request)
                else:
                    reply = self._answer(request)
            except ExplorerError as error:
                reply = Refused(fault=as_fault(error))
            self._send(connection, reply)

    def _answer(self, request: Request) -> Reply:
        match request:
            case Submit():
                state, joined = self._queue.submit(request)
                self._log(f"{'joined' if joined else 'queued'} {state.job}: {state.session}")
                return Accepted(job=state, joined=joined)
            case Cancel():
                self._log(f"cancel {request.job}, {request.times}")
                self._queue.cancel(request.job, request.times)
            case Prune():
                self._queue.prune(request.job)
            case Jobs():
                return Listed(jobs=self._queue.states())
            case Describe():
                return self._models.describe(request)
            case Tokenize():
                return self._models.tokenize(request)
            case Status():
                return self._state()
            case Drain():
                self._log("draining")
                self._queue.drain()
            case Quit():
                self._log("asked to stop")
                self._queue.close()
            case Hello() | Follow() | Study():
                raise ValueError(f"{request.kind} is answered elsewhere")
        return Done()

    def _study(self, connection: socket.socket, request: Study) -> StudyResult:
        self._log(f"study {request.name}: {request.session or request.model.get('name')}")
        try:
            return self._models.study(request, lambda: not _hung_up(connection))
        except ExplorerError as error:
            self._log(f"failed study {request.name}: {error}")
            raise
        finally:
            # It may have taken longer than an idle worker lives.
            self._queue.touch()

    def _follow(self, connection: socket.socket, job: str) -> None:
        seen = -1
        while True:
            state, version = self._queue.follow(job, seen, timeout=0.5)
            if version != seen:
                seen = version
                self._send(connection, JobUpdate(job=state))
            if state.state in ENDED:
                return
            if _hung_up(connection) and not self._queue.closed:
                raise ConnectionResetError

    def _state(self) -> WorkerState:
        loaded, task = self._models.loaded(), self._queue.model_task()
        return WorkerState(
            pid=os.getpid(),
            build=build(),
            protocol=PROTOCOL,
            uptime=time.monotonic() - self._began,
            idle=self._queue.idle(),
            idle_exit=self._idle_exit,
            draining=self._queue.draining,
            model=loaded[0] if loaded else None,
            device=loaded[1] if loaded else None,
            jobs=self._queue.states(),
            environment=environment(),
            errand=task.title if task else "",
            errand_progress=task.progress.to_dict() if task and task.progress else None,
        )

    def _send(self, connection: socket.socket, reply: Reply) -> None:
        try:
            line = encode(reply)
        except ExplorerError:
            line = encode(Refused(fault=as_fault(oversized())))
        connection.sendall(line)


def _hung_up(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
