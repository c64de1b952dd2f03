from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.backend.background import Background
from srm_explorer.tui.backend.study_runner import StudyAnswer, StudyRunner
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.process

# Given a name, a path and JSON, as a study is; what it does stands in the JSON.
PROGRAM = """
import json, os, sys, time
name, path, given = sys.argv[1:]
given = json.loads(given)
if "pid" in given:
    open(given["pid"], "w").write(str(os.getpid()))
time.sleep(given.get("sleep", 0))
if "error" in given:
    sys.stderr.write("a warning before\\n" + json.dumps(given["error"]) + "\\n")
    sys.exit(1)
if "status" in given:
    sys.exit("Traceback: it broke" if given["status"] == "text" else given["status"])
print(given.get("print") or json.dumps({"name": name, "path": path, "cwd": os.getcwd(), "given": given}))
"""


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[StudyRunner]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    background = Background()
    yield StudyRunner(background, [sys.executable, str(program)])
    background.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_what_a_study_found_is_told_once(runner: StudyRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    told: queue.Queue[StudyAnswer] = queue.Queue()
    runner.run("bands", Path("storm.json"), {"plane": 0, "by": ["type"]}, told.put)
    found = told.get(timeout=PATIENCE)
    assert isinstance(found, dict)
    assert found["path"] == str(tmp_path / "storm.json")
    assert found["given"] == {"plane": 0, "by": ["type"]}
    assert not runner._background.is_running(("study", "bands"))
    assert told.empty()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"error": ["no plane 3", "storm", "choose 0"]}, "storm: no plane 3; choose 0"),
        ({"status": "text"}, "the study failed: Traceback: it broke"),
        ({"status": 3}, "it ended with 3"),
        ({"print": "[1, 2]"}, "cannot be read"),
        ({"print": "nonsense"}, "cannot be read"),
    ],
)
def test_a_failure_is_told_in_one_line(runner: StudyRunner, given: dict[str, Any], expected: str) -> None:
    told: queue.Queue[StudyAnswer] = queue.Queue()
    runner.run("bands", Path("storm.json"), given, told.put)
    error = told.get(timeout=PATIENCE)
    assert isinstance(error, ExplorerError)
    assert expected in str(error)
    assert "\n" not in str(error)


def test_the_newest_of_a_kind_ends_the_one_before_and_leaves_others_alone(runner: StudyRunner, tmp_path: Path) -> None:
    told: queue.Queue[StudyAnswer] = queue.Queue()
    other: queue.Queue[StudyAnswer] = queue.Queue()
    runner.run("pairs", tmp_path, {"sleep": 1}, other.put)
    runner.run("bands", tmp_path, {"sleep": 60, "pid": str(tmp_path / "old")}, told.put)
    old = pid_in(tmp_path / "old")
    runner.run("bands", tmp_path, {"new": True}, told.put)
    found = told.get(timeout=PATIENCE)
    assert isinstance(found, dict)
    assert found["given"] == {"new": True}
    until(lambda: not alive(old))
    assert isinstance(other.get(timeout=PATIENCE), dict)
    assert told.empty()


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_what_is_under_way_is_killed_and_tells_nothing(runner: StudyRunner, tmp_path: Path, how: str) -> None:
    told: queue.Queue[StudyAnswer] = queue.Queue()
    runner.run("bands", tmp_path, {"sleep": 60, "pid": str(tmp_path / "pid")}, told.put)
    pid = pid_in(tmp_path / "pid")
    if how == "close":
        runner._background.close()
    else:
        runner.cancel("bands")
    until(lambda: not alive(pid))
    assert not runner._background.is_running(("study", "bands"))
    runner.run("bands", tmp_path, {}, told.put)
    if how == "close":
        with pytest.raises(queue.Empty):
            told.get(timeout=0.3)
    else:
        assert isinstance(told.get(timeout=PATIENCE), dict)


def test_a_program_that_is_not_there_is_told() -> None:
    told: queue.Queue[StudyAnswer] = queue.Queue()
    StudyRunner(Background(), ["/nowhere/python"]).run("bands", Path("storm.json"), {}, told.put)
    assert "did not start" in str(told.get(timeout=PATIENCE))


def test_the_program_of_studies_says_that_there_is_no_such_session(tmp_path: Path) -> None:
    background = Background()
    runner = StudyRunner(background)
    told: queue.Queue[StudyAnswer] = queue.Queue()
    runner.run("no such study", tmp_path / "storm.json", {}, told.put)
    error = told.get(timeout=PATIENCE)
    background.close()
    assert isinstance(error, ExplorerError)
    assert "no such study" in str(error)
