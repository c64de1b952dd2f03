"""What the worker's socket takes: nonsense, crowds, other versions and other users harm nobody."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srm_explorer.engine.worker import endpoint
from srm_explorer.engine.worker.client import Client, find_worker
from srm_explorer.engine.worker.protocol import (
    LARGEST,
    PROTOCOL,
    Hello,
    JobUpdate,
    Refused,
    Status,
    Welcome,
    WorkerState,
    encode,
)
from tests.waiting import PATIENCE, until

from .conftest import Bench, Hold
from .worker_talk import LONG, answers, raw, states, submit

pytestmark = pytest.mark.slow


def test_nonsense_is_refused_and_kills_nothing(client: Client) -> None:
    hello = encode(Hello(protocol=PROTOCOL, build=endpoint.build()))
    for line in (b"", b"{", b"[]", b"\xff", b'{"kind": "dance"}', b'{"kind": "submit"}', b'{"kind": "follow"}'):
        with raw(client) as talk:
            talk.sendall(hello + line + b"\n" + encode(Status()))
            welcome, refused, alive = answers(talk, 3)
            assert isinstance(welcome, Welcome)
            assert isinstance(refused, Refused)
            assert isinstance(alive, WorkerState)
    with raw(client) as talk:
        talk.sendall(encode(Status()))
        (refused,) = answers(talk, 1)
        assert isinstance(refused, Refused)
        assert "hello" in refused.fault.what
    with raw(client) as talk, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        talk.sendall(hello + b" " * (LARGEST + 65536))
    with raw(client) as talk:
        talk.sendall(hello[:7])
    assert client.status().pid == client.welcome.pid


def test_more_connections_than_it_takes_do_not_stop_it(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                stack.enter_context(raw(client))
    assert until(find_worker, "the worker").status().pid == client.welcome.pid


@pytest.mark.parametrize(("protocol", "build"), [(PROTOCOL + 1, endpoint.build()), (PROTOCOL, "0.0.9+00000000")])
def test_one_of_another_version_may_only_look_follow_cancel_and_drain(
    client: Client, bench: Bench, hold: Hold, protocol: int, build: str
) -> None:
    job = submit(client, bench, "a", *LONG)
    requests = [{"kind": "list"}, {"kind": "stop"}, {"kind": "prune", "job": job}, {"kind": "status"}]
    cancel = {"kind": "cancel", "job": job, "times": 2}
    with raw(client) as talk:
        lines = [json.dumps(one).encode() + b"\n" for one in [*requests, cancel, {"kind": "follow", "job": job}]]
        talk.sendall(encode(Hello(protocol=protocol, build=build)) + b"".join(lines))
        welcome, *refused, state, _, grew = answers(talk, 7)
        assert isinstance(welcome, Welcome)
        assert welcome.limited
        assert all(isinstance(one, Refused) and "another version" in one.fault.what for one in refused)
        assert isinstance(state, WorkerState)
        assert isinstance(grew, JobUpdate)
    assert states(client, job)[-1].state == "interrupted"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_gets_no_word_even_where_the_files_let_them(client: Client, office: Path) -> None:
    closed = [folder for folder in office.parents if not folder.stat().st_mode & 0o001]
    opened = [office, *closed, client.endpoint.folder, client.endpoint.socket]
    modes = {path: path.stat().st_mode for path in opened}
    try:
        for path in opened:
            path.chmod(0o777)
        code = (
            "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
            "s = socket.socket(socket.AF_UNIX); s.settimeout(200); s.connect(sys.argv[1]);"
            "\ntry: s.sendall(sys.argv[2].encode()); print(s.recv(100))"
            "\nexcept (BrokenPipeError, ConnectionResetError): print(b'')"
        )
        hello = encode(Hello(protocol=PROTOCOL, build=endpoint.build())).decode()
        done = subprocess.run(
            [sys.executable, "-c", code, str(client.endpoint.socket), hello],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode & 0o7777)
    assert done.stdout == "b''\n", done
    assert client.status().pid == client.welcome.pid
