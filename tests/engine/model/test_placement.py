"""A model whose blocks lie on the disk, or on several GPUs, is the one that it would be on one device."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from accelerate.utils import check_device_map
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, MambaConfig

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import placement
from srm_explorer.engine.model.activations import ReadText
from srm_explorer.engine.model.blocks import Blocks
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.cells import CellScorer, Settings
from srm_explorer.engine.model.decoding import Generation, Row, decode, weight_bytes
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.forcing import GivenText, score_texts
from srm_explorer.engine.model.hub import find_model
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.placement import (
    Placement,
    device_key,
    device_map,
    placement_of,
    spread,
)
from srm_explorer.engine.model.selftest import self_test
from srm_explorer.engine.model.weights import (
    b_out,
    final_logits,
    neuron_activations,
    w_gate_columns,
    w_in_columns,
    w_out_rows,
    weight_card,
)
from tests.pretended_gpus import pretended_gpus

if TYPE_CHECKING:
    from ..conftest import Lab

Prompts = list[tuple[int, ...]]
GPUS = tuple(torch.device("cuda", index) for index in range(3))


def loaded(model: LoadedModel, device: str) -> LoadedModel:
    other = load_model(ModelSpec(name=model.source, device=device, dtype="float64"))
    other.pads = model.pads
    return other


@pytest.fixture(scope="module")
def disks() -> dict[str, LoadedModel]:
    return {}


@pytest.fixture
def on_disk(tiny: LoadedModel, disks: dict[str, LoadedModel]) -> LoadedModel:
    """The same model, its blocks on the disk."""
    if tiny.name not in disks:
        disks[tiny.name] = loaded(tiny, "cpu+disk")
        self_test(disks[tiny.name])
    return disks[tiny.name]


def rows_of(prompts: Prompts, layer: int, positions: Any = "all") -> list[Row]:
    site = f"blocks.{layer}.mlp.hook_post"
    edits = [(Edit(site, "add", positions, (5,), (value,)),) for value in (-30.0, 0.1, 30.0)]
    return [Row(prompt, edit) for prompt in prompts for edit in [(), *edits]]


CAPTURES = [
    Capture("blocks.1.mlp.hook_post", "mean", "generated"),
    Capture("blocks.2.hook_resid_post", "moments", "predicting"),
    Capture("blocks.2.hook_resid_post", "tokens", "generated"),
]


def by_its_own_code(model: LoadedModel) -> Blocks:
    """Passes as they are where parts lie apart: by the model's own code, never from the weights."""
    return Blocks(model.bridge.original_model, list(model.bridge.blocks), {})


@pytest.fixture
def tiny(tiny: LoadedModel) -> LoadedModel:
    """Each tiny model by its own code, to be equal to the bit."""
    return replace(tiny, blocks=by_its_own_code(tiny))


def assert_decodes_alike(one: LoadedModel, other: LoadedModel, rows: list[Row], *, share: bool) -> None:
    # What three of four rows write ends early, so that rows are dropped.
    stops = frozenset(row.tokens[2] for row in decode(one, rows, Generation(3), [], share=share).rows[1:])
    left, right = (
        decode(model, rows, Generation(6, stop_ids=stops), CAPTURES, share=share).rows for model in (one, other)
    )
    assert len({len(row.tokens) for row in left}) > 1
    assert [row.tokens for row in left] == [row.tokens for row in right]
    for a, b in zip(left, right, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.captured, b.captured, strict=True))


def test_on_the_disk_it_writes_and_computes_the_same_to_the_bit(
    tiny: LoadedModel, on_disk: LoadedModel, prompts: Prompts
) -> None:
    assert on_disk.weights_sha256 == tiny.weights_sha256
    assert on_disk.shape == tiny.shape
    assert not on_disk.shares_blocks
    in_memory = [p for p in on_disk.bridge.original_model.parameters() if not p.is_meta]
    assert sum(p.is_meta for p in on_disk.bridge.original_model.parameters()) >= 3 * 6
    assert weight_bytes(on_disk) > sum(p.numel() * p.element_size() for p in in_memory)
    assert on_disk.placement.name == "cpu+disk"
    assert on_disk.placement.parts() == {"disk": 3}
    assert_decodes_alike(tiny, on_disk, rows_of(prompts, 1), share=False)


def test_weights_on_the_disk_are_read_as_those_in_memory(tiny: LoadedModel, on_disk: LoadedModel) -> None:
    for read in (w_out_rows, w_in_columns, w_gate_columns, b_out):
        here, there = read(tiny, 1), read(on_disk, 1)
        assert (here is None) == (there is None)
        assert here is None or np.array_equal(here, there)
    one, other = weight_card(tiny, 2, 5), weight_card(on_disk, 2, 5)
    assert np.array_equal(one.logits, other.logits)
    assert (one.norms, one.writes_alike, one.reads_alike) == (other.norms, other.writes_alike, other.reads_alike)
    streams = np.random.default_rng(0).normal(size=(2, tiny.shape.d_model))
    assert np.array_equal(final_logits(tiny, streams), final_logits(on_disk, streams))
    assert all(p.is_meta for p in on_disk.bridge.blocks[1].mlp.parameters()), "nothing stays in memory"


def test_a_survey_scores_neurons_of_a_model_on_the_disk_by_whole_passes(
    tiny: LoadedModel, on_disk: LoadedModel, prompts: Prompts
) -> None:
    assert scores_of(on_disk, prompts[1], "through") == scores_of(
        replace(tiny, shares_blocks=False), prompts[1], "through", plain=True
    )


def scores_of(model: LoadedModel, prompt: tuple[int, ...], way: str, *, plain: bool = False) -> list[Any]:
    settings = Settings("blocks.1.mlp.hook_post", "clamp", np.array([3, 40]), np.array([-9.0, 4.0]))
    scorer = CellScorer(model, settings, CAPTURES[:1], rows=2, plain=plain)
    assert scorer.way == way
    scores = scorer.score(prompt, (8, 99, 512), "all")
    return [scores.kl.tolist(), scores.logp.tolist(), scores.change.tolist(), scorer.shift.tolist()]


def test_a_run_from_the_disk_is_the_run_and_says_where_it_was(
    lab: Lab, clamp: dict[str, Any], as_if_alone: Callable[..., None], tiny_gpt2: LoadedModel
) -> None:
    spec = lab.experiment(clamp, generation={"tokens": 2}, model={"device": "cpu+disk"})
    session = lab.session(spec, warm=None)
    as_if_alone(session, every=3)
    assert session.provenance["blocks"] == {"disk": 3}
    assert session.provenance["device"].startswith("cpu+disk (")
    assert session.provenance["model"]["weights_sha256"] == tiny_gpt2.weights_sha256


def test_what_the_disk_needs_goes_with_the_model(tiny_gpt2: LoadedModel) -> None:
    before = set(Path(tempfile.gettempdir()).glob("srm-explorer-*"))
    model = loaded(tiny_gpt2, "cpu+disk")
    made = set(Path(tempfile.gettempdir()).glob("srm-explorer-*")) - before
    assert len(made) == 1
    del model
    gc.collect()
    assert not next(iter(made)).exists()


@pytest.fixture
def over_gpus(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedModel]:
    """The model on three GPUs that are pretended, a block on each."""
    monkeypatch.setattr(placement, "spread", lambda *_: [1, 1, 1])
    with pretended_gpus(3):
        yield loaded(tiny, "cuda:0-2")


def test_over_several_gpus_every_pass_brings_along_what_it_needs(
    tiny: LoadedModel, over_gpus: LoadedModel, prompts: Prompts
) -> None:
    assert over_gpus.placement == Placement(GPUS, blocks=(1, 1, 1))
    self_test(over_gpus)
    for layer, positions, share in ((0, "all", False), (2, "generated", True), (1, "all", True)):
        assert_decodes_alike(tiny, over_gpus, rows_of(prompts, layer, positions), share=share)
    one, other = weight_card(tiny, 1, 5), weight_card(over_gpus, 1, 5)
    assert np.array_equal(one.logits, other.logits)
    reading = [ReadText(prompt, 0) for prompt in prompts]
    assert np.array_equal(*(neuron_activations(model, reading, 1, 5) for model in (tiny, over_gpus)))
    texts = [GivenText(p, (20, 21, 22), (rows_of([p], 1)[1].edits, rows_of([p], 1)[3].edits)) for p in prompts]
    left, right = (dict(score_texts(model, texts, CAPTURES[:1], rows=4)) for model in (tiny, over_gpus))
    assert scores_of(over_gpus, prompts[1], "above") == scores_of(tiny, prompts[1], "above")
    assert scores_of(over_gpus, prompts[1], "through", plain=True)[0][0]
    for index, scored in left.items():
        for a, b in zip(scored, right[index], strict=True):
            assert np.array_equal(a.captured[0], b.captured[0])


def test_what_stays_behind_on_another_gpu_is_noticed(over_gpus: LoadedModel, prompts: Prompts) -> None:
    over_gpus.placement = Placement(GPUS[:1])
    with pytest.raises(RuntimeError, match="same device"):
        decode(over_gpus, rows_of(prompts, 1), Generation(2), CAPTURES[:1])


sizes = st.integers(1, 50)


@given(
    outside=st.integers(0, 50),
    blocks=st.lists(sizes, min_size=1, max_size=6),
    room=st.lists(sizes, min_size=1, max_size=3),
)
def test_blocks_are_spread_so_that_the_fullest_device_is_filled_least(
    outside: int, blocks: list[int], room: list[int]
) -> None:
    def fullest(counts: tuple[int, ...]) -> float:
        ends = np.cumsum([0, *counts])
        held = [sum(blocks[a:b]) + (outside if not n else 0) for n, (a, b) in enumerate(pairwise(ends))]
        return max(used / size for used, size in zip(held, room, strict=True))

    cuts = combinations(range(len(blocks) + len(room) - 1), len(room) - 1)
    every = [
        tuple(b - a - 1 for a, b in zip((-1, *cut), (*cut, len(blocks) + len(room) - 1), strict=True)) for cut in cuts
    ]
    best = min(map(fullest, every))
    counts = spread(outside, blocks, room)
    if counts is None:
        assert best > 1
    else:
        assert sum(counts) == len(blocks)
        assert fullest(tuple(counts)) == pytest.approx(best, abs=1e-6)


def test_a_map_names_every_weight_and_keeps_what_is_no_block_together(tiny: LoadedModel) -> None:
    config = AutoConfig.from_pretrained(tiny.source, local_files_only=True)
    config.vocab_size = 50  # as in models worth spreading, the blocks are most of it
    laid_out = device_map(config, Placement(GPUS[:2]), torch.float32, [10**7] * 2, "tiny")
    assert laid_out.placement.blocks == (1, 2)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    check_device_map(empty, dict(laid_out.parts))
    assert {at for at in laid_out.parts.values() if isinstance(at, int)} == {0, 1}
    assert all(at == 0 for name, at in laid_out.parts.items() if not name.rpartition(".")[2].isdigit())
    assert laid_out.options() == {"device_map": dict(laid_out.parts)}
    with pytest.raises(ExplorerError, match=r"more than is free on cuda:0-1.*choose more GPUs"):
        device_map(config, Placement(GPUS[:2]), torch.float32, [6 * 10**4] * 2, "tiny")
    with pytest.raises(ExplorerError, match="state of a recurrence"):
        device_map(MambaConfig(num_hidden_layers=2), Placement(GPUS), torch.float32, [10**9] * 3, "mamba")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Says that there are so many GPUs of so many bytes; nothing is put there."""

    def have(count: int, memory: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        about = lambda device: SimpleNamespace(total_memory=memory, uuid=f"u{torch.device(device).index}")  # noqa: E731
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda d: about(d if not isinstance(d, int) else GPUS[d])
        )

    return have


def test_auto_takes_the_fewest_gpus_and_neither_the_processor_nor_the_disk(
    tiny_llama: LoadedModel, gpus: Callable[[int, int], None], tmp_path: Path
) -> None:
    files = find_model(tiny_llama.source)
    weights = files.weight_count()
    assert weights == sum(p.numel() for p in tiny_llama.bridge.original_model.parameters())
    spec = ModelSpec(name=tiny_llama.source, device="auto", dtype="float32")
    gpus(3, 4 * 2 * weights)
    assert placement_of(spec, files).devices == GPUS[:1]
    assert device_key(spec, tmp_path) == "cuda-u0"
    gpus(3, 4 * 2 * weights // 3)
    assert placement_of(spec, files).devices == GPUS[:2]
    assert device_key(spec, tmp_path) == "cuda-u0+cuda-u1"
    assert device_key(ModelSpec(name="x", device="cuda:1-2"), tmp_path) == "cuda-u1+cuda-u2"
    assert device_key(ModelSpec(name="nobody/has-it", device="auto"), tmp_path) == "cuda-u0+cuda-u1+cuda-u2"
    gpus(3, weights)
    with pytest.raises(ExplorerError, match=r"the 3 GPUs here have .* GB; choose model.dtype bfloat16"):
        placement_of(spec, files)


def test_the_processor_with_the_disk_is_the_processor_to_others(tmp_path: Path) -> None:
    assert device_key(ModelSpec(name="x", device="cpu+disk"), tmp_path) == "cpu"
