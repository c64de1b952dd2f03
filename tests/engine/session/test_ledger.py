from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.manage import rename_session
from srm_explorer.engine.runs.trash import trash_session
from srm_explorer.engine.session import ComputedTest, Ledger, Session, load_session, record_tests, save_session
from srm_explorer.engine.stats.permutation import benjamini_hochberg, benjamini_yekutieli

from .test_session_rename import a_session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return save_session(a_session(), tmp_path / "s.json").session


def difference(number: int, p: float = 0.02) -> ComputedTest:
    return ComputedTest("difference", {"plane": 1, "groups": [f"+{number}", "baseline"]}, p)


def test_twenty_calls_are_one_family(session: Session) -> None:
    p = np.linspace(0.001, 0.2, 20)
    for number, value in enumerate(p):
        counted = record_tests(session, [difference(number, float(value))], "differences")
        assert counted.size == number + 1
        np.testing.assert_allclose(counted.q[0], benjamini_hochberg(p[: number + 1])[-1], rtol=1e-5)
        np.testing.assert_allclose(counted.q_any[0], benjamini_yekutieli(p[: number + 1])[-1], rtol=1e-5)


def test_a_test_counts_once_with_its_last_p_and_other_families_count_beside_it(session: Session) -> None:
    for p in (0.01, 0.03, 0.03):
        counted = record_tests(session, [difference(1, p)], "differences")
    record_tests(session, [difference(1), ComputedTest("pairs", {"neuron": 7}, [0.5, np.nan, 0.5, 0.1])], "mine")
    counted = record_tests(session, [difference(2)], "differences")
    assert (counted.size, counted.total, counted.families) == (2, 5, 2)
    assert [entry.values.tolist() for entry in Ledger(session).entries()] == [[0.03], [0.02], [0.1, 0.5, 0.5], [0.02]]
    assert counted.caption == "q of 2 tests in family differences; 5 in 2 families computed on this session so far"


def test_with_more_runs_it_is_another_test(session: Session) -> None:
    record_tests(session.changed(runs=session.runs[:2]), [difference(1)], "differences")
    assert record_tests(session, [difference(1)], "differences").size == 2


def test_shapes_stay_and_what_was_not_tested_is_no_hypothesis(session: Session) -> None:
    p = np.array([[0.1, np.nan], [0.2, 0.3]])
    counted = record_tests(session, [ComputedTest("pairs", {}, p), difference(1)], "differences")
    assert counted.size == 4
    assert counted.q[0].shape == (2, 2)
    assert np.array_equal(np.isnan(counted.q[0]), np.isnan(p))
    assert counted.q[1].shape == ()


def test_it_goes_where_the_session_goes(session: Session, tmp_path: Path) -> None:
    record_tests(session, [difference(1)], "differences")
    # A ledger of a session that is gone says nothing about this one.
    paths.ledger_file(tmp_path / "t.json").write_text("left\n")
    renamed = load_session(rename_session(session.path or tmp_path, "t"))
    assert not paths.ledger_file(tmp_path / "s.json").exists()
    assert len(Ledger(renamed).entries()) == 1
    copy = save_session(renamed.changed(revision=0), tmp_path / "t.json").session
    assert copy.path == tmp_path / "t-2.json"
    record_tests(copy, [difference(2)], "differences")
    assert len(Ledger(copy).entries()) == 2
    assert len(Ledger(renamed).entries()) == 1
    folder = trash_session(tmp_path / "t.json")
    assert (folder / "t.ledger.jsonl").is_file()
    assert not paths.ledger_file(tmp_path / "t.json").exists()


def test_another_session_of_that_name_begins_anew(session: Session, tmp_path: Path) -> None:
    record_tests(session, [difference(1)], "differences")
    (tmp_path / "s.json").unlink()
    other = save_session(a_session(created="2026-01-01T00:00:00+00:00"), tmp_path / "s.json").session
    assert record_tests(other, [difference(2)], "differences").total == 1


@given(cut=st.integers(2, 150))
def test_a_torn_line_costs_itself_alone(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    session = save_session(a_session(), tmp_path_factory.mktemp("torn") / "s.json").session
    for number in range(3):
        record_tests(session, [difference(number)], "differences")
    file = paths.ledger_file(session.path or Path())
    file.write_bytes(file.read_bytes()[:-cut])
    left = len(Ledger(session).entries())
    assert left == 2
    assert record_tests(session, [difference(7)], "differences").size == left + 1


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "null", '{"p": [[2, 1]]}', '{"session": 1, "p": 5}', "\x00", "[" * 9999]
)
def test_what_is_no_entry_is_passed_over(session: Session, line: str) -> None:
    record_tests(session, [difference(1)], "differences")
    with paths.ledger_file(session.path or Path()).open("a") as file:
        file.write(line + "\n")
    assert len(Ledger(session).entries()) == 1


def test_what_cannot_be_written_is_counted_in_this_process_and_said(session: Session) -> None:
    # A folder of that name: permissions mean nothing to the superuser.
    paths.ledger_file(session.path or Path()).mkdir()
    record_tests(session, [difference(1)], "differences")
    counted = record_tests(session, [difference(2)], "differences")
    assert counted.size == 2
    assert "in this process alone" in counted.problem
    unsaved = a_session()
    record_tests(unsaved, [difference(1)], "differences")
    counted = record_tests(unsaved, [difference(2)], "differences")
    assert counted.size == 2
    assert "not saved" in counted.problem


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 81])
def test_a_family_has_a_name(session: Session, name: str) -> None:
    with pytest.raises(ExplorerError, match="family"):
        record_tests(session, [difference(1)], name)


@pytest.mark.process
def test_of_many_who_append_at_once_every_entry_is_there(session: Session) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from srm_explorer.engine.session import ComputedTest, load_session, record_tests\n"
        "session = load_session(Path(sys.argv[1]))\n"
        "for i in range(20):\n"
        "    record_tests(session, [ComputedTest('difference', {'at': [sys.argv[2], i]}, [0.5] * 50)], 'differences')\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, os.fspath(session.path or ""), str(number)])
        for number in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert len(Ledger(session).entries()) == 60
