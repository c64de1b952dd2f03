"""Texts of one prompt that differ in length: means over common tokens, however a run was laid out or stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.beyond_arithmetic import residual_p, residual_points
from srm_explorer.engine.analyses.captured import captured
from srm_explorer.engine.analyses.controls import measures_of
from srm_explorer.engine.analyses.controls_split import parts_of
from srm_explorer.engine.analyses.plane_finder import observed_and_predicted
from srm_explorer.engine.analyses.planes import plane_of
from srm_explorer.engine.figures.arithmetic import arithmetic_points
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.runs.journal_reader import JournalReader
from srm_explorer.engine.runs.progress import Progress, StopSignal
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.lengths import (
    alike,
    alike_tokens,
    common_tokens,
    differ_in_length,
    length_note,
    marks_of,
    paired,
)

if TYPE_CHECKING:
    from srm_explorer.engine.experiment import Experiment

    from ..conftest import Lab

MLP, RESID, HEADS = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post", "blocks.1.attn.hook_z"
SITES = {"sites": [MLP, RESID, HEADS], "residual": "centred"}
PLANES = [{"site": MLP, "a": 3, "b": 8}, {"site": RESID, "a": 1, "b": "mean(at=baseline)"}]


@pytest.fixture(scope="module")
def ending_model(tiny_gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with so many end-of-text ids that its texts end early, late and never."""
    folder = tmp_path_factory.mktemp("ending") / "model"
    shutil.copytree(tiny_gpt2_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["eos_token_id"] = [config["eos_token_id"], *range(0, 600, 6)]
    (folder / "config.json").write_text(json.dumps(config))
    generation = folder / "generation_config.json"
    if generation.is_file():
        generation.unlink()
    return folder


def ending(lab: Lab, model: Path, clamp: dict[str, Any], **changes: Any) -> Experiment:
    settings: dict[str, Any] = {"model": {"name": str(model)}, "generation": {"tokens": 9}, "capture": SITES}
    return lab.experiment({**clamp, "values": [-40, -4, 4, 40]}, **{**settings, "planes": PLANES, **changes})


def shorter_are_equal(one: Session, other: Session) -> None:
    mine, theirs = one.shorter_means(), other.shorter_means()
    assert mine.keys() == theirs.keys()
    for site, means in mine.items():
        for left, right in zip(means, theirs[site], strict=True):
            np.testing.assert_array_equal(left, right)
    assert one.planes == other.planes
    assert one.predictions == other.predictions


def test_means_at_common_lengths_are_those_of_the_tokens(
    lab: Lab, ending_model: Path, clamp: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from srm_explorer.engine.execution import lengths

    session = lab.session(ending(lab, ending_model, clamp), "mean", rows=7)
    tokens = lab.session(ending(lab, ending_model, clamp, capture={**SITES, "reduce": "tokens"}), "tokens", rows=7)
    marks = marks_of(session.spec, session.conditions, session.runs)
    assert sum(map(len, marks)) > len(session.runs) / 2, "texts of a prompt differ in length"
    means, whole = session.shorter_means(), tokens.vectors()
    assert means.keys() == {MLP, RESID, HEADS}
    for site, kept in means.items():
        for row, (run, own) in enumerate(zip(session.runs, marks, strict=True)):
            assert [own.index(mark) for mark in own] == list(range(len(kept[row])))
            direct = [whole[site][row][:mark].mean(axis=0, dtype=np.float64) for mark in own]
            assert all(mark < len(run.token_ids) for mark in own)
            np.testing.assert_allclose(kept[row], np.array(direct).reshape(kept[row].shape), atol=1e-5)
    # Where every token was kept nothing else is saved, and planes, predictions and p are the same.
    assert not tokens.shorter_means()
    for index, (plane, other) in enumerate(zip(session.planes, tokens.planes, strict=True)):
        for mine, theirs in zip(paired(session, plane).runs.xy, paired(tokens, other).runs.xy, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)
        first, second = (arithmetic_points(one, index, paired(one, one.planes[index])) for one in (session, tokens))
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            np.testing.assert_allclose(first.xy, second.xy, atol=1e-4)
    assert length_note(session, session.planes[0]).kept
    # The file holds it all; a plane made afterwards knows as much as one of the experiment.
    again = load_session(lab.path("mean"))
    assert (again.planes, again.predictions) == (session.planes, session.predictions)
    made = plane_of(again, again.vectors()[MLP], PlaneChoice(MLP, 3, 8))
    assert [[mean[0] for mean in own] for own in made.shorter] == [list(own) for own in marks]
    np.testing.assert_allclose(paired(again, made).runs.xy, paired(session, session.planes[0]).runs.xy, atol=1e-12)
    # Where the pass does not fit into memory it is halved, as often as it takes.
    decode, fed = lengths.decode, list[int]()

    def feed(model: Any, rows: Any, *others: Any, **how: Any) -> Any:
        fed.append(len(rows))
        if len(rows) > 2:
            raise MemoryError
        return decode(model, rows, *others, **how)

    monkeypatch.setattr(lengths, "decode", feed)
    halved = lab.session(ending(lab, ending_model, clamp), "halved", rows=7).shorter_means()
    assert {1, 2} < set(fed)
    for site, kept in means.items():
        for one, other in zip(kept, halved[site], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_every_test_reads_the_same_means_whether_tokens_were_kept_or_not(
    lab: Lab, ending_model: Path, clamp: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"controls": {"neurons": 2}, "planes": PLANES[:1]}
    sessions = [
        lab.session(
            ending(lab, ending_model, clamp, capture={"sites": [MLP], "reduce": reduce}, **settings), reduce, rows=9
        )
        for reduce in ("mean", "tokens")
    ]
    assert differ_in_length(sessions[0].spec, sessions[0].runs)
    by_session: list[list[np.ndarray]] = []
    for session in sessions:
        vectors = session.vectors()
        numbers = [
            np.array([m.value for m in measures_of(part, vectors, by_condition=True)])
            for part in parts_of(session, vectors)
        ]
        caught = captured(session, [MLP])
        observed, predicted, runs = observed_and_predicted(caught, MLP, caught.kinds("sweep"))
        both = caught.over(alike_tokens(session, caught.rows))
        numbers += [observed, predicted, runs.astype(np.float64), both.vectors[MLP], both.rows.astype(np.float64)]
        rest = residual_points(session, 0)
        assert rest is not None
        swept = np.flatnonzero([session.conditions[run.condition].kind == "sweep" for run in session.runs])
        numbers += [rest, alike(session, session.planes[0], swept).xy]
        by_session.append(numbers)
    for left, right in zip(*by_session, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
    # And they are not those of all tokens.
    older = sessions[0].changed(planes=tuple(dataclasses.replace(plane, shorter=()) for plane in sessions[0].planes))
    assert not np.allclose(paired(older, older.planes[0]).runs.xy, paired(sessions[0], sessions[0].planes[0]).runs.xy)


def test_predictions_at_the_common_length_are_the_clamp_on_the_baselines_first_tokens(
    lab: Lab, ending_model: Path, clamp: dict[str, Any]
) -> None:
    session = lab.session(ending(lab, ending_model, clamp), rows=7)
    pairs = paired(session, session.planes[0])
    predicted = arithmetic_points(session, 0, pairs)
    plain = arithmetic_points(session.changed(predictions={}), 0, pairs)
    assert predicted is not None
    assert plain is not None
    np.testing.assert_allclose(predicted.xy, plain.xy, atol=1e-7)
    bases = {run.prompt: run for run in session.runs if run.condition == 0}
    for row, run in enumerate(session.runs):
        common = common_tokens(run, bases[run.prompt])
        assert pairs.tokens[row] == pairs.base_tokens[row] == common
        if common > 0 and run.token_ids[:common] == bases[run.prompt].token_ids[:common]:
            # Clamp and capture share a tensor: over the same tokens arithmetic tells all there is.
            observed = np.array(pairs.runs.xy[row]) / pairs.runs.norm[row]
            np.testing.assert_allclose(observed, predicted.xy[row], atol=1e-5)
    assert residual_p(session, 0, ("condition",), flips=200).keys() == {"-40", "-4", "+4", "+40"}


def test_a_stopped_run_takes_the_means_that_an_undisturbed_one_does(
    lab: Lab, ending_model: Path, clamp: dict[str, Any]
) -> None:
    experiment = ending(lab, ending_model, {**clamp, "unit": "sigma"})
    undisturbed = lab.session(experiment, "whole", rows=6)
    stop = StopSignal()
    part = lab.run(experiment, rows=6, stop=stop, listener=lambda p: setattr(stop, "level", int(p.runs_done >= 7)))
    assert part.session is not None
    assert not part.session.shorter_means(), "before the last run is there, no common length is known"
    assert not any(plane.shorter for plane in part.session.planes)

    stop = StopSignal()
    told: list[str] = []

    def in_the_pass(progress: Progress) -> None:
        told.append(progress.stage)
        stop.level = 2 * int(progress.stage == "lengths")

    second = lab.run(experiment, rows=6, stop=stop, listener=in_the_pass)
    assert "lengths" in told
    assert second.session is not None
    assert (second.status, second.session.state, len(second.session.runs)) == ("interrupted", "interrupted", 20)
    last = lab.session(experiment)
    shorter_are_equal(last, undisturbed)
    assert last.layout == undisturbed.layout


def test_a_kill_in_the_pass_costs_the_part_in_flight(lab: Lab, ending_model: Path, clamp: dict[str, Any]) -> None:
    experiment = ending(lab, ending_model, clamp)
    undisturbed = lab.session(experiment, "whole", rows=5)

    class Killed(BaseException):
        pass

    def listen(progress: Progress) -> None:
        if progress.stage == "saving":
            raise Killed

    with pytest.raises(Killed):
        lab.run(experiment, rows=5, listener=listen)
    folder = paths.run_folder(lab.path())
    events = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    parts = [number for number, line in enumerate(events) if b'"event":"means"' in line]
    assert len(parts) > 1
    # As if it had been killed after a shard was in place, before its line was.
    (folder / "events.jsonl").write_bytes(b"".join(events[: parts[1]]))
    reader = JournalReader(folder)
    reader.poll()
    assert reader.shorter_means()
    shorter_are_equal(lab.session(experiment), undisturbed)


def test_a_session_with_common_lengths_replays_bit_for_bit(lab: Lab, ending_model: Path, clamp: dict[str, Any]) -> None:
    from srm_explorer.engine.execution.replay import replay

    session = lab.session(ending(lab, ending_model, {**clamp, "unit": "sigma"}, controls={"neurons": 2}), rows=5)
    assert session.shorter_means()
    assert replay(session, lab.folder / "out").bit_equal


def test_nothing_is_fed_again_where_all_texts_are_as_long(lab: Lab, clamp: dict[str, Any]) -> None:
    stages: list[str] = []
    session = lab.session(lab.experiment(clamp), listener=lambda progress: stages.append(progress.stage))
    assert "lengths" not in stages
    assert not session.shorter_means()
    assert b'"shorter"' not in lab.path().read_bytes()
    assert set(session.vectors()) == {MLP, RESID}
