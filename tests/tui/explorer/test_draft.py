from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from srm_explorer.tui.explorer.draft import Draft, DraftFile

DATA = {"model": {"name": "demo"}, "prompts": {"sets": ["räuber\ud800"]}}


def a_draft(name: str = "demo") -> Draft:
    return Draft(DATA, name, "/tmp", {"values": "-20..2"}, "/s/one.json", "runs", 1, 12, 0.3, "mean", ("type",), "gpt2")


def test_a_draft_is_read_as_it_was_written() -> None:
    assert Draft.from_json(a_draft().to_json()) == a_draft()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"{", b"\xff", b'{"data": 3}', b"[" * 99_999, b'{"data": {"a": 9%s}}' % (b"9" * 5_000)],
)
def test_what_is_no_draft_is_none(content: bytes) -> None:
    assert Draft.from_json(content) is None


def test_a_field_of_another_kind_has_its_default() -> None:
    told = {"data": {}, "theta": "x", "by": [1], "typed": {"a": 3}, "threshold": True, "name": "kept", "later": 1}
    assert Draft.from_json(json.dumps(told).encode()) == Draft(name="kept")
    large = {"data": {}, "theta": 10**4_000, "plane": -(10**9), "threshold": 1e300, "rates": {"m": float("inf")}}
    assert Draft.from_json(json.dumps(large).encode()) == Draft()


def test_the_next_screen_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    first = DraftFile(tmp_path)
    assert first.open() is None
    first.save(a_draft())
    first.close()
    second = DraftFile(tmp_path)
    assert second.open() == a_draft()
    assert second.path == first.path


def test_two_living_screens_have_a_draft_each(tmp_path: Path) -> None:
    first, second = DraftFile(tmp_path), DraftFile(tmp_path)
    first.open()
    first.save(a_draft("first"))
    assert second.open() is None
    second.save(a_draft("second"))
    assert first.path != second.path
    first.close()
    third = DraftFile(tmp_path)
    assert third.open() == a_draft("first")


def test_the_newest_orphan_is_taken(tmp_path: Path) -> None:
    files = [DraftFile(tmp_path) for _ in range(3)]
    for number, file in enumerate(files):
        file.open()
        file.save(a_draft(f"n{number}"))
        assert file.path
        os.utime(file.path, (1000 + number, 1000 + number))
    for file in files:
        file.close()
    assert DraftFile(tmp_path).open() == a_draft("n2")


def test_a_damaged_or_refused_draft_is_left_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_bytes(b"{")
    old = DraftFile(tmp_path)
    old.open()
    old.save(a_draft("refused"))
    old.close()
    new = DraftFile(tmp_path)
    assert new.open(good=lambda draft: draft.name != "refused") is None
    assert new.path != old.path
    assert old.path
    assert old.path.exists()
    assert (tmp_path / "broken.json").exists()


def test_a_fresh_start_leaves_the_orphan_to_the_next(tmp_path: Path) -> None:
    old = DraftFile(tmp_path)
    old.open()
    old.save(a_draft("old"))
    old.close()
    fresh = DraftFile(tmp_path)
    assert fresh.open(fresh=True) is None
    fresh.close()
    assert DraftFile(tmp_path).open() == a_draft("old")


def test_orphans_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(20):
        file = DraftFile(tmp_path)
        file.open(fresh=True)
        file.save(a_draft(f"n{number}"))
        file.close()
    assert len(list(tmp_path.glob("*.json"))) < 10
    assert DraftFile(tmp_path).open() == a_draft("n19")


def test_the_draft_of_a_killed_screen_is_taken(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom srm_explorer.tui.explorer.draft import Draft, DraftFile\n"
        "file = DraftFile(Path(sys.argv[1]))\nfile.open()\nfile.save(Draft({}, 'killed'))\nprint('ready', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        other = DraftFile(tmp_path)
        assert other.open() is None
        other.close()
        process.send_signal(signal.SIGKILL)
    taken = DraftFile(tmp_path).open()
    assert taken is not None
    assert taken.name == "killed"
