"""Sufficiency and necessity of what is patched: 1 where one neuron carries the answer, 0 elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.effects_patching import patching_tables
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.session.ledger import Ledger
from tests.engine.model.planted_neuron import ALIKE, LAYER, NEURON, SIGNS, write_planted_model

if TYPE_CHECKING:
    from srm_explorer.engine.analyses.effects_patching import PatchReadings
    from srm_explorer.engine.figures.table import TableFigure
    from srm_explorer.engine.model.load import LoadedModel
    from srm_explorer.engine.session import Session

    from ..conftest import Lab

MLP = f"blocks.{LAYER}.mlp.hook_post"
PATCH = {"site": MLP, "neurons": [NEURON], "op": "patch", "from": {"prompt": "pair"}}
STEMS = ("", "y", "yz", "zyy", "yyzz", "zzyzy", "zzzyyy", "yzyzyzy")


@pytest.fixture(scope="module")
def planted(random_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """One neuron of the planted model reads `x`; `w` is as long and read by none; positions change sizes alone."""
    import torch
    from transformers import GPT2LMHeadModel

    from srm_explorer.engine.model.load import load_model

    folder = tmp_path_factory.mktemp("planted")
    write_planted_model(folder, random_models)
    model: Any = GPT2LMHeadModel.from_pretrained(folder)
    (w,) = random_models.make_tokenizer(300)("w", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model.transformer.wte.weight[w] = torch.tensor(SIGNS[4])
        model.transformer.h[LAYER].mlp.c_proj.weight[ALIKE] = 0.0
        for place in range(32):
            model.transformer.wpe.weight[place] = 0.3 * place * torch.tensor(SIGNS[5])
    model.save_pretrained(folder)
    return load_model(ModelSpec(name=str(folder), device="cpu", dtype="float64"))


def pairs(lab: Lab, stems: tuple[str, ...] = STEMS, file: str = "pairs.csv", first: int = 0) -> None:
    listed = enumerate(stems, first)
    rows = [f"{stem}{end},{at},{role},{answer},k" for at, stem in listed for end, role, answer in ENDS]
    (lab.folder / file).write_text("\n".join(["prompt,pair,role,answer,same", *rows]) + "\n")


ENDS = (("x", "clean", "y"), ("w", "corrupt", "z"))


def run(lab: Lab, model: Any, *edits: dict[str, Any], name: str = "a", **changes: Any) -> Session:
    changes = {"prompts": {"sets": ["pairs.csv"], "prepend_bos": False}, **changes}
    spec = {"generation": {"tokens": 1}, "planes": []}
    capture = {"capture": {"sites": [f"blocks.{LAYER}.hook_resid_post"]}}
    return lab.session(lab.experiment(*edits, model={"name": model.name}, **spec, **capture, **changes), name)


def read(session: Session, model: LoadedModel, **how: Any) -> PatchReadings:
    from srm_explorer.engine.model_analyses.patching import patching

    return patching(session, model, **how)


def column(table: TableFigure, key: str) -> list[Any]:
    place = [column.key for column in table.columns].index(key)
    return [row[place] for row in table.rows]


@pytest.mark.parametrize("clean", [None, "role=clean"])
def test_the_planted_neuron_is_sufficient_and_necessary_and_another_is_neither(
    lab: Lab, planted: LoadedModel, clean: str | None
) -> None:
    pairs(lab)
    session = run(lab, planted, PATCH)
    found = read(session, planted, tokens="y,z", clean=clean)
    assert len(found.clean) == len(STEMS) * (1 if clean else 2)
    table, runs = patching_tables(session, found, resamples=2000)
    assert column(table, "done") == [
        "patched in (sufficiency)",
        "set to 0 (necessity)",
        "set to its mean (necessity)",
    ]
    share = column(table, "share")
    assert share[:2] == pytest.approx([1, 1], abs=1e-9)
    # The mean over all prompts is half of what the clean ones have: it leaves both prompts of a pair alike.
    assert share[2] == pytest.approx(1, abs=1e-9) if clean is None else 0.01 < share[2] < 0.9
    difference = column(table, "difference")[0]
    assert difference == pytest.approx(np.abs(found.clean - found.corrupt).mean())
    assert difference > 1
    assert column(table, "moved")[:2] == pytest.approx([difference] * 2)
    assert max(column(table, "p")) < 0.01
    low, high = column(table, "low")[0], column(table, "high")[0]
    assert 0 < low < difference < high
    assert len(runs.rows) == len(found.clean)
    assert column(runs, "share") == pytest.approx([1] * len(found.clean), abs=1e-9)
    (entry,) = Ledger(session).entries()
    assert (entry.test, entry.tests) == ("patching", 3)

    elsewhere = run(lab, planted, {**PATCH, "neurons": [NEURON + 1]}, name="elsewhere")
    table, _ = patching_tables(elsewhere, read(elsewhere, planted, tokens="y,z", clean=clean), resamples=2000)
    assert column(table, "share") == pytest.approx([0, 0, 0], abs=1e-9)
    assert column(table, "moved") == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("how", [{"tokens": "y,z"}, {"answer": "answer"}])
def test_pairs_kept_for_confirmation_are_in_no_reading(lab: Lab, planted: LoadedModel, how: dict[str, str]) -> None:
    pairs(lab, STEMS[:5])
    alone = read(run(lab, planted, PATCH), planted, **how)
    pairs(lab, STEMS[5:], "kept.csv", first=5)
    prompts = {"sets": ["pairs.csv", "kept.csv"], "prepend_bos": False, "confirm": ["kept.csv"]}
    session = run(lab, planted, PATCH, name="kept", prompts=prompts)
    found = read(session, planted, **how)
    for name in ("prompt", "source", "unit", "clean", "corrupt", "patched"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.ablated["mean"], alone.ablated["mean"], rtol=1e-9)
    assert found.remark == alone.remark


@pytest.mark.parametrize(("end", "before"), [("=", ""), ("(", ""), (" ", ""), ("y", " "), ("", " ")])
def test_a_space_goes_before_an_answer_unless_the_prompt_has_one_or_needs_none(
    lab: Lab, tiny_gpt2: LoadedModel, end: str, before: str
) -> None:
    rows = [
        f'"{stem} {at}{end}",{at},{answer}' for at in range(5) for stem, answer in (("the man", "q"), ("it is", "w"))
    ]
    (lab.folder / "pairs.csv").write_text("\n".join(["prompt,pair,answer", *rows]) + "\n")
    session = run(lab, tiny_gpt2, {**PATCH, "neurons": [3], "positions": "last"})
    assert {prompt.text[-1:] for prompt in session.prompts} == ({end} if end else set("01234"))
    by_answer = read(session, tiny_gpt2, answer="answer")
    by_token = read(session, tiny_gpt2, tokens=f"{before}q,{before}w")
    is_first = np.array([session.prompts[prompt].factors["answer"] == "q" for prompt in by_token.source])
    np.testing.assert_allclose(by_answer.clean, np.where(is_first, 1, -1) * by_token.clean)


def test_each_prompt_s_own_answer_gives_the_same_as_its_token(lab: Lab, planted: LoadedModel) -> None:
    rows = [f"{stem}({end}=,{at},{answer}" for at, stem in enumerate(STEMS) for end, _, answer in ENDS]
    (lab.folder / "pairs.csv").write_text("\n".join(["prompt,pair,answer", *rows]) + "\n")
    session = run(lab, planted, PATCH)
    by_answer = read(session, planted, answer="answer")
    by_token = read(session, planted, tokens="y,z")
    into_w = np.flatnonzero(by_token.source % 2 == 0)
    for mine, other in (
        (by_answer.clean, by_token.clean),
        (by_answer.corrupt, by_token.corrupt),
        (by_answer.patched, by_token.patched),
    ):
        np.testing.assert_allclose(mine[into_w], other[into_w])
        np.testing.assert_allclose(np.delete(mine, into_w), -np.delete(other, into_w))


def test_readings_are_those_of_a_plain_forward_with_the_other_s_values(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    import torch

    (lab.folder / "pairs.csv").write_text(
        "prompt,pair\nThe man opened,a\nThe dog opened it,a\nShe turned,b\nIf all,b\n"
    )
    patch = {**PATCH, "neurons": [3, 8], "positions": [0, -1]}
    low = {"site": "blocks.0.mlp.hook_post", "neurons": [5], "op": "clamp", "values": [-6, 6]}
    session = run(lab, tiny_gpt2, patch)
    found = read(session, tiny_gpt2, tokens=" a, b")
    ids = [tiny_gpt2.tokenizer.token_id(token) for token in (" a", " b")]
    hf = tiny_gpt2.bridge.original_model
    down = hf.transformer.h[LAYER].mlp.c_proj.original_component

    def forward(prompt: tuple[int, ...], at: list[int], written: np.ndarray | None) -> tuple[float, np.ndarray]:
        seen: list[np.ndarray] = []

        def change(_: Any, inputs: Any) -> Any:
            if written is not None:
                for place, values in zip(at, written, strict=True):
                    inputs[0][0, place, [3, 8]] = torch.tensor(values)
            seen.append(inputs[0][0].detach().numpy().copy())
            return inputs

        hook = down.register_forward_pre_hook(change)
        with torch.inference_mode():
            logits = hf(input_ids=torch.tensor([prompt])).logits[0, -1]
        hook.remove()
        return float(logits[ids[0]] - logits[ids[1]]), seen[0][at][:, [3, 8]]

    prompts = [prompt.token_ids for prompt in session.prompts]
    plain = [forward(prompt, [0, len(prompt) - 1], None) for prompt in prompts]
    mean = np.mean([held.mean(axis=0) for _, held in plain], axis=0)
    assert list(found.source) == [1, 0, 3, 2]
    for row, (into, source) in enumerate(zip(found.prompt, found.source, strict=True)):
        at, source_at = [0, len(prompts[into]) - 1], [0, len(prompts[source]) - 1]
        expected = {
            "clean": plain[source][0],
            "corrupt": plain[into][0],
            "patched": forward(prompts[into], at, plain[source][1])[0],
            "zero": forward(prompts[source], source_at, np.zeros((2, 2)))[0],
            "mean": forward(prompts[source], source_at, np.tile(mean, (2, 1)))[0],
        }
        seen = {"clean": found.clean, "corrupt": found.corrupt, "patched": found.patched, **found.ablated}
        assert {name: values[row] for name, values in seen.items()} == pytest.approx(expected, abs=1e-9)

    # From another condition of the same prompt: the clamp's effect, restored through the patched neurons alone.
    other = run(lab, tiny_gpt2, low, {**patch, "from": {"condition": "+6"}}, name="value")
    found = read(other, tiny_gpt2, tokens=" a, b")
    assert list(found.source) == list(found.prompt) == [0, 1, 2, 3]
    assert found.oriented.all()
    assert not found.both.any()
    np.testing.assert_allclose(found.corrupt, [difference for difference, _ in plain], atol=1e-9)
    assert np.abs(found.clean - found.corrupt).min() > 1e-6
    table, _ = patching_tables(other, found, resamples=1000)
    assert {row[0] for row in table.rows} == {"patch from +6"}
    assert "4 units: too few for an interval" in table.notes[0]
    with pytest.raises(ExplorerError, match="between the prompts of a pair"):
        read(other, tiny_gpt2, answer="pair")


def test_a_direction_that_carries_the_answer_is_projected_out(lab: Lab, planted: LoadedModel) -> None:
    from safetensors.numpy import save_file

    pairs(lab)
    save_file({"answer": (SIGNS[2] / 8**0.5).astype(np.float32)}, lab.folder / "v.safetensors")
    way = {"site": f"blocks.{LAYER}.hook_resid_post", "direction": "v.safetensors#answer", "op": "patch"}
    session = run(lab, planted, {**way, "from": {"prompt": "pair"}})
    table, _ = patching_tables(session, read(session, planted, tokens="y,z"), resamples=1000)
    assert column(table, "done")[1] == "projected out (necessity)"
    # The mean that the neuron writes besides is subtracted by the norm; what is left beside the answer is alike.
    assert column(table, "share") == pytest.approx([1, 1, 1], abs=1e-3)


def test_pairs_that_share_prompts_are_one_unit_and_one_pair_has_no_interval(lab: Lab, planted: LoadedModel) -> None:
    pairs(lab, ("y", "y", "y"))
    session = run(lab, planted, PATCH)
    found = read(session, planted, tokens="y,z")
    assert len(set(found.unit)) == 1
    table, _ = patching_tables(session, found, resamples=1000)
    assert table.notes[0].startswith("1 unit: too few for an interval or a p")
    assert table.notes[1] == "6 prompts are the same as another: pairs that share one are one unit"
    assert column(table, "p") == [None] * 3
    assert column(table, "share") == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, "no difference of logits is named"),
        ({"tokens": "y,z", "answer": "answer"}, "both tokens and an answer"),
        ({"tokens": "y"}, "1 token makes no difference of logits"),
        ({"tokens": "a,b"}, "nothing can be restored"),
        ({"answer": "anser"}, "did you mean 'answer'"),
        ({"answer": "same"}, "have the same answer"),
        ({"answer": "pair"}, "answer, prompt 1 of pairs: ' 0' is not one token"),
        ({"tokens": "y,z", "clean": "role"}, "write FACTOR=LEVEL"),
        ({"tokens": "y,z", "clean": "role=clear"}, "has no level 'clear'"),
        ({"tokens": "y,z", "top": 3}, "has no setting 'top'"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_one_line(lab: Lab, planted: LoadedModel, how: dict[str, Any], told: str) -> None:
    from srm_explorer.engine.model_analyses.patching import patching_study
    from srm_explorer.engine.runs.progress import Meter, StopSignal

    pairs(lab, ("y", "zy"))
    session = run(lab, planted, PATCH)
    with pytest.raises(ExplorerError) as refused:
        patching_study(session, {"resamples": 1000, **how}, planted, Meter([], StopSignal()))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_session_without_a_patch_says_how_to_make_one(lab: Lab) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    session = lab.session(lab.experiment({"site": MLP, "neurons": [3], "op": "zero"}))
    with pytest.raises(ExplorerError, match="this session patches nothing; add an intervention with op = 'patch'"):
        run_model_study("patching", {"tokens": " a, b"}, session=session.path, base=lab.folder)


def test_the_study_by_name(lab: Lab, planted: LoadedModel) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    pairs(lab)
    session = run(lab, planted, PATCH)
    arguments = {"tokens": ["y", "z"], "answer": "", "clean": "", "resamples": 1000}
    findings = run_model_study("patching", arguments, session=session.path, base=Path())
    assert [table.name for table in tables_in(findings)] == ["patching", "patched"]
    assert findings["difference"] == "'y' - 'z'"
