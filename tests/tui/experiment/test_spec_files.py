"""Experiment files: which are listed, and that one written means the same from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, read_experiment
from srm_explorer.tui.experiment.files import anchored, known_specs, name_problem, spec_path, write_spec


def protocol(*overrides: str) -> Experiment:
    return read_experiment("protocol", overrides=overrides)[0]


def test_presets_saved_files_and_those_at_hand_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.toml").write_text(protocol().to_toml())
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "broken.toml").write_text("[model]\nname = = 1\n[capture]\n")
    write_spec("mine", protocol("generation.tokens=7"), tmp_path)
    found = {(file.kind, file.name): file for file in known_specs()}
    assert list(found) == [
        *(("preset", name) for name in ("demo", "protocol", "quick")),
        ("saved", "mine"),
        ("here", "broken"),
        ("here", "here"),
    ]
    data, _ = found["saved", "mine"].load()
    assert data["generation"]["tokens"] == 7
    assert found["here", "here"].load() == (protocol().to_dict(), tmp_path)
    with pytest.raises(ExplorerError, match=r"broken\.toml, line 2"):
        found["here", "broken"].load()


def test_relative_paths_are_written_absolute(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    experiment = Experiment.from_dict(
        {
            **protocol().to_dict(),
            "stats": "old/run.json",
            "model": {"name": "model"},
            "prompts": {"sets": ["reasoning", "mine.csv", "sub/set"], "omit": {"mine.csv": [2]}},
            "interventions": [
                {"site": "blocks.1.mlp.hook_post", "op": "steer", "direction": "v.safetensors#a b", "values": [1]}
            ],
        }
    )
    data = anchored(experiment.to_dict(), tmp_path)
    assert data["prompts"]["sets"] == ["reasoning", str(tmp_path / "mine.csv"), str(tmp_path / "sub/set")]
    assert list(data["prompts"]["omit"]) == [str(tmp_path / "mine.csv")]
    assert data["interventions"][0]["direction"] == f"{tmp_path / 'v.safetensors'}#a b"
    assert data["stats"] == str(tmp_path / "old/run.json")
    assert data["model"]["name"] == str(tmp_path / "model")
    assert anchored(data, Path("/elsewhere")) == data
    Experiment.from_dict(data)


def test_names_of_presets_models_and_sessions_stay_names(tmp_path: Path) -> None:
    data = protocol("stats=earlier").to_dict()
    assert anchored(data, tmp_path) == data


@pytest.mark.parametrize("name", ["", " ", "a/b", ".hidden", "-x", "a\nb", "x" * 300])
def test_names_that_are_no_files_are_refused(name: str) -> None:
    assert name_problem(name)


def test_a_name_with_or_without_its_ending_is_the_same_file() -> None:
    assert spec_path("mine") == spec_path("mine.toml")
    assert name_problem("été 2") == ""
