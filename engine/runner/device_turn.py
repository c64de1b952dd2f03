"""One run at a time on a device, whichever process it is in."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from engine.files import FileLock, LockedError
from engine.runner.endpoint import make_folder, runtime_folder
from engine.runner.progress import Meter, Stopped


@contextmanager
def device_turn(device: str, meter: Meter) -> Generator[bool]:
    """Hold a device while the block runs, after waiting for it where another process of this user has it.

    Args:
        device: its key, a word of letters, digits and dashes.
        meter: told that the run waits; asked whether it should still.

    Yields:
        whether there was a wait, in which the world may have changed.

    Raises:
        ExplorerError: the folder of locks cannot be made, or is not ours alone.
        Stopped: it was asked to stop while it waited.
    """
    folder = runtime_folder()
    make_folder(folder)
    lock = FileLock(folder / f"device-{device}.lock", timeout=0.1)
    waited = False
    while not lock.held:
        try:
            lock.acquire()
        except LockedError:
            waited = True
            meter.stage("waiting")
            if meter.stop.wishes:
                raise Stopped from None
    try:
        yield waited
    finally:
        lock.release()
