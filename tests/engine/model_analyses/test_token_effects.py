"""What clamped neurons do to the logits of chosen tokens, beside plain Hugging Face and arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.analyses.effects_tokens import contrasts_of, token_list, token_tables
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.runs.progress import Meter, Stopped, StopSignal
from srm_explorer.engine.session.ledger import Ledger
from tests.conftest import TOOLS, load_module

if TYPE_CHECKING:
    from srm_explorer.engine.analyses.effects_tokens import TokenReadings
    from srm_explorer.engine.figures.table import TableFigure
    from srm_explorer.engine.model.load import LoadedModel
    from srm_explorer.engine.session import Session

    from ..conftest import Lab

TOKENS = " a, b,e"
CLAMP = {"site": "blocks.2.mlp.hook_post", "neurons": [3, 8], "op": "clamp", "values": [-4, 4]}


@pytest.fixture(scope="module")
def families() -> ModuleType:
    return load_module(TOOLS / "check_families.py")


def read(session: Session, model: LoadedModel, tokens: Any = TOKENS, **how: Any) -> TokenReadings:
    from srm_explorer.engine.model_analyses.token_logits import token_effects

    return token_effects(session, model, tokens, **how)


def column(table: TableFigure, key: str) -> list[Any]:
    place = [column.key for column in table.columns].index(key)
    return [row[place] for row in table.rows]


@pytest.mark.parametrize("over", ["first", "text"])
def test_logits_are_those_of_a_plain_forward_with_the_neuron_clamped(
    lab: Lab, tiny_gpt2: LoadedModel, over: str
) -> None:
    import torch

    session = lab.session(lab.experiment({**CLAMP, "site": "blocks.1.mlp.hook_post"}))
    found = read(session, tiny_gpt2, over=over)
    ids = [tiny_gpt2.tokenizer.token_id(token) for token in found.tokens]
    baseline = {run.prompt: run for run in session.runs if run.condition == 0}
    mlp = tiny_gpt2.bridge.original_model.transformer.h[1].mlp.c_proj
    assert sorted(found.runs) == [run.index for run in session.runs if run.condition]
    for row, index in enumerate(found.runs):
        run = next(run for run in session.runs if run.index == index)
        prompt, value = session.prompts[run.prompt].token_ids, session.conditions[run.condition].value

        def clamp(module: Any, inputs: Any, value: float = value or 0.0) -> Any:
            inputs[0][..., [3, 8]] = value
            return inputs

        text = baseline[run.prompt].token_ids if over == "text" else ()
        for clamped, kept in ((False, found.before[row]), (True, found.after[row])):
            hook = mlp.original_component.register_forward_pre_hook(clamp) if clamped else None
            with torch.inference_mode():
                logits = tiny_gpt2.bridge.original_model(input_ids=torch.tensor([[*prompt, *text]])).logits[0]
            if hook is not None:
                hook.remove()
            logits = logits[len(prompt) - 1 : len(prompt) - 1 + max(1, len(text))]
            p = logits.softmax(dim=-1)[:, ids].numpy()
            expected = np.stack([logits[:, ids].numpy(), np.log(p / (1 - p)), p]).mean(axis=1)
            np.testing.assert_allclose(kept, expected, atol=1e-8)


FAMILIES = {
    "gpt2": (True, "a LayerNorm, blocks one after the other"),
    "llama": (False, "an RMSNorm, which computes in float32"),
    "gpt_neox": (True, "attention and MLP side by side"),
    "granite": (False, "what the block adds is scaled, and so are the logits"),
    "olmo": (False, "a LayerNorm without a gain, in float32"),
    "gemma3_text": (False, "a norm after W_out, whose gain has an offset"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_in_the_last_layer_the_attribution_is_exact(families: ModuleType, lab: Lab, tmp_path: Path, name: str) -> None:
    from srm_explorer.engine.model.load import load_model

    folder, wide = tmp_path / "model", FAMILIES[name][0]
    families.make_folder({one.name: one for one in families.families()}[name], folder)
    model = load_model(ModelSpec(name=str(folder), device="cpu", dtype="float64"))
    last = model.shape.n_layers - 1
    edit = {**CLAMP, "site": f"blocks.{last}.mlp.hook_post"}
    spec = {"model": {"name": str(folder)}, "capture": {"sites": [f"blocks.{last}.hook_resid_post"]}, "planes": []}
    session = lab.session(lab.experiment(edit, **spec))
    found = read(session, model, over="text")
    assert found.parts is not None, found.without_parts
    direct, norm, later = np.moveaxis(found.parts, 1, 0)
    observed = (found.after - found.before)[:, 0]
    size = np.abs(observed).max()
    assert size > 1e-3
    np.testing.assert_allclose(later, 0, atol=(1e-12 if wide else 1e-6) * max(1.0, size))
    np.testing.assert_allclose(direct + norm, observed, atol=(1e-10 if wide else 1e-5) * max(1.0, size))
    assert np.abs(direct).max() > 0.1 * size


@pytest.mark.parametrize("place", ["2.hook_resid_post", "1.hook_resid_post", "2.hook_resid_mid"])
def test_what_is_changed_in_the_residual_stream_is_attributed_as_a_forward_pass_has_it(
    lab: Lab, tiny_gpt2: LoadedModel, place: str
) -> None:
    """By hand on plain Hugging Face's last stream: the steered vector over the norm's division, times W_U."""
    import torch

    up, other = np.random.default_rng(2).normal(size=(2, tiny_gpt2.shape.d_model)).astype(np.float32)
    save_file({"up": up, "other": other}, lab.folder / "d.safetensors")
    edit = {"site": f"blocks.{place}", "direction": "d.safetensors#up", "op": "steer", "values": [-4, 7]}
    session = lab.session(lab.experiment(edit))
    found = read(session, tiny_gpt2)
    assert found.parts is not None, found.without_parts
    observed = (found.after - found.before)[:, 0]
    direct, later = found.parts[:, 0], found.parts[:, 2]
    np.testing.assert_allclose(found.parts.sum(axis=1), observed, atol=1e-9)
    if place != "2.hook_resid_post":
        assert np.abs(later).max() > 0.01 * np.abs(observed).max()
        return
    np.testing.assert_allclose(later, 0, atol=1e-9)
    hf = tiny_gpt2.bridge.original_model
    state = {name.replace("_original_component.", ""): one.double().numpy() for name, one in hf.state_dict().items()}
    ends = ("ln_f.weight", "wte.weight")
    gain, unembed = (next(one for name, one in state.items() if name.endswith(end)) for end in ends)
    ids = [tiny_gpt2.tokenizer.token_id(token) for token in found.tokens]
    unit = up / np.linalg.norm(up.astype(np.float64))
    seen: list[Any] = []
    hook = hf.transformer.ln_f.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, -1].numpy().copy()))
    for at, index in enumerate(found.runs):
        run = next(run for run in session.runs if run.index == index)
        with torch.inference_mode():
            hf(input_ids=torch.tensor([session.prompts[run.prompt].token_ids]))
        stream = seen.pop()
        both = [stream + value * unit for value in (0.0, session.conditions[run.condition].value or 0.0)]
        own = [(one @ unit) * (unit - unit.mean()) * gain / np.sqrt(one.var() + 1e-5) for one in both]
        np.testing.assert_allclose(direct[at], (own[1] - own[0]) @ unembed[ids].T, atol=1e-8)
    hook.remove()


def test_coordinates_of_the_residual_stream_are_attributed_like_directions(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    session = lab.session(lab.experiment({**CLAMP, "site": "blocks.2.hook_resid_post"}))
    found = read(session, tiny_gpt2, over="text")
    assert found.parts is not None, found.without_parts
    np.testing.assert_allclose(found.parts[:, :2].sum(axis=1), (found.after - found.before)[:, 0], atol=1e-9)


def test_below_the_last_layer_later_layers_have_their_say_and_the_parts_add_up(
    lab: Lab, tiny_gpt2: LoadedModel
) -> None:
    session = lab.session(lab.experiment({**CLAMP, "site": "blocks.0.mlp.hook_post"}))
    found = read(session, tiny_gpt2)
    assert found.parts is not None
    observed = (found.after - found.before)[:, 0]
    np.testing.assert_allclose(found.parts.sum(axis=1), observed, atol=1e-9)
    assert np.abs(found.parts[:, 2]).max() > 0.01 * np.abs(observed).max()


def test_what_a_neuron_adds_is_what_is_calculated_by_hand(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    """On plain Hugging Face alone: its hidden states, its weights."""
    import torch

    session = lab.session(lab.experiment({**CLAMP, "neurons": [3]}))
    found = read(session, tiny_gpt2)
    assert found.parts is not None
    hf = tiny_gpt2.bridge.original_model
    state = {name: value.double().numpy() for name, value in hf.state_dict().items()}

    def named(ending: str) -> np.ndarray:
        return next(value for name, value in state.items() if name.replace("_original_component.", "").endswith(ending))

    row = named("h.2.mlp.c_proj.weight")[3]
    ids = [tiny_gpt2.tokenizer.token_id(token) for token in found.tokens]
    adds = ((row - row.mean()) * named("ln_f.weight")) @ named("wte.weight")[ids].T
    seen: list[Any] = []
    before = hf.transformer.h[2].mlp.c_proj.original_component.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].clone())
    )
    stream = hf.transformer.ln_f.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    for at, index in enumerate(found.runs):
        run = next(run for run in session.runs if run.index == index)
        seen.clear()
        with torch.inference_mode():
            hf(input_ids=torch.tensor([session.prompts[run.prompt].token_ids]))
        activation, residual = seen[0][0, -1, 3].item(), seen[1][0, -1].numpy()
        value = session.conditions[run.condition].value or 0.0
        sizes = [np.sqrt(r.var() + 1e-5) for r in (residual, residual + (value - activation) * row)]
        np.testing.assert_allclose(found.parts[at, 0], (value / sizes[1] - activation / sizes[0]) * adds, atol=1e-8)
    before.remove()
    stream.remove()


@pytest.mark.parametrize(
    ("name", "edit", "told"),
    [
        ("opt (350m)", {}, "more than a norm lies between"),
        (
            "opt (350m)",
            {"site": "blocks.0.hook_resid_post", "neurons": [3]},
            "layer 1 does more to the residual stream",
        ),
        ("gpt2", {"site": "blocks.1.hook_attn_out", "neurons": [3]}, "changes neither neurons of an MLP nor"),
    ],
)
def test_what_cannot_be_attributed_says_why_and_is_observed_all_the_same(
    families: ModuleType, lab: Lab, tmp_path: Path, name: str, edit: dict[str, Any], told: str
) -> None:
    from srm_explorer.engine.model.load import load_model

    folder = tmp_path / "model"
    families.make_folder({one.name: one for one in families.families()}[name], folder)
    model = load_model(ModelSpec(name=str(folder), device="cpu", dtype="float32"))
    spec = {
        "model": {"name": str(folder), "dtype": "float32"},
        "capture": {"sites": ["blocks.1.hook_resid_post"]},
        "planes": [],
    }
    session = lab.session(lab.experiment({**CLAMP, "neurons": [3], **edit}, **spec))
    found = read(session, model)
    assert found.parts is None
    assert told in found.without_parts
    assert np.abs(found.after - found.before).max() > 0
    difference, _, direct, _ = token_tables(session, found, resamples=1000)
    assert difference.rows
    assert not direct.rows
    assert told in direct.notes[0]


def test_tables_hold_unit_means_and_go_into_the_ledger(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    lab.prompts("The man", "The dog", "She turned", "If all", "Two", "A cat", name="six")
    session = lab.session(lab.experiment(CLAMP, prompts={"sets": ["six.txt"]}))
    found = read(session, tiny_gpt2)
    difference, odds, direct, prompts = token_tables(session, found, resamples=2000)
    names, weights = contrasts_of(found.tokens)
    assert names == ("' a' - ' b'", "' a' - 'e'")
    change = ((found.after - found.before)[:, 0] @ weights.T)[found.condition == 1]
    assert column(difference, "change")[:2] == pytest.approx(change.mean(axis=0))
    assert column(difference, "units")[:2] == [6, 6]
    low, high = column(difference, "low")[0], column(difference, "high")[0]
    assert low < change.mean(axis=0)[0] < high
    assert len(difference.rows) == 4
    assert len(odds.rows) == 6
    assert column(direct, "later") == pytest.approx([0] * 4, abs=1e-9)
    by_parts = np.array(column(direct, "direct")) + np.array(column(direct, "norm"))
    np.testing.assert_allclose(by_parts, column(direct, "observed"), atol=1e-9)
    assert len(prompts.rows) == len(prompts.runs) == 24
    (first, second) = Ledger(session).entries()
    assert {first.test, second.test} == {"logit difference", "log-odds"}
    assert first.tests + second.tests == 10


def test_few_units_late_positions_and_one_token_are_said(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    lab.prompts("The man", name="one")
    late = {**CLAMP, "positions": "generated"}
    session = lab.session(lab.experiment(late, prompts={"sets": ["one.txt"]}))
    difference, *_ = token_tables(session, read(session, tiny_gpt2, " a"), resamples=1000)
    assert difference.notes[0].startswith("0 of 1 units change at all: what is changed at generated positions")
    assert any("1 unit: too few for an interval" in note for note in difference.notes)
    assert any("one logit alone" in note for note in difference.notes)
    assert column(difference, "p") == [None, None]


def test_copies_of_a_prompt_are_one_unit(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    lab.prompts(*["The man"] * 6, "Two", name="copies")
    session = lab.session(lab.experiment(CLAMP, prompts={"sets": ["copies.txt"]}))
    difference, *_ = token_tables(session, read(session, tiny_gpt2, " a, b"), resamples=1000)
    assert column(difference, "units") == [2, 2]
    assert difference.notes[0].startswith("2 units: too few")
    assert sum(note.startswith("6 of 7 prompts are the same as another") for note in difference.notes) == 1


def test_samples_of_a_prompt_are_read_once(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    sampled = {"mode": "sample", "samples": 3, "tokens": 2}
    session = lab.session(lab.experiment(CLAMP, generation=sampled))
    assert len(read(session, tiny_gpt2).runs) == 2 * len(session.prompts)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (" yes,no", (" yes", "no")),
        ("a b, c ", ("a b", " c ")),
        ('",", x', (",", " x")),
        ('" ""q""",y', (' "q"', "y")),
        ("5,1e3", ("5", "1e3")),
    ],
)
def test_commas_part_tokens_and_spaces_count(text: str, tokens: tuple[str, ...]) -> None:
    assert token_list(text) == tokens


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ("", "no token is named"),
        (" a,", "a token is empty"),
        (" a, a", "' a' is named twice"),
        ('" a', "a double quote is not closed"),
        (" a, zebra", "' zebra' is not one token of this model but"),
        (",".join("abcdefghijklm"), "13 tokens are named"),
    ],
)
def test_what_is_no_list_of_tokens_is_one_line(lab: Lab, tiny_gpt2: LoadedModel, tokens: str, told: str) -> None:
    from srm_explorer.engine.model_analyses.token_logits import token_ids

    with pytest.raises(ExplorerError, match="tokens") as refused:
        token_ids(tiny_gpt2, tokens)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_token_is_named_by_its_text_behind_others_whatever_the_tokenizer_puts_before(tmp_path: Path) -> None:
    """As tokenizers of Llama 2 do, which begin every text with a space of their own."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from srm_explorer.engine.model.tokenizer import Tokenizer

    words = ["<unk>", "▁yes", "yes", "▁", "a", "▁a", ".", "▁.", "no"]
    backend = Backend(models.Unigram([(word, -float(len(words) - at)) for at, word in enumerate(words)], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), frozenset())
    assert [tokenizer.token_id(text) for text in (" yes", "yes")] == [1, 2]
    with pytest.raises(ExplorerError, match="' no' is not one token") as refused:
        tokenizer.token_id(" no")
    assert refused.value.remedy == "'no' is one token"


def test_the_study_stops_where_that_is_wished(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    session = lab.session(lab.experiment(CLAMP))
    stop = StopSignal()
    stop.ask()
    with pytest.raises(Stopped):
        read(session, tiny_gpt2, rows=2, meter=Meter([], stop))


def test_the_study_by_name(lab: Lab) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    session = lab.session(lab.experiment(CLAMP))
    study: Callable[..., dict[str, Any]] = lambda **arguments: run_model_study(  # noqa: E731
        "tokens", arguments, session=session.path, base=lab.folder
    )
    findings = study(tokens=[" a", " b"], over="", resamples=1000)
    assert [table.name for table in tables_in(findings)] == ["difference", "odds", "direct", "prompts"]
    for arguments, told in (({}, "no token is named"), ({"tokens": " a", "over": "all"}, "over is 'all'")):
        with pytest.raises(ExplorerError, match=told):
            study(**arguments)
