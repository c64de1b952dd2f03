"""What a worker makes of the version of those who talk to it."""

from __future__ import annotations

import os

from engine.errors import ExplorerError
from engine.runner.endpoint import build
from engine.runner.wire import LASTING, PROTOCOL, Hello, Request, Welcome


def welcome(hello: Hello) -> Welcome:
    """Answer the first message of a connection."""
    return Welcome(protocol=PROTOCOL, build=build(), pid=os.getpid(), limited=not _is_same(hello))


def check_allowed(greeting: Hello | None, request: Request) -> None:
    """Refuse what comes before a greeting, and all but `LASTING` requests from another version.

    Raises:
        ExplorerError: it is refused; what can be done instead is in the message.
    """
    if greeting is None:
        raise ExplorerError("a connection begins with hello", where=request.kind, remedy="say hello first")
    if not _is_same(greeting) and not isinstance(request, LASTING):
        raise ExplorerError(
            f"the worker is of another version ({build()}, protocol {PROTOCOL})",
            where=request.kind,
            remedy="`srm-explorer worker restart` lets it finish and starts a new one",
        )


def _is_same(hello: Hello) -> bool:
    return (hello.protocol, hello.build) == (PROTOCOL, build())
