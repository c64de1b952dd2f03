"""What the screen and the command line talk to: the worker as typed calls."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec
from srm_explorer.engine.experiment.fields import Bos
from srm_explorer.engine.io.files import as_explorer_error
from srm_explorer.engine.io.runtime import make_folder
from srm_explorer.engine.prompts import Turns
from srm_explorer.engine.runs.progress import Stopped
from srm_explorer.engine.worker.endpoint import Endpoint, build, connect, here, is_alive, living
from srm_explorer.engine.worker.log import last_lines
from srm_explorer.engine.worker.protocol import (
    ENDED,
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
    JobState,
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
    as_error,
    current_context,
    encode,
    read_reply,
)
from srm_explorer.engine.worker.spool import unpack_result

_R = TypeVar("_R", bound=Reply)

_LOOK = 0.2
"""Seconds between two looks at whether a study is still wanted."""


class WorkerGoneError(ExplorerError):
    """The worker ended, or was killed, in the middle of a conversation."""

    def __init__(self) -> None:
        super().__init__(
            "the worker is gone (killed?); what was finished is kept", remedy="the same command goes on from there"
        )


class Client:
    """The worker of this environment; every call has a connection of its own, so threads may share one client.

    Each call raises ExplorerError where the worker refuses, and WorkerGoneError where it is not there any more.
    """

    def __init__(self, endpoint: Endpoint, welcome: Welcome) -> None:
        self.endpoint = endpoint
        self.welcome = welcome

    def submit(self, message: Submit) -> Accepted:
        """Have an experiment run, as `submission` puts it."""
        return self._ask(message, Accepted)

    def follow(self, job: str, tick: float | None = None) -> Iterator[JobState | None]:
        """Tell how a job goes on, until it ended.

        Args:
            job: its id.
            tick: seconds after which None is given where nothing happened.
        """
        with _Connection(self.endpoint) as connection:
            connection.send(Follow(job=job))
            connection.wait_at_most(tick)
            while True:
                try:
                    reply = connection.receive()
                except TimeoutError:
                    yield None
                    continue
                state = _expect(reply, JobUpdate).job
                yield state
                if state.state in ENDED:
                    return

    def cancel(self, job: str, times: Literal[1, 2] = 1) -> None:
        """Stop a job: once, after its batch; twice, now."""
        self._ask(Cancel(job=job, times=times), Done)

    def prune(self, job: str) -> None:
        """Take a job that waits off the queue."""
        self._ask(Prune(job=job), Done)

    def jobs(self) -> tuple[JobState, ...]:
        """List the jobs: running, waiting, ended."""
        return self._ask(Jobs(), Listed).jobs

    def describe(self, model: ModelSpec, base: Path) -> Description:
        """Describe a model; where it is not loaded yet that takes as long as loading it."""
        return self._ask(
            Describe(model=model.model_dump(), base=str(base), place=current_context()), Description, patient=True
        )

    def tokenize(
        self,
        model: ModelSpec,
        base: Path,
        texts: Sequence[str | Turns],
        prepend_bos: Bos = "auto",
        *,
        chat_template: bool = False,
        system: str | None = None,
    ) -> Tokens:
        """Turn prompts into token ids; a text with no token has no ids."""
        message = Tokenize(
            model=model.model_dump(),
            base=str(base),
            place=current_context(),
            texts=tuple(texts),
            prepend_bos=prepend_bos,
            chat_template=chat_template,
            system=system,
        )
        return self._ask(message, Tokens, patient=True)

    def study(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        session: Path | None = None,
        model: ModelSpec | None = None,
        base: Path | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """Have a study run that needs a model, and return what it found.

        Args:
            name: as `engine.model_analyses` lists it.
            arguments: plain data, as the study takes it.
            session: path of the session it is about; None where it is about a model alone.
            model: the model; None for the session's own.
            base: the folder a relative model folder is found from; the working folder by default.
            is_wanted: asked now and then.

        Raises:
            Stopped: it was not wanted any more; the worker gives it up.
        """
        context = current_context()
        message = Study(
            name=name,
            session=str(paths.absolute(session)) if session else "",
            model=model.model_dump() if model else {},
            arguments=dict(arguments),
            base=str(base or context.folder),
            place=context,
        )
        with _Connection(self.endpoint) as connection:
            connection.wait_at_most(_LOOK)
            connection.send(message)
            while True:
                try:
                    return unpack_result(_expect(connection.receive(), StudyResult))
                except TimeoutError:
                    if not is_wanted():
                        raise Stopped from None

    def status(self) -> WorkerState:
        """Say what the worker is doing."""
        return self._ask(Status(), WorkerState)

    def drain(self) -> None:
        """Have it finish what is queued, then end."""
        self._ask(Drain(), Done)

    def stop(self) -> None:
        """Have it stop now, save what is finished, and end."""
        self._ask(Quit(), Done)

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until the worker's process is gone; False where it still lives after so many seconds."""
        until = time.monotonic() + seconds
        while is_alive(self.endpoint):
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def _ask(self, request: Request, expected: type[_R], *, patient: bool = False) -> _R:
        with _Connection(self.endpoint) as connection:
            if patient:
                connection.wait_at_most(None)
            connection.send(request)
            try:
                return _expect(connection.receive(), expected)
            except TimeoutError:
                raise _silent() from None


def submission(
    experiment: Experiment, base: Path, session: Path, *, restart: bool = False, folder: Path | None = None
) -> Submit:
    """Put a run as a worker takes it.

    Args:
        experiment: what to run.
        base: the folder its relative paths start from.
        session: its .json file.
        restart: move what has this name to the trash first.
        folder: where bare names are looked up; the working folder by default.

    Raises:
        ExplorerError: the working folder is gone.
    """
    context = current_context() if folder is None else current_context().model_copy(update={"folder": str(folder)})
    return Submit(experiment=experiment.to_dict(), base=str(base), session=str(session), restart=restart, place=context)


def find_worker(endpoint: Endpoint | None = None) -> Client | None:
    """Return the living worker of this environment, None where there is none.

    Raises:
        ExplorerError: the folder of sockets is not ours alone, or what listens there is no worker.
    """
    endpoint = endpoint or here()
    try:
        with _Connection(endpoint) as connection:
            return Client(endpoint, connection.welcome)
    except WorkerGoneError:
        return None


def other_workers() -> list[WorkerState]:
    """What the living workers of other environments are doing; those that do not answer are left out.

    Raises:
        ExplorerError: the folder of sockets is not ours alone.
    """
    states: list[WorkerState] = []
    ours = here().identity
    for endpoint in living():
        if endpoint.identity != ours:
            with contextlib.suppress(ExplorerError):
                client = find_worker(endpoint)
                states += [client.status()] if client else []
    return states


def _expect(reply: Reply, expected: type[_R]) -> _R:
    if isinstance(reply, Refused):
        raise as_error(reply.fault)
    if not isinstance(reply, expected):
        raise ExplorerError(f"the worker answered with {reply.kind}", remedy="stop it with `srm-explorer worker stop`")
    return reply


def _silent() -> ExplorerError:
    return ExplorerError("the worker does not answer", remedy="`srm-explorer worker logs` may say why")


class _Connection:
    """One connection, greeted."""

    def __init__(self, endpoint: Endpoint) -> None:
        connection = connect(endpoint)
        if connection is None:
            raise WorkerGoneError
        self._connection = connection
        self._lines = Lines(connection)
        try:
            # Who lets nobody in has said why before it hung up.
            with contextlib.suppress(WorkerGoneError):
                self.send(Hello(protocol=PROTOCOL, build=build()))
            self.welcome = _expect(self.receive(), Welcome)
        except TimeoutError:
            connection.close()
            raise _silent() from None
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def wait_at_most(self, seconds: float | None) -> None:
        self._connection.settimeout(seconds)

    def send(self, request: Request) -> None:
        line = encode(request)
        try:
            self._connection.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerGoneError from None

    def receive(self) -> Reply:
        line = self._lines.read()
        if line is None:
            raise WorkerGoneError
        return read_reply(line)


PATIENCE = 180.0
"""Seconds a worker may take to start, on a slow disk."""


def find_or_start_worker(*, idle_exit: float | None = None) -> Client:
    """Return the worker of this environment, started if there is none; of two who start one at once, one does.

    Args:
        idle_exit: seconds without work after which a worker started here ends; 30 minutes by default.

    Raises:
        ExplorerError: it does not start; the last line of its log is in the message.
    """
    endpoint = here()
    make_folder(endpoint.folder)
    until = time.monotonic() + PATIENCE
    while True:
        client = find_worker(endpoint)
        if client is not None:
            return client
        left = until - time.monotonic()
        if left <= 0:
            raise _not_started(endpoint, "it does not answer")
        _start(endpoint, idle_exit, left)
        time.sleep(0.05)


def child_environment() -> dict[str, str]:
    """Our own, with a path on which a child finds this same program from another working folder."""
    root = paths.package_folder().parent
    search = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root.name not in ("site-packages", "dist-packages") and str(root) not in search:
        search.insert(0, str(root))
    return {**os.environ, **({"PYTHONPATH": os.pathsep.join(search)} if search else {})}


def _start(endpoint: Endpoint, idle_exit: float | None, seconds: float) -> None:
    """Start a process and wait for its first line; one that finds another at the place ends by itself."""
    command = [sys.executable, "-P", "-m", "srm_explorer.engine.worker"]
    command += [] if idle_exit is None else ["--idle", str(idle_exit)]
    try:
        endpoint.log.parent.mkdir(parents=True, exist_ok=True)
        log = endpoint.log.open("ab")
    except OSError as error:
        raise as_explorer_error(error, endpoint.log) from error
    with log:
        log_size = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env=child_environment(),
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout:
        readable, _, _ = select.select([process.stdout], [], [], seconds)
        word = process.stdout.readline() if readable else b""
    if not readable:
        process.terminate()
        raise _not_started(endpoint, f"not ready after {seconds:.0f} s")
    if not word:
        status = process.wait()
        silent = endpoint.log.stat().st_size <= log_size if endpoint.log.exists() else True
        # What stands in the log from an earlier worker is no reason why this one ended.
        lines = [] if silent else last_lines(endpoint.log, 1)
        ended = f"signal {-status} ended it" if status < 0 else "it said nothing"
        raise _not_started(endpoint, (lines or [ended])[0])


def _not_started(endpoint: Endpoint, why: str) -> ExplorerError:
    what = f"the worker did not start: {why}"
    return ExplorerError(what, where=str(endpoint.log), remedy="run `srm-explorer doctor`")
