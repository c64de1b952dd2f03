"""What a screen was doing, kept as it is typed: each living screen has a file of its own, a new one takes an orphan."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from engine import paths
from engine.files import FileLock, LockedError, write_atomic

_ORPHANS_KEPT = 5


@dataclass
class Draft:
    """An experiment in the making, and where the eye was.

    Attributes:
        data: the experiment as plain data.
        name: the stem of a session's default name: the preset's, or the experiment file's.
        base: the folder that relative paths in the experiment start from.
        typed: by field, a text that was being typed and is not part of the experiment yet.
        session: path of the session that was open; None for none.
        tab: the results tab in view; empty for the first.
        plane, theta, threshold, view, by: where the spotlight stood; None for the threshold where nothing was chosen.
        rates: tokens a second of the last run, by the model's name.
    """

    data: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""
    base: str = ""
    typed: dict[str, str] = field(default_factory=dict[str, str])
    session: str | None = None
    tab: str = ""
    plane: int = 0
    theta: int = 0
    threshold: float | None = None
    view: str = "counts"
    by: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=dict[str, float])

    def to_json(self) -> bytes:
        """The draft as it is kept."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def from_json(cls, content: bytes) -> Draft | None:
        """Read what `to_json` wrote; None where it is something else, a field of another kind has its default."""
        try:
            told = json.loads(content.decode("utf-8", "surrogatepass"))
        except ValueError:
            return None
        if not isinstance(told, dict) or not isinstance(cast("dict[str, Any]", told).get("data"), dict):
            return None
        table = cast("dict[str, Any]", told)
        draft = cls()
        for one in fields(cls):
            value = table.get(one.name)
            if _fits(one.name, value):
                setattr(draft, one.name, tuple(cast("list[str]", value)) if one.name == "by" else value)
        return draft


class DraftFile:
    """The file of one living screen.

    Another start cannot take it while this one lives: it is locked, and the system unlocks it whatever becomes of us.

    Args:
        folder: where drafts are; in the state folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or paths.state_folder() / "drafts"
        self._lock: FileLock | None = None
        self.path: Path | None = None

    def open(self, *, fresh: bool = False, good: Callable[[Draft], bool] = lambda draft: True) -> Draft | None:
        """Take the newest draft whose screen is gone, else a new file; None where there is nothing to go on with.

        Args:
            fresh: take a new file in any case.
            good: tells whether a draft can be gone on with; others are left where they are.

        Raises:
            ExplorerError: the folder cannot be written; the screen works without it, and its draft is not kept.
        """
        with FileLock(self._folder / ".lock", timeout=5, remedy="another screen is starting; try again"):
            orphans = self._orphans()
            taken: Draft | None = None
            for path, lock in orphans:
                draft = _read(path) if taken is None and not fresh else None
                if draft is not None and good(draft):
                    taken, self.path, self._lock = draft, path, lock
                else:
                    lock.release()
            rest = [path for path, _ in orphans if path != self.path]
            for path in rest[_ORPHANS_KEPT:]:
                _remove(path)
            if self.path is None:
                self.path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}.json"
                self._lock = _lock_of(self.path)
                self._lock.acquire()
        return taken

    def save(self, draft: Draft) -> None:
        """Write the draft whole or not at all.

        Raises:
            ExplorerError: it cannot be written.
        """
        self.write(draft.to_json())

    def write(self, content: bytes) -> None:
        """Write what `Draft.to_json` gave, on any thread; errors as `save`."""
        if self.path is not None:
            write_atomic(self.path, content)

    def close(self) -> None:
        """Let the next start have it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _orphans(self) -> list[tuple[Path, FileLock]]:
        """Drafts whose screen is gone, the newest first, each locked by us."""
        found: list[tuple[float, Path, FileLock]] = []
        for path in self._folder.glob("*.json"):
            lock = _lock_of(path)
            with contextlib.suppress(LockedError, OSError):
                changed = path.stat().st_mtime
                lock.acquire()
                found.append((changed, path, lock))
        return [(path, lock) for _, path, lock in sorted(found, key=lambda one: one[0], reverse=True)]


def _fits(name: str, value: object) -> bool:
    if name in ("name", "base", "tab", "view"):
        return isinstance(value, str)
    if name in ("plane", "theta"):
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "threshold":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "session":
        return isinstance(value, str)
    if name == "by":
        return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[object]", value))
    if name in ("typed", "rates"):
        kind = str if name == "typed" else float
        return isinstance(value, dict) and all(
            isinstance(one, kind) for one in cast("dict[str, object]", value).values()
        )
    return isinstance(value, dict)


def _read(path: Path) -> Draft | None:
    try:
        return Draft.from_json(path.read_bytes())
    except OSError:
        return None


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), timeout=0, remedy="another screen has it")


def _remove(path: Path) -> None:
    for one in (path, path.with_suffix(".lock")):
        with contextlib.suppress(OSError):
            one.unlink()
