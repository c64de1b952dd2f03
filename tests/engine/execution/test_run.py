"""A batched run gives what the plain way gives for each of its runs alone."""

from __future__ import annotations

import dataclasses
import math
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.analyses.captured import edited
from srm_explorer.engine.analyses.registry import study_session
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.actors import idle_actors
from srm_explorer.engine.execution.batches import BatchTask
from srm_explorer.engine.execution.replay import replay
from srm_explorer.engine.experiment import ExecutionSpec, conditions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.figures import arithmetic_points
from srm_explorer.engine.figures.groups import points_of
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.model import Ahead
from srm_explorer.engine.runs.plan import plan_layout
from srm_explorer.engine.runs.progress import Progress, StopSignal
from srm_explorer.engine.session import baseline_of, captured_at, load_session, unit_warnings

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel
    from srm_explorer.engine.session import Session

    from ..conftest import Lab

Check = Callable[..., None]
MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.2.hook_resid_post"


def test_two_interventions_vary_together(lab: Lab, as_if_alone: Check) -> None:
    low = {"site": "blocks.0.mlp.hook_post", "neurons": [1, 2], "op": "clamp", "values": [-3, 3]}
    high = {"site": RESID, "neurons": [5], "op": "add", "values": [1, 6], "positions": "predicting"}
    session = lab.session(lab.experiment(low, high))
    assert session.resolved == ((None, None), ((-3.0, -3.0), (1.0,)), ((3.0, 3.0), (6.0,)))
    as_if_alone(session)


def test_crossed_values_run_with_the_last_intervention_fastest(lab: Lab, as_if_alone: Check) -> None:
    one = {"site": MLP, "neurons": [3], "op": "clamp", "values": [-2, 2]}
    two = {"site": RESID, "neurons": [5], "op": "scale", "values": [0, 3]}
    session = lab.session(lab.experiment(one, two, grid=True))
    assert session.resolved[1:] == tuple(((a,), (b,)) for a in (-2.0, 2.0) for b in (0.0, 3.0))
    as_if_alone(session, every=3)


def test_a_background_is_in_the_reference_condition_and_in_every_value(lab: Lab, as_if_alone: Check) -> None:
    behind = {"site": "blocks.0.mlp.hook_post", "neurons": [7], "op": "zero", "background": True}
    session = lab.session(lab.experiment(behind, {"site": MLP, "neurons": [3], "op": "clamp", "values": [-4, 4]}))
    assert [condition.kind for condition in session.conditions] == ["baseline", "reference", "sweep", "sweep"]
    assert session.resolved == ((None, None), ((), None), ((), (-4.0,)), ((), (4.0,)))
    as_if_alone(session)


@pytest.mark.parametrize("op", ["zero", "mean"])
def test_an_ablation_is_one_condition(lab: Lab, as_if_alone: Check, op: str) -> None:
    session = lab.session(lab.experiment({"site": MLP, "neurons": [3, 4], "op": op, "positions": "generated"}))
    assert len(session.conditions) == 2
    as_if_alone(session, every=2)


def test_steering_adds_the_unit_vector_of_a_file(lab: Lab, as_if_alone: Check) -> None:
    direction = np.arange(1, 33, dtype=np.float32)
    save_file({"way": direction}, lab.folder / "v.safetensors")
    named = "v.safetensors#way"
    steer = {"site": RESID, "direction": named, "op": "steer", "values": [-5, 8]}
    session = lab.session(lab.experiment(steer))
    unit = direction.astype(np.float64) / np.linalg.norm(direction.astype(np.float64))
    as_if_alone(session, {named: unit})


def test_samples_differ_and_conditions_share_their_noise(lab: Lab, as_if_alone: Check, clamp: dict[str, Any]) -> None:
    lab.prompts("The man opened", "Two", "The man opened")
    nothing = {**clamp, "op": "add", "values": [0, 5]}
    session = lab.session(lab.experiment(nothing, generation={"mode": "sample", "samples": 2, "top_k": 40, "seed": 3}))
    as_if_alone(session)
    text = {(run.prompt, run.sample, run.condition): run.token_ids for run in session.runs}
    assert all(text[p, s, 1] == text[p, s, 0] for p in range(3) for s in range(2)), "adding 0 changes nothing"
    assert len({text[p, s, 0] for p in (0, 2) for s in range(2)}) == 4, "a repeated prompt has noise of its own"


@pytest.mark.parametrize("reduce", ["tokens", "last"])
def test_tokens_and_last_are_kept_as_asked(lab: Lab, as_if_alone: Check, clamp: dict[str, Any], reduce: str) -> None:
    capture = {"reduce": reduce, "positions": "predicting", "residual": "centred"}
    session = lab.session(lab.experiment(clamp, capture=capture), rows=7)
    as_if_alone(session, every=2)


@pytest.mark.parametrize(("shape", "means"), [("gpt2", "centred"), ("llama", "raw")])
def test_the_model_decides_how_residual_streams_are_captured_once(
    lab: Lab, request: pytest.FixtureRequest, clamp: dict[str, Any], shape: str, means: str
) -> None:
    folder = request.getfixturevalue(f"tiny_{shape}_folder")
    asked = lab.experiment(clamp, model={"name": str(folder)}, capture={"residual": "auto"})
    outcome = lab.run(asked)
    assert outcome.session is not None
    assert outcome.session.spec.capture.residual == means
    assert any(f"residual streams are captured {means}" in line for line in outcome.notes)
    assert lab.run(asked).status == "shown"
    lab.run(lab.experiment(clamp, model={"name": str(folder)}, capture={"residual": "raw"}), "raw")
    assert lab.run(asked, "raw").status == "shown", "what was decided is not decided again"


def test_a_plain_forward_captures_the_prompt(lab: Lab, as_if_alone: Check, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment(clamp, generation={"tokens": 0}, capture={"positions": "prompt"}))
    assert {(run.token_ids, run.text, run.finish, run.min_margin) for run in session.runs} == {((), "", "none", None)}
    as_if_alone(session)


def test_a_limit_changes_nothing_in_the_runs_it_leaves(lab: Lab, clamp: dict[str, Any]) -> None:
    whole = lab.session(lab.experiment(clamp), "whole")
    part = lab.session(lab.experiment(clamp, prompts={"limit": 2}), "part")
    assert part.prompts == whole.prompts[:2]
    assert [run.token_ids for run in part.runs] == [run.token_ids for run in whole.runs[:6]]
    np.testing.assert_allclose(part.vectors()[MLP], whole.vectors()[MLP][:6], atol=1e-6)


@pytest.mark.parametrize("reduce", ["mean", "tokens"])
def test_planes_are_the_coordinates_of_the_vectors(lab: Lab, clamp: dict[str, Any], reduce: str) -> None:
    planes = [{"site": MLP, "a": 3, "b": 8}, {"site": RESID, "a": 0, "b": 31}, {"site": MLP, "a": 9, "b": 3}]
    session = lab.session(lab.experiment(clamp, planes=planes, capture={"reduce": reduce}))
    assert [(plane.site, plane.a, plane.b) for plane in session.planes] == [(p["site"], p["a"], p["b"]) for p in planes]
    vectors = session.vectors()
    for plane in session.planes:
        means = np.array([np.mean(np.atleast_2d(own), axis=0, dtype=np.float64) for own in vectors[plane.site]])
        np.testing.assert_allclose(plane.x, means[:, plane.a], rtol=1e-6)
        np.testing.assert_allclose(plane.y, means[:, plane.b], rtol=1e-6)
        np.testing.assert_allclose(plane.norm, np.linalg.norm(means, axis=1), rtol=1e-6)


def test_rows_a_batch_change_nothing_but_the_layout(lab: Lab, clamp: dict[str, Any]) -> None:
    wide, narrow = (lab.session(lab.experiment(clamp), f"by-{rows}", rows=rows) for rows in (100, 2))
    assert len(wide.layout["batches"]) == 1
    assert len(narrow.layout["batches"]) == 8
    assert [run.token_ids for run in wide.runs] == [run.token_ids for run in narrow.runs]
    for site, own in wide.vectors().items():
        np.testing.assert_allclose(own, narrow.vectors()[site], atol=1e-6)


def test_batches_are_made_ready_beside_those_that_are_decoded_and_are_what_they_are_alone(
    lab: Lab, clamp: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device that works by itself, where steps are run as graphs."""
    asked = lab.experiment(clamp)
    plain = lab.session(asked, "plain", rows=4)
    made: list[tuple[int, bool]] = []
    make = BatchTask._prepared

    def noted(task: BatchTask, bench: Any) -> Any:
        made.append((task.number, threading.current_thread() is not threading.main_thread()))
        return make(task, bench)

    stop = StopSignal()

    def listen(progress: Progress) -> None:
        if progress.runs_done == 6:
            stop.level = 1

    monkeypatch.setattr(lab.warm.model, "static_steps", True)
    monkeypatch.setattr(BatchTask, "_prepared", noted)
    whole = lab.session(asked, "whole", rows=4)
    assert sorted(made) == [(0, False), (1, True), (2, True), (3, True)]
    assert lab.run(asked, "cut", rows=4, listener=listen, stop=stop).status == "interrupted"
    cut = lab.session(asked, "cut")
    monkeypatch.setattr(Ahead, "take", lambda _, key, make, then=None: make(key))
    alone = lab.session(asked, "alone", rows=4)
    for other in (plain, cut, alone):
        assert {batch["static_steps"] for batch in other.receipts} == {other is not plain}
        assert [run.token_ids for run in other.runs] == [run.token_ids for run in whole.runs]
        assert other.layout == whole.layout
        for site, vectors in other.vectors().items():
            apart = 1e-6 if other is plain else 0.0
            np.testing.assert_allclose(vectors, whole.vectors()[site], rtol=0, atol=apart)


def test_provenance_says_everything_a_result_depends_on(
    lab: Lab, clamp: dict[str, Any], tiny_gpt2: LoadedModel
) -> None:
    session = lab.session(lab.experiment(clamp, generation={"mode": "sample", "seed": 11}), rows=5)
    told = session.provenance
    assert told["model"]["name"] == str(lab.model)
    assert told["model"]["revision"] is None
    assert told["model"]["weights_sha256"] == tiny_gpt2.weights_sha256
    assert told["tokenizer"] == {"sha256": tiny_gpt2.tokenizer.sha256(), "prepend_bos": False}
    assert set(told["inputs"]) == {"prompts texts.txt"}
    assert len({prompt.sha256 for prompt in session.prompts}) == len(session.prompts)
    assert (told["dtype"], told["seed"], told["tf32"]) == ("float64", 11, False)
    assert told["device"].startswith("cpu (")
    assert told["threads"] >= 1
    packages = {"python", "torch", "transformers", "transformer-lens", "numpy", "srm-explorer"}
    assert packages == set(told["versions"])
    assert told["self_test"]["cached_vs_uncached"] <= told["self_test"]["tolerance"]
    assert sorted(i for batch in session.layout["batches"] for i in batch) == list(range(len(session.runs)))
    assert all(prompt.token_ids for prompt in session.prompts)


def test_receipts_say_how_often_each_site_was_reached_and_edited(lab: Lab, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment({**clamp, "positions": "generated"}), rows=6)
    written = {run.index: len(run.token_ids) for run in session.runs}
    assert len(session.receipts) == len(session.layout["batches"]) == 2
    for receipt, batch in zip(session.receipts, session.layout["batches"], strict=True):
        sites = {one["site"]: one for one in receipt["sites"]}
        assert set(sites) == {MLP, RESID}
        assert sites[MLP]["edited"] == sum(written[i] for i in batch if i % 3), "the baseline's rows are left alone"
        assert sites[RESID]["edited"] == 0
        assert all(one["fired"] >= 5 for one in sites.values())


def test_progress_counts_every_run_and_every_token_once(lab: Lab, clamp: dict[str, Any]) -> None:
    seen: list[Progress] = []
    session = lab.session(lab.experiment(clamp), rows=5, listener=seen.append, warm=None)
    stages = list(dict.fromkeys(one.stage for one in seen))
    assert stages == ["loading", "testing", "running", "saving"]
    assert (seen[-1].runs_done, seen[-1].runs) == (12, 12)
    assert seen[-1].tokens == sum(len(run.token_ids) for run in session.runs)
    running = [one for one in seen if one.stage == "running"]
    shares = [one.share for one in running]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert [one.tokens for one in running] == sorted(one.tokens for one in running)
    assert running[-1].seconds_left == 0


def test_a_saved_session_reads_back_as_it_was_returned(lab: Lab, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment(clamp))
    read: Session = load_session(lab.path())
    assert read.runs == session.runs
    assert read.planes == session.planes
    assert read.resolved == session.resolved
    assert read.conditions == conditions(read.spec)
    assert not (lab.folder / "out" / "a.run").exists(), "what is saved needs no journal"


def test_positions_by_number_and_by_token_are_found_in_every_prompt(lab: Lab, as_if_alone: Check) -> None:
    lab.prompts("The door, the door opened", "She shut the door", "a door")
    ids = [record.token_ids for record in lab.session(lab.experiment(), "plain").prompts]
    assert len({len(one) for one in ids}) > 1, "what is found differs from prompt to prompt"
    save_file({"way": np.arange(1, 33, dtype=np.float32)}, lab.folder / "v.safetensors")
    edits = [
        {"site": MLP, "neurons": [3], "op": "clamp", "values": [-8, 8], "positions": [0, -1]},
        {"site": "blocks.0.mlp.hook_post", "neurons": [5], "op": "add", "values": [2, 4], "positions": {"token": "oo"}},
        {"site": MLP, "neurons": [6, 7], "op": "zero", "positions": {"after": "oo"}},
        {"site": "blocks.1.hook_resid_pre", "direction": "v.safetensors#way", "op": "project_out"},
    ]
    session = lab.session(lab.experiment(*edits), rows=4)
    unit = np.arange(1, 33) / np.linalg.norm(np.arange(1, 33))
    as_if_alone(session, {"v.safetensors#way": unit})
    assert load_session(lab.path()).spec == session.spec


@pytest.mark.parametrize(
    ("positions", "reduce"),
    [([0, -1], "mean"), ({"token": "oo"}, "tokens"), ({"after": "oo"}, "last"), ("last", "mean")],
    ids=str,
)
def test_positions_that_differ_from_prompt_to_prompt_are_captured_kept_on_record_and_replayed(
    lab: Lab, as_if_alone: Check, clamp: dict[str, Any], positions: Any, reduce: str
) -> None:
    lab.prompts("The door, the door opened", "She shut the door", "a door")
    capture = {"positions": positions, "reduce": reduce}
    session = lab.session(lab.experiment({**clamp, "positions": [-1]}, capture=capture), rows=4)
    as_if_alone(session)
    again = load_session(lab.path())
    assert again.spec == session.spec
    assert again.spec.to_dict()["capture"]["positions"] == positions
    on_record = [captured_at(again, prompt) for prompt in range(3)]
    lengths = [len(prompt.token_ids) for prompt in again.prompts]
    if positions == [0, -1]:
        assert on_record == [RowPositions((0, length - 1)) for length in lengths]
        # One of these is not edited and the other is: their mean is no sum over a whole stretch of the row.
        assert arithmetic_points(again, 0) is None
    elif positions == {"token": "oo"}:
        counts = {run.prompt: len(vectors) for run, vectors in zip(again.runs, again.vectors()[MLP], strict=True)}
        assert counts == {0: 4, 1: 2, 2: 2}, "the token is written in two pieces"
    elif positions == "last":
        assert on_record == ["last"] * 3
        assert "captured_at" not in again.provenance
    replayed = replay(again, lab.folder)
    assert replayed.compared_vectors
    assert replayed.bit_equal


@pytest.mark.parametrize(
    ("edited", "captured", "reduce"),
    [("all", [0, -1], "mean"), ("prompt", {"token": "oo"}, "last"), ("generated", {"token": "oo"}, "tokens")],
    ids=str,
)
def test_what_is_captured_of_prompts_is_as_arithmetic_predicts_where_all_of_it_or_nothing_is_edited(
    lab: Lab, edited: str, captured: Any, reduce: str
) -> None:
    lab.prompts("The door, the door opened", "She shut the door", "a door")
    edits = [
        {"site": MLP, "neurons": [3], "op": "clamp", "values": [-4, 4], "positions": edited},
        {"site": MLP, "neurons": [8], "op": "add", "values": [-1, 2], "positions": edited},
    ]
    session = lab.session(lab.experiment(*edits, capture={"positions": captured, "reduce": reduce}))
    predicted, points = arithmetic_points(session, 0), points_of(session.planes[0])
    assert predicted is not None
    # No text that was written reaches a position of the prompt.
    np.testing.assert_allclose(predicted.xy, points.xy, atol=1e-6)
    swept = np.array([run.condition > 0 for run in session.runs])
    assert (np.abs(points.xy[swept] - points.xy[baseline_of(session)[swept]]).max() > 0.1) == (edited != "generated")


def test_captured_positions_that_hold_nothing_are_refused_with_their_prompt(lab: Lab, clamp: dict[str, Any]) -> None:
    lab.prompts("She shut the door", "Nobody")
    for positions, told in (
        ({"token": "oo"}, "prompt 2 of texts ('Nobody'): no token of it is \"oo\""),
        ({"after": "r"}, "prompt 1 of texts ('She shut the door'): nothing stands behind that token"),
    ):
        with pytest.raises(ExplorerError) as refusal:
            lab.run(lab.experiment(clamp, generation={"tokens": 0}, capture={"positions": positions}))
        assert f"capture.positions, {told}" in str(refusal.value)
        assert not (lab.folder / "out" / "a.run").exists()


@pytest.mark.parametrize(
    ("positions", "told"),
    [([9999], "no position 9999 among its"), ({"token": " zebra"}, '" zebra"'), ({"after": "zebra"}, '"zebra"')],
    ids=str,
)
def test_a_prompt_without_the_positions_is_named_before_anything_is_written(
    lab: Lab, clamp: dict[str, Any], positions: Any, told: str
) -> None:
    with pytest.raises(ExplorerError) as refusal:
        lab.run(lab.experiment({**clamp, "positions": positions}))
    assert told in str(refusal.value)
    assert "interventions[0].positions, prompt 1 of texts" in refusal.value.where
    assert not (lab.folder / "out" / "a.run").exists()


def test_heads_run_as_their_coordinates_alone(lab: Lab, as_if_alone: Check, tiny_gpt2: LoadedModel) -> None:
    site, width = "blocks.1.attn.hook_z", tiny_gpt2.shape.head_width(1)
    whole = {"site": site, "heads": [1, 2], "op": "scale", "values": [0, 3]}
    some = {"site": "blocks.0.attn.hook_z", "heads": [0], "coordinates": [1, 4], "op": "clamp", "unit": "sigma"}
    mean = {"site": "blocks.2.attn.hook_z", "heads": [3], "op": "mean", "positions": "predicting"}
    captured = {"sites": [site, RESID], "residual": "centred"}
    spec = lab.experiment(whole, {**some, "values": [-2, 2]}, mean, capture=captured, planes=[])
    session = lab.session(spec, rows=5)
    assert [[None if v is None else len(v) for v in row] for row in session.resolved[1:]] == [[1, 2, width]] * 2
    assert [len(unit["mean"]) if unit else 0 for unit in session.provenance["units"]] == [0, 2, width]
    assert sorted(edited(session, site)) == list(range(width, 3 * width))
    as_if_alone(session)


def test_actors_that_have_nothing_to_do_are_told_and_how_all_have() -> None:
    grid = Grid(50, 1, 12)
    few = plan_layout(grid, [5] * 50, 320, baseline_first=False)
    three, two = (ExecutionSpec(executor="ray", actors=count) for count in (3, 2))
    (line,) = idle_actors(three, few)
    assert line.startswith("1 actor of 3 had nothing to do")
    rows = int(re.findall(r"execution.rows = (\d+)", line)[0])
    assert idle_actors(three, plan_layout(grid, [5] * 50, rows, baseline_first=False)) == ()
    assert idle_actors(two, few) == idle_actors(ExecutionSpec(executor="ray"), few) == ()


def test_texts_whose_logits_are_no_numbers_are_named_first_wherever_they_are_read(lab: Lab) -> None:
    """A value whose square no number holds: the norms behind it make NaN, whose largest is the first token."""
    session = lab.session(lab.experiment({"site": MLP, "neurons": [3], "op": "clamp", "values": [2, 1e200]}))
    broken = [run for run in session.runs if run.condition == 2]
    assert {token for run in broken for token in run.token_ids} == {0}
    line = session_warnings(session, None)[0]
    assert line.startswith(f"in {len(broken)} of {len(session.runs)} runs (2, 5, ")
    assert line in unit_warnings(session)


def test_runs_whose_logits_are_no_numbers_are_in_no_analysis(lab: Lab) -> None:
    """Neither all of a value, one of another, nor a baseline's: numbers are those of a session without these."""
    texts = ("the man opened the door", "two", "if all are late", "she", "nobody")
    lab.prompts(*(f"{begin} {text}" for text in texts for begin in ("So", "Now")))
    session = lab.session(
        lab.experiment({"site": MLP, "neurons": [3], "op": "clamp", "values": [-4, 4, 1e200]}, generation={"tokens": 3})
    )
    assert all(run.is_broken == (run.condition == 3) for run in session.runs)
    broken = {run.index for run in session.runs if run.is_broken} | {9, 16}
    runs = [dataclasses.replace(run, min_margin=math.nan) if run.index in broken else run for run in session.runs]
    vectors = session.vectors()

    def of_rows(rows: Sequence[int]) -> Session:
        def part(column: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(column[row] for row in rows)

        planes = [dataclasses.replace(p, x=part(p.x), y=part(p.y), norm=part(p.norm)) for p in session.planes]
        return session.changed(
            runs=tuple(runs[row] for row in rows),
            planes=tuple(planes),
            held={site: np.asarray(matrix)[list(rows)] for site, matrix in vectors.items()},
            predictions={},
            bands={},
            sidecar=None,
            path=None,
            created=f"2026-01-01T00:00:{len(rows)}+00:00",  # each has a ledger of its own
        )

    whole = of_rows(range(len(runs)))
    without = of_rows([row for row, run in enumerate(runs) if run.index not in broken])
    few = {"permutations": 100}
    studies: dict[str, dict[str, Any]] = {
        "effects": {},
        "collapse": {},
        "dose": {"resamples": 100},
        "bands": {"resamples": 100},
        "pairs": few,
        "finder": {**few, "groups": ["clamped", "baseline"]},
        "planes": {},
        "compare": {"resamples": 100, "groups": ["clamped", "baseline"]},
        "ensemble": {"basis": ["mean(at=+4)", "mean(at=-4)", "mean(at=baseline)"]},
    }
    for study, arguments in studies.items():
        found = [study_session(study, one, arguments) for one in (whole, without)]
        if study in ("effects", "collapse"):
            assert any("logits were NaN" in note for note in found[0]["tables"][0]["notes"])
        tables = [[{**table, "notes": ()} for table in one.pop("tables", ())] for one in found]
        np.testing.assert_equal(*tables, err_msg=study)
        np.testing.assert_equal(*found, err_msg=study)
