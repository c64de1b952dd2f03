"""A session runs again bit for bit; whatever does not come out the same is said, run by run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.pack import pack_session, unpack_session
from srm_explorer.engine.runs.progress import Progress, Stopped, StopSignal
from srm_explorer.engine.session import Session, load_session, save_session

if TYPE_CHECKING:
    from srm_explorer.engine.execution.replay import Replay

    from ..conftest import Lab

MLP = "blocks.1.mlp.hook_post"
RESID = "blocks.2.hook_resid_post"


def replayed(session: Session, base: Path, **options: Any) -> Replay:
    from srm_explorer.engine.execution.replay import replay

    return replay(session, base, **options)


@pytest.fixture
def session(lab: Lab, clamp: dict[str, Any]) -> Session:
    return lab.session(lab.experiment({**clamp, "unit": "sigma"}), rows=5)


def test_a_session_comes_out_bit_equal(lab: Lab, session: Session) -> None:
    found = replayed(session, lab.folder / "out")
    assert found.bit_equal
    assert (found.deviations, found.changed, found.runs) == ((), (), 12)
    assert found.vectors == {MLP: 0.0, RESID: 0.0}
    assert found.compared_vectors


def test_samples_and_steering_come_out_bit_equal_from_any_folder(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    save_file({"way": np.arange(32, dtype=np.float32)}, lab.folder / "v.safetensors")
    (lab.folder / "model").symlink_to(lab.model)
    steer = {"site": RESID, "direction": "v.safetensors#way", "op": "steer", "unit": "norm", "values": [-0.5, 0.5]}
    written = {"mode": "sample", "samples": 2, "temperature": 0.8}
    session = lab.session(lab.experiment(steer, model={"name": "./model"}, generation=written), rows=7)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert replayed(session, lab.folder / "out").bit_equal
    save_file({"way": np.ones(32, dtype=np.float32)}, lab.folder / "v.safetensors")
    assert replayed(session, lab.folder / "out").bit_equal, "it goes along what it holds"
    held: dict[str, Any] = session.provenance["directions"]
    for kept in ({}, {"v.safetensors#way": [1.0, *held["v.safetensors#way"][1:]]}):
        older = session.changed(provenance={**session.provenance, "directions": kept})
        with pytest.raises(ExplorerError, match="not the one the session was made with"):
            replayed(older, lab.folder / "out")


def test_what_is_unpacked_elsewhere_replays_without_the_files_that_its_experiment_names(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    vectors = lab.folder / "v.safetensors"
    save_file({"way": np.arange(32, dtype=np.float32)}, vectors)
    steer = {"site": RESID, "direction": "v.safetensors#way", "op": "steer", "values": [2]}
    packed = pack_session(lab.session(lab.experiment(steer)), lab.folder / "a.srm.zip")
    assert packed.notes == (
        f"not in it, and needed to run its experiment anew: texts.txt, v.safetensors#way, {lab.model}",
        f"not in it, and needed to replay it: {lab.model}",
    )
    vectors.unlink()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    there = unpack_session(packed.path, elsewhere / "a.json").session
    assert replayed(there, elsewhere).bit_equal


def test_an_interrupted_session_replays_what_it_holds(lab: Lab, clamp: dict[str, Any]) -> None:
    stop = StopSignal()

    def listen(progress: Progress) -> None:
        stop.level = int(progress.runs_done >= 3)

    part = lab.run(lab.experiment({**clamp, "unit": "sigma"}), rows=4, listener=listen, stop=stop).session
    assert part is not None
    assert part.state == "interrupted"
    found = replayed(part, lab.folder / "out")
    assert (found.bit_equal, found.runs) == (True, 4)


def test_an_altered_token_is_reported_with_its_run_and_margin(lab: Lab, session: Session) -> None:
    run = session.runs[7]
    tokens = (*run.token_ids[:2], run.token_ids[2] ^ 1, *run.token_ids[3:])
    runs = tuple(dataclasses.replace(one, token_ids=tokens) if one is run else one for one in session.runs)
    found = replayed(session.changed(runs=runs), lab.folder / "out")
    (deviation,) = found.deviations
    assert not found.bit_equal
    assert (deviation.run.index, deviation.first) == (7, 2)
    assert (deviation.was, deviation.now) == (tokens[2], run.token_ids[2])
    assert deviation.margin == run.min_margin


def test_a_text_that_was_cut_short_is_reported_where_it_ended(lab: Lab, session: Session) -> None:
    run = session.runs[4]
    shorter = dataclasses.replace(run, token_ids=run.token_ids[:3])
    runs = tuple(shorter if one is run else one for one in session.runs)
    (deviation,) = replayed(session.changed(runs=runs), lab.folder / "out").deviations
    assert (deviation.first, deviation.was, deviation.now) == (3, None, run.token_ids[3])


@pytest.mark.parametrize(("altered", "difference"), [(0.25, 0.25), (np.nan, np.inf), (np.inf, np.inf)])
def test_a_vector_that_differs_is_measured_and_one_that_cannot_be_is_infinitely_far(
    lab: Lab, session: Session, altered: float, difference: float
) -> None:
    vectors = session.vectors()
    site = vectors[MLP]
    assert isinstance(site, np.ndarray)
    own = site.copy()
    own[2, 9] += np.float32(altered)
    other = save_session(session.changed(revision=0), lab.path("other"), vectors={**vectors, MLP: own}).session
    found = replayed(other, lab.folder / "out")
    assert (found.bit_equal, found.deviations) == (False, ())
    assert found.vectors[MLP] == pytest.approx(difference, rel=1e-3)
    assert found.vectors[RESID] == 0


def test_numbers_beyond_float32_are_equal_to_themselves(lab: Lab, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment({**clamp, "values": [1e39]}, prompts={"limit": 1}))
    own = session.vectors()[MLP]
    assert np.isinf(np.asarray(own)).any()
    assert replayed(session, lab.folder / "out").bit_equal


def test_missing_and_altered_vectors_are_said_and_the_tokens_still_compared(lab: Lab, session: Session) -> None:
    sidecar = lab.path().with_suffix(".safetensors")
    content = bytearray(sidecar.read_bytes())
    content[-1] ^= 1
    sidecar.write_bytes(content)
    found = replayed(load_session(lab.path()), lab.folder / "out")
    assert (found.bit_equal, found.compared_vectors) == (True, False)
    assert "altered" in found.why_not
    sidecar.unlink()
    assert "missing" in replayed(load_session(lab.path()), lab.folder / "out").why_not


def test_other_versions_are_named(lab: Lab, session: Session) -> None:
    told = dict(session.provenance)
    told["versions"] = {**told["versions"], "torch": "1.0"}
    found = replayed(session.changed(provenance=told), lab.folder / "out")
    assert [change.partition(" -> ")[0] for change in found.changed] == ["torch: 1.0"]


def test_another_model_is_refused(lab: Lab, session: Session) -> None:
    told = dict(session.provenance)
    told["model"] = {**told["model"], "weights_sha256": "0" * 64}
    with pytest.raises(ExplorerError, match="weights are not those the session was made with"):
        replayed(session.changed(provenance=told), lab.folder / "out")


def without(session: Session, key: str) -> Session:
    return session.changed(provenance={name: own for name, own in session.provenance.items() if name != key})


BROKEN: dict[str, Callable[[Session], Session]] = {
    "no runs": lambda s: s.changed(runs=()),
    "no layout": lambda s: s.changed(layout={}),
    "layout is damaged": lambda s: s.changed(layout={**s.layout, "batches": [["one"]]}),
    "layout lacks runs": lambda s: s.changed(layout={**s.layout, "batches": s.layout["batches"][1:]}),
    "layout repeats runs": lambda s: s.changed(layout={**s.layout, "batches": [*s.layout["batches"], [0]]}),
    "no model": lambda s: without(s, "model"),
    "no hash": lambda s: s.changed(provenance={**s.provenance, "model": {"source": "demo"}}),
    "no threads": lambda s: s.changed(provenance={**s.provenance, "threads": 0}),
    "threads are text": lambda s: s.changed(provenance={**s.provenance, "threads": "many"}),
    "no raw values": lambda s: s.changed(resolved=()),
    "raw values of too few neurons": lambda s: s.changed(resolved=(*s.resolved[:2], ((),))),
    "prompt without tokens": lambda s: s.changed(
        prompts=(dataclasses.replace(s.prompts[0], token_ids=()), *s.prompts[1:])
    ),
    "ids the model lacks": lambda s: s.changed(
        prompts=(dataclasses.replace(s.prompts[0], token_ids=(600,)), *s.prompts[1:])
    ),
}


def test_a_session_that_does_not_say_how_is_refused_in_one_line(lab: Lab, session: Session) -> None:
    for name, damage in BROKEN.items():
        with pytest.raises(ExplorerError) as refused:
            replayed(damage(session), lab.folder / "out")
        assert refused.value.remedy, name
        assert "\n" not in str(refused.value), name


def test_a_replay_stops_when_asked_to(lab: Lab, session: Session) -> None:
    stop = StopSignal()

    def listen(progress: Progress) -> None:
        stop.level = 2 * int(progress.runs_done > 0)

    with pytest.raises(Stopped):
        replayed(session, lab.folder / "out", listener=listen, stop=stop)
