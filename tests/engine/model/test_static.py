from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.model import layout, prepared, static
from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Generation, Row, RowResult, decode, sizes_of
from srm_explorer.engine.model.edits import Edit
from srm_explorer.engine.model.layout import Graphs, suits
from srm_explorer.engine.model.load import LoadedModel, load_model
from srm_explorer.engine.model.prepared import Ahead, Prepared
from srm_explorer.engine.model.sampling import NoiseKey, Sampling
from srm_explorer.engine.model.static import decode_static
from srm_explorer.engine.runs import plan

SameRow = Callable[[RowResult, RowResult], None]
Prompts = list[tuple[int, ...]]

SITE, LAST = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"
CLAMPED = (Edit(SITE, "clamp", "all", (7,), (9.0,)),)
UNIT = tuple(np.eye(32)[5])
GREEDY, SAMPLED = Sampling(), Sampling(greedy=False, temperature=1.5, top_k=20, top_p=0.9)
TOKENS = 11  # more than a look apart


def rows_of(prompts: Prompts, shift: int = 0) -> list[Row]:
    """Every kind of row: untouched, edited in many ways, sampled, forced and marked."""
    own = RowPositions((2,), 4)
    rows: list[Row] = []
    for number, prompt in enumerate(prompts):
        edits = [
            (),
            (Edit(SITE, "clamp", "all", (7 + shift,), (9.0,)),),
            (Edit(SITE, "clamp", "all", (11 - shift,), (-9.0 - shift,)), Edit(LAST, "steer", "all", (), (4.0,), UNIT)),
            (Edit(SITE, "scale", "generated", (3,), (4.0,)), Edit(SITE, "add", own, (5,), (2.0 + shift,))),
        ]
        rows += [Row(prompt, own_edits, NoiseKey(shift, "p", number, 0)) for own_edits in edits]
        forced = tuple((7 * at + shift) % 50 for at in range(6 + number))
        rows.append(Row(prompt, edits[1], NoiseKey(shift, "p", number, 0), forced=forced, marks=(2, 6)))
    return rows


def captures_of(prompts: Prompts, shift: int = 0) -> list[Capture]:
    whole = {prompt: RowPositions((0,), len(prompt) + 1 + shift) for prompt in prompts}
    return [
        Capture(SITE, "mean", "generated"),
        Capture(SITE, "tokens", "predicting", columns=(7, 3)),
        Capture(LAST, "moments", "all", centred=True),
        Capture(LAST, "last", "generated", direction=UNIT),
        Capture(LAST, "tokens", whole),
    ]


def check(one: Sequence[RowResult], other: Sequence[RowResult], same_row: SameRow) -> None:
    for left, right in zip(one, other, strict=True):
        same_row(left, right)
        for a, b in zip(left.marked, right.marked, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("graphs", "sampling"), [("off", GREEDY), ("rehearsed", SAMPLED)], ids=["off", "rehearsed"])
def test_rows_in_static_tensors_are_the_rows_of_the_plain_way(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, graphs: Graphs, sampling: Sampling
) -> None:
    free = decode(tiny, rows_of(prompts), Generation(TOKENS, sampling), []).rows[1].tokens
    generation = Generation(TOKENS, sampling, frozenset({free[3], free[5]}))
    kept: list[object] = []
    for shift in (0, 1):
        # The second batch has the first one's shape and other numbers, and so uses the tensors that are there.
        rows, captures = rows_of(prompts, shift), captures_of(prompts, shift)
        assert suits(tiny, rows, generation)
        plain = decode(tiny, rows, generation, captures, share=False)
        still = decode_static(tiny, rows, generation, captures, graphs=graphs)
        check(still.rows, plain.rows, same_row)
        assert {r.site: r for r in still.receipts} == {r.site: r for r in plain.receipts}
        assert shift or {row.finish for row in plain.rows} == {"eos", "length"}
        kept.append(tiny.kept_step)
    assert kept[0] is kept[1]


@pytest.mark.parametrize(
    ("shape", "graphs", "sampling"), [("gpt2", "rehearsed", SAMPLED), ("llama", "off", GREEDY)], ids=["gpt2", "llama"]
)
def test_where_rows_end_early_the_others_go_on_alone_and_come_to_the_same(
    request: pytest.FixtureRequest,
    prompts: Prompts,
    same_row: SameRow,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    graphs: Graphs,
    sampling: Sampling,
) -> None:
    tiny: LoadedModel = request.getfixturevalue(f"tiny_{shape}")
    monkeypatch.setattr(static, "LOOK", 2)
    monkeypatch.setattr(static, "_WORTH", 3)
    fed: list[int] = []
    feed_first = static._Batch._feed_first
    monkeypatch.setattr(static._Batch, "_feed_first", lambda self, rows: (fed.append(rows), feed_first(self, rows)))
    tokens, captures = 16, captures_of(prompts)
    # Given texts end one after the other, edited and marked like the rest; of five rows one writes its own.
    rows = [
        replace(row, forced=tuple(range(1 + at // 3)), marks=(1, 4)) if at % 5 else row
        for at, row in enumerate([*rows_of(prompts), *rows_of(prompts, 1)])
    ]
    text = decode(tiny, rows[:1], Generation(6, sampling), []).rows[0].tokens
    generation = Generation(tokens, sampling, frozenset(text[4:]))
    for turned in (rows, rows[::-1]):
        # The second batch ends elsewhere, in tensors whose rows the first one has moved.
        plain = decode(tiny, turned, generation, captures, share=False)
        still = decode_static(tiny, turned, generation, captures, graphs=graphs)
        check(still.rows, plain.rows, same_row)
        assert {r.site: r for r in still.receipts} == {r.site: r for r in plain.receipts}
        assert {row.finish for row in plain.rows} == {"eos", "length"}
    assert fed == [32, 16, 8, 32, 16, 8]
    kept: Any = tiny.kept_step
    assert {rows for rows, _ in kept._graphs} == ({32, 16, 8} if graphs == "rehearsed" else set[int]())


def test_rows_that_go_on_are_halves_of_a_batch_and_never_fewer_than_write() -> None:
    for rows in map(plan.filled, range(1, 3000, 97)):
        sizes = {layout.halved(rows, writing) for writing in range(1, rows + 1)}
        assert len(sizes) <= max(1, rows.bit_length() - 2)
        assert all(layout.halved(rows, writing) >= writing for writing in range(1, rows + 1))
        assert all(layout.halved(size, size) == size for size in sizes)


def test_a_batch_of_another_shape_is_laid_out_anew(tiny: LoadedModel, prompts: Prompts, same_row: SameRow) -> None:
    generation, captures = Generation(3), [Capture(SITE, "mean", "all")]
    for rows in (rows_of(prompts), rows_of(prompts)[:4], [Row(prompts[2])] * 4):
        plain = decode(tiny, rows, generation, captures, share=False)
        check(decode_static(tiny, rows, generation, captures).rows, plain.rows, same_row)


def test_what_runs_decode_is_static_where_the_self_test_says_so(
    tiny: LoadedModel, prompts: Prompts, same_row: SameRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, generation, captures = [Row(p, CLAMPED) for p in prompts], Generation(3), [Capture(SITE, "mean", "all")]
    plain = decode(tiny, rows, generation, captures).rows
    for has_graphs in (False, True):
        tiny.kept_step = None
        monkeypatch.setattr(tiny, "static_steps", has_graphs)
        check(prepared.decode(tiny, rows, generation, captures).rows, plain, same_row)
        assert (tiny.kept_step is not None) == has_graphs
    # How long a free row writes is not known before, so what is kept of it on the way is kept the plain way.
    marked = [Row(p, CLAMPED, marks=(2,)) for p in prompts]
    assert not suits(tiny, marked, generation)
    for row in prepared.decode(tiny, marked, generation, captures).rows:
        assert len(row.marked[0]) == 1


@pytest.mark.parametrize("has_graphs", [False, True])
def test_batches_one_after_another_are_each_as_it_is_alone(
    tiny_gpt2: LoadedModel, prompts: Prompts, same_row: SameRow, monkeypatch: pytest.MonkeyPatch, has_graphs: bool
) -> None:
    monkeypatch.setattr(tiny_gpt2, "static_steps", has_graphs)
    many = rows_of(prompts) * 2
    # One more or less is filled up; so many fewer are a batch of another shape, and a marked free row none of these.
    batches = [many[:25], many[:24], many[2:], [Row(p, CLAMPED, marks=(2,)) for p in prompts], many[:5]]
    generation, captures = Generation(6), [Capture(SITE, "mean", "all"), Capture(LAST, "tokens", "generated")]
    ahead, made = Ahead(tiny_gpt2), list[tuple[int, bool]]()

    def make(at: int) -> Prepared:
        made.append((at, threading.current_thread() is not threading.main_thread()))
        return Prepared.of(tiny_gpt2, batches[at], generation, captures)

    for at, rows in enumerate(batches):
        # Of the third it was not foreseen that it comes next.
        then = None if at + 1 == len(batches) else 0 if at == 1 else at + 1
        decoded = ahead.take(at, make, then).decode(tiny_gpt2)
        check(decoded.rows, decode(tiny_gpt2, rows, generation, captures).rows, same_row)
    here = [(at, False) for at in range(5)]
    assert sorted(made) == (
        [(0, False), (0, True), (1, True), (2, False), (3, True), (4, True)] if has_graphs else here
    )


def test_a_batch_is_as_large_as_its_rows_say_whatever_was_before(tiny_gpt2: LoadedModel, prompts: Prompts) -> None:
    generation, captures = Generation(2), [Capture(SITE, "mean", "all")]

    def kept(count: int) -> Any:
        rows = [Row(prompts[1], (Edit(SITE, "clamp", "all", (at,), (3.0,)),)) for at in range(count)]
        assert len(decode_static(tiny_gpt2, rows, generation, captures).rows) == count
        return tiny_gpt2.kept_step

    tiny_gpt2.kept_step = None
    alone = kept(54).shape
    # What is nearly as large uses the tensors that are there.
    assert kept(64) is kept(60) is not (after := kept(54))
    assert after.shape == alone


def test_a_batch_is_filled_up_by_a_few_rows(tiny_gpt2: LoadedModel) -> None:
    filled = [plan.filled(count) for count in range(1, 5000)]
    assert filled == sorted(filled)
    assert all(0 <= found - count < max(min(8, count), count / 32) for count, found in enumerate(filled, 1))
    assert len(set(filled)) < 200


def test_as_many_rows_are_planned_for_a_gpu_as_fit_with_those_that_fill_them_up() -> None:
    """Of a large model few: one row alone is a batch of one."""
    for room in (1, 2, 3, 7, 13, 100, 999):
        rows = plan.rows_within(room / 0.6, "cuda", 1)
        assert rows == plan.filled(rows) <= room < plan.filled(rows + 1)


def test_what_is_told_of_a_batch_ends_with_it_and_may_stop_it(tiny: LoadedModel, prompts: Prompts) -> None:
    told: list[tuple[int, int]] = []
    decode_static(tiny, [Row(prompts[0])] * 3, Generation(20), [], on_step=lambda *step: told.append(step))
    assert told == [(7, 8 * 3), (15, 8 * 3), (19, 0)]

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_static(tiny, [Row(prompts[0])] * 3, Generation(20), [], on_step=stop)
    assert tiny.kept_step is None


@pytest.mark.parametrize("goes_direct", [True, False])
def test_a_step_is_computed_from_the_weights_where_passes_are(
    tiny: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch, goes_direct: bool
) -> None:
    expected = decode(tiny, rows_of(prompts), Generation(TOKENS), captures_of(prompts))
    own = tiny.bridge.original_model
    calls: list[int] = []
    forward = type(own).forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(type(own), "forward", counted)
    monkeypatch.setattr(tiny.blocks, "goes_direct", goes_direct)
    found = decode_static(tiny, rows_of(prompts), Generation(TOKENS), captures_of(prompts))
    assert not calls if goes_direct else len(calls) > TOKENS
    assert [row.tokens for row in found.rows] == [row.tokens for row in expected.rows]
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert one.margin == pytest.approx(other.margin, abs=1e-9)


def test_what_a_batch_left_is_used_again_where_the_same_ones_listen_and_it_is_computed_alike(
    tiny_gpt2: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph holds what was called when it was captured, and nobody who came later."""
    rows, captures = [Row(prompt) for prompt in prompts], [Capture(SITE, "mean", "all")]

    def kept() -> object:
        decode_static(tiny_gpt2, rows, Generation(2), captures, graphs="rehearsed")
        return tiny_gpt2.kept_step

    tiny_gpt2.kept_step = None
    alone = kept()
    assert kept() is alone
    with tiny_gpt2.hooks([(LAST, lambda activation, hook: activation * 2)]):
        listened_to = kept()
        assert listened_to is not alone
        assert kept() is listened_to
    after = kept()
    assert after is not listened_to
    monkeypatch.setattr(tiny_gpt2.blocks, "goes_direct", False)
    assert kept() is not after


class Held(TorchDispatchMode):
    """Counts the bytes of tensors that are made, while they are there, and the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves: list[Any] = tree_leaves(out)
        for storage in (leaf.untyped_storage() for leaf in leaves if isinstance(leaf, torch.Tensor)):
            if storage._cdata not in self._known:
                self._known[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata)
        self.most = max(self.most, self.now)
        return out

    def _gone(self, at: int) -> None:
        self.now -= self._known.pop(at)


@pytest.mark.parametrize(
    ("sizes", "length", "sampling"),
    [
        (("gpt2", 2, 16, 64, 2, 20_000, 128), 8, SAMPLED),
        (("gpt2", 2, 64, 256, 4, 300, 128), 80, GREEDY),
        (("llama", 4, 64, 256, 4, 300, 128), 20, GREEDY),
    ],
    ids=["a large vocabulary", "long prompts", "many keys"],
)
def test_a_row_of_static_tensors_takes_what_is_planned_for_it_on_a_gpu_and_not_much_less(
    tmp_path: Path, random_models: ModuleType, sizes: tuple[Any, ...], length: int, sampling: Sampling
) -> None:
    random_models.write_model(tmp_path, random_models.Sizes(*sizes))
    model = load_model(ModelSpec(name=str(tmp_path)))
    model.pads, model.blocks._unembedding = True, None
    prompts = [tuple(range(at, at + length)) for at in range(64)]
    rows = [Row(prompt, (), NoiseKey(0, "p", at, 0)) for at, prompt in enumerate(prompts)]
    with Held() as held:
        # The second batch finds the room of the first, and a graph's own memory would be there too.
        for _ in range(2):
            decode_static(model, rows, Generation(4, sampling), [], graphs="rehearsed")
    planned = sizes_of(model).row_bytes(length, 4, 0, kind="cuda", sampled=not sampling.greedy)
    assert 0.4 * planned < held.most / len(rows) < planned
