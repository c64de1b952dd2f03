"""One run at a time on a device, and one model, whichever process they are in.

Two locks a device, and those of several devices as one where a model is spread over them: the compute lock, held by
who computes on it, and the model lock, held by who has a model there. A worker keeps the model lock of its warm model
between runs, and gives it up as soon as another process has the compute lock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from srm_explorer.engine.io.lock import FileLock, JoinedLock, LockedError
from srm_explorer.engine.io.runtime import make_folder, runtime_folder
from srm_explorer.engine.runs.progress import Meter, Stopped


class ModelHolder(Protocol):
    """Who may keep a model on a device, and with it the model lock, while it computes nothing."""

    model_lock: FileLock | JoinedLock | None

    def unload(self) -> None:
        """Drop the model, and release the model lock."""
        ...


@contextmanager
def device_lock(device: str, meter: Meter, holder: ModelHolder | None = None) -> Generator[bool]:
    """Hold a device while the block runs, after waiting for it where another process of this user has it.

    Args:
        device: its key, a word of letters, digits and dashes; those of several joined by "+".
        meter: told that the run waits; asked whether it should still.
        holder: keeps its model, and the model lock, after the block; while it waits it gives both up. With none, both
            locks are released after the block.

    Yields:
        whether there was a wait, in which the world may have changed.

    Raises:
        ExplorerError: the folder of locks cannot be made, or is not ours alone.
        Stopped: it was asked to stop while it waited.
    """
    make_folder(runtime_folder())
    compute_lock, model_lock = _lock(device, _compute_path), _lock(device, _model_path)
    kept = holder.model_lock if holder else None
    try:
        waited = _acquire(compute_lock, meter, holder)
        if kept is not None and kept.held and kept.paths == model_lock.paths:
            model_lock = kept
        else:
            if holder is not None:
                holder.unload()
            _acquire(model_lock, meter, None)
        if holder is not None:
            holder.model_lock = model_lock
        yield waited
    finally:
        compute_lock.release()
        if holder is None:
            model_lock.release()


def yield_device(holder: ModelHolder) -> bool:
    """Have a holder that computes nothing unload where another process has a compute lock; tell whether it did."""
    model_lock = holder.model_lock
    if model_lock is None or not model_lock.held:
        return False
    if not any(FileLock(path.with_suffix(".lock")).is_taken() for path in model_lock.paths):
        return False
    holder.unload()
    return True


def _lock(device: str, path_of: Callable[[str], Path]) -> FileLock | JoinedLock:
    locks = [FileLock(path_of(name), timeout=0.1) for name in device.split("+")]
    return locks[0] if len(locks) == 1 else JoinedLock(locks)


def _acquire(lock: FileLock | JoinedLock, meter: Meter, waiting: ModelHolder | None) -> bool:
    waited = False
    while not lock.held:
        try:
            lock.acquire()
        except LockedError as error:
            waited = True
            meter.stage("waiting", error.pid or 0)
            if waiting is not None:
                waiting.unload()
            if meter.stop.level:
                raise Stopped from None
    return waited


def _compute_path(device: str) -> Path:
    return runtime_folder() / f"device-{device}.lock"


def _model_path(device: str) -> Path:
    return runtime_folder() / f"device-{device}.model"
