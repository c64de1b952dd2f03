"""One run at a time on a device, and one model, whichever process they are in.

Two locks a device: the turn, held by who computes on it, and the place, held by who has a model there. A worker keeps
the place of its warm model between runs; it gives it up as soon as another process takes or wants the turn.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from srm_explorer.engine.io.files import FileLock, LockedError
from srm_explorer.engine.runs.progress import Meter, Stopped
from srm_explorer.engine.worker.endpoint import make_folder, runtime_folder


class ModelHolder(Protocol):
    """Who may keep a model on a device, and with it the lock of its place, beyond a turn."""

    place: FileLock | None

    def unload(self) -> None:
        """Drop the model, and release the place."""
        ...


@contextmanager
def device_lock(device: str, meter: Meter, tenant: ModelHolder | None = None) -> Generator[bool]:
    """Hold a device while the block runs, after waiting for it where another process of this user has it.

    Args:
        device: its key, a word of letters, digits and dashes.
        meter: told that the run waits; asked whether it should still.
        tenant: keeps its model, and the place, after the block; while it waits it gives both up. With none, the place
            is released with the device.

    Yields:
        whether there was a wait, in which the world may have changed.

    Raises:
        ExplorerError: the folder of locks cannot be made, or is not ours alone.
        Stopped: it was asked to stop while it waited.
    """
    make_folder(runtime_folder())
    turn, place = FileLock(_turn(device), timeout=0.1), FileLock(_place(device), timeout=0.1)
    kept = tenant.place if tenant else None
    try:
        waited = _acquire(turn, meter, tenant)
        if kept is not None and kept.held and kept.path == place.path:
            place = kept
        else:
            if tenant is not None:
                tenant.unload()
            _acquire(place, meter, None)
        if tenant is not None:
            tenant.place = place
        yield waited
    finally:
        turn.release()
        if tenant is None:
            place.release()


def yield_device(tenant: ModelHolder) -> bool:
    """Have a tenant that computes nothing give up its place where another process has the turn; tell whether it did."""
    place = tenant.place
    if place is None or not place.held or not FileLock(place.path.with_suffix(".lock")).is_taken():
        return False
    tenant.unload()
    return True


def _acquire(lock: FileLock, meter: Meter, waiting: ModelHolder | None) -> bool:
    waited = False
    while not lock.held:
        try:
            lock.acquire()
        except LockedError:
            waited = True
            meter.stage("waiting")
            if waiting is not None:
                waiting.unload()
            if meter.stop.level:
                raise Stopped from None
    return waited


def _turn(device: str) -> Path:
    return runtime_folder() / f"device-{device}.lock"


def _place(device: str) -> Path:
    return runtime_folder() / f"device-{device}.model"
