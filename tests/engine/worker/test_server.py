"""Who may talk to the worker, how many at a time, and for how long without a word."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.worker.client import find_worker
from srm_explorer.engine.worker.endpoint import Endpoint, build
from srm_explorer.engine.worker.protocol import (
    PROTOCOL,
    Hello,
    Jobs,
    Lines,
    Listed,
    Refused,
    Welcome,
    encode,
    read_reply,
)
from srm_explorer.engine.worker.queue import JobQueue
from srm_explorer.engine.worker.server import MOST, Service
from tests.waiting import PATIENCE


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="srm", dir="/tmp") as folder:
        Path(folder).chmod(0o700)
        yield Endpoint(Path(folder), "worker")


@pytest.fixture
def listener(endpoint: Endpoint) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(endpoint.socket))
        listener.listen(2 * MOST)
        yield listener


def serve(listener: socket.socket, first_within: float) -> Service:
    service = Service(listener, JobQueue(), cast("Any", None), 60.0, lambda line: None, first_within)
    service.start()
    return service


def connected(endpoint: Endpoint) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    connection.connect(str(endpoint.socket))
    return connection


def test_who_says_nothing_whole_in_time_is_let_go_and_the_others_are_answered(
    endpoint: Endpoint, listener: socket.socket
) -> None:
    service = serve(listener, first_within=0.3)
    silent, half, greeted = (connected(endpoint) for _ in range(3))
    half.sendall(b'{"kind": "hel')
    greeted.sendall(encode(Hello(protocol=PROTOCOL, build=build())))
    lines = Lines(greeted)
    assert isinstance(read_reply(lines.read() or b""), Welcome)
    for connection, read in ((silent, Lines(silent)), (half, Lines(half)), (greeted, lines)):
        with connection:
            reply = read_reply(read.read() or b"")
            assert isinstance(reply, Refused)
            assert "in time" in reply.fault.what
            assert read.read() is None
    client = find_worker(endpoint)
    assert client is not None
    assert client.jobs() == ()
    service.close(0.1)


def test_who_has_asked_may_take_its_time(endpoint: Endpoint, listener: socket.socket) -> None:
    service = serve(listener, first_within=0.3)
    with connected(endpoint) as connection, connected(endpoint) as silent:
        lines = Lines(connection)
        connection.sendall(encode(Hello(protocol=PROTOCOL, build=build())) + encode(Jobs()))
        assert isinstance(read_reply(lines.read() or b""), Welcome)
        assert isinstance(read_reply(lines.read() or b""), Listed)
        assert isinstance(read_reply(Lines(silent).read() or b""), Refused), "the time of who came later is over"
        connection.sendall(encode(Jobs()))
        assert isinstance(read_reply(lines.read() or b""), Listed)
    service.close(0.1)


def test_one_connection_too_many_is_told_so_and_not_that_there_is_no_worker(
    endpoint: Endpoint, listener: socket.socket
) -> None:
    service = serve(listener, first_within=PATIENCE)
    idle = [connected(endpoint) for _ in range(MOST)]
    with pytest.raises(ExplorerError, match=f"{MOST} connections already; try again"):
        find_worker(endpoint)
    for connection in idle:
        connection.close()
    service.close(0.1)
