from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import srm_explorer.tui.sessions.summary as module
from srm_explorer.engine.figures.captions import model_caption
from srm_explorer.engine.session import Session, load_session, save_session
from srm_explorer.engine.session.serialization import session_bytes
from srm_explorer.engine.session.standing import Standing
from srm_explorer.tui.sessions.row import Summary
from srm_explorer.tui.sessions.summary import SummaryCache, describe, read_summary
from tests.example import EXAMPLE as FILE
from tests.surveyed import surveyed

MARK = (1, 2, 3, 4)
EXAMPLE = load_session(FILE)


def in_full(session: Session) -> Summary:
    """What the whole session says."""
    return Summary(
        model=model_caption(session),
        intervention=describe(session.spec),
        state=session.state,
        runs=len(session.runs),
        planned=session.planned_runs,
        saved=session.saved,
        created=session.created,
    )


@pytest.mark.parametrize("runs", [32, 31, 1, 0])
def test_the_first_lines_say_what_the_whole_session_says(tmp_path: Path, runs: int, monkeypatch: Any) -> None:
    state = "finished" if runs == 32 else "interrupted"
    made = EXAMPLE.changed(state=state, runs=EXAMPLE.runs[:runs], planes=(), revision=0, notes='"runs": [\n{x}')
    save_session(made, tmp_path / "s.json")
    expected = in_full(load_session(tmp_path / "s.json"))
    monkeypatch.setattr(module, "load_session", None)
    assert read_summary(tmp_path / "s.json") == expected


def test_only_the_head_of_a_finished_session_is_read(tmp_path: Path) -> None:
    path = save_session(EXAMPLE.changed(revision=0), tmp_path / "s.json").path
    content, expected = path.read_bytes(), in_full(load_session(path))
    start, end = content.index(b'"runs": '), content.index(b'"receipts": ')
    path.write_bytes(content[:start] + b"\xff" * (end - start) + content[end:])
    assert read_summary(path) == expected


@pytest.mark.parametrize("done", [10, None])
def test_the_head_of_a_survey_says_how_far_it_is_also_where_its_tables_are_missing(
    tmp_path: Path, done: int | None, monkeypatch: Any
) -> None:
    session = surveyed(tmp_path / "many.json", done=done)
    session.vectors_path().unlink()
    monkeypatch.setattr(module, "load_session", None)
    standing = read_summary(tmp_path / "many.json").standing
    assert standing == load_session(tmp_path / "many.json").standing == Standing(done or 40, 40)


def test_a_survey_whose_head_does_not_say_how_far_it_is_is_read_as_a_whole(tmp_path: Path) -> None:
    session = surveyed(tmp_path / "old.json", done=10)
    save_session(session.changed(provenance={}), tmp_path / "old.json")
    assert read_summary(tmp_path / "old.json").standing == Standing(10, 40)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_session_laid_out_by_another_program_is_read_as_a_whole(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(json.loads(session_bytes(EXAMPLE)), indent=indent))
    assert read_summary(path) == in_full(EXAMPLE)


@settings(max_examples=60)
@given(st.data())
def test_a_file_cut_short_anywhere_has_a_problem_and_no_state(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = session_bytes(EXAMPLE)
    path = tmp_path_factory.mktemp("cut") / "s.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 3))])
    summary = read_summary(path)
    assert summary == Summary(problem=summary.problem)
    assert summary.problem.startswith(str(path))
    assert "\n" not in summary.problem


def test_what_is_remembered_holds_until_the_file_changes(tmp_path: Path) -> None:
    file, path = tmp_path / "list.json", tmp_path / "s.json"
    cache = SummaryCache(file)
    assert cache.get(path, MARK) is None
    summary = in_full(EXAMPLE)
    cache.put(path, MARK, summary)
    cache.put(tmp_path / "damaged.json", MARK, Summary(problem="cut short"))
    assert cache.get(tmp_path / "damaged.json", MARK) is not None
    cache.save()
    again = SummaryCache(file)
    assert again.get(path, MARK) == summary
    for place in range(len(MARK)):
        assert again.get(path, tuple(value + (at == place) for at, value in enumerate(MARK))) is None
    assert again.get(tmp_path / "damaged.json", MARK) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 9}', b'{"version": 2, "entries": {"a": [1, 2, 3, 4, {"colour": 3}]}}', b"\xff"],
)
def test_a_list_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "list.json"
    file.write_bytes(content)
    cache = SummaryCache(file)
    assert cache.get(tmp_path / "a", MARK) is None
    cache.put(tmp_path / "a", MARK, Summary(model="m"))
    cache.save()
    assert SummaryCache(file).get(tmp_path / "a", MARK) == Summary(model="m")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b"{}")
    path.chmod(0)
    assert "check its permissions" in read_summary(path).problem
