"""What is kept of a scoring is what the slow way finds, run by run; what does not belong together is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.positions import RowPositions
from srm_explorer.engine.io.arrays import Block, read_arrays
from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from srm_explorer.engine.session import Session, captured_at, load_session, save_session
from srm_explorer.engine.session.effects import effects_of

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

    from ..conftest import Lab

MLP, RESID = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"


def scored(session: Session, model: LoadedModel, **how: Any) -> Session:
    from srm_explorer.engine.model_analyses.scoring import score_effects

    return score_effects(session, model, **how).session


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """The files of one session, made by the first test that needs it."""
    return {}


@pytest.fixture
def session(lab: Lab, clamp: dict[str, Any], made: dict[str, bytes]) -> Session:
    if not made:
        lab.session(lab.experiment({**clamp, "values": [-9, 0.25, 9]}, generation={"tokens": 14}))
        made.update((file.name, file.read_bytes()) for file in lab.path().parent.iterdir() if file.is_file())
    lab.path().parent.mkdir(exist_ok=True)
    for name, content in made.items():
        (lab.path().parent / name).write_bytes(content)
    return load_session(lab.path())


def test_what_is_kept_is_what_forcing_token_by_token_finds(
    lab: Lab, session: Session, tiny_gpt2: LoadedModel, tmp_path: Path
) -> None:
    from srm_explorer.engine.model.capture import Capture
    from srm_explorer.engine.model.decoding import Generation, Row, decode
    from srm_explorer.engine.model.edits import Edit
    from srm_explorer.engine.model_analyses.scoring import score_effects

    found = score_effects(session, tiny_gpt2, keep_vectors=True)
    effects = effects_of(found.session)
    assert effects is not None
    assert effects.reproduced == {site: pytest.approx(0, abs=1e-6) for site in (MLP, RESID)}
    captures = [Capture(MLP, "mean", "generated"), Capture(RESID, "mean", "generated", centred=True)]
    baseline = {run.prompt: run for run in session.runs if run.condition == 0}
    changed = 0
    for place, run in enumerate(session.runs):
        own = effects.runs[run.index]
        if run.condition == 0:
            assert not own.texts
            continue
        base = baseline[run.prompt]
        (value,) = session.resolved[run.condition][0] or ()
        edits = (Edit(MLP, "clamp", "all", (3,), (value,)),)
        prompt = session.prompts[run.prompt].token_ids
        texts = {"baseline": base.token_ids, "own": run.token_ids}
        cells = {
            (name, bool(edit)): decode(tiny_gpt2, [Row(prompt, edit, forced=tokens)], Generation(14), captures).rows[0]
            for name, tokens in texts.items()
            for edit in ((), edits)
        }
        for at, site in enumerate((MLP, RESID)):
            bb, cb = cells["baseline", False].captured[at], cells["baseline", True].captured[at]
            bc, cc = cells["own", False].captured[at], cells["own", True].captured[at]
            parts = {
                "total": cc - bb,
                "direct": cb - bb,
                "through": cc - cb,
                "text_first": bc - bb,
                "after_text": cc - bc,
            }
            kept = own.sites[site]
            for name, part in parts.items():
                assert kept.norms[name] == pytest.approx(np.linalg.norm(part), rel=1e-4, abs=1e-5), (site, name)
            if site == MLP:
                (plane,) = kept.planes
                assert plane["direct"] == pytest.approx((parts["direct"][3], parts["direct"][8]), rel=1e-4, abs=1e-6)
                np.testing.assert_allclose(np.delete(parts["direct"], 3), 0, atol=1e-12)
            np.testing.assert_allclose(found.vectors[f"{site}/edited_on_baseline"][place], cb, atol=1e-9)
            np.testing.assert_allclose(found.vectors[f"{site}/untouched_on_own"][place], bc, atol=1e-9)
        scores = own.texts["baseline"]
        assert len(scores.kl) == len(scores.dlogp) == len(base.token_ids)
        assert min(scores.kl) >= 0
        if run.token_ids != base.token_ids:
            changed += 1
            assert len(own.texts["condition"].kl) == len(run.token_ids)
            assert own.margin is not None
            assert own.margin >= 0
            assert own.sites[MLP].prefix_tokens == run.metrics["first_change"]
        else:
            assert own.sites[RESID].norms["through"] == 0
            assert own.perplexity == effects.runs[base.index].perplexity
    assert 0 < changed < 12, "both kinds of runs are there"
    for mean in effects.means:
        rows = [place for place, run in enumerate(session.runs) if run.condition == mean.condition]
        cells = {name.removeprefix(f"{mean.site}/"): own[rows] for name, own in found.vectors.items()}
        direct = (cells["edited_on_baseline"] - cells["untouched_on_baseline"]).mean(axis=0)
        total = (cells["edited_on_own"] - cells["untouched_on_baseline"]).mean(axis=0)
        assert mean.runs == len(session.prompts)
        assert mean.norms["direct"] == pytest.approx(np.linalg.norm(direct), rel=1e-4)
        assert mean.shares["direct"] == pytest.approx(direct @ total / (total @ total), rel=1e-4)
    assert {(mean.site, mean.condition) for mean in effects.means} == {(s, c) for s in (MLP, RESID) for c in (1, 2, 3)}


def test_tokens_are_moved_by_the_mean_change_of_their_probability_over_the_tokens_of_all_texts(
    session: Session, tiny_gpt2: LoadedModel
) -> None:
    from srm_explorer.engine.model.edits import Edit
    from srm_explorer.engine.model.forcing import GivenText, score_texts

    effects = effects_of(scored(session, tiny_gpt2))
    assert effects is not None
    base = [run for run in session.runs if run.condition == 0]
    for moves in (moves for moves in effects.moves if moves.text == "baseline"):
        (value,) = session.resolved[moves.condition][0] or ()
        done = (Edit(MLP, "clamp", "all", (3,), (value,)),)
        texts = [GivenText(session.prompts[run.prompt].token_ids, run.token_ids, (done,)) for run in base]
        untouched, edited = zip(*(found for _, found in score_texts(tiny_gpt2, texts, [])), strict=True)
        assert moves.tokens == sum(len(run.token_ids) for run in base)
        means = [
            sum(parts) / moves.tokens
            for parts in (
                [one.scores.shift for one in edited],
                [one.scores.mass for one in edited],
                [one.scores.mass for one in untouched],
            )
        ]
        for moved in (moved for found in moves.lists.values() for moved in found):
            numbers = [moved.dlogp, moved.p, moved.p_untouched]
            assert numbers == pytest.approx([mean[moved.id] for mean in means], rel=1e-4, abs=1e-9)
        assert moves.lists["promoted"][0].id == means[0].argmax()
        assert moves.lists["lost"][0].id == (means[1] - means[2]).argmin()


@pytest.mark.parametrize(
    ("positions", "reduce"),
    [([1, -1], "mean"), ([1, -1], "last"), ({"after": "oo"}, "mean"), ("last", "mean")],
    ids=str,
)
def test_positions_of_each_prompt_are_scored_where_they_were_captured(
    lab: Lab, clamp: dict[str, Any], tiny_gpt2: LoadedModel, positions: Any, reduce: str
) -> None:
    lab.prompts("The door, the door opened", "She shut the door", "a door")
    session = lab.session(
        lab.experiment(clamp, generation={"tokens": 8}, capture={"positions": positions, "reduce": reduce})
    )
    effects = effects_of(scored(session, tiny_gpt2))
    assert effects is not None
    assert effects.reproduced == {site: pytest.approx(0, abs=1e-6) for site in (MLP, RESID)}
    baseline = {run.prompt: run for run in session.runs if run.condition == 0}
    for run in session.runs:
        if run.condition == 0 or run.token_ids == baseline[run.prompt].token_ids:
            continue
        fed = run.prompt_tokens + len(baseline[run.prompt].token_ids)
        at = captured_at(session, run.prompt)
        chosen = {run.prompt_tokens - 1}
        if isinstance(at, RowPositions):
            chosen = {*at.at, *range(fed if at.start is None else at.start, fed)}
        same = run.prompt_tokens + run.metrics["first_change"]
        assert effects.runs[run.index].sites[MLP].prefix_tokens == sum(place < same for place in chosen)


def test_what_is_kept_survives_saving_and_runs_can_be_filtered_by_it(session: Session, tiny_gpt2: LoadedModel) -> None:
    found = scored(session, tiny_gpt2)
    assert session.path is not None
    saved = save_session(found, session.path)
    again = load_session(saved.path)
    assert again.effects == found.effects
    assert effects_of(again) == effects_of(found)
    assert again.vectors()[MLP] is not None, "the vectors are still there"
    for run in again.runs:
        assert run.metrics["perplexity"] > 1
        assert ("kl" in run.metrics) == (run.condition != 0)
    without = scored(again, tiny_gpt2, texts=["condition"])
    assert not any("kl" in run.metrics for run in without.runs), "that of the baseline's text, which was not scored now"
    rows = scored(session, tiny_gpt2, rows=3)
    one, other = effects_of(rows), effects_of(found)
    assert one is not None
    assert other is not None
    for index, own in one.runs.items():
        for name, scores in own.texts.items():
            np.testing.assert_allclose(scores.kl, other.runs[index].texts[name].kl, rtol=1e-4, atol=1e-9)


def test_nothing_done_moves_nothing(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    nothing = {"site": MLP, "neurons": [3], "op": "add", "values": [0]}
    effects = effects_of(scored(lab.session(lab.experiment(nothing)), tiny_gpt2))
    assert effects is not None
    for own in effects.runs.values():
        for scores in own.texts.values():
            np.testing.assert_allclose(scores.kl, 0, atol=1e-12)
            np.testing.assert_allclose(scores.dlogp, 0, atol=1e-9)
        for parts in own.sites.values():
            np.testing.assert_allclose(list(parts.norms.values()), 0, atol=1e-9)


def test_samples_steering_and_a_given_text_at_another_site(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    save_file({"way": np.arange(32, dtype=np.float32)}, lab.folder / "v.safetensors")
    steer = {"site": "blocks.0.hook_resid_post", "direction": "v.safetensors#way", "op": "steer", "values": [-3, 3]}
    written = {"mode": "sample", "samples": 2, "temperature": 0.8}
    session = lab.session(lab.experiment(steer, generation=written, capture={"reduce": "tokens"}))
    site = "blocks.1.hook_resid_post"
    found = scored(session, tiny_gpt2, given=" and then", sites=[site], controls=True)
    effects = effects_of(found)
    assert effects is not None
    assert (effects.given, effects.texts, effects.sites) == (" and then", ("baseline", "condition", "given"), (site,))
    length = len(tiny_gpt2.tokenizer.encode(" and then", prepend_bos=False))
    for run in session.runs:
        own = effects.runs[run.index]
        if run.condition:
            assert set(own.sites) == {site}
            assert ("given" in own.texts) == (run.sample == 0)
            if run.sample == 0:
                assert len(own.texts["given"].kl) == length
    assert {(moves.text, moves.condition) for moves in effects.moves} == {
        (text, condition) for text in ("baseline", "given") for condition in (1, 2)
    }
    for moves in effects.moves:
        promoted = [one.dlogp for one in moves.lists["promoted"]]
        assert promoted == sorted(promoted, reverse=True)
        assert promoted[0] > 0 > moves.lists["suppressed"][0].dlogp
        assert moves.lists["gained"][0].p > moves.lists["gained"][0].p_untouched


def test_runs_without_a_baseline_are_scored_as_far_as_they_can_be(session: Session, tiny_gpt2: LoadedModel) -> None:
    kept = tuple(run for run in session.runs if not (run.prompt == 0 and run.condition == 0))
    gone = {run.index for run in session.runs} - {run.index for run in kept}
    batches = [[index for index in batch if index not in gone] for batch in session.layout["batches"]]
    cut = session.changed(runs=kept, layout={**session.layout, "batches": batches}, sidecar=None, planes=())
    effects = effects_of(scored(cut, tiny_gpt2))
    assert effects is not None
    assert effects.reproduced == {}
    for run in kept:
        own = effects.runs[run.index]
        assert own.perplexity is not None
        if run.prompt == 0:
            assert set(own.texts) == {"condition"}
            assert set(own.sites[RESID].norms) == {"after_text"}


def other_weights(session: Session) -> Session:
    told = {**session.provenance, "model": {**session.provenance["model"], "weights_sha256": "0" * 64}}
    return session.changed(provenance=told)


REFUSED: dict[str, tuple[Callable[[Session], Session], dict[str, Any]]] = {
    "has not the weights": (other_weights, {}),
    "has not the tokenizer": (
        lambda s: s.changed(provenance={**s.provenance, "tokenizer": {"sha256": "0" * 64}}),
        {},
    ),
    "not a known site": (lambda s: s, {"sites": ["layer 3"]}),
    "has no site": (lambda s: s, {"sites": ["blocks.7.hook_resid_post"]}),
    "no text 'conditions'": (lambda s: s, {"texts": ["conditions"]}),
    "no text to score": (lambda s: s, {"texts": []}),
    "does not say how to replay": (lambda s: s.changed(resolved=()), {}),
}


def test_what_does_not_belong_together_is_refused(session: Session, tiny_gpt2: LoadedModel) -> None:
    for told, (change, how) in REFUSED.items():
        with pytest.raises(ExplorerError, match=told) as refused:
            scored(change(session), tiny_gpt2, **how)
        assert refused.value.remedy, told


def test_effects_that_are_damaged_are_refused_in_one_line(session: Session, tiny_gpt2: LoadedModel) -> None:
    found = scored(session, tiny_gpt2, texts=["baseline"])
    good = dict(found.effects)
    assert effects_of(session) is None
    for damage in ({"version": 99}, {"runs": [{"run": "one"}]}, {"planes": [3]}, {"moves": [{}]}, {"scored": 1}):
        with pytest.raises(ExplorerError) as refused:
            effects_of(found.changed(effects={**good, **damage}))
        assert "\n" not in str(refused.value)


def test_the_study_saves_what_it_finds_and_never_over_anothers_work(lab: Lab, session: Session, tmp_path: Path) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    assert session.path is not None
    file = tmp_path / "v.npz"
    found = run_model_study("score", {"npz": str(file), "seed": 3}, session=session.path, base=session.path.parent)
    assert found["scored"]
    assert not found["told"]
    names = [table.name for table in tables_in(found)]
    told = ["texts", "text_changes", "collapsed", "collapse"]
    assert names == ["effects", *told, "direct", "plane_parts", "tokens", "runs"]
    keys = {block.key: block.rows.shape for block in read_arrays(file) if isinstance(block, Block)}
    assert keys[f"{RESID}/edited_on_own"] == (len(session.runs), 32)
    on_disk = load_session(session.path)
    assert effects_of(on_disk) is not None
    assert on_disk.revision == session.revision + 1
    stale = save_session(dataclasses.replace(session, effects=on_disk.effects), session.path)
    assert stale.path.name == "a-2.json"
    assert "changed elsewhere" in stale.note


def test_a_scoring_stops_when_asked_to_and_leaves_the_session_alone(session: Session) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    stop = StopSignal()

    def listen(progress: Progress) -> None:
        stop.level = int(progress.runs_done > 0)

    assert session.path is not None
    before = session.path.read_bytes()
    with pytest.raises(Stopped):
        run_model_study("score", {}, session=session.path, base=session.path.parent, meter=Meter([listen], stop))
    assert session.path.read_bytes() == before


def test_texts_on_which_logits_are_no_numbers_have_no_score_and_that_is_told(lab: Lab, tiny_gpt2: LoadedModel) -> None:
    """What a run wrote by itself may be whole, and its value break the baseline's text all the same."""
    site = "blocks.1.mlp.hook_post"
    session = lab.session(lab.experiment({"site": site, "neurons": [3], "op": "clamp", "values": [2, 1e200]}))
    found = effects_of(scored(session, tiny_gpt2))
    assert found is not None
    assert {mean.condition for mean in found.means} == {moves.condition for moves in found.moves} == {1}
    whole = session.changed(runs=tuple(dataclasses.replace(run, min_margin=1.0) for run in session.runs))
    again = scored(whole, tiny_gpt2)
    found = effects_of(again)
    assert found is not None
    assert {moves.condition for moves in found.moves} == {1}
    table = tables_in(effects_study(again, {}))[0]
    prompts = len(session.prompts)
    assert f"KL and log p: {prompts} of {2 * prompts} scored runs are left out" in " ".join(table.notes)
    kl = {row[0]: row[[column.key for column in table.columns].index("kl")] for row in table.rows}
    assert kl["+2"] is not None
    assert kl["+1e+200"] is None
