"""What an experiment costs, against the plan of the runs itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from srm_explorer.engine.experiment import SITE_KINDS, Experiment, ModelShape, Site, read_experiment
from srm_explorer.engine.runs.plan import CPU_BUDGET
from srm_explorer.engine.runs.survey import MOST_TOLD
from srm_explorer.engine.session.survey import SKETCH
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.experiment.cost import duration, estimate, size

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel


def experiment(*overrides: str) -> Experiment:
    return read_experiment("protocol", overrides=overrides)[0]


def described(**other: Any) -> Description:
    sizes: dict[str, Any] = {
        "shape": ModelShape("gpt2", n_layers=12, d_model=768, d_mlp=3072, n_ctx=1024),
        "device": "cpu",
        "is_demo": False,
        "sites": tuple(f"blocks.0.{kind}" for kind in SITE_KINDS),
        "weight_bytes": 497_759_232,
        "kv_width": 768,
        "n_vocab": 50257,
        "free_bytes": 16 * 10**9,
    }
    return Description(**{**sizes, **other})


def test_the_protocol_is_six_hundred_runs() -> None:
    cost = estimate(experiment(), 50, 1930.0, described())
    assert (cost.runs, cost.tokens) == (600, 30_000)
    assert cost.facts()[:3] == ("600 runs", "30,000 tokens", "about 16 s")


@pytest.mark.parametrize(
    ("override", "runs"),
    [
        ("interventions.0.values=0..4/1", 50 * 6),
        ("interventions=[]", 50),
        ("generation={mode='sample', samples=3}", 600 * 3),
    ],
)
def test_runs_are_prompts_times_samples_times_conditions(override: str, runs: int) -> None:
    assert estimate(experiment(override), 50, None, None).runs == runs


def test_what_is_not_known_is_not_told() -> None:
    assert estimate(experiment(), 50, None, None).facts() == ("600 runs", "30,000 tokens")
    assert estimate(experiment(), 50, None, described(shape=replace(described().shape, name="another"))).memory is None
    assert estimate(experiment(), 50, None, described(weight_bytes=0)).memory is None
    assert estimate(experiment("generation.tokens=0", "capture.positions=prompt"), 50, 1.0, None).seconds is None


@pytest.mark.parametrize(
    ("texts", "survey"),
    [
        (5, {"neurons": "0..9", "then": "top:4", "vectors": "3, 4, 5"}),
        (5, {"neurons": "0..2", "depth": "free", "vectors": "1"}),
        (4, {"neurons": "0..9"}),
    ],
)
def test_a_survey_takes_on_disk_what_its_tables_hold(texts: int, survey: dict[str, str]) -> None:
    written = ", ".join(f"{name}='{value}'" for name, value in survey.items())
    asked = experiment(
        f"survey={{{written}}}", "interventions.0.neurons=[373]", "interventions.0.background=false", "controls={}"
    )
    cost = estimate(asked, texts, None, described())
    n_cells, n_values, n_sites = cost.neurons, cost.values, len(asked.capture.sites)
    expected = 0
    if "depth" not in survey:
        lists = 2 * n_cells * n_values * MOST_TOLD
        # Three numbers, and the change at every site, of each text; the lists of tokens, and what each of them says.
        expected += n_cells * n_values * texts * (3 + n_sites) * 4 + lists * 4 + lists * 32
    if "depth" in survey or "then" in survey:
        cells, read, kept = (n_cells, texts, 1) if "depth" in survey else (4, 3, 3)
        runs = cells * n_values * read
        assert cost.runs == texts + runs
        expected += runs * (16 + n_sites * (8 + 4 * SKETCH) + 8 * len(asked.planes))
        widths = sum(described().shape.width(Site.parse(site)) for site in asked.capture.sites)
        expected += kept * n_values * read * widths * 4
    assert cost.disk == expected


def test_memory_grows_with_what_is_generated_and_stays_within_the_device() -> None:
    few, many = (estimate(experiment(f"generation.tokens={n}"), 50, None, described()).memory for n in (10, 500))
    assert few is not None
    assert many is not None
    assert 497_759_232 < few < many < 497_759_232 + CPU_BUDGET + 10 * 2**20
    card = described(device="cuda:0", free_bytes=2 * 10**9)
    there = estimate(experiment("generation.tokens=500"), 500, None, card).memory
    assert there is not None
    assert there <= 497_759_232 + 0.6 * 2 * 10**9


def test_the_estimate_is_the_one_that_batches_are_planned_with(tiny_gpt2: LoadedModel) -> None:
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, row_bytes, sizes_of
    from srm_explorer.engine.runs.plan import captured_bytes

    capture = Capture("blocks.1.mlp.hook_post", "tokens", "all")
    kept = captured_bytes(tiny_gpt2.shape.d_mlp, "tokens", 70)
    assert row_bytes(tiny_gpt2, 20, Generation(50), [capture]) == sizes_of(tiny_gpt2).row_bytes(20, 50, kept)
    assert kept == 64 * 4 * 70


def test_times_and_sizes_are_in_the_unit_a_person_uses() -> None:
    assert [duration(s) for s in (0.2, 16, 240, 7200)] == ["1 s", "16 s", "4 min", "2.0 h"]
    assert [size(n) for n in (3, 580_000_000, 2_140_000_000)] == ["1 MB", "580 MB", "2.1 GB"]


def test_what_so_many_units_can_see_is_part_of_the_cost() -> None:
    assert estimate(experiment(), 50, None, None, 50).facts()[-1] == "50 units see .404 sd"
    assert estimate(experiment(), 140, None, None, 7).facts()[-1] == "7 units see 1.27 sd"
    assert estimate(experiment(), 3, None, None, 3).facts()[-1] == "3 units too few for a p"


def test_scored_prompts_cost_their_own_tokens_and_none_are_generated() -> None:
    asked = experiment(
        "survey={neurons='0..9', score='prompts'}",
        "interventions.0.neurons=[373]",
        "generation.tokens=0",
        "capture.positions=all",
    )
    cost = estimate(asked, 5, 100.0, None, scored=1000.0, prompt_tokens=401)
    assert (cost.tokens, cost.scored) == (0, 5 * 10 * cost.values)
    assert cost.scored_tokens == cost.scored * 400
    assert cost.seconds == pytest.approx(cost.scored_tokens / 1000)
