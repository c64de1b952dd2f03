"""Waiting for what happens elsewhere, however busy the machine is: a test fails when it never comes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from textual._context import active_app
from textual.message_pump import MessagePump

PATIENCE = 240.0
"""Seconds until something counts as never: less than the time a test may take, more than any busy machine needs."""

_LOOK, _LOOKS, _LONGEST = 0.001, 6, 1.0
"""Seconds from a look to the next, looks at rest in a row that count, and seconds to wait for them."""

_SOON = 0.02
"""Seconds in which a timer that comes is still to be waited for: more than one of a screen's updates (1/60 s)."""

_TASKS = Path("/proc/self/task")

T = TypeVar("T")


def until(holds: Callable[[], T], what: str | Callable[[], object] = "it", seconds: float = PATIENCE) -> T:
    """Wait until something holds, and return it."""
    give_up = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < give_up, f"{what() if callable(what) else what} did not come"
        time.sleep(0.01)
    return result


async def until_shown(holds: Callable[[], T], what: str | Callable[[], object] = "it") -> T:
    """Wait, while an app goes on, until something holds, and return it; the rest of the screen is drawn by then too."""
    give_up = time.monotonic() + PATIENCE
    while not (result := holds()):
        check_alive()
        assert time.monotonic() < give_up, f"{what() if callable(what) else what} did not come"
        await asyncio.sleep(0.01)
    await at_rest()
    return result


def check_alive() -> None:
    """Raise what ended the app, if something did: nothing more will come."""
    app = active_app.get(None)
    if app is not None and app._exception is not None:
        raise app._exception


async def at_rest(*_: float) -> None:
    """Wait until nothing is left to be done in the app: every message is handled, and every other thread waits.

    A look asks the event loop itself what it will do next: seeing nothing happen for one of a screen's updates takes
    seven times as long. It stands for Textual's `wait_for_idle`, which looks at how much of the processor the process
    had: on a busy machine one that has much to do looks idle. What has no end, such as a handler that waits for a key,
    is waited for briefly.
    """
    app = active_app.get()
    loop: Any = asyncio.get_running_loop()
    busy_until = time.monotonic() + _LONGEST
    quiet = 0
    while quiet < _LOOKS and time.monotonic() < busy_until:
        await asyncio.sleep(_LOOK)
        is_busy = _is_due(loop) or any(_has_messages(pump) for pump in (app, *app._registry)) or _threads_run()
        quiet = 0 if is_busy else quiet + 1


def _is_due(loop: Any) -> bool:
    """Whether the event loop has something to do at once or soon."""
    soon = loop.time() + _SOON
    return bool(loop._ready) or any(timer._when < soon and not timer._cancelled for timer in loop._scheduled)


_threads_before: set[threading.Thread] = set()


def begin_test() -> None:
    """Remember the threads that earlier tests have left; they are nobody's work any more."""
    _threads_before.clear()
    _threads_before.update(threading.enumerate())


def works_beside() -> bool:
    """Whether work that was begun beside the screen, in this test, is under way."""
    return any(thread.name == "background" for thread in set(threading.enumerate()) - _threads_before)


def _has_messages(pump: MessagePump) -> bool:
    if not pump._running or pump._closing:
        return False
    waiting = any(not future.done() for future in pump._message_queue.ready_event._waiters)
    return not (pump._message_queue.empty() and waiting)


def _threads_run() -> bool:
    """Whether another thread of the program has something to do, or waits for a disk.

    Threads that are not Python's do nothing of themselves, and there are dozens of them in a process with torch.
    """
    own = threading.get_native_id()
    for thread in threading.enumerate():
        if thread.native_id != own:
            with contextlib.suppress(OSError):
                if (_TASKS / f"{thread.native_id}/stat").read_text().rpartition(")")[2].split(None, 1)[0] in "RD":
                    return True
    return False
