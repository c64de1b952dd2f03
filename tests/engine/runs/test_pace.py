"""How fast a model is here: by model, device and precision, measured first, then as the last run told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.runs.pace import keep_pace, known_pace

if TYPE_CHECKING:
    from ..conftest import Lab

HERE = Path()
GPT2 = ModelSpec(name="gpt2", device="cpu")
OTHERS = ({"name": "gpt2-medium"}, {"device": "cuda"}, {"dtype": "float64"}, {"revision": "main"})


def test_a_pace_is_of_a_model_its_device_and_its_precision() -> None:
    keep_pace(GPT2, HERE, rate=1930.0)
    assert known_pace(GPT2, HERE).rate == 1930.0
    for other in OTHERS:
        assert known_pace(GPT2.model_copy(update=other), HERE).rate == 0


def test_what_a_run_told_takes_the_place_of_what_was_measured_and_never_the_other_way() -> None:
    keep_pace(GPT2, HERE, rate=100.0, sizes={"n_vocab": 7})
    assert not known_pace(GPT2, HERE).is_learned
    keep_pace(GPT2, HERE, rate=200.0, is_learned=True)
    keep_pace(GPT2, HERE, rate=300.0)
    for odd in (math.nan, math.inf, 0.0, -1.0):
        keep_pace(GPT2, HERE, rate=odd, is_learned=True)
    pace = known_pace(GPT2, HERE)
    assert (pace.rate, pace.is_learned, pace.sizes) == (200.0, True, {"n_vocab": 7})


def test_a_model_folder_is_known_by_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smol").mkdir()
    keep_pace(ModelSpec(name="smol"), tmp_path, rate=5.0)
    monkeypatch.chdir(tmp_path)
    assert known_pace(ModelSpec(name=str(tmp_path / "smol")), Path("/")).rate == 5.0
    assert known_pace(ModelSpec(name="smol"), Path("/")).rate == 0


@pytest.mark.parametrize(
    "content", ["", "[]", '{"models": 3}', '{"tokens_per_second": {"gpt2": 5.0}}', '{"models": {"x": {"a": []}}}']
)
def test_a_file_of_another_version_or_a_damaged_one_is_begun_anew(content: str) -> None:
    file = paths.state_folder() / "pace.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    assert known_pace(GPT2, HERE).rate == 0
    keep_pace(GPT2, HERE, rate=8.0)
    assert known_pace(GPT2, HERE).rate == 8.0
    entry = next(iter(json.loads(file.read_text())["models"].values()))
    for odd in ({"tokens_per_second": "fast"}, {"tokens_per_second": True, "learned": 1, "sizes": []}):
        key = next(key for key, kept in json.loads(file.read_text())["models"].items() if kept == entry)
        file.write_text(json.dumps({"models": {key: odd}}))
        pace = known_pace(GPT2, HERE)
        assert (pace.rate, pace.is_learned, pace.sizes) == (0.0, False, {})
        entry = odd


def test_only_so_many_are_remembered_the_newest() -> None:
    for at in range(60):
        keep_pace(ModelSpec(name=f"m{at}"), HERE, rate=1.0 + at)
    assert known_pace(ModelSpec(name="m59"), HERE).rate == 60.0
    assert known_pace(ModelSpec(name="m3"), HERE).rate == 0


def test_a_run_tells_how_fast_the_model_was(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment(clamp)
    assert known_pace(experiment.model, lab.folder).rate == 0
    lab.session(experiment, "learned")
    pace = known_pace(experiment.model, lab.folder)
    assert pace.rate > 0
    assert pace.is_learned


def test_what_a_survey_scores_a_second_is_kept_beside_what_is_written() -> None:
    model = ModelSpec(name="demo")
    keep_pace(model, Path(), rate=100.0, is_learned=True)
    keep_pace(model, Path(), scored=900.0, is_learned=True)
    keep_pace(model, Path(), rate=float("nan"), scored=float("inf"), is_learned=True)
    pace = known_pace(model, Path())
    assert (pace.rate, pace.scored, pace.is_learned) == (100.0, 900.0, True)
