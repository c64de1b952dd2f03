from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.session import load_session
from srm_explorer.tui.explorer.draft import Draft, DraftEditor, DraftFile, as_draft, draft_at, initial_draft
from srm_explorer.tui.explorer.startup import ExitSummary, LaunchOptions
from tests.example import EXAMPLE


def a_drafting(tmp_path: Path) -> tuple[DraftEditor, DraftFile]:
    file = DraftFile(tmp_path)
    draft, problems = initial_draft(LaunchOptions(), file)
    assert not problems
    return DraftEditor(draft, file, lambda error: None), file


def with_tokens(data: dict[str, Any], tokens: int) -> dict[str, Any]:
    return {**data, "generation": {**data["generation"], "tokens": tokens}}


def test_the_first_start_ever_begins_with_the_demo(tmp_path: Path) -> None:
    draft, _ = initial_draft(LaunchOptions(), DraftFile(tmp_path))
    experiment, source = read_experiment("demo")
    assert Experiment.from_dict(draft.data) == experiment
    assert (draft.name, draft.base) == ("demo", str(source.base))


def test_the_next_start_goes_on_with_the_edits_of_the_last(tmp_path: Path) -> None:
    drafting, _ = a_drafting(tmp_path)
    drafting.edit(with_tokens(drafting.data, 7))
    drafting.typing("values", "-20..2")
    assert drafting.close() == ""
    draft, _ = initial_draft(LaunchOptions(), DraftFile(tmp_path))
    assert draft.data["generation"]["tokens"] == 7
    assert draft.typed == {"values": "-20..2"}


def test_what_was_typed_is_forgotten_once_it_is_part_of_the_experiment(tmp_path: Path) -> None:
    drafting, _ = a_drafting(tmp_path)
    drafting.typing("values", "-20..2")
    drafting.typing("layer", "1")
    drafting.typing("values", None)
    assert drafting.draft.typed == {"layer": "1"}
    drafting.close()


def test_a_named_experiment_does_not_take_the_draft_of_the_last_screen(tmp_path: Path) -> None:
    drafting, _ = a_drafting(tmp_path)
    drafting.edit(with_tokens(drafting.data, 7))
    drafting.close()
    other = DraftFile(tmp_path)
    draft, problems = initial_draft(LaunchOptions(spec="quick"), other)
    assert not problems
    assert draft.name == "quick"
    again, _ = initial_draft(LaunchOptions(), DraftFile(tmp_path))
    assert again.name == "demo"
    assert again.data["generation"]["tokens"] == 7


def test_a_session_is_opened_beside_the_draft_and_is_the_draft_where_there_is_none(tmp_path: Path) -> None:
    first, _ = initial_draft(LaunchOptions(session=EXAMPLE), DraftFile(tmp_path / "a"))
    assert Experiment.from_dict(first.data) == load_session(EXAMPLE).spec
    assert first.session == str(EXAMPLE)
    drafting, _ = a_drafting(tmp_path / "b")
    drafting.edit(with_tokens(drafting.data, 7))
    drafting.close()
    second, _ = initial_draft(LaunchOptions(session=EXAMPLE), DraftFile(tmp_path / "b"))
    assert second.data["generation"]["tokens"] == 7
    assert second.session == str(EXAMPLE)


def test_prompt_files_are_added_by_their_whole_path_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draft, _ = initial_draft(LaunchOptions(prompts=("mine.txt", "mine.txt")), DraftFile(tmp_path / "d"))
    assert draft.data["prompts"]["sets"] == ["reasoning", "watching", str(tmp_path / "mine.txt")]
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "ours.txt").write_text("A prompt\n")
    draft, _ = initial_draft(LaunchOptions(prompts=("prompts/ours.txt",)), DraftFile(tmp_path / "e"))
    assert draft.data["prompts"]["sets"] == ["reasoning", "watching", "ours"], "it is listed by its name"


def test_a_draft_of_another_version_is_left_alone(tmp_path: Path) -> None:
    old = DraftFile(tmp_path)
    old.open()
    old.save(Draft({"from": "the future"}, "x", "/"))
    old.close()
    draft, problems = initial_draft(LaunchOptions(), DraftFile(tmp_path))
    assert not problems
    assert draft.name == "demo"
    assert old.path
    assert json.loads(old.path.read_bytes())["data"] == {"from": "the future"}


def test_a_folder_that_cannot_be_written_is_told_and_the_screen_begins_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    draft, problems = initial_draft(LaunchOptions(), DraftFile(tmp_path / "file" / "drafts"))
    assert draft.name == "demo"
    assert len(problems) == 1
    assert isinstance(problems[0], ExplorerError)


def test_undo_and_redo_move_the_experiment_and_what_is_kept(tmp_path: Path) -> None:
    drafting, file = a_drafting(tmp_path)
    before = drafting.data
    assert drafting.edit(with_tokens(before, 7))
    assert not drafting.edit(with_tokens(before, 7))
    assert drafting.undo()
    assert drafting.data == before
    assert not drafting.undo()
    assert drafting.redo()
    assert drafting.experiment().generation.tokens == 7
    drafting.close()
    assert file.path
    assert json.loads(file.path.read_bytes())["data"]["generation"]["tokens"] == 7


def test_another_experiment_can_be_taken_back(tmp_path: Path) -> None:
    drafting, _ = a_drafting(tmp_path)
    before = drafting.data
    drafting.replace(read_experiment("quick")[0].to_dict(), "quick", tmp_path)
    assert drafting.draft.name == "quick"
    drafting.undo()
    assert drafting.data == before
    assert (drafting.draft.name, drafting.base) == ("demo", Path.cwd())
    drafting.close()


def test_a_session_as_a_draft_has_its_experiment_and_the_stem_of_its_name(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "storm-0a1b2c.json")
    session = load_session(tmp_path / "storm-0a1b2c.json")
    data, name, base = as_draft(session)
    assert Experiment.from_dict(data) == session.spec
    assert name == "storm"
    assert base.is_absolute()


def test_a_run_that_is_not_saved_yet_can_be_a_draft(tmp_path: Path) -> None:
    session = load_session(EXAMPLE)
    spec = session.spec
    path = tmp_path / "storm-0a1b2c.json"
    start = RunStart(session.prompts, provenance={"base": str(tmp_path)}, created=session.created)
    layout = Layout(32, 0, (tuple(range(32)),))
    JournalWriter.create(paths.run_folder(path), spec, layout=layout, extra=start).close()
    assert draft_at(path) == (spec.to_dict(), "storm", tmp_path)
    with pytest.raises(ExplorerError):
        draft_at(tmp_path / "no-such.json")


def test_the_farewell_says_what_goes_on_and_what_was_lost() -> None:
    assert ExitSummary().lines() == []
    assert ExitSummary(going="storm").lines() == ["the run goes on: storm; `srm-explorer` follows it again"]
    assert "no space" in ExitSummary(problem="no space").lines()[0]
