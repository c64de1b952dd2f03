from __future__ import annotations

import itertools
import os
import random
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.io.lock import LockedError
from srm_explorer.engine.runs.journal import (
    JournalWriter,
    forget_run,
    is_run_folder,
    known_runs,
    register_run,
)
from srm_explorer.engine.runs.journal_reader import EVENTS, LAYOUT, JournalReader, compact
from srm_explorer.engine.runs.journal_records import OutOfMemory, RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import PromptRecord, RunRecord
from tests.killing import die_at, in_a_child

SITES = {"blocks.11.mlp.hook_post": 5, "blocks.11.hook_resid_post": 3}
PROMPTS = (PromptRecord("texts", "é", {}, (1, 2, 3, 4), 0, "0f"),)
CREATED = "2026-01-01T00:00:00+00:00"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "state"


def spec_of(samples: int) -> Experiment:
    """An experiment of one prompt and one condition: runs are numbered by their sample."""
    overrides = ["generation.mode=sample", f"generation.samples={samples}", "interventions=[]", "planes=[]"]
    return read_experiment("protocol", overrides=overrides)[0]


def pairs(count: int) -> Layout:
    return Layout(2, 0, tuple((2 * number, 2 * number + 1) for number in range(count)))


def run(index: int) -> RunRecord:
    return RunRecord(index, 0, 0, index, (index, 7), f"text {index}\n é", 4, "length", 0.5, {"loss": index / 3})


def vector(site: str, index: int) -> np.ndarray:
    return np.full(SITES[site], index + 0.25, np.float32)


def batch_of(indices: list[int]) -> tuple[list[RunRecord], dict[str, Any]]:
    vectors = {site: np.stack([vector(site, index) for index in indices]) for site in SITES}
    return [run(index) for index in indices], vectors


def append(writer: JournalWriter, number: int, indices: list[int] | None = None) -> None:
    runs, vectors = batch_of(indices if indices is not None else [2 * number, 2 * number + 1])
    writer.append_batch(number, runs, vectors, receipt={"fired": number})


def begin(folder: Path, layout: Layout) -> JournalWriter:
    start = RunStart(prompts=PROMPTS, created=CREATED)
    return JournalWriter.create(folder, spec_of(sum(map(len, layout.batches))), layout=layout, extra=start)


def create(folder: Path, batches: int = 0) -> JournalWriter:
    writer = begin(folder, pairs(20))
    for number in range(batches):
        append(writer, number)
    return writer


def read(folder: Path) -> JournalReader:
    reader = JournalReader(folder)
    reader.poll()
    return reader


def assert_whole(folder: Path, *, most: int) -> int:
    """The folder holds batches 0, 1, ..., each with all of its runs and vectors; how many there are."""
    reader = read(folder)
    found = len(reader.batches)
    assert [batch.batch_index for batch in reader.batches] == list(range(found))
    assert found <= most
    runs, vectors = compact(reader)
    assert runs == [run(index) for index in range(2 * found)]
    for site, own in vectors.items():
        np.testing.assert_array_equal(own, [vector(site, index) for index in range(2 * found)])
    return found


def test_what_was_appended_is_what_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    with create(folder, 3) as writer:
        writer.event(OutOfMemory(2))
    reader = read(folder)
    assert reader.experiment == spec_of(40)
    assert (reader.plan, reader.start) == (pairs(20), RunStart(prompts=PROMPTS, created=CREATED))
    assert [batch.receipt for batch in reader.batches] == [{"fired": 0}, {"fired": 1}, {"fired": 2}]
    assert [event["event"] for event in reader.events] == ["batch"] * 3 + ["out of memory"]
    assert reader.done == {0, 1, 2}
    assert assert_whole(folder, most=3) == 3


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(9)), st.lists(st.integers(1, 8), max_size=3, unique=True), st.booleans())
def test_runs_come_out_by_index_whatever_batches_they_were_in(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int], keeps_tokens: bool
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "s.run"
    bounds = [0, *sorted(cuts), 9]
    layout = Layout(9, 0, tuple(tuple(order[start:end]) for start, end in itertools.pairwise(bounds)))
    with begin(folder, layout) as writer:
        for number, indices in enumerate(map(list, layout.batches)):
            runs, vectors = batch_of(indices)
            if keeps_tokens:
                vectors = {
                    site: [np.tile(row, (index, 1)) for index, row in zip(indices, own, strict=True)]
                    for site, own in vectors.items()
                }
            writer.append_batch(number, runs, vectors, receipt={})
    runs, found = compact(read(folder))
    assert [one.index for one in runs] == list(range(9))
    for site in SITES:
        for index in range(9):
            expected = np.tile(vector(site, index), (index, 1)) if keeps_tokens else vector(site, index)
            np.testing.assert_array_equal(found[site][index], expected)


def test_an_empty_run_compacts_to_nothing(tmp_path: Path) -> None:
    create(tmp_path / "s.run").close()
    assert compact(read(tmp_path / "s.run")) == ([], {})


def test_a_follower_sees_each_line_once_as_it_comes(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    with create(folder) as writer:
        follower = JournalReader(folder)
        assert follower.poll() == []
        for number in range(3):
            append(writer, number)
            assert [event["batch"] for event in follower.poll()] == [number]
            assert follower.poll() == []
        assert len(follower.runs) == 6


def test_cut_anywhere_the_events_give_a_prefix_of_the_batches(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 3).close()
    events = (folder / EVENTS).read_bytes()
    ends = [i for i, byte in enumerate(events) if byte == 10]
    for length in range(0, len(events) + 1, 7):
        (folder / EVENTS).write_bytes(events[:length])
        assert assert_whole(folder, most=3) == sum(end < length for end in ends)
    (folder / EVENTS).write_bytes(events[: ends[0] + 1] + b"\0" * 40 + b"\n")
    assert assert_whole(folder, most=3) == 1


def test_a_torn_tail_is_gone_once_the_writing_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 2).close()
    for tail in (b'{"event": "ba', b"\0\0\0\n"):
        with (folder / EVENTS).open("ab") as file:
            file.write(tail)
        with JournalWriter.open_existing(folder) as writer:
            append(writer, len(writer.reader.batches))
    assert assert_whole(folder, most=4) == 4
    assert b"\0" not in (folder / EVENTS).read_bytes()


def test_a_damaged_line_before_the_last_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 2).close()
    events = (folder / EVENTS).read_bytes()
    for damaged in (b"{}\n" + events, b"\n" + events, events.replace(b'"index":0', b'"index":"x"')):
        (folder / EVENTS).write_bytes(damaged)
        with pytest.raises(ExplorerError, match=r"events\.jsonl: .*damaged.*--restart"):
            read(folder)


def without_checksums(folder: Path) -> None:
    """The folder as a version before checksums wrote it."""
    for file in ("spec.json", LAYOUT, EVENTS):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(re.sub(rb',"line_sha256":"[0-9a-f]{64}"\}', b"}", content))


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "repeated": lambda lines: [*lines, lines[0]],
    "repeated at once": lambda lines: [lines[0], *lines],
    "lost": lambda lines: lines[1:],
    "moved": lambda lines: [lines[1], lines[0], *lines[2:]],
    "of another batch": lambda lines: [lines[0].replace(b'"batch":0', b'"batch":2'), *lines[1:]],
    "of another shard": lambda lines: [lines[0].replace(b"shard-00001", b"shard-00002"), *lines[1:]],
    "of another run": lambda lines: [lines[0].replace(b'"index":0', b'"index":5'), *lines[1:]],
    "of another sample": lambda lines: [lines[0].replace(b'"sample":0', b'"sample":1'), *lines[1:]],
    "no whole number": lambda lines: [lines[0].replace(b'"index":0', b'"index":null'), *lines[1:]],
    "nested": lambda lines: [b"[" * 20_000, *lines],
    "no event": lambda lines: [*lines, b"5"],
}
UNSEEN_WITHOUT: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "another text": lambda lines: [lines[0].replace(b"text 0", b"text 1"), *lines[1:]],
    "another token": lambda lines: [lines[0].replace(b"[0,7]", b"[0,8]"), *lines[1:]],
    "no checksum": lambda lines: [*lines[:2], re.sub(rb',"line_sha256":"\w+"', b"", lines[2])],
}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, *UNSEEN_WITHOUT])
def test_a_line_that_is_not_what_was_written_is_refused_by_name_and_the_folder_stays(
    tmp_path: Path, change: str, older: bool
) -> None:
    folder = tmp_path / "s.run"
    create(folder, 3).close()
    if older:
        without_checksums(folder)
    lines = (folder / EVENTS).read_bytes().splitlines()
    changed = (CHANGES | UNSEEN_WITHOUT)[change](lines)
    assert changed != lines or older
    (folder / EVENTS).write_bytes(b"".join(line + b"\n" for line in changed))
    files = sorted(folder.iterdir())
    if older and change in UNSEEN_WITHOUT:
        assert len(read(folder).runs) == 6, "what an older version wrote can be read as far as it can be checked"
        return
    for look in (read, JournalWriter.open_existing):
        with pytest.raises(ExplorerError, match=r"events\.jsonl: line \d is damaged.*--restart"):
            look(folder)
    assert sorted(folder.iterdir()) == files


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (LAYOUT, rb".*", b"5"),
        (LAYOUT, rb".*", b'{"batches":null}'),
        (LAYOUT, rb".*", b"["),
        (LAYOUT, rb'"rows":2', b'"rows":0'),
        (LAYOUT, rb'"first":0', b'"first":21'),
        (LAYOUT, rb",\[38,39\]", b""),
        (LAYOUT, rb"\[0,1\]", b"[0,1,2]"),
        (LAYOUT, rb"\[0,1\]", b"[0,-1]"),
        (LAYOUT, rb"\[0,1\]", b"[0,40]"),
        ("spec.json", rb'"extra":.*"arithmetic":\{\}\}', b'"extra":null'),
        ("spec.json", rb'"prompts":\[\{.*?\}\]', b'"prompts":[]'),
        ("spec.json", rb'"provenance":\{\}', b'"provenance":5'),
        ("spec.json", rb'"created":"[^"]*"', b'"created":""'),
        ("spec.json", rb'"spec":\{', b'"spec":5,"was":{'),
    ],
)
def test_a_beginning_that_is_not_what_was_written_is_refused_by_name(
    tmp_path: Path, file: str, old: bytes, new: bytes, older: bool
) -> None:
    folder = tmp_path / "s.run"
    create(folder, 1).close()
    if older:
        without_checksums(folder)
    content = (folder / file).read_bytes()
    changed = re.sub(old, new, content, count=1)
    assert changed != content
    (folder / file).write_bytes(changed)
    with pytest.raises(ExplorerError, match=re.escape(file)):
        read(folder)


def test_a_run_that_an_older_version_began_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 2).close()
    without_checksums(folder)
    with JournalWriter.open_existing(folder) as writer:
        append(writer, 2)
        append(writer, 3)
    assert assert_whole(folder, most=4) == 4
    content = (folder / EVENTS).read_bytes()
    (folder / EVENTS).write_bytes(content.replace(b"text 4", b"text 5"))
    with pytest.raises(ExplorerError, match="line 3 is damaged"):
        read(folder)


def test_a_shard_without_its_line_is_not_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 1).close()
    (folder / "shard-00002.safetensors").write_bytes(b"half a shard")
    assert assert_whole(folder, most=1) == 1
    with JournalWriter.open_existing(folder) as writer:
        append(writer, 1)
    assert assert_whole(folder, most=2) == 2


def test_a_missing_or_damaged_shard_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 2).close()
    shard = folder / "shard-00001.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"x")
    with pytest.raises(ExplorerError, match=r"shard-00001\.safetensors: .* damaged; .*--restart"):
        compact(read(folder))
    shard.unlink()
    with pytest.raises(ExplorerError, match=r"shard-00001\.safetensors: .* missing; .*--restart"):
        compact(read(folder))
    with pytest.raises(ExplorerError, match="missing"):
        JournalWriter.open_existing(folder)
    shard.write_bytes(content)
    JournalWriter.open_existing(folder).close()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    with create(folder, 1):
        reader = read(folder)
        assert reader.writer_pid() == os.getpid()
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
            JournalWriter.open_existing(folder)
        assert len(reader.runs) == 2
    assert reader.writer_pid() is None
    JournalWriter.open_existing(folder).close()


def test_a_run_is_not_begun_over_another(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 1).close()
    with pytest.raises(ExplorerError, match="--restart"):
        create(folder)
    assert assert_whole(folder, most=1) == 1


def test_a_folder_without_a_run_is_refused_and_one_begun_by_half_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    with pytest.raises(ExplorerError, match="no run to go on with"):
        JournalWriter.open_existing(folder)
    create(folder, 2).close()
    (folder / LAYOUT).unlink()
    assert not is_run_folder(folder)
    with create(folder) as writer:
        append(writer, 0)
    assert assert_whole(folder, most=1) == 1


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder).close()
    spec = (folder / "spec.json").read_text()
    (folder / "spec.json").write_text(spec.replace('"schema_version":1', '"schema_version":9'))
    with pytest.raises(ExplorerError, match="schema 9"):
        JournalWriter.open_existing(folder)


def test_a_run_is_journalled_once(tmp_path: Path) -> None:
    with create(tmp_path / "s.run", 1) as writer:
        with pytest.raises(ValueError, match="already"):
            append(writer, 1, [1, 2])
        with pytest.raises(ValueError, match="vectors"):
            writer.append_batch(1, [run(8)], batch_of([8, 9])[1], receipt={})
        with pytest.raises(ValueError, match="kind"):
            writer.event({"kind": "cancelled"})
    assert assert_whole(tmp_path / "s.run", most=1) == 1


def test_progress_is_told_at_most_four_times_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "s.run"
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with create(folder) as writer:
        reader = read(folder)
        assert reader.progress() is None
        seen: list[int] = []
        for step in range(65):
            writer.progress({"step": step})
            told = reader.progress()
            assert told is not None
            if told["step"] not in seen:
                seen.append(told["step"])
            now += 1 / 64
        assert seen == [0, 16, 32, 48, 64]


def killed_before_each_step(
    prepare: Callable[[Path], object], act: Callable[[Path], object], base: Path
) -> Iterator[Path]:
    """Folders in which `act` was killed, as by `kill -9`, before its first, second, ... step; in the last it ended."""
    for step in range(100):
        folder = base / str(step) / "s.run"
        prepare(folder)

        def die(step: int = step, folder: Path = folder) -> None:
            die_at(step)
            act(folder)

        status = in_a_child(die)
        yield folder
        if status == 0:
            return
        assert status == -signal.SIGKILL
    pytest.fail("the act never ended")


def test_killed_at_any_step_of_a_batch_the_others_stay_and_it_can_be_repeated(tmp_path: Path) -> None:
    def go_on(folder: Path) -> None:
        with JournalWriter.open_existing(folder) as writer:
            append(writer, 1)

    counts: list[int] = []
    for folder in killed_before_each_step(lambda folder: create(folder, 1).close(), go_on, tmp_path):
        counts.append(assert_whole(folder, most=2))
        with JournalWriter.open_existing(folder) as writer:
            for number in range(counts[-1], 3):
                append(writer, number)
        assert assert_whole(folder, most=3) == 3
    assert set(counts) == {1, 2}
    assert counts == sorted(counts)


def test_killed_at_any_step_of_beginning_the_run_can_begin(tmp_path: Path) -> None:
    for folder in killed_before_each_step(lambda folder: None, lambda folder: create(folder).close(), tmp_path):
        with JournalWriter.open_existing(folder) if is_run_folder(folder) else create(folder) as writer:
            append(writer, 0)
        assert assert_whole(folder, most=1) == 1


WRITER = """
    import sys
    from pathlib import Path
    import numpy as np
    from srm_explorer.engine.runs.journal import JournalWriter
    from srm_explorer.engine.session import RunRecord

    sites = {"blocks.11.mlp.hook_post": 5, "blocks.11.hook_resid_post": 3}
    with JournalWriter.open_existing(Path(sys.argv[1])) as writer:
        print("open", flush=True)
        for number in range(len(writer.reader.batches), 2_000):
            indices = [2 * number, 2 * number + 1]
            runs = [
                RunRecord(i, 0, 0, i, (i, 7), f"text {i}\\n é", 4, "length", 0.5, {"loss": i / 3}) for i in indices
            ]
            vectors = {s: np.stack([np.full(w, i + 0.25, np.float32) for i in indices]) for s, w in sites.items()}
            writer.append_batch(number, runs, vectors, receipt={})
"""


def test_a_writer_killed_again_and_again_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    begin(folder, pairs(2_000)).close()
    chance = random.Random(0)
    counts = [0]
    for _ in range(6):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"open\n"
            time.sleep(chance.uniform(0, 0.1))
            writer.kill()
        counts.append(assert_whole(folder, most=2_000))
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_a_full_disk_costs_only_the_batch_in_flight(tmp_path: Path) -> None:
    folder = tmp_path / "s.run"
    create(folder, 2).close()
    size = (folder / EVENTS).stat().st_size

    def fill(limit: int, width: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        with JournalWriter.open_existing(folder) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(ExplorerError, match="save to another disk"):
                writer.append_batch(2, [run(4)], {SITE: np.ones((1, width), np.float32)}, receipt={})
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            append(writer, 2)

    SITE = next(iter(SITES))
    for limit, width in ((size + 100, 5), (size + 10_000, 100_000)):
        assert in_a_child(lambda limit=limit, width=width: fill(limit, width)) == 0
        assert assert_whole(folder, most=3) == 3
        (folder / EVENTS).write_bytes((folder / EVENTS).read_bytes()[:size])


def test_a_run_is_known_from_any_folder_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    create(Path("out/sé\n.run")).close()
    create(Path("other.run")).close()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert set(known_runs()) == {tmp_path / "out/sé\n.run", tmp_path / "other.run"}
    (tmp_path / "out").rename(tmp_path / "moved")
    assert known_runs() == [tmp_path / "other.run"]
    (tmp_path / "moved").rename(tmp_path / "out")
    assert known_runs() == [tmp_path / "other.run"]
    JournalWriter.open_existing(tmp_path / "out/sé\n.run").close()
    assert len(known_runs()) == 2
    forget_run(tmp_path / "other.run")
    assert known_runs() == [tmp_path / "out/sé\n.run"]


def test_a_run_that_was_renamed_by_hand_is_known_under_its_new_name(tmp_path: Path) -> None:
    create(tmp_path / "out/storm.run").close()
    (tmp_path / "out/storm.run").rename(tmp_path / "out/calm.run")
    (tmp_path / "out/none.run").mkdir()
    for _ in range(2):
        assert known_runs() == [tmp_path / "out/calm.run"]


def test_a_run_that_cannot_be_listed_still_runs_and_says_so(tmp_path: Path, state: Path) -> None:
    state.write_text("a file where the state folder belongs")
    with pytest.raises(ExplorerError):
        register_run(tmp_path)
    assert known_runs() == []
    create(tmp_path / "s.run", 1).close()
    assert [event["event"] for event in read(tmp_path / "s.run").events] == ["not listed", "batch"]
    assert assert_whole(tmp_path / "s.run", most=1) == 1
