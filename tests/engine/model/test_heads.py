"""Attention heads at `attn.hook_z`, grouped queries included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, Site, check_against
from srm_explorer.engine.experiment.site import head_coordinates
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.selftest import run_alone

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE = "blocks.1.attn.hook_z"


def head(model: LoadedModel, *heads: int, at: tuple[int, ...] = ()) -> tuple[int, ...]:
    return head_coordinates(heads, at, model.shape.head_width(1))


def test_the_width_of_the_heads_is_what_the_site_holds(tiny: LoadedModel, prompts: Prompts) -> None:
    capture = [Capture(SITE, "tokens", "prompt")]
    (result,) = decode(tiny, [Row(prompts[1])], Generation(0), capture).rows
    assert result.captured[0].shape == (len(prompts[1]), tiny.shape.width(Site.parse(SITE)))
    assert tiny.shape.n_heads * tiny.shape.head_width(1) == tiny.shape.width(Site.parse(SITE))


@pytest.mark.parametrize("shape", ["gpt2", "llama"])
def test_a_head_that_is_zeroed_or_scaled_is_so_in_the_model_alone(
    request: pytest.FixtureRequest, prompts: Prompts, shape: str
) -> None:
    """Against the Hugging Face model: there the heads are what enters the attention's output matrix."""
    model: LoadedModel = request.getfixturevalue(f"tiny_{shape}")
    folder: Path = request.getfixturevalue(f"tiny_{shape}_folder")
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    output = plain.transformer.h[1].attn.c_proj if shape == "gpt2" else plain.model.layers[1].self_attn.o_proj
    columns = list(head(model, 2))

    for op, values, factor in (("zero", (), 0.0), ("scale", (5.0,) * len(columns), 5.0)):

        def edit(_: Any, args: tuple[torch.Tensor], factor: float = factor) -> tuple[torch.Tensor]:
            edited = args[0].clone()
            edited[..., columns] *= factor
            return (edited,)

        handle = output.register_forward_pre_hook(edit)
        rows = [Row(prompt, (Edit(SITE, op, "all", tuple(columns), values),)) for prompt in prompts]  # type: ignore[arg-type]
        last = [Capture("blocks.2.hook_resid_post", "last", "prompt")]
        for row, result in zip(rows, decode(model, rows, Generation(4), last).rows, strict=True):
            ids = list(row.prompt)
            with torch.inference_mode():
                for _ in range(4):
                    ids.append(int(plain(torch.tensor([ids])).logits[0, -1].argmax()))
            assert result.tokens == tuple(ids[len(row.prompt) :])
        handle.remove()


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_rows_with_heads_edited_are_the_rows_alone(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, layer: int
) -> None:
    site = f"blocks.{layer}.attn.hook_z"
    columns = head(tiny, 0, 3, at=(1,))
    edits = [
        (),
        (Edit(site, "add", "all", columns, (0.0,) * len(columns)),),
        (Edit(site, "clamp", "prompt", columns, (4.0,) * len(columns)),),
        (Edit(site, "zero", "generated", head(tiny, 1)),),
    ]
    rows = [Row(prompt, own) for prompt in prompts for own in edits]
    captures = [Capture(site, "tokens", "all"), Capture("blocks.2.hook_resid_post", "mean", "generated")]
    for share in (True, False):
        together = decode(tiny, rows, Generation(3), captures, share=share).rows
        for row, result in zip(rows, together, strict=True):
            same_row(result, run_alone(tiny, row, Generation(3), captures))
        for untouched, nothing in zip(together[::4], together[1::4], strict=True):
            same_row(untouched, nothing)
    for row, result in zip(rows[2::4], together[2::4], strict=True):
        held = result.captured[0][:, list(columns)] == 4.0
        assert held[: len(row.prompt)].all()
        assert not held[len(row.prompt) :].any()


def experiment(**edit: Any) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": "demo"},
            "prompts": {"sets": ["a"]},
            "interventions": [{"site": SITE, "op": "zero", **edit}],
            "capture": {"sites": [SITE]},
        }
    )


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"neurons": [3]}, "holds attention heads, not neurons"),
        ({}, "zero needs heads"),
        ({"site": "blocks.1.mlp.hook_post", "heads": [3]}, "holds no attention heads"),
        ({"coordinates": [3]}, "coordinates of no head"),
        ({"heads": [1, 1]}, "stands there twice"),
        ({"heads": [1], "op": "steer", "values": [1]}, "steer works along a direction, not on heads"),
        ({"heads": [1], "op": "project_out", "direction": "v.npz#a"}, "along the direction, not on heads too"),
    ],
    ids=str,
)
def test_heads_are_named_at_their_site_and_nothing_else_is(edit: dict[str, Any], told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refusal:
        experiment(**edit)
    assert "interventions[0]" in refusal.value.where


def test_heads_and_coordinates_are_checked_against_the_model(tiny_llama: LoadedModel) -> None:
    shape = tiny_llama.shape
    check_against(experiment(heads=[shape.n_heads - 1], coordinates=[shape.head_width(1) - 1]), shape)
    for edit, told in (({"heads": [shape.n_heads]}, "head"), ({"heads": [0], "coordinates": [99]}, "coordinate 99")):
        with pytest.raises(ExplorerError, match=f"{told}.* is out of range"):
            check_against(experiment(**edit), shape)
    read = Experiment.from_toml(experiment(heads=[1, 3], coordinates=[2]).to_toml())
    assert (read.interventions[0].heads, read.interventions[0].coordinates) == ((1, 3), (2,))
