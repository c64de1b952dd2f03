"""A survey finds of every neuron what an experiment on it alone finds, however often it is interrupted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from srm_explorer.engine.analyses.survey import cell_experiment, survey_study, values_on_prompts
from srm_explorer.engine.analyses.surveyed import survey_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import conditions
from srm_explorer.engine.model.tokenizer import load_tokenizer
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.runs.pace import known_pace
from srm_explorer.engine.runs.progress import Progress, Stopped, StopSignal
from srm_explorer.engine.runs.survey import LayerReading, Plan, most_moved, text_hash
from srm_explorer.engine.runs.survey_journal import survey_standing
from srm_explorer.engine.session import (
    PromptRecord,
    Session,
    SurveyTables,
    load_session,
    prompt_units,
    save_session,
)
from srm_explorer.engine.session.standing import Standing
from srm_explorer.engine.session.survey import sketch_directions
from tests.conftest import TOOLS, load_module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from srm_explorer.engine.execution.replay import Replay
    from srm_explorer.engine.experiment import Experiment
    from srm_explorer.engine.experiment.survey import Depth

    from ..conftest import Lab

SIGMA = {"site": "blocks.1.mlp.hook_post", "neurons": [3], "op": "clamp", "values": [-20, 30], "unit": "sigma"}


def tables(lab: Lab, experiment: Experiment, name: str = "a") -> SurveyTables:
    found = lab.session(experiment, name).survey()
    assert found is not None
    return found


def of_one(lab: Lab, survey: SurveyTables, place: int, name: str) -> Any:
    """The experiment on one neuron alone, with the survey's raw values."""
    layer, neuron = int(survey.layer[place]), int(survey.neuron[place])
    site = f"blocks.{layer}.mlp.hook_post"
    clamp = {**SIGMA, "site": site, "neurons": [neuron], "values": survey.values[place].tolist(), "unit": "raw"}
    return lab.session(lab.experiment(clamp), name)


def test_written_texts_are_those_of_an_experiment_on_the_neuron_alone(lab: Lab) -> None:
    asked = lab.experiment(SIGMA, survey={"neurons": "40, 2.9", "layers": "0..1", "depth": "free", "vectors": "9"})
    assert [condition.kind for condition in conditions(asked)] == ["baseline"]
    session = lab.session(asked)
    survey = load_session(lab.path()).survey()
    assert survey is not None
    assert survey.free is not None
    assert survey.forced is None
    cells = list(zip(survey.layer.tolist(), survey.neuron.tolist(), strict=True))
    assert cells == [(0, 40), (1, 40), (2, 9)]
    free = survey.free
    assert free.kept.tolist() == [2]
    for place in range(len(cells)):
        alone = of_one(lab, survey, place, f"alone-{place}")
        by_site = alone.vectors()
        for number, run in enumerate(alone.runs):
            if not run.condition:
                assert run.token_ids == session.runs[run.prompt].token_ids
                continue
            at = place, run.condition - 1, run.prompt
            assert free.tokens[at] == len(run.token_ids)
            assert free.text_hash[at] == text_hash(run.token_ids)
            assert free.parted[at] == run.metrics.get("first_change", -1)
            plane = alone.planes[0]
            np.testing.assert_allclose(free.x[0][at], plane.x[number], atol=1e-5)
            np.testing.assert_allclose(free.y[0][at], plane.y[number], atol=1e-5)
            for index, (site, vectors) in enumerate(by_site.items()):
                base = vectors[run.prompt * 3]
                moved = np.asarray(vectors[number] - base, np.float64)
                np.testing.assert_allclose(
                    free.change[index][at], np.linalg.norm(moved) / np.linalg.norm(base), rtol=1e-4
                )
                expected = moved @ sketch_directions(len(base))
                np.testing.assert_allclose(free.sketch[index][at], expected, atol=1e-4)
                if place in free.kept:
                    row = free.kept.tolist().index(place)
                    np.testing.assert_allclose(free.vectors[site][row][at[1:]], vectors[number], atol=1e-5)


@pytest.mark.parametrize("depth", ["forced", "free"])
def test_texts_whose_logits_are_no_numbers_are_left_out_of_every_measure_and_that_is_told(
    lab: Lab, depth: Depth
) -> None:
    """The norms behind square what the first layer's neurons are given: no number holds that."""
    clamp = {**SIGMA, "values": [2, 1e200], "unit": "raw"}
    session = lab.session(lab.experiment(clamp, survey={"neurons": "3..5", "layers": "0", "depth": depth}))
    numbers = survey_of(session).numbers(depth)
    for name in set(numbers.by_measure) - {"change", "parted"}:
        assert np.isfinite(numbers.by_measure[name][:, 0]).all()
        assert np.isnan(numbers.by_measure[name][:, 1]).all()
    notes = survey_study(session, {"value": "+2"})["tables"][0]["notes"]
    told = f"{3 * len(numbers.texts)} of {6 * len(numbers.texts)} texts are left out, of which logits were NaN"
    assert any(note.startswith(told) for note in notes)


def losses(lab: Lab, ids: Sequence[int], layer: int, neuron: int, value: float | None) -> tuple[float, list[float]]:
    """What the model's own code says: nats a token of a text, and what the neuron does at all tokens but the first.

    Args:
        value: that the neuron is held at; None leaves it alone.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(lab.model, dtype=torch.float64)
    seen: list[float] = []

    def hold(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        post = args[0].clone()
        seen.extend(post[0, 1:, neuron].tolist())
        if value is not None:
            post[..., neuron] = value
        return (post, *args[1:])

    model.transformer.h[layer].mlp.c_proj.register_forward_pre_hook(hold)
    with torch.inference_mode():
        fed = torch.tensor([list(ids)])
        logp = model(fed).logits[0, :-1].double().log_softmax(-1)
        return -logp.gather(1, fed[0, 1:, None]).mean().item(), seen


def test_prompts_that_are_scored_tell_the_change_of_the_loss_on_them(lab: Lab) -> None:
    """Mean ablation of neurons on given texts, without a text being generated, beside the loss of the model's own."""
    ablate = {key: SIGMA[key] for key in ("site", "neurons")} | {"op": "mean"}
    plain = {"generation": {"tokens": 0}, "capture": {"positions": "all"}}
    asked = lab.experiment(ablate, **plain, survey={"neurons": "3, 40", "layers": "0, 2", "score": "prompts"})
    session = lab.session(asked)
    survey = session.survey()
    assert survey is not None
    assert survey.forced is not None
    assert not any(run.token_ids for run in session.runs)
    for place, (layer, neuron) in enumerate(zip(survey.layer.tolist(), survey.neuron.tolist(), strict=True)):
        untouched = [losses(lab, prompt.token_ids, layer, neuron, None) for prompt in session.prompts]
        mean = np.mean([value for _, seen in untouched for value in seen])
        np.testing.assert_allclose(survey.values[place], [mean])
        for text, (prompt, (before, _)) in enumerate(zip(session.prompts, untouched, strict=True)):
            after, _ = losses(lab, prompt.token_ids, layer, neuron, mean)
            assert survey.forced.logp[place, 0, text] == pytest.approx(before - after, rel=1e-5, abs=1e-9)
    assert replayed(session, lab).bit_equal
    opened = cell_experiment(session.spec, 2, 40, values_on_prompts(session, 2, 40))
    assert opened.interventions[0].values == pytest.approx(survey.values[-1].tolist())
    assert lab.session(opened, "opened").resolved[1][0] == pytest.approx(survey.values[-1].tolist())


def test_values_in_sigma_are_each_neurons_own(lab: Lab) -> None:
    survey = tables(lab, lab.experiment(SIGMA, survey={"neurons": "3, 40"}))
    for place, neuron in enumerate((3, 40)):
        alone = lab.session(lab.experiment({**SIGMA, "neurons": [neuron]}), f"alone-{neuron}")
        raw = [row[0] for row in alone.resolved[1:]]
        np.testing.assert_allclose(survey.values[place], np.array(raw)[:, 0], rtol=1e-6)
        np.testing.assert_allclose(survey.values[place], survey.mean[place] + np.array([-20, 30]) * survey.std[place])


def stop_in_survey(part: int, wishes: int, told: list[Progress] | None = None) -> dict[str, Any]:
    """Options of a run that is asked to stop when so many parts of its survey are finished; `told` is what it tells."""
    stop = StopSignal()

    def listen(progress: Progress) -> None:
        if told is not None:
            told.append(progress)
        if progress.stage == "survey" and progress.part == part:
            stop.level = wishes

    return {"listener": listen, "stop": stop}


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few neurons."""
    monkeypatch.setattr("srm_explorer.engine.runs.survey._WORK", {"cpu": 1})
    monkeypatch.setattr("srm_explorer.engine.runs.survey._LEAST_SETTINGS", 8)
    monkeypatch.setattr("srm_explorer.engine.runs.survey._BATCHES", 1)


ON_PROMPTS = {"capture": {"positions": "all"}, "survey": {"score": "prompts"}}


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("scores", [{}, ON_PROMPTS], ids=["generated", "prompts"])
def test_interrupted_again_and_again_it_is_what_it_is_undisturbed(lab: Lab, scores: dict[str, Any]) -> None:
    survey = {"neurons": "0..5", "layers": "0, 2", "then": "top:5", "vectors": "4, 5", **scores.get("survey", {})}
    asked = lab.experiment(SIGMA, **{**scores, "survey": survey})
    whole = tables(lab, asked, "whole")
    seen: list[int] = []
    for part, wishes in ((1, 1), (3, 2), (5, 1)):
        told: list[Progress] = []
        outcome = lab.run(asked, "cut", **stop_in_survey(part, wishes, told))
        assert outcome.status == "interrupted"
        assert outcome.session is not None
        found = load_session(outcome.path).survey()
        assert found is not None
        assert found.forced is not None
        seen.append(len(found.forced.cells) + (0 if found.free is None else len(found.free.cells)))
        live = LiveRun(lab.path("cut").with_suffix(".run"))
        live.poll()
        journal = JournalReader(lab.path("cut").with_suffix(".run"))
        journal.poll()
        assert survey_standing(journal) == found.standing == outcome.session.changed(surveyed=None).standing
        assert told[-1].neurons == found.standing
        assert live.session is not None
        assert same(live.session.survey(), found)
    assert seen == sorted(set(seen)), "each start goes on where the last one stopped"
    assert same(tables(lab, asked, "cut"), whole)


def same(first: SurveyTables | None, other: SurveyTables | None) -> bool:
    assert first is not None
    assert other is not None
    one, two = first.to_arrays(), other.to_arrays()
    return set(one) == set(two) and all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)


def test_texts_of_the_tokens_that_are_told_come_with_the_survey(lab: Lab) -> None:
    found = load_session(lab.run(lab.experiment(SIGMA, survey={"neurons": "0..2"})).path).survey()
    assert found is not None
    assert found.forced is not None
    lists = np.concatenate([found.forced.promoted.ravel(), found.forced.demoted.ravel()])
    assert set(found.forced.token_texts) == set(lists.tolist()) - {-1}
    tokenizer = load_tokenizer(str(lab.model))
    assert all(text == tokenizer.piece(token) for token, text in found.forced.token_texts.items())


def test_it_goes_on_with_those_that_moved_most_on_the_other_half(lab: Lab) -> None:
    session = lab.session(lab.experiment(SIGMA, survey={"neurons": "all", "then": "top:5"}))
    survey = session.survey()
    assert survey is not None
    assert survey.forced is not None
    assert survey.free is not None
    units = np.array(prompt_units(session.prompts))[survey.prompt]
    assert not set(units[survey.chose]) & set(units[~survey.chose])
    assert survey.chose.sum() == 2
    means = survey.forced.kl[:, :, survey.chose].mean(axis=(1, 2))
    assert set(survey.free.cells) == set(np.argsort(-means)[:5])
    assert survey.free.texts.tolist() == np.flatnonzero(~survey.chose).tolist()
    assert survey.free.tokens.shape == (5, 2, 2)


def test_tokens_are_told_of_texts_that_are_not_kept_back_and_that_nothing_was_chosen_on(lab: Lab) -> None:
    lab.prompts("held for later", "and this", name="kept")
    raw = {**SIGMA, "unit": "raw"}
    sets = {"sets": ["texts.txt", "kept.txt"], "confirm": ["kept.txt"]}
    session = lab.session(lab.experiment(raw, prompts=sets, survey={"neurons": "0..4", "then": "top:2"}))
    found = session.survey()
    assert found is not None
    told = [
        session.prompts[prompt]
        for prompt, chose in zip(found.prompt, found.chose, strict=True)
        if not chose and session.prompts_seen[prompt]
    ]
    assert 0 < len(told) < len(session.prompts) - 2
    lab.prompts(*(prompt.text for prompt in told), name="others")
    alone = tables(lab, lab.experiment(raw, prompts={"sets": ["others.txt"]}, survey={"neurons": "0..4"}), "alone")
    assert found.forced is not None
    assert alone.forced is not None
    assert (alone.forced.promoted >= 0).any()
    assert np.array_equal(found.forced.promoted, alone.forced.promoted)
    assert np.array_equal(found.forced.demoted, alone.forced.demoted)


def test_every_unit_counts_once_among_those_that_neurons_are_chosen_on() -> None:
    # Three prompts of one core make one unit; neuron 0 moves them alone, neuron 1 the other unit a little farther.
    cores = ("a", "a", "a", "b")
    prompts = [
        PromptRecord("s", f"text {at}", {"core_id": core}, (at + 1,), 0, f"{at:064x}") for at, core in enumerate(cores)
    ]
    number, measured = np.arange(4, dtype=np.int32), np.zeros(2)
    plan = Plan(
        layer=number[:2] * 0,
        neuron=number[:2],
        values=np.zeros((2, 1)),
        mean=measured,
        std=measured,
        prompt=number,
        sample=number * 0,
        chose=np.ones(4, np.bool_),
        forced=(),
        free=(),
        chosen=(),
        rows=1,
        together=1,
    )
    kl = np.array([[[0.9, 0.9, 0.9, 0.0]], [[0.0, 0.0, 0.0, 1.0]]], np.float32)
    assert most_moved(plan, kl, 1, prompts) == [1]


def test_the_neurons_that_write_most_can_be_asked_for(lab: Lab) -> None:
    everyone = tables(lab, lab.experiment(SIGMA, survey={"neurons": "all", "layers": "0, 2"}))
    top = tables(lab, lab.experiment(SIGMA, survey={"neurons": "top:6", "layers": "0, 2"}), "top")
    assert top.layer.tolist() == [0] * 6 + [2] * 6
    least = min(top.std)
    assert (everyone.std > least).sum() > 12, "not by sigma alone: by what it is written with, too"
    for layer, neuron, mean in zip(top.layer, top.neuron, top.mean, strict=True):
        assert mean == everyone.mean[everyone.place(int(layer), int(neuron))]


def test_a_norm_after_w_out_counts_where_those_that_write_most_are_asked_for(lab: Lab, tmp_path: Path) -> None:
    tool = load_module(TOOLS / "check_families.py")
    folder = tmp_path / "gemma2"
    tool.make_folder({one.name: one for one in tool.families()}["gemma2"], folder)
    model = {"name": str(folder), "dtype": "float32"}
    everyone = tables(lab, lab.experiment(SIGMA, model=model, survey={"neurons": "all"}))
    top = tables(lab, lab.experiment(SIGMA, model=model, survey={"neurons": "top:9"}), "top")
    weights = load_file(folder / "model.safetensors")
    gain = 1 + weights["model.layers.1.post_feedforward_layernorm.weight"]
    written = np.linalg.norm(weights["model.layers.1.mlp.down_proj.weight"] * gain[:, None], axis=0)
    assert top.neuron.tolist() == sorted(np.argsort(-everyone.std * written)[:9].tolist())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"survey": {"neurons": "64"}}, "out of range"),
        ({"survey": {"neurons": "all", "layers": "3"}}, "out of range"),
        ({"survey": {"neurons": "all"}, "controls": {"neurons": 2}}, "control of every other"),
        ({"survey": {"neurons": "all", "depth": "free", "then": "top:3"}}, "already"),
        ({"survey": {"neurons": "all", "vectors": "3"}}, "written texts"),
        ({"survey": {"neurons": "all", "then": "top:3"}, "prompts": {"limit": 1}}, "one unit alone"),
        (
            {"survey": {"neurons": "all"}, "generation": {"tokens": 0}, "capture": {"positions": "all"}},
            "scores generated tokens",
        ),
        (
            {
                "survey": {"neurons": "all", "score": "prompts", "then": "top:3"},
                "generation": {"tokens": 0},
                "capture": {"positions": "all"},
            },
            "writes generated tokens",
        ),
        ({"survey": {"score": "prompts"}}, "no neurons are surveyed"),
        ({"survey": {"neurons": "all", "score": "prompts"}}, "no position is generated"),
        ({"survey": {"neurons": "all", "score": "prompts", "depth": "free"}}, "nothing is scored"),
        (
            {
                "survey": {"neurons": "all", "score": "prompts"},
                "generation": {"mode": "sample", "samples": 2},
                "capture": {"positions": "all"},
            },
            "each is there once",
        ),
    ],
)
def test_what_no_survey_can_be_is_refused_before_anything_is_written(
    lab: Lab, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ExplorerError, match=what):
        lab.run(lab.experiment({**SIGMA, "unit": "raw"}, **changes))
    assert not lab.path().with_suffix(".run").exists()


def test_a_prompt_of_one_token_is_not_scored(lab: Lab) -> None:
    lab.prompts("first of two", "a")
    plain = {"generation": {"tokens": 0}, "capture": {"positions": "all"}}
    asked = lab.experiment(SIGMA, **plain, survey={"neurons": "3", "score": "prompts"})
    with pytest.raises(ExplorerError, match=r"1 of 2 prompts are one token.*the first of them prompt 2"):
        lab.run(asked)
    assert not lab.path().with_suffix(".run").exists()


def test_one_intervention_on_one_neuron_is_the_template(lab: Lab) -> None:
    every = {"survey": {"neurons": "all"}}
    head = {"site": "blocks.1.attn.hook_z", "heads": [1], "op": "zero"}
    for interventions in (
        [],
        [SIGMA, SIGMA],
        [{**SIGMA, "neurons": [1, 2]}],
        [{**SIGMA, "background": True, "values": [3]}],
        [head],
    ):
        with pytest.raises(ExplorerError, match="survey"):
            lab.experiment(*interventions, **every)


def replayed(session: Session, lab: Lab, **options: Any) -> Replay:
    from srm_explorer.engine.execution.replay import replay

    return replay(session, lab.folder / "out", **options)


@pytest.mark.usefixtures("cut_small")
def test_its_parts_are_replayed_as_they_were_laid_out_whole_or_not(lab: Lab) -> None:
    asked = lab.experiment(SIGMA, survey={"neurons": "0..5", "layers": "0, 2", "then": "top:5", "vectors": "4, 5"})
    for part, scored, written in ((1, 3, 0), (99, 12, 5)):
        lab.run(asked, rows=5, **stop_in_survey(part, 1))
        session = load_session(lab.path())
        told: list[Progress] = []
        found = replayed(session, lab, listener=told.append)
        assert found.survey is not None
        assert (found.survey.scored, found.survey.written) == (scored, written)
        assert (found.bit_equal, found.survey.differing, found.changed) == (True, (), ())
        parts = len(session.layout["survey"]["forced"]) + len(session.layout["survey"]["free"])
        assert (told[-1].part, told[-1].parts) == (parts, parts)
        assert told[-1].neurons == Standing(scored, scored, written, written)
    assert load_session(lab.path()).state == "finished"


@pytest.mark.usefixtures("cut_small")
def test_a_table_that_differs_is_told_with_its_neurons_and_by_how_much(lab: Lab) -> None:
    asked = lab.experiment(SIGMA, survey={"neurons": "0..5", "then": "top:2", "vectors": "0..5"})
    session = lab.session(asked)
    survey = session.survey()
    assert survey is not None
    arrays = {name: array.copy() for name, array in survey.to_arrays().items()}
    arrays["survey/forced/kl"][[1, 4], 0, 0] += np.float32(0.5)
    arrays["survey/forced/promoted"][3, 1, 0] += 1
    arrays["survey/free/text_hash"][1, 0, 1] += np.uint64(1)
    arrays[f"survey/free/vectors/{SIGMA['site']}"][0, 1, 0, 7] = np.nan
    vectors = {**load_session(lab.path()).vectors(), **arrays}
    other = save_session(session.changed(revision=0, surveyed=None), lab.path("b"), vectors=vectors).session
    found = replayed(other, lab)
    assert found.survey is not None
    assert (found.bit_equal, found.runs_equal) == (False, True)
    told = {table.table: (table.neurons, table.largest) for table in found.survey.differing}
    assert told.pop("kl") == (2, pytest.approx(0.5))
    assert told == {"promoted": (1, None), "text_hash": (1, None), f"vectors/{SIGMA['site']}": (1, np.inf)}


@pytest.mark.parametrize("tokens", [lambda ids: (*ids[:-1], 600), lambda ids: (*ids[:-1], -1), lambda ids: ids * 60])
def test_texts_that_the_model_cannot_be_fed_are_not_scored_again(
    lab: Lab, tokens: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> None:
    session = lab.session(lab.experiment(SIGMA, survey={"neurons": "0..1"}))
    runs = tuple(dataclasses.replace(run, token_ids=tokens(run.token_ids)) for run in session.runs)
    with pytest.raises(ExplorerError, match="cannot be fed to this model"):
        replayed(session.changed(runs=runs), lab)


@pytest.mark.usefixtures("cut_small")
def test_a_replay_of_a_survey_is_stopped_or_refused_as_one_of_runs_is(lab: Lab) -> None:
    session = lab.session(lab.experiment(SIGMA, survey={"neurons": "0..5"}))
    with pytest.raises(Stopped):
        replayed(session, lab, **stop_in_survey(1, 2))
    layout = {name: value for name, value in session.layout.items() if name != "survey"}
    found = replayed(session.changed(layout=layout), lab)
    assert found.survey is not None
    assert "shared a part" in found.survey.why_not
    assert (found.runs_equal, found.is_whole) == (True, False)
    with pytest.raises(ExplorerError, match="other neurons"):
        replayed(session.changed(layout={**layout, "survey": {"forced": [[5, 4]], "free": []}}), lab)


def test_a_pace_is_learned_of_a_survey_that_scores_enough_to_tell(lab: Lab) -> None:
    paces: list[float] = []
    for name, neurons in (("few", "0..3"), ("many", "all"), ("again", "0..3")):
        experiment = lab.experiment(SIGMA, survey={"neurons": neurons})
        tables(lab, experiment, name)
        paces.append(known_pace(experiment.model, Path()).scored)
    few, many, again = paces
    assert not few
    assert many > 0
    assert again == many, "few settings leave it as it is"


def test_parts_are_sized_by_the_work_of_a_model_and_its_layer() -> None:
    def reading(width: int, vocab: int, layers: int, layer: int) -> LayerReading:
        block = 12 * width * width
        none = np.zeros(0)
        sizes = {"vocab": vocab, "width": width, "whole": layers * block + width * vocab, "device": "cpu"}
        return LayerReading(layer, np.zeros(0, np.int64), none, none, none, above=(layers - 1 - layer) * block, **sizes)

    # Of GPT-2 Small's shape, 50 texts of 50 tokens: a neuron under four values at most times three, in the last layer.
    by_layer = [reading(768, 50257, 12, layer).settings(2500, 3000) for layer in range(12)]
    assert by_layer == sorted(by_layer)
    assert (by_layer[0], by_layer[-1]) == (2, 12)
    # Few texts: what ten seconds hold.
    assert reading(768, 50257, 12, 11).settings(400, 480) == 400_000_000 // (400 * 50257)
    assert 96 < reading(768, 50257, 12, 11).together(50, 96) < 150
    assert reading(768, 50257, 12, 11).together(500, 96) == 96
    assert reading(64, 1000, 5, 4).together(50, 96) == 6 * 96
