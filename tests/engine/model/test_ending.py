"""Rows that part at the neurons of the last block: one product with the unembedding a history, and the same texts."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, decode
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.ending import Ending
from srm_explorer.engine.model.load import LoadedModel, load_model

PROMPTS = (tuple(range(3)), tuple(range(40, 47)))


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma2"])
def narrow(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    random_models: ModuleType,
    family_tool: ModuleType,
) -> LoadedModel:
    """Families in float32: one whose norms centre, one whose norms do not, one that norms what its MLP writes."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "gemma2":
        sizes = {"vocab_size": 1500, "num_hidden_layers": 2, "sliding_window": 64, "tie_word_embeddings": False}
        family_tool.make_folder(family_tool.Family(request.param, sizes), folder)
    else:
        sizes = random_models.Sizes(
            shape=request.param, layers=2, d_model=32, d_mlp=64, heads=2, vocab=1500, context=64
        )
        random_models.write_model(folder, sizes)
    return load_model(ModelSpec(name=str(folder), device="cpu"))


def rows_of(layer: int) -> list[Row]:
    """Values so small that texts stay alike for a while, of two neurons."""
    site = f"blocks.{layer}.mlp.hook_post"
    values = (-0.4, -0.1, 0.0, 0.1, 0.3)
    edits = [(), *((Edit(site, "clamp", "all", (n,), (value,)),) for n in (3, 9) for value in values)]
    return [Row(prompt, own) for prompt in PROMPTS for own in edits]


def test_texts_and_vectors_are_those_of_rows_that_share_nothing(
    narrow: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int]] = []
    write = Ending.write

    def counted(self: Ending, target: torch.Tensor, stream: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        written.append((len(others[1]), len(stream)))
        return write(self, target, stream, *others)

    monkeypatch.setattr(Ending, "write", counted)
    assert narrow.blocks.parts_late(8)
    rows = rows_of(1)
    captures = [
        Capture("blocks.1.mlp.hook_post", "mean", "all"),
        Capture("blocks.1.hook_resid_post", "tokens", "generated"),
    ]
    found = decode(narrow, rows, Generation(12), captures, share=True)
    assert written
    assert all(histories < rows for histories, rows in written)
    expected = decode(narrow, rows, Generation(12), captures, share=False)
    assert [row.tokens for row in found.rows] == [row.tokens for row in expected.rows]
    assert len(PROMPTS) < len({(row.tokens, number // 11) for number, row in enumerate(found.rows)})
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert one.margin == pytest.approx(other.margin, abs=1e-4)
        for a, b in zip(one.captured, other.captured, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    assert {r.site: (r.fired, r.edited) for r in found.receipts} == {
        r.site: (r.fired, r.edited) for r in expected.receipts
    }


@pytest.mark.parametrize(
    ("edit", "captured"),
    [
        (Edit("blocks.0.mlp.hook_post", "clamp", "all", (3,), (0.1,)), "blocks.1.hook_resid_post"),
        (Edit("blocks.1.hook_resid_mid", "add", "all", (3,), (0.1,)), "blocks.1.hook_resid_post"),
        (Edit("blocks.1.mlp.hook_post", "clamp", "all", (3,), (0.1,)), "blocks.1.hook_resid_mid"),
    ],
    ids=["earlier", "before the neurons", "captured before them"],
)
def test_what_parts_before_the_last_neurons_shares_less(narrow: LoadedModel, edit: Edit, captured: str) -> None:
    rows = [Row(prompt, own) for prompt in PROMPTS for own in ((), (edit,))]
    found, expected = (
        decode(narrow, rows, Generation(6), [Capture(captured, "mean", "all")], share=s) for s in (True, False)
    )
    assert [row.tokens for row in found.rows] == [row.tokens for row in expected.rows]
    for one, other in zip(found.rows, expected.rows, strict=True):
        np.testing.assert_allclose(one.captured[0], other.captured[0], atol=1e-4)
