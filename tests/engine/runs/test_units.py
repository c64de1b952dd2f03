"""Values in sigma, quantiles and norms become the raw values the baseline says they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers
from safetensors.numpy import save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import conditions
from srm_explorer.engine.runs.units import Reading, resolve

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel
    from srm_explorer.engine.session import Session

    from ..conftest import Lab

MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.1.hook_resid_post"
numbers = floats(-1e4, 1e4)
tables = arrays(np.float64, integers(1, 60).map(lambda n: (n, 2)), elements=numbers)


@pytest.fixture
def baseline_tokens(tiny_gpt2: LoadedModel) -> Callable[[Session, str], np.ndarray]:
    """[token, d] what a site holds over the generated tokens of all baseline runs, each run alone."""
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row
    from srm_explorer.engine.model.selftest import run_alone

    def measure(session: Session, site: str) -> np.ndarray:
        generation = Generation(session.spec.generation.tokens, stop_ids=tiny_gpt2.tokenizer.stop_ids)
        capture = Capture(site, "tokens", "generated")
        rows = [Row(prompt.token_ids) for prompt in session.prompts]
        return np.concatenate([run_alone(tiny_gpt2, row, generation, [capture]).captured[0] for row in rows])

    return measure


def raw_values(session: Session) -> np.ndarray:
    """[condition, value] of the first intervention, the baseline left out."""
    return np.array([row[0] for row in session.resolved[1:]], dtype=float)


def test_a_clamp_in_sigma_is_the_mean_plus_so_many_deviations_over_tokens(
    lab: Lab, baseline_tokens: Callable[[Session, str], np.ndarray]
) -> None:
    one = {"site": MLP, "neurons": [3, 9], "op": "clamp", "unit": "sigma", "values": [-2, 0, 1.5]}
    session = lab.session(lab.experiment(one), rows=5)
    seen = baseline_tokens(session, MLP)[:, [3, 9]]
    expected = seen.mean(axis=0) + np.array([[-2.0], [0.0], [1.5]]) * seen.std(axis=0)
    np.testing.assert_allclose(raw_values(session), expected, rtol=1e-5, atol=1e-6)
    assert session.resolved[0] == (None,)
    assert session.provenance["units"][0]["tokens"] == len(seen)


def test_an_addition_in_sigma_has_no_mean(lab: Lab, baseline_tokens: Callable[[Session, str], np.ndarray]) -> None:
    session = lab.session(
        lab.experiment({"site": MLP, "neurons": [3], "op": "add", "unit": "sigma", "values": [-2, 3]})
    )
    expected = np.array([[-2.0], [3.0]]) * baseline_tokens(session, MLP)[:, 3].std()
    np.testing.assert_allclose(raw_values(session), expected, rtol=1e-5)


def test_a_quantile_is_that_of_the_tokens(lab: Lab, baseline_tokens: Callable[[Session, str], np.ndarray]) -> None:
    values = [0, 0.0625, 0.5, 0.9437, 1]
    session = lab.session(
        lab.experiment({"site": MLP, "neurons": [3, 5], "op": "clamp", "unit": "quantile", "values": values})
    )
    expected = np.quantile(baseline_tokens(session, MLP)[:, [3, 5]], values, axis=0)
    np.testing.assert_allclose(raw_values(session), expected, rtol=1e-5, atol=1e-6)


def test_mean_ablation_holds_the_mean_of_the_tokens(
    lab: Lab, baseline_tokens: Callable[[Session, str], np.ndarray]
) -> None:
    session = lab.session(lab.experiment({"site": MLP, "neurons": [3, 5], "op": "mean"}))
    expected = baseline_tokens(session, MLP)[:, [3, 5]].mean(axis=0)
    np.testing.assert_allclose(raw_values(session), [expected], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit", ["sigma", "norm"])
def test_steering_counts_in_deviations_of_the_projection_or_in_mean_norms(
    lab: Lab, unit: str, baseline_tokens: Callable[[Session, str], np.ndarray]
) -> None:
    direction = np.random.default_rng(1).normal(size=32).astype(np.float32)
    save_file({"way": direction}, lab.folder / "v.safetensors")
    one = {"site": RESID, "direction": "v.safetensors#way", "op": "steer", "unit": unit, "values": [-0.5, 2]}
    session = lab.session(lab.experiment(one))
    seen = baseline_tokens(session, RESID)
    unit_vector = direction.astype(np.float64) / np.linalg.norm(direction.astype(np.float64))
    scale = (seen @ unit_vector).std() if unit == "sigma" else np.linalg.norm(seen, axis=1).mean()
    np.testing.assert_allclose(raw_values(session), np.array([[-0.5], [2.0]]) * scale, rtol=1e-5)


def test_a_raw_clamp_to_0_measures_nothing_and_is_no_baseline(lab: Lab) -> None:
    session = lab.session(lab.experiment({"site": MLP, "neurons": [3], "op": "clamp", "values": [0]}))
    assert session.resolved == ((None,), ((0.0,),))
    assert session.vectors()[MLP][1][3] == 0
    assert session.vectors()[MLP][0][3] != 0


def test_another_sessions_statistics_give_the_same_values_without_running_the_baseline_first(lab: Lab) -> None:
    one = {"site": MLP, "neurons": [3], "op": "clamp", "unit": "sigma", "values": [-2, 2]}
    first = lab.session(lab.experiment(one), "first")
    (lab.folder / "spec").mkdir()
    lab.prompts("Something else entirely", name="other")
    again = lab.session(lab.experiment(one, stats="out/first", prompts={"sets": ["other.txt"]}), "second")
    assert again.resolved == first.resolved
    assert again.layout["first"] == 0
    assert first.layout["first"] == 1


def test_statistics_are_found_from_the_experiments_folder_whatever_the_working_folder(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"site": MLP, "neurons": [3], "op": "mean"}
    first = lab.session(lab.experiment(one), "first")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert lab.session(lab.experiment(one, stats="out/first.json"), "second").resolved == first.resolved


def test_a_session_without_the_target_is_refused(lab: Lab) -> None:
    lab.session(lab.experiment({"site": MLP, "neurons": [4], "op": "mean"}), "first")
    with pytest.raises(ExplorerError, match=r"first measured nothing at blocks\.1\.mlp\.hook_post for neuron 3"):
        lab.run(lab.experiment({"site": MLP, "neurons": [3], "op": "mean"}, stats="out/first"), "second")
    assert not lab.path("second").exists()
    assert not (lab.folder / "out" / "second.run").exists()


@pytest.mark.parametrize("unit", ["sigma", "quantile"])
@given(value=numbers, tokens=integers(1, 50))
def test_what_never_changes_has_no_sigma_and_one_quantile(unit: str, value: float, tokens: int) -> None:
    experiment = experiment_in(unit, "clamp")
    reading = Reading.of(np.full((tokens, 1), value), is_direction=False)
    with pytest.raises(ExplorerError, match="never changes"):
        resolve(experiment, conditions(experiment), [reading])


@given(tables, floats(-5, 5))
def test_a_reading_agrees_with_numpy(values: np.ndarray, k: float) -> None:
    reading = Reading.of(values, is_direction=False)
    np.testing.assert_allclose(reading.mean, values.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(reading.std, values.std(axis=0), atol=1e-9)
    assert (reading.quantile(0) == values.min(axis=0)).all()
    assert (reading.quantile(1) == values.max(axis=0)).all()


@given(tables, floats(0, 1))
def test_a_reading_survives_json_and_its_quantiles_to_a_thousandth_of_the_range(values: np.ndarray, q: float) -> None:
    spec = experiment_in("sigma", "clamp").interventions[0]
    reading = Reading.of(values, is_direction=False)
    back = Reading.from_dict(json.loads(json.dumps(reading.to_dict(spec))))
    assert back.mean.tolist() == reading.mean.tolist()
    assert back.std.tolist() == reading.std.tolist()
    on_the_grid = round(q * 1000) / 1000
    np.testing.assert_allclose(back.quantile(on_the_grid), reading.quantile(on_the_grid), rtol=6e-7, atol=1e-9)
    low, high = reading.quantile(max(0, on_the_grid - 0.001)), reading.quantile(min(1, on_the_grid + 0.001))
    slack = 1e-6 * np.abs(values).max() + 1e-9
    assert (back.quantile(q) >= low - slack).all()
    assert (back.quantile(q) <= high + slack).all()


def experiment_in(unit: str, op: str) -> Any:
    from srm_explorer.engine.experiment import Experiment

    return Experiment.from_dict(
        {
            "model": {"name": "demo"},
            "prompts": {"sets": ["texts"]},
            "interventions": [{"site": MLP, "neurons": [3], "op": op, "unit": unit, "values": [1]}],
            "capture": {"sites": [MLP]},
        }
    )
