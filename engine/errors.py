"""The one kind of error a user sees."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

from srm_explorer.engine.lines import visible


class ExplorerError(Exception):
    """What is wrong, where, and the remedy, as one line.

    Args:
        what: the fact, with the offending value: "neuron 2202 is out of range for this model (d_mlp = 1536)".
        where: file, line or field it concerns: "spec.toml, planes[0].b". Left out where `what` says it.
        remedy: what to do about it: "choose 0 to 1535".
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join((f"{located}; {self.remedy}" if self.remedy else located).split())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: where the program noticed tells a user nothing."""
        return [f"{type(self).__name__}: {visible(str(self))}"]


class SpecValueError(ExplorerError, ValueError):
    """Why a value is refused and what to write instead; validation completes it with its place in the file.

    Args:
        what: the fact, with the offending value.
        remedy: what to write instead.
        field: the key below the validated table that it concerns, "values"; empty when it is the value itself.
    """

    def __init__(self, what: str, remedy: str = "", field: str = "") -> None:
        super().__init__(what, where=field, remedy=remedy)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like the word, or None when none does."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(names), n=1, cutoff=0.55)
    return names[close[0]] if close else None


NO_WINDOWS = "Windows has none of the file locks and sockets that this needs", "run it under WSL, Linux or macOS"
"""What is wrong there, and the remedy."""


def first_line(error: BaseException) -> str:
    """Shorten a library's message to what fits in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def named(error: BaseException) -> str:
    """Say what kind of error it is too, without which many a message says nothing: "KeyError: 5"."""
    kind, line = type(error).__name__, first_line(error)
    return line if line == kind else f"{kind}: {line}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest known one, else all of them."""
    names = list(known)
    close = nearest(word, names)
    return f"did you mean '{close}'?" if close else f"choose one of {', '.join(names)}"


_UNREACHED = {
    errno.EACCES: "check its permissions, and those of the folders above it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
}


def unreached(error: OSError) -> ExplorerError | None:
    """What keeps a file that a user named from being looked at; None where an error is another's fault."""
    remedy = _UNREACHED.get(error.errno or 0)
    if remedy is None or not isinstance(error.filename, str):
        return None
    what = f"cannot be reached: {(error.strerror or '').lower()}"
    return ExplorerError(what, where=_shortened(error.filename), remedy=remedy)


def _shortened(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:60]}…"


_NO_MEMORY = ("out of memory", "allocate memory", "status_alloc_failed", "failed to map segment", "std::bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed, in any library and on any device, from other errors."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | OSError) and any(word in text for word in _NO_MEMORY)


def device_fault(error: BaseException) -> ExplorerError | None:
    """What a GPU or its driver could not do, after which this process can do nothing there; None for other errors."""
    line = first_line(error)
    is_one = isinstance(error, RuntimeError) and line.lower().startswith(("cuda error", "cuda driver error"))
    if not is_one or is_out_of_memory(error):
        return None
    remedy = "see nvidia-smi and `srm-explorer doctor`; what is finished is kept, and the same command goes on"
    return ExplorerError(line, where="the GPU", remedy=remedy)


def is_limited() -> bool:
    """Whether the process may take only so much memory (`ulimit -v`), however much there is."""
    return memory_left() is not None


def memory_left() -> int | None:
    """Bytes that the process may still map; None where nothing limits it, or that cannot be known."""
    try:
        import resource  # Windows has none.

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)
