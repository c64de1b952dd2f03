"""Job control: the shell has the terminal back while the program is stopped, and the screen is whole after `fg`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

if TYPE_CHECKING:
    from textual.app import App

_SOON = 0.01
"""Seconds in which a signal comes that was sent."""


class JobControl:
    """Takes the signals of job control between two messages, where Textual would act amid anything.

    Args:
        app: has begun, and has its terminal.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._continued = False
        self._known = 0
        self._is_over = False

    def watch(self) -> None:
        """Take the signals from now on, where the screen is on a terminal."""
        driver = self._app._driver
        if driver is not None and driver.can_suspend:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTSTP, self.stop)
            loop.add_signal_handler(signal.SIGCONT, self._begin_again)

    def leave(self) -> None:
        """Take no signals any more: a terminal taken anew while the program ends keeps it from ending."""
        self._is_over = True
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTSTP, signal.SIGCONT):
            loop.remove_signal_handler(number)

    @contextmanager
    def left_to_the_system(self) -> Generator[None]:
        """Leave the signals to the system while others have the terminal: an editor that is stopped stops us too."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTSTP)
        try:
            yield
        finally:
            self.watch()

    def stop(self) -> bool:
        """Give the terminal back as it was and stop until `fg`; False where no shell could bring the program back."""
        self._continued = False
        if self._is_over:
            return True
        try:
            with self._app.suspend():
                signal.signal(signal.SIGCONT, self._note)
                is_stopped = self._stop_job()
                while is_stopped and _in_background():
                    # After `bg` it stops again, for it needs the terminal.
                    is_stopped = self._stop_job()
        except SuspendNotSupported:
            pass
        return self._continued

    def _stop_job(self) -> bool:
        """Stop the whole job, as the terminal would itself: what started us may be part of it.

        Returns:
            False where the system did not: it stops nobody whom no shell could bring back.
        """
        before, self._continued = self._continued, False
        os.kill(0, signal.SIGTSTP)
        time.sleep(_SOON)
        is_stopped = self._continued
        self._continued |= before
        return is_stopped

    def _note(self, *_: object) -> None:
        self._continued = True
        # The event loop hears of it too, once it goes on.
        self._known += 1

    def _begin_again(self) -> None:
        """Take the terminal anew: others had it while the program was stopped by a signal that tells nobody.

        Who was continued behind a shell, as by `kill -CONT`, stops again: it has no terminal, and a shell tells its
        `fg` to what is stopped alone.
        """
        if self._is_over:
            # It came together with the signal that ends the program.
            return
        if self._known:
            self._known -= 1
        elif _in_background():
            os.kill(0, signal.SIGTTIN)
        else:
            with self._app.suspend():
                pass


def _in_background() -> bool:
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno()) != os.getpgrp()  # pyright: ignore[reportOptionalMemberAccess]
    except (OSError, ValueError, AttributeError):
        return False
