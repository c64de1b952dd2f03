"""Work beside the screen: threads and processes that keep nobody waiting; what they come to is taken in one thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from srm_explorer.engine.errors import ExplorerError, unreached

T = TypeVar("T")

_INSTANT = 0.4
"""Seconds that the last closing waits for threads: more than the pause between two looks of one that follows."""

Turn = Literal["replace", "next", "queue"]
"""What becomes of work whose key has work under way: it takes its place at once, it comes next in place of whatever
waits, or it waits until all before it is done."""


class Background:
    """Runs work beside the caller; of the work of one key, only what was asked for last comes to anything.

    Threads are daemonic, so that quitting never waits for them.

    Args:
        deliver: has a function called in the thread where results are taken, as a widget's `call_later`; by default
            they are taken in the thread that did the work.
    """

    def __init__(self, deliver: Callable[[Callable[[], object]], object] | None = None) -> None:
        self.deliver = deliver or _call
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Task] = {}
        self._waiting: dict[Hashable, deque[_Task]] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def run(
        self,
        work: Callable[[], T],
        then: Callable[[T | ExplorerError], object] | None = None,
        *,
        key: Hashable = None,
        turn: Turn = "replace",
        on_cancel: Callable[[], object] | None = None,
    ) -> None:
        """Do work in a thread.

        Args:
            work: is called in the thread. What it raises but ExplorerError is raised again where results are taken.
            then: takes the result, or what a user should know of the failure; never once the work is not wanted.
            key: what the work is, so that later work of the same key takes its place; None for work on its own.
            turn: where the key has work under way.
            on_cancel: is called in the thread of whoever does not want the work any more, at most once.
        """
        task = _Task(work, then, object() if key is None else key, on_cancel)
        dropped: list[_Task] = []
        with self._lock:
            if self._closed:
                return
            before = self._running.get(task.key)
            if before is None or turn == "replace":
                self._running[task.key] = task
                dropped = [*self._waiting.pop(task.key, ()), *([before] if before is not None else [])]
            else:
                waiting = self._waiting.setdefault(task.key, deque())
                if turn == "next":
                    dropped = list(waiting)
                    waiting.clear()
                waiting.append(task)
        for other in dropped:
            other.cancel()
        if before is None or turn == "replace":
            self._start(task)

    def run_process(
        self,
        command: Sequence[str],
        read: Callable[[subprocess.CompletedProcess[bytes]], T],
        then: Callable[[T | ExplorerError], object],
        *,
        key: Hashable = None,
        name: str = "the program",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program, which is killed once it is not wanted.

        Args:
            command: the program and its arguments.
            read: makes the result of what the program wrote, in a thread; raises ExplorerError.
            then: as for `run`.
            key: as for `run`.
            name: what it is called where it does not start.
            environment: the program's; this one's by default.
        """
        process = _Process(command, name, environment)
        self.run(lambda: read(process.wait()), then, key=key, on_cancel=process.end)

    async def result(self, work: Callable[[], T]) -> T:
        """What work comes to, for those who can wait for it beside others; raises what it raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def take(result: T | ExplorerError) -> None:
            if future.cancelled():
                return
            if isinstance(result, ExplorerError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.run(work, take)
        return await future

    def is_running(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._running

    def cancel(self, key: Hashable) -> None:
        """Give up the work of a key, under way or waiting; nothing comes of it any more."""
        with self._lock:
            tasks = [*self._waiting.pop(key, ())]
            if (task := self._running.pop(key, None)) is not None:
                tasks.append(task)
        for task in tasks:
            task.cancel()

    def close(self, *, is_last: bool = False) -> None:
        """Give up all work, and take no more.

        Args:
            is_last: the process ends next, so that threads in the middle of something get an instant to come to its
                end: an interpreter that is taken down under a thread in compiled code aborts.
        """
        with self._lock:
            self._closed = True
            keys, threads = [*self._running], self._threads - {threading.current_thread()}
        for key in keys:
            self.cancel(key)
        end = time.monotonic() + (_INSTANT if is_last else 0)
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))

    def _start(self, task: _Task) -> None:
        # A widget finds its app by the context.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._work, task), name="background", daemon=True)
        with self._lock:
            self._threads.add(thread)
            thread.start()

    def _work(self, task: _Task) -> None:
        result: Any
        try:
            result = task.work()
        except OSError as error:
            result = unreached(error) or error
        except Exception as error:  # noqa: BLE001  (a mistake of ours ends the app, not a thread that nobody watches)
            result = error
        self.deliver(functools.partial(self._finish, task, result))
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _finish(self, task: _Task, result: Any) -> None:
        following: _Task | None = None
        with self._lock:
            if self._running.get(task.key) is task:
                del self._running[task.key]
                if waiting := self._waiting.get(task.key):
                    following = self._running[task.key] = waiting.popleft()
        if following is not None:
            self._start(following)
        if task.is_cancelled:
            return
        if isinstance(result, Exception) and (task.then is None or not isinstance(result, ExplorerError)):
            raise result
        if task.then is not None:
            task.then(result)


class _Task:
    def __init__(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], object] | None,
        key: Hashable,
        on_cancel: Callable[[], object] | None,
    ) -> None:
        self.work, self.then, self.key = work, then, key
        self.is_cancelled = False
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        self.is_cancelled = True
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel is not None:
            on_cancel()


class _Process:
    """A program that is run in one thread and ended from another."""

    def __init__(self, command: Sequence[str], name: str, environment: Mapping[str, str] | None) -> None:
        self._command, self._name, self._environment = command, name, environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def wait(self) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end; ExplorerError where it does not start."""
        with self._lock:
            if self._ended:
                raise ExplorerError(f"{self._name} was ended")
            try:
                process = self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                what = f"{self._name} did not start: {error.strerror}"
                raise ExplorerError(what, remedy="run `srm-explorer doctor`") from None
        out, err = process.communicate()
        return subprocess.CompletedProcess(self._command, process.returncode, out, err)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()


def _call(function: Callable[[], object]) -> None:
    function()
