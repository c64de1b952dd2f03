"""Messages as lines of bytes: written, read, and refused in one line where they are none."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from engine.errors import ExplorerError
from engine.runner.wire import LARGEST, Fault, Reply, Request

_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLIES: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode(message: Request | Reply) -> bytes:
    """Write a message as a line.

    Raises:
        ExplorerError: it is larger than 8 MB, or holds a text that is not UTF-8.
    """
    try:
        line = message.model_dump_json().encode() + b"\n"
    except (PydanticSerializationError, UnicodeEncodeError):
        raise ExplorerError(
            "a path or text is not UTF-8", where=message.kind, remedy="rename the file, or run without the worker"
        ) from None
    if len(line) > LARGEST:
        raise oversized()
    return line


def read_request(line: bytes) -> Request:
    """Read what `encode` wrote; ExplorerError says in one line what is wrong with it."""
    try:
        return _REQUESTS.validate_json(line)
    except ValidationError as error:
        raise _malformed(error) from None


def read_reply(line: bytes) -> Reply:
    """Read what `encode` wrote; ExplorerError says in one line what is wrong with it."""
    try:
        return _REPLIES.validate_json(line)
    except ValidationError as error:
        raise _malformed(error) from None


class Lines:
    """The lines that come over a socket; a time-out of the socket loses nothing of a line that is half there."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._seen = 0

    def read(self) -> bytes | None:
        """Return the next line without its newline; None where the other side is gone.

        Raises:
            ExplorerError: a line is larger than 8 MB; the connection is of no more use.
        """
        while (end := self._buffer.find(b"\n", self._seen)) < 0:
            self._seen = len(self._buffer)
            if self._seen >= LARGEST:
                raise oversized()
            try:
                more = self._connection.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self._buffer += more
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._seen = 0
        return line


def oversized() -> ExplorerError:
    """The error for a message that is too large."""
    return ExplorerError("the message is larger than 8 MB", where="worker", remedy="send less at a time")


def as_fault(error: ExplorerError) -> Fault:
    """Put an error on its way."""
    return Fault(what=error.what, where=error.where, remedy=error.remedy)


def as_error(fault: Fault) -> ExplorerError:
    """Take an error off the wire."""
    return ExplorerError(fault.what, where=fault.where, remedy=fault.remedy)


def _malformed(error: ValidationError) -> ExplorerError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    told = first["msg"][:200]
    where = f"message {place}" if place else "message"
    return ExplorerError(f"not understood: {told}", where=where, remedy="the two sides may be of different versions")
