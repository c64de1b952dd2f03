"""Messages come through as they were sent, however they are cut up, and what is none is refused in one line."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.worker.protocol import (
    LARGEST,
    CallerContext,
    Cancel,
    Fault,
    JobState,
    JobUpdate,
    Lines,
    Submit,
    Tokenize,
    encode,
    read_reply,
    read_request,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLACES = st.builds(CallerContext, folder=TEXT, environment=st.dictionaries(TEXT, TEXT, max_size=3))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.one_of(
    st.builds(
        Submit,
        experiment=st.dictionaries(TEXT, JSON, max_size=3),
        base=TEXT,
        session=TEXT,
        restart=st.booleans(),
        place=PLACES,
    ),
    st.builds(
        Tokenize,
        model=st.dictionaries(TEXT, JSON, max_size=2),
        base=TEXT,
        place=PLACES,
        texts=st.lists(TEXT | st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple), max_size=4).map(tuple),
        prepend_bos=st.sampled_from([True, False, "auto", "once"]),
    ),
    st.builds(Cancel, job=TEXT, times=st.sampled_from([1, 2])),
)
STATES = st.builds(
    JobState,
    job=TEXT,
    session=TEXT,
    state=st.sampled_from(["queued", "running", "finished", "interrupted", "shown", "failed"]),
    progress=st.none() | st.builds(lambda n: Progress("running", n, 9).to_dict(), st.integers(0, 9)),
    resumed=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
    told=st.lists(TEXT, max_size=2).map(tuple),
    fault=st.none() | st.builds(Fault, what=TEXT, where=TEXT, remedy=TEXT),
)


@given(REQUESTS)
@settings(max_examples=60)
def test_a_request_is_read_as_it_was_written(message: Any) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert read_request(line) == message


@given(STATES)
@settings(max_examples=60)
def test_a_reply_is_read_as_it_was_written(state: JobState) -> None:
    assert read_reply(encode(JobUpdate(job=state))) == JobUpdate(job=state)


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b" ")), max_size=8), st.integers(1, 7))
@settings(max_examples=40)
def test_lines_are_whole_however_they_arrive(lines: list[bytes], piece: int) -> None:
    ours, theirs = socket.socketpair()
    whole = b"".join(line + b"\n" for line in lines) + b"half a line"
    with ours, theirs:
        for start in range(0, len(whole), piece):
            ours.sendall(whole[start : start + piece])
        ours.shutdown(socket.SHUT_WR)
        reader = Lines(theirs)
        got: list[bytes] = []
        while (line := reader.read()) is not None:
            got.append(line)
    assert got == lines


def test_a_time_out_in_the_middle_of_a_line_loses_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0.01)
        reader = Lines(theirs)
        ours.sendall(b"first ")
        with pytest.raises(TimeoutError):
            reader.read()
        ours.sendall(b"half\nsecond\n")
        assert (reader.read(), reader.read()) == (b"first half", b"second")


def test_an_endless_line_is_given_up_at_the_limit() -> None:
    ours, theirs = socket.socketpair()
    read = 0

    def pour() -> None:
        nonlocal read
        try:
            while True:
                read += ours.send(b"x" * 65536)
        except OSError:
            return

    with ours, theirs:
        thread = threading.Thread(target=pour)
        thread.start()
        with pytest.raises(ExplorerError, match="larger than 8 MB"):
            Lines(theirs).read()
        theirs.close()
        thread.join()
    assert read < LARGEST + 2**20


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"kind": "dance"}',
        b'{"kind": "cancel"}',
        b'{"kind": "cancel", "job": "a", "times": 3}',
        b'{"kind": "prune", "job": 7}',
        b'{"kind": "prune", "job": "a", "more": 1}',
        b'{"kind": "grew"}',
        b"\xff\xfe{}",
        b'{"kind": ' * 5000,
        b"[" * 100_000,
        b"\x00" * 64,
    ],
)
def test_what_is_no_request_is_refused_in_one_short_line(line: bytes) -> None:
    with pytest.raises(ExplorerError) as refused:
        read_request(line)
    told = str(refused.value)
    assert "\n" not in told
    assert len(told) < 400


def test_what_outlives_an_upgrade_passes_over_later_fields() -> None:
    assert read_request(b'{"kind": "cancel", "job": "a", "later": 1}') == Cancel(job="a")


def test_a_message_that_is_too_large_or_not_text_is_not_sent() -> None:
    place = CallerContext(folder="/")
    with pytest.raises(ExplorerError, match="8 MB"):
        encode(Tokenize(model={}, base="/", place=place, texts=("x" * LARGEST,)))
    with pytest.raises(ExplorerError, match="UTF-8"):
        encode(Cancel(job="\udcff"))
