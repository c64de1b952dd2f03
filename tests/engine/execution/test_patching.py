"""Values that another run had at the same site, written into a run's prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.session import Session

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

    from ..conftest import Lab

MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.2.hook_resid_post"
HEADS = "blocks.2.attn.hook_z"
LOW = {"site": "blocks.0.mlp.hook_post", "neurons": [5], "op": "clamp", "values": [-6, 6]}
RAW = {"residual": "raw"}
WAY = np.arange(1, 33) / np.linalg.norm(np.arange(1, 33))

Reader = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def read(tiny_gpt2: LoadedModel) -> Reader:
    """What a site holds at every position of a prompt, by the plain way, [position, d]."""
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row
    from srm_explorer.engine.model.selftest import run_alone

    def reading(site: str, ids: tuple[int, ...], *edits: Any) -> np.ndarray:
        return run_alone(tiny_gpt2, Row(ids, edits), Generation(0), [Capture(site, "tokens", "prompt")]).captured[0]

    return reading


@pytest.fixture(scope="session")
def as_alone(tiny_gpt2: LoadedModel) -> Callable[..., None]:
    """Run a run's prompt with edits one token at a time, by the plain way, and compare with what was saved."""
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row
    from srm_explorer.engine.model.selftest import run_alone

    def check(session: Session, place: int, *edits: Any) -> None:
        run = session.runs[place]
        sites = session.spec.capture.sites
        generation = Generation(session.spec.generation.tokens, stop_ids=tiny_gpt2.tokenizer.stop_ids)
        captures = [Capture(site, "mean", "generated") for site in sites]
        alone = run_alone(tiny_gpt2, Row(session.prompts[run.prompt].token_ids, edits), generation, captures)
        assert run.token_ids == alone.tokens
        for site, expected in zip(sites, alone.captured, strict=True):
            np.testing.assert_allclose(session.vectors()[site][place], expected, atol=2e-5, rtol=2e-5)

    return check


def edit(site: str, op: str, positions: Any, neurons: tuple[int, ...], *values: float, **more: Any) -> Any:
    from srm_explorer.engine.model.edits import Edit

    return Edit(site, op, positions, neurons, values, **more)  # type: ignore[arg-type]


def whole(ids: tuple[int, ...]) -> RowPositions:
    return RowPositions(tuple(range(len(ids))))


def test_a_patch_from_the_baseline_holds_a_site_as_it_was_in_every_condition(
    lab: Lab, read: Reader, as_alone: Callable[..., None]
) -> None:
    patch = {"site": MLP, "neurons": [3, 8], "op": "patch", "from": "baseline"}
    session = lab.session(lab.experiment(LOW, patch, capture=RAW), rows=5)
    assert [condition.label for condition in session.conditions] == ["baseline", "-6", "+6"]
    assert session.resolved[1:] == (((-6.0,), ()), ((6.0,), ()))
    for place, run in enumerate(session.runs):
        ids = session.prompts[run.prompt].token_ids
        if run.condition:
            low = edit(LOW["site"], "clamp", "all", (5,), session.conditions[run.condition].value or 0.0)
            kept = read(MLP, ids)[:, [3, 8]]
            assert np.abs(kept - read(MLP, ids, low)[:, [3, 8]]).max() > 1e-6, "the clamp must move what is held"
            as_alone(session, place, low, edit(MLP, "patch", whole(ids), (3, 8), written=kept))


def test_a_patch_from_a_value_is_a_condition_of_its_own(lab: Lab, read: Reader, as_alone: Callable[..., None]) -> None:
    save_file({"way": WAY.astype(np.float32)}, lab.folder / "v.safetensors")
    patches = [
        {"site": MLP, "neurons": [3, 8], "op": "patch", "from": {"condition": "+6"}},
        {
            "site": RESID,
            "direction": "v.safetensors#way",
            "op": "patch",
            "from": {"condition": "+6"},
            "positions": "last",
        },
        {"site": HEADS, "heads": [1], "op": "patch", "from": {"condition": "-6"}, "positions": [0, -1]},
    ]
    session = lab.session(lab.experiment(LOW, *patches, capture=RAW), rows=7)
    labels = [condition.label for condition in session.conditions]
    assert labels == ["baseline", "-6", "+6", "patch from +6", "patch from -6"]
    assert session.conditions == conditions(session.spec)
    for place, run in enumerate(session.runs):
        ids = session.prompts[run.prompt].token_ids
        up, down = (edit(LOW["site"], "clamp", "all", (5,), value) for value in (6.0, -6.0))
        if labels[run.condition] == "patch from +6":
            along = (read(RESID, ids, up) @ WAY)[-1:, None]
            as_alone(
                session,
                place,
                edit(MLP, "patch", whole(ids), (3, 8), written=read(MLP, ids, up)[:, [3, 8]]),
                edit(RESID, "patch", RowPositions((len(ids) - 1,)), (), direction=tuple(WAY.tolist()), written=along),
            )
        elif labels[run.condition] == "patch from -6":
            at = tuple(sorted({0, len(ids) - 1}))
            heads = tuple(range(8, 16))
            as_alone(
                session, place, edit(HEADS, "patch", RowPositions(at), heads, written=read(HEADS, ids, down)[at, 8:16])
            )


def test_a_patch_from_a_paired_prompt_takes_the_others_values(
    lab: Lab, read: Reader, as_alone: Callable[..., None]
) -> None:
    pairs(lab, ("The man opened", "a"), ("The dog opened it", "a"), ("She turned", "b"), ("If all", "b"))
    patch = {"site": MLP, "neurons": [3], "op": "patch", "from": {"prompt": "pair"}, "positions": [0, -1]}
    session = lab.session(lab.experiment(patch, prompts={"sets": ["pairs.csv"]}, capture=RAW), rows=3)
    other = {0: 1, 1: 0, 2: 3, 3: 2}
    for place, run in enumerate(session.runs):
        ids, source = (session.prompts[which].token_ids for which in (run.prompt, other[run.prompt]))
        if run.condition:
            written = read(MLP, source)[[0, -1]][:, [3]]
            as_alone(session, place, edit(MLP, "patch", RowPositions((0, len(ids) - 1)), (3,), written=written))


def test_patched_runs_resume_and_replay_bit_by_bit(lab: Lab) -> None:
    from srm_explorer.engine.execution.replay import replay
    from srm_explorer.engine.runs.progress import StopSignal

    patches = [
        {**LOW, "unit": "sigma", "values": [-2, 2]},
        {"site": MLP, "neurons": [3], "op": "patch", "from": "baseline"},
        {"site": HEADS, "heads": [1], "op": "patch", "from": {"condition": "+2σ"}},
    ]
    experiment = lab.experiment(*patches)
    whole_run = lab.session(experiment, "whole", rows=4)
    assert replay(whole_run, lab.folder / "out").bit_equal
    stop = StopSignal()

    def after_two(progress: Any) -> None:
        stop.level = max(stop.level, int(progress.runs_done >= 6))

    assert lab.run(experiment, "parts", rows=4, stop=stop, listener=after_two).status == "interrupted"
    parts = lab.session(experiment, "parts", rows=4)
    assert [run.token_ids for run in parts.runs] == [run.token_ids for run in whole_run.runs]
    for site, vectors in whole_run.vectors().items():
        np.testing.assert_allclose(np.asarray(parts.vectors()[site]), np.asarray(vectors), atol=1e-6)


def pairs(lab: Lab, *rows: tuple[str, str]) -> None:
    lines = ["prompt,pair", *(f"{text},{pair}" for text, pair in rows)]
    (lab.folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "patch", "told"),
    [
        ([("Two", "a"), ("She turned to see", "a")], {}, "tokens)"),
        ([("Two", "a"), ("Two", "b")], {}, "makes no pair"),
        ([("Two", "a"), ("Two", "a")], {"from": {"prompt": "par"}}, "has no factor 'par'"),
        ([("Two", "a")], {"from": {"condition": "+7"}}, "no condition is called '+7'"),
        ([("Two", "a")], {"from": "reference"}, "choose one of baseline, -6, +6, patch from +6"),
        ([("Two", "a")], {"from": {"condition": "swept"}}, "stands for several conditions"),
        ([("Two", "a")], {"from": {"condition": "patch from +6"}}, "is a patch itself"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_refused_before_anything_runs(
    lab: Lab, rows: list[tuple[str, str]], patch: dict[str, Any], told: str
) -> None:
    pairs(lab, *rows)
    base = {"site": MLP, "neurons": [3], "op": "patch", "from": {"prompt": "pair"}}
    from_value = {**base, "from": {"condition": "+6"}}
    spec = lab.experiment(LOW, from_value, {**base, **patch}, prompts={"sets": ["pairs.csv"]})
    with pytest.raises(ExplorerError) as refusal:
        lab.run(spec)
    assert told in str(refusal.value)
    assert "interventions[2]" in refusal.value.where
    if told == "tokens)":
        lengths = [word for word in refusal.value.what.split() if word.strip("()").isdigit()]
        assert len(set(lengths)) > 1, "both lengths are named"
    assert not (lab.folder / "out" / "a.run").exists()


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"from": None}, "does not say which run's values"),
        ({"op": "zero"}, "takes nothing from another run"),
        ({"positions": "all"}, "positions of the prompt alone"),
        ({"values": [1]}, "takes no values"),
        ({"background": True}, "cannot be part of that condition"),
        ({"from": {"condition": "a", "prompt": "b"}}, "does not say which run"),
        ({"from": "somewhere"}, "does not say which run"),
        ({"site": "blocks.1.mlp.experts.0.hook_post"}, "an expert holds only the positions"),
    ],
    ids=str,
)
def test_a_patch_says_what_it_writes_and_where(lab: Lab, patch: dict[str, Any], told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refusal:
        lab.experiment({"site": MLP, "neurons": [3], "op": "patch", "from": "baseline", **patch})
    assert "interventions[0]" in refusal.value.where
    with pytest.raises(ExplorerError, match="controls have none of"):
        lab.experiment(LOW, {"site": MLP, "neurons": [3], "op": "patch", "from": "baseline"}, controls={"neurons": 3})


def test_a_source_reads_back_from_a_file(lab: Lab) -> None:
    for source in ({"condition": "+6"}, {"prompt": "pair"}, "baseline"):
        experiment = lab.experiment(LOW, {"site": MLP, "neurons": [3], "op": "patch", "from": source})
        text = experiment.to_toml()
        assert "from = {" in text
        assert 'positions = "prompt"' in text
        assert Experiment.from_toml(text) == experiment
        assert Experiment.from_json(experiment.to_json()) == experiment
