"""Models whose layers, or some of them, are mixtures of experts: there `mlp.hook_post` names the block's output."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    JetMoeConfig,
    JetMoeForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, ModelSpec, check_against, misfits
from srm_explorer.engine.model.activations import ReadText, neuron_usage
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.selftest import run_alone, self_test
from srm_explorer.engine.worker.models import _description

SIZES: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 599,
    "eos_token_id": 599,
    "pad_token_id": None,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
DENSE_FIRST: dict[str, Any] = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 48}
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
NARROW: dict[str, Any] = {"num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1}

MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {
    "mixtral": (lambda: MixtralForCausalLM(MixtralConfig(**SIZES, **LOCAL)), (), 64),
    "olmoe": (lambda: OlmoeForCausalLM(OlmoeConfig(**SIZES, **EXPERTS)), (), 64),
    "granite": (lambda: GraniteMoeForCausalLM(GraniteMoeConfig(**SIZES, **LOCAL)), (), 64),
    "gpt-oss": (lambda: GptOssForCausalLM(GptOssConfig(**SIZES, **LOCAL, head_dim=8)), (), 64),
    "qwen2-moe": (
        lambda: Qwen2MoeForCausalLM(Qwen2MoeConfig(**SIZES, **EXPERTS, **DENSE_FIRST, mlp_only_layers=[0])),
        (0,),
        64,
    ),
    "qwen3-moe": (
        lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **EXPERTS, moe_intermediate_size=24)),
        (),
        64,
    ),
    "deepseek": (lambda: DeepseekV3ForCausalLM(DeepseekV3Config(**{**SIZES, **LATENT})), (0,), 64),
    "jetmoe": (
        lambda: JetMoeForCausalLM(
            JetMoeConfig(
                **{name: size for name, size in SIZES.items() if name != "num_attention_heads"}, **LOCAL, kv_channels=8
            )
        ),
        (),
        64,
    ),
    "llama4": (
        lambda: Llama4ForCausalLM(
            Llama4TextConfig(**SIZES, **LOCAL, head_dim=8, interleave_moe_layer_step=2, intermediate_size_mlp=48)
        ),
        (0, 2),
        48,
    ),
    "opt": (lambda: OPTForCausalLM(OPTConfig(**{**SIZES, **NARROW})), (0, 1, 2), 48),
}
"""How to make each, its layers with a plain MLP, and how many neurons that has."""

Made = tuple[LoadedModel, tuple[int, ...]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # matrices this small only lose by being shared out


@pytest.fixture(scope="module")
def folder_of(tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            torch.manual_seed(0)
            model = MODELS[name][0]()
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    # Routers and experts that tell tokens apart; biases as trained ones have them.
                    if "experts" in key or "gate" in key or "router" in key or "block_sparse_moe" in key:
                        parameter.normal_(0, 0.3)
            model.save_pretrained(folders[name])
            for path in tiny_gpt2_folder.glob("tokenizer*"):
                shutil.copy(path, folders[name])
        return folders[name]

    return write


@pytest.fixture(scope="module", params=list(MODELS))
def made(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> Made:
    return load_model(ModelSpec(name=str(folder_of(request.param)), device="cpu")), MODELS[request.param][1]


def post(layer: int) -> str:
    return f"blocks.{layer}.mlp.hook_post"


def held_at(model: LoadedModel, site: str) -> torch.Size:
    seen: list[torch.Size] = []

    def look(activation: torch.Tensor, hook: object) -> None:
        seen.append(activation.shape)

    with torch.inference_mode(), model.bridge.hooks(fwd_hooks=[(site, look)]):
        model.bridge.original_model(input_ids=torch.tensor([[1, 2, 3]]))
    return seen[0]


def experiment(model: LoadedModel, edited: str, captured: str) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": model.name, "device": "cpu"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": edited, "neurons": [3], "op": "clamp", "values": [1.0, 2.0]}],
            "generation": {"tokens": 2},
            "capture": {"sites": [captured]},
            "planes": [{"site": captured, "a": 3, "b": 8}],
        }
    )


def test_neurons_are_counted_where_there_are_any(made: Made, request: pytest.FixtureRequest) -> None:
    model, plain = made
    assert model.shape.neuron_layers == plain
    for layer in plain:
        assert held_at(model, post(layer))[-1] == model.shape.d_mlp == MODELS[request.node.callspec.params["made"]][2]


def test_edits_and_captures_are_refused_at_the_other_layers_alone(made: Made) -> None:
    model, plain = made
    for layer in range(3):
        for edits, capture in (
            ((Edit(post(layer), "clamp", "all", (0,), (3.0,)),), "blocks.2.hook_resid_post"),
            ((), post(layer)),
        ):
            rows, captures = [Row((1, 2, 3), edits)], [Capture(capture, "mean", "prompt")]
            if layer in plain:
                decode(model, rows, Generation(0), captures)
                continue
            with pytest.raises(ExplorerError, match=r"holds no neurons.*; choose .*hook_resid_post") as caught:
                decode(model, rows, Generation(0), captures)
            line = str(caught.value)
            assert "\n" not in line
            assert post(layer) in line
            assert ("choose layer 0" in line) == bool(plain)


def test_an_experiment_is_refused_by_its_field(made: Made) -> None:
    model, plain = made
    stream = "blocks.1.hook_resid_post"
    check_against(experiment(model, stream, stream), model.shape)
    for layer in range(3):
        told = [one.where for one in misfits(experiment(model, post(layer), post(layer)), model.shape)]
        assert told == ([] if layer in plain else ["interventions[0].site", "capture.sites[0]"])


def test_the_worker_tells_the_form_the_sites_that_hold_neurons(made: Made) -> None:
    model, plain = made
    told = _description(model)
    assert [layer for layer in range(3) if post(layer) in told.sites] == list(plain)
    assert told.shape == model.shape
    assert {f"blocks.{layer}.hook_resid_post" for layer in range(3)} <= set(told.sites)


def test_the_self_test_edits_what_there_is(made: Made) -> None:
    model, _ = made
    found = self_test(model)
    assert found.clamped < 1e-6
    assert found.fired > 0


def test_usage_is_measured_where_there_are_neurons(made: Made) -> None:
    model, plain = made
    texts = [ReadText((1, 2, 3, 4))]
    if plain:
        assert tuple(neuron_usage(model, texts)) == plain
    else:
        with pytest.raises(ExplorerError, match="holds no neurons"):
            neuron_usage(model, texts)


def test_plain_models_have_neurons_everywhere(tiny_gpt2: LoadedModel, tiny_llama: LoadedModel) -> None:
    for model in (tiny_gpt2, tiny_llama):
        assert model.shape.mlp_widths == ()
        assert model.shape.d_mlp == model.bridge.cfg.d_mlp == 64


REACHED = [name for name in MODELS if name not in ("opt", "jetmoe")]
PROMPTS = ((1, 2, 3), (5, 6, 7, 8, 9, 10, 11))


PRECISIONS = [*((name, "float64") for name in REACHED), ("mixtral", "float32"), ("gpt-oss", "float32")]


@pytest.fixture(scope="module", params=PRECISIONS)
def mixture(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> LoadedModel:
    name, dtype = request.param
    return load_model(ModelSpec(name=str(folder_of(name)), device="cpu", dtype=dtype))


def last_mixture(model: LoadedModel) -> int:
    return max(model.experts)


def neurons_at(layer: int, expert: int) -> str:
    return f"blocks.{layer}.mlp.experts.{expert}.hook_post"


def tolerance(model: LoadedModel) -> float:
    return 1e-10 if model.dtype == torch.float64 else 2e-5


def by_token(model: LoadedModel, sites: list[str], row: Row) -> list[np.ndarray]:
    """What sites hold at every position of a prompt, zeros where it is not sent to an expert."""
    captures = [Capture(site, "tokens", "all", skips_unrouted=False) for site in sites]
    return list(decode(model, [row], Generation(0), captures).rows[0].captured)


def test_what_experts_pass_on_and_their_weights_make_up_what_the_eager_loop_computes(mixture: LoadedModel) -> None:
    model, layer = mixture, last_mixture(mixture)
    module, number = model.experts[layer].module, model.shape.experts[layer][0]
    written: list[torch.Tensor] = []
    kept = module.register_forward_hook(lambda module, args, output: written.append(output))
    config, usual = model.bridge.original_model.config, model.bridge.original_model.config._experts_implementation
    config._experts_implementation = "eager"
    with torch.inference_mode():
        model.bridge.original_model(input_ids=torch.tensor([PROMPTS[1]]))
    config._experts_implementation = usual
    kept.remove()
    sites = [f"blocks.{layer}.mlp.hook_router", *(neurons_at(layer, expert) for expert in range(number))]
    weights, *activations = map(torch.from_numpy, by_token(model, sites, Row(PROMPTS[1])))
    total = torch.zeros(len(PROMPTS[1]), model.shape.d_model, dtype=torch.float64)
    scored_before = model.experts[layer].router is not None  # Llama 4 weighs what an expert reads
    for expert, activation in enumerate(activations):
        sent = weights[:, expert] > 0
        assert not activation[~sent].any()
        assert activation[sent].any() or not sent.any()
        matrix = module.down_proj[expert].detach().double()
        product = activation.double() @ (
            matrix if matrix.shape[1] == model.shape.d_model and (scored_before or module.is_transposed) else matrix.T
        )
        if getattr(module, "has_bias", False):
            product = product + module.down_proj_bias[expert].detach().double()
        total[sent] += product[sent] * (1 if scored_before else weights[sent, expert, None].double())
    expected = written[0].double()
    expected = expected.reshape(number, -1, model.shape.d_model).sum(dim=0) if scored_before else expected
    torch.testing.assert_close(total, expected, atol=1e-6 if scored_before else tolerance(model), rtol=1e-5)
    assert (weights > 0).sum(dim=1).eq(2).all()


def test_rows_of_a_mixture_do_not_feel_their_batch_nor_the_cache(mixture: LoadedModel) -> None:
    model, layer = mixture, last_mixture(mixture)
    site = neurons_at(layer, 1)
    captures = [Capture(site, reduce, "all") for reduce in ("mean", "last", "moments", "tokens")]
    captures += [Capture(site, "tokens", "generated", skips_unrouted=False)]
    captures += [
        Capture(f"blocks.{layer}.mlp.hook_router", "mean", "all"),
        Capture("blocks.2.hook_resid_post", "mean", "all"),
    ]
    settings = [(), (Edit(site, "add", "all", (0,), (0.0,)),), (Edit(site, "clamp", "all", (0, 3), (3.0, -4.0)),)]
    rows = [Row(prompt, edits) for prompt in PROMPTS for edits in settings]
    generation = Generation(2)
    plain = decode(model, rows, generation, captures, share=False)
    shared = decode(model, rows, generation, captures, share=True)
    marked = [replace(row, marks=(1, 2)) for row in rows]
    alone = [decode(model, [row], generation, captures, share=False).rows[0] for row in marked]
    for row in alone:
        # The mean over the positions that are sent to the expert, without the last token where that is one of them.
        sent = row.captured[3]
        first = sent[:-1] if row.captured[4][-1].any() else sent
        np.testing.assert_allclose(
            row.marked[0][0], first.mean(axis=0) if len(first) else 0 * row.captured[0], atol=1e-6
        )
        np.testing.assert_array_equal(row.marked[0][1], row.captured[0])
    uncached = [run_alone(model, row, generation, captures) for row in rows]
    for others in (shared.rows, alone, uncached):
        for row, other in zip(plain.rows, others, strict=True):
            assert row.tokens == other.tokens
            for left, right in zip(row.captured, other.captured, strict=True):
                np.testing.assert_allclose(left, right, atol=1e-5, rtol=1e-5)
    for row, other in zip(plain.rows[0::3], plain.rows[1::3], strict=True):
        assert row.tokens == other.tokens
        for left, right in zip(row.captured, other.captured, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-12)
    assert plain.receipts[0].edited > 0


def test_an_edit_reaches_the_positions_that_are_sent_to_its_expert_alone(mixture: LoadedModel) -> None:
    model, layer = mixture, last_mixture(mixture)
    expert = int(by_token(model, [f"blocks.{layer}.mlp.hook_router"], Row(PROMPTS[1]))[0].sum(axis=0).argmax())
    site = neurons_at(layer, expert)
    sites = [f"blocks.{layer}.mlp.hook_router", site, f"blocks.{layer}.hook_resid_post"]
    weights, before, stream = by_token(model, sites, Row(PROMPTS[1]))
    edit = Edit(site, "clamp", "all", (2,), (5.0,))
    again, after, moved = by_token(model, sites, Row(PROMPTS[1], (edit,)))
    sent = weights[:, expert] > 0
    assert sent.sum() > 0
    np.testing.assert_allclose(weights, again, atol=1e-6)
    assert (after[sent, 2] == 5.0).all()
    assert not after[~sent].any()
    np.testing.assert_allclose(np.delete(after, 2, axis=1), np.delete(before, 2, axis=1), atol=1e-6)
    far = np.abs(moved - stream).max(axis=1)
    assert (far[sent] > 1e-3).all()
    assert (far[~sent] < 1e-6).all()


def test_a_mean_is_taken_over_the_positions_that_an_expert_sees(mixture: LoadedModel) -> None:
    model, layer = mixture, last_mixture(mixture)
    number = model.shape.experts[layer][0]
    weights = by_token(model, [f"blocks.{layer}.mlp.hook_router"], Row(PROMPTS[0]))[0]
    for expert in range(number):
        site, sent = neurons_at(layer, expert), weights[:, expert] > 0
        tokens = by_token(model, [site], Row(PROMPTS[0]))[0]
        captures = [Capture(site, reduce, "all") for reduce in ("mean", "last", "moments", "tokens")]
        mean, last, moments, seen = decode(model, [Row(PROMPTS[0])], Generation(0), captures).rows[0].captured
        assert len(seen) == sent.sum()
        if not sent.any():
            assert not mean.any()
            assert not last.any()
            assert not moments.any()
            continue
        np.testing.assert_allclose(seen, tokens[sent], atol=1e-6)
        np.testing.assert_allclose(mean, tokens[sent].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(last, tokens[sent][-1], atol=1e-6)
        np.testing.assert_allclose(moments[1], tokens[sent].var(axis=0), atol=1e-6, rtol=1e-5)


def test_listening_ends_with_the_block_also_after_an_error(mixture: LoadedModel) -> None:
    model, layer = mixture, last_mixture(mixture)
    implementation = model.bridge.original_model.config._experts_implementation

    def stop(activation: torch.Tensor, hook: object) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError), torch.inference_mode(), model.hooks([(neurons_at(layer, 0), stop)]):
        model.bridge.original_model(input_ids=torch.tensor([PROMPTS[1]]))
    assert model.bridge.original_model.config._experts_implementation == implementation
    with torch.inference_mode():
        model.bridge.original_model(input_ids=torch.tensor([PROMPTS[1]]))


def test_experts_are_counted_and_what_is_not_there_is_refused_by_its_field(made: Made) -> None:
    model, _ = made
    stream = "blocks.1.hook_resid_post"
    for layer in range(3):
        number, width = model.shape.experts_at(layer)
        assert bool(number) == (layer in model.experts)
        assert number in ((4,) if layer in model.experts else (0,))
        expert = neurons_at(layer, 3)
        told = [one.where for one in misfits(experiment(model, expert, expert), model.shape)]
        assert told == ([] if number else ["interventions[0].site", "capture.sites[0]"])
        beyond = neurons_at(layer, 4)
        with pytest.raises(
            ExplorerError, match=r"expert 4 is out of range.*choose 0 to 3|has no experts|JetMoeParallelExperts"
        ):
            check_against(experiment(model, stream, beyond), model.shape)
        with pytest.raises(ExplorerError, match=r"expert 4 is out of range|has no experts|JetMoeParallelExperts"):
            model.check_sites([beyond])
        if number:
            beyond_it = experiment(model, expert, stream).to_dict()
            beyond_it["interventions"][0]["neurons"] = [width]
            with pytest.raises(ExplorerError, match=f"neuron {width} is out of range for layer {layer} of this model"):
                check_against(Experiment.from_dict(beyond_it), model.shape)
    with pytest.raises(ExplorerError, match=r"has no site blocks\.7"):
        model.check_sites([neurons_at(7, 0)])


def test_the_router_is_captured_and_never_changed(made: Made) -> None:
    model, _ = made
    router = "blocks.1.mlp.hook_router"
    with pytest.raises(ExplorerError, match="captured only"):
        experiment(model, router, router)


def test_values_of_other_positions_are_not_written_where_an_expert_may_have_none() -> None:
    edit = {"site": neurons_at(1, 0), "neurons": [3], "op": "patch", "from": {"prompt": "pair"}, "positions": "last"}
    with pytest.raises(ExplorerError, match=r"an expert holds only the positions that are sent to it.*hook_mlp_out"):
        Experiment.from_dict(
            {
                "model": {"name": "x"},
                "prompts": {"sets": ["reasoning"]},
                "interventions": [edit],
                "capture": {"sites": [neurons_at(1, 0)]},
            }
        )


def test_a_run_takes_its_units_from_the_tokens_that_an_expert_sees(lab: Any, folder_of: Callable[[str], Path]) -> None:
    site, folder = neurons_at(1, 2), str(folder_of("mixtral"))
    clamp = {"site": site, "neurons": [4], "op": "clamp", "values": [-1, 1], "unit": "sigma"}
    spec = lab.experiment(
        clamp,
        model={"name": folder},
        capture={"sites": [site, "blocks.1.mlp.hook_router", "blocks.2.hook_resid_post"]},
        planes=[{"site": site, "a": 4, "b": 5}, {"site": "blocks.1.mlp.hook_router", "a": 0, "b": 2}],
    )
    session = lab.session(spec)
    model = load_model(ModelSpec(name=folder, device="cpu", dtype="float64"))
    baselines = [run for run in session.runs if run.condition == 0]
    rows = [Row(session.prompts[run.prompt].token_ids, forced=run.token_ids) for run in baselines]
    kept = decode(model, rows, Generation(5), [Capture(site, "tokens", "generated", columns=(4,))]).rows
    seen = np.concatenate([row.captured[0] for row in kept])
    assert 1 < len(seen) < sum(len(run.token_ids) for run in baselines)
    raw = [values[0][0] for values in session.resolved[1:]]
    np.testing.assert_allclose(raw, [seen.mean() - seen.std(), seen.mean() + seen.std()], rtol=1e-6)
    vectors = session.vectors()
    touched = 0
    for place, run in enumerate(session.runs):
        reached = vectors["blocks.1.mlp.hook_router"][place][2] > 0
        assert vectors[site][place].any() == reached
        if run.condition and reached:
            assert vectors[site][place][4] == pytest.approx(raw[run.condition - 1], rel=1e-6)
            touched += 1
    assert touched
    assert sum(one["edited"] for batch in session.receipts for one in batch["sites"] if one["site"] == site)


def test_a_session_says_that_an_expert_it_changes_was_never_chosen(lab: Any, folder_of: Callable[[str], Path]) -> None:
    from srm_explorer.engine.figures.warnings import session_warnings

    model = load_model(ModelSpec(name=str(folder_of("mixtral")), device="cpu"))
    lab.prompts("Two")
    ids = tuple(model.tokenizer.encode("Two", prepend_bos=False))
    weights = by_token(model, ["blocks.1.mlp.hook_router"], Row(ids))[0]
    unseen = next(int(expert) for expert in np.argsort(weights.sum(axis=0)) if not weights[:, expert].any())
    told: list[bool] = []
    for expert in (unseen, int(weights.sum(axis=0).argmax())):
        site = neurons_at(1, expert)
        spec = lab.experiment(
            {"site": site, "neurons": [4], "op": "clamp", "values": [-1, 1]},
            model={"name": str(folder_of("mixtral"))},
            generation={"tokens": 0},
            capture={"sites": [site], "positions": "prompt"},
            planes=[{"site": site, "a": 4, "b": 5}],
        )
        session = lab.session(spec, f"expert-{expert}")
        told.append(any("was sent to its expert" in line for line in session_warnings(session, session.planes[0], [])))
    assert told == [True, False]
