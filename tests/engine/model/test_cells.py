"""Scoring many neurons' clamps in short gives what scoring each the long way gives."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.model import cells, closed_form, texts
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.cells import CellScorer, Settings
from srm_explorer.engine.model.forcing import GivenText, score_texts, top_tokens
from srm_explorer.engine.model.load import load_model
from srm_explorer.engine.model.texts import KnownTexts

from .planted_neuron import ALIKE, LAYER, NEURON, load_planted_model, write_planted_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from srm_explorer.engine.experiment.intervention import Operation
    from srm_explorer.engine.experiment.positions import Positions
    from srm_explorer.engine.model.load import LoadedModel

PROMPT, TOKENS = (5, 17, 301, 44), (8, 99, 512, 3, 77, 250)
VALUES = {"clamp": (-9.0, 4.0), "add": (0.01, 3000.0), "scale": (0.0, 3.0), "zero": (0.0, 0.0), "mean": (0.3, -0.3)}


def agree(model: LoadedModel, scorer: CellScorer, positions: Positions, prompt: tuple[int, ...] = PROMPT) -> None:
    """Compare with the long way, which goes through every block, and keeps every token's numbers in float64."""
    settings = scorer.settings
    edits = tuple((settings.edit(number, positions),) for number in range(len(settings)))
    ((_, (untouched, *plain)),) = score_texts(model, [GivenText(prompt, TOKENS, edits)], scorer.captures)
    before = scorer.shift.clone()
    scores = scorer.score(prompt, TOKENS, positions)
    expected = {
        "kl": [forced.scores.kl.mean() for forced in plain],
        "logp": [(forced.scores.logp - untouched.scores.logp).mean() for forced in plain],
        "change": [
            [np.linalg.norm(f.captured[n] - base) / np.linalg.norm(base) for f in plain]
            for n, base in enumerate(untouched.captured)
        ],
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(getattr(scores, name), numbers, rtol=1e-9, atol=1e-12, err_msg=name)
    shift = np.array([forced.scores.shift for forced in plain])
    np.testing.assert_allclose((scorer.shift - before).numpy(), shift, rtol=1e-9, atol=1e-9)
    if not before.any():
        rose, fell = ([token for token in lists[0].tolist() if token >= 0] for lists in scorer.told(4))
        assert (rose, fell) == top_tokens(shift[0], 4)


@pytest.mark.parametrize(
    ("op", "positions"), [("clamp", "all"), ("add", "generated"), ("scale", "last"), ("zero", "all"), ("mean", "last")]
)
@pytest.mark.parametrize(
    ("name", "layer", "way"),
    # A norm that computes in float32 whatever it is given is not linear to the last digits of float64.
    [("gpt2", 0, "above"), ("gpt2", 2, "closed form"), ("llama", 1, "above"), ("llama", 2, "above")],
)
def test_the_short_ways_are_equal_to_a_pass_through_the_edited_block(
    request: pytest.FixtureRequest, name: str, layer: int, way: str, op: Operation, positions: Positions
) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{name}")
    site = f"blocks.{layer}.mlp.hook_post"
    settings = Settings(site, op, np.repeat([3, 40], 2), np.tile(VALUES[op], 2))
    streams = [f"blocks.{layer}.hook_resid_post", "blocks.2.hook_resid_post", f"blocks.{layer}.hook_mlp_out"]
    captures = [Capture(site, "mean", "generated"), *(Capture(s, "mean", "generated", name == "gpt2") for s in streams)]
    scorer = CellScorer(model, settings, captures, rows=3)
    assert scorer.way == way
    agree(model, scorer, positions)
    if positions == "all":
        agree(model, scorer, positions, (7, 7))
        through = CellScorer(model, settings, captures, rows=3, plain=True)
        assert through.way == "through"
        agree(model, through, positions)


@pytest.mark.parametrize(
    ("positions", "at"),
    [("all", (*range(10),)), ("prompt", (*range(10),)), ("last", (9,)), (RowPositions((2, 5)), (2, 5))],
)
@pytest.mark.parametrize(("name", "layer"), [("gpt2", 0), ("gpt2", 2), ("llama", 1)])
def test_a_prompt_is_scored_as_what_follows_its_first_token(
    request: pytest.FixtureRequest, name: str, layer: int, positions: Positions | RowPositions, at: tuple[int, ...]
) -> None:
    model: LoadedModel = request.getfixturevalue(f"tiny_{name}")
    site, whole = f"blocks.{layer}.mlp.hook_post", (*PROMPT, *TOKENS)
    settings = Settings(site, "clamp", np.array([3, 40]), np.array([-9.0, 4.0]))
    edits = tuple((settings.edit(number, RowPositions(at)),) for number in range(2))
    ((_, (untouched, *plain)),) = score_texts(model, [GivenText(whole[:1], whole[1:], edits)])
    scores = CellScorer(model, settings, [Capture(site, "mean", "prompt")], rows=3).score(whole, (), positions, first=1)
    np.testing.assert_allclose(scores.kl, [forced.scores.kl.mean() for forced in plain], rtol=1e-9, atol=1e-12)
    changed = [(forced.scores.logp - untouched.scores.logp).mean() for forced in plain]
    np.testing.assert_allclose(scores.logp, changed, rtol=1e-9, atol=1e-12)
    assert (scores.change > 0).all(), "the last token is captured, though nothing is predicted at it"
    assert bool((scores.kl > 1e-12).all()) == (positions != "last")


def test_a_share_of_tokens_becomes_another(tiny_gpt2: LoadedModel) -> None:
    settings = Settings("blocks.2.mlp.hook_post", "add", np.array([3, 3]), np.array([0.0, 50.0]))
    edits = tuple((settings.edit(number, "all"),) for number in range(2))
    everything = tuple(range(tiny_gpt2.n_vocab))
    texts = [GivenText(PROMPT, TOKENS, edits)]
    ((_, (untouched, nothing, much)),) = score_texts(tiny_gpt2, texts, watched=everything)
    best = [forced.scores.watched[0].argmax(axis=1) for forced in (untouched, nothing, much)]
    scores = CellScorer(tiny_gpt2, settings, [], rows=8).score(PROMPT, TOKENS, "all")
    assert scores.flips.tolist() == [0.0, (best[2] != best[0]).mean()]
    assert scores.flips[1] > 0
    assert scores.kl[0] == 0.0


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_in_float32_what_hardly_moves_is_told_as_well(request: pytest.FixtureRequest, name: str) -> None:
    folder: Path = request.getfixturevalue(f"tiny_{name}_folder")
    single = load_model(ModelSpec(name=str(folder), device="cpu", dtype="float32"))
    double: LoadedModel = request.getfixturevalue(f"tiny_{name}")
    values = np.array([1e-3, 1e-2, 0.1, 1.0, 300.0])
    settings = Settings("blocks.2.mlp.hook_post", "add", np.full(5, 3), values)
    short = CellScorer(single, settings, [], rows=8)
    assert short.way == "closed form"
    exact = CellScorer(double, settings, [], rows=8, plain=True).score(PROMPT, TOKENS, "all").kl
    assert exact[0] < 1e-7
    np.testing.assert_allclose(short.score(PROMPT, TOKENS, "all").kl, exact, rtol=1e-3, atol=1e-12)


def capped(cap: float) -> Callable[..., torch.Tensor]:
    return lambda module, given, logits: cap * torch.tanh(logits / cap)


@pytest.mark.parametrize("cap", [30.0, 200.0])
def test_capped_logits_are_not_taken_for_a_plain_product(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, cap: float
) -> None:
    model = load_model(ModelSpec(name=str(tiny_gpt2_folder), device="cpu", dtype="float32"))
    settings = Settings("blocks.2.mlp.hook_post", "add", np.array([3]), np.array([1.0]))
    assert CellScorer(model, settings, [], rows=8).way == "closed form"
    whole = model.bridge.original_model
    with monkeypatch.context() as patched:
        patched.setattr(whole.config, "final_logit_softcapping", cap, raising=False)
        assert CellScorer(model, settings, [], rows=8).way == "above"
    # What nobody says is found out; passes from the weights would not hear of it.
    monkeypatch.setattr(model.blocks, "goes_direct", False)
    whole.get_output_embeddings().register_forward_hook(capped(cap))
    assert CellScorer(model, settings, [], rows=8).way == "above"


class NoDouble(TorchDispatchMode):
    """Refuses to make float64 of numbers, as a device that has none does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        converts = str(func).startswith(("aten.to.", "aten._to_copy"))
        assert not converts or args[0].dtype == torch.float64 or out.dtype != torch.float64
        return out


@pytest.mark.parametrize("layer", [1, 2])
def test_where_there_is_no_float64_texts_are_scored_without(
    tiny_gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch, layer: int
) -> None:
    model = load_model(ModelSpec(name=str(tiny_gpt2_folder), device="cpu", dtype="float32"))
    site = f"blocks.{layer}.mlp.hook_post"
    settings = Settings(site, "add", np.array([3, 40]), np.array([1.0, 20.0]))
    captures = [Capture(f"blocks.{layer}.hook_resid_post", "mean", "generated")]
    usual = CellScorer(model, settings, captures, rows=8, known=KnownTexts())
    expected = usual.score(PROMPT, TOKENS, "all")
    for module in (cells, closed_form, texts):
        monkeypatch.setattr(module, "precise", torch.Tensor.float)
    short = CellScorer(model, settings, captures, rows=8, known=usual.known)
    assert short.way == ("closed form" if layer == 2 else "above")
    # Read already: hooks that read know by the device what it has.
    with NoDouble():
        found = short.score(PROMPT, TOKENS, "all")
    np.testing.assert_allclose(found.kl, expected.kl, rtol=1e-3)
    np.testing.assert_allclose(found.change, expected.change, rtol=1e-4)


def test_of_all_neurons_the_planted_one_moves_most(random_models: ModuleType, tmp_path: Path) -> None:
    write_planted_model(tmp_path, random_models)
    model = load_planted_model(tmp_path)
    x, y = (model.tokenizer.encode(letter, prepend_bos=False)[0] for letter in "xy")
    count = model.shape.d_mlp
    settings = Settings(f"blocks.{LAYER}.mlp.hook_post", "zero", np.arange(count), np.zeros(count))
    scorer = CellScorer(model, settings, [], rows=8)
    kl = scorer.score((x,), (x, x, x), "all").kl
    assert np.argsort(-kl)[:2].tolist() == [NEURON, ALIKE]
    assert kl[[n for n in range(count) if n not in (NEURON, ALIKE)]].max() == 0.0, "the others write nothing"
    assert scorer.told(1)[1][NEURON].tolist() == [y]
