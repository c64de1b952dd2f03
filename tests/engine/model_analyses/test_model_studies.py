"""Studies of a session with its model: the same texts, the values it set, and no other model."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.registry import run_study, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.progress import Meter, Progress, Stopped, StopSignal
from srm_explorer.engine.session import save_session

from ..conftest import MLP

if TYPE_CHECKING:
    from srm_explorer.engine.figures.table import TableFigure
    from srm_explorer.engine.session import Session

    from ..conftest import Lab


_MADE: dict[str, Session] = {}


@pytest.fixture
def session(lab: Lab, clamp: dict[str, Any]) -> Session:
    """A session that the tests read and leave alone, run by the first of them."""
    if "one" not in _MADE:
        _MADE["one"] = lab.session(lab.experiment(clamp))
    return _MADE["one"]


def study(lab: Lab, name: str, session: Session, **arguments: Any) -> dict[str, Any]:
    from srm_explorer.engine.model_analyses.run import run_model_study

    assert session.path is not None
    return run_model_study(name, arguments, session=session.path, base=lab.folder)


def table(findings: dict[str, Any], name: str) -> TableFigure:
    return next(one for one in tables_in(findings) if one.name == name)


def test_the_card_of_a_clamped_neuron_reads_the_session_s_texts_and_marks_its_values(lab: Lab) -> None:
    from srm_explorer.engine.model.load import load_model

    values = {"site": MLP, "neurons": [7, 3], "op": "clamp", "values": [-400, 0.0, 900]}
    session = lab.session(lab.experiment(values, {"site": MLP, "neurons": [5], "op": "add", "values": [1, 2, 3]}))
    card = study(lab, "neuron", session, layer=1, neuron=3)
    marks = card["histogram"]["marks"]
    assert [mark["value"] for mark in marks] == [-400, 0, 900]
    assert [mark["beyond"] for mark in marks] == [-1, 0, 1]
    assert len(table(card, "clamps").rows) == 3
    # A value that is added is no activation.
    assert not study(lab, "neuron", session, layer=1, neuron=5)["histogram"]["marks"]
    assert not study(lab, "neuron", session, layer=0, neuron=3)["histogram"]["marks"]
    model = load_model(session.spec.model, base=lab.folder)
    whole = np.concatenate([plain(model, prompt.token_ids) for prompt in session.prompts])
    fires = table(card, "fires")
    assert fires.rows[0][0] == pytest.approx(whole.max(), abs=1e-5)
    assert card["histogram"]["n"] == len(whole)
    baseline = {run.index for run in session.runs if run.condition == 0}
    assert {run for run in fires.runs if run is not None} <= baseline


def plain(model: Any, ids: tuple[int, ...]) -> np.ndarray:
    import torch

    kept: list[np.ndarray] = []
    hook = (MLP, lambda activation, hook: kept.append(activation[0, :, 3].detach().numpy()))
    with torch.inference_mode(), model.bridge.hooks(fwd_hooks=[hook]):
        model.bridge.original_model(input_ids=torch.tensor([ids]))
    return kept[0]


def test_generated_texts_give_the_statistics_that_units_are_measured_on(lab: Lab) -> None:
    sigma = {"site": MLP, "neurons": [3], "op": "clamp", "values": [-1, 1], "unit": "sigma"}
    session = lab.session(lab.experiment(sigma, generation={"tokens": 8}))
    measured = session.provenance["units"][0]
    use = study(lab, "usage", session, layer=1, text="generated", list="all")
    row = table(use, "neurons").rows[3]
    keys = [column.key for column in table(use, "neurons").columns]
    assert row[keys.index("mean")] == pytest.approx(measured["mean"][0], rel=1e-4, abs=1e-6)
    assert row[keys.index("std")] == pytest.approx(measured["std"][0], rel=1e-4)


def test_another_model_than_the_session_s_is_refused(lab: Lab, tiny_llama_folder: Path, session: Session) -> None:
    from srm_explorer.engine.experiment import ModelSpec
    from srm_explorer.engine.model_analyses.run import run_model_study

    other = ModelSpec(name=str(tiny_llama_folder), device="cpu")
    with pytest.raises(ExplorerError, match="not the weights"):
        run_model_study("usage", {}, session=session.path, model=other, base=lab.folder)


def test_a_model_folder_is_found_again_from_wherever_the_session_lies(
    lab: Lab, tmp_path: Path, session: Session
) -> None:
    from srm_explorer.engine.model_analyses.run import model_of

    assert model_of(session) == (session.spec.model, Path(session.provenance["base"]))
    shutil.copytree(lab.model, tmp_path / "beside")
    named = dataclasses.replace(
        session,
        provenance={**session.provenance, "base": str(tmp_path)},
        spec=session.spec.model_copy(update={"model": session.spec.model.model_copy(update={"name": "beside"})}),
    )
    assert model_of(named)[0].name == "beside"
    shutil.rmtree(tmp_path / "beside")
    assert model_of(named)[0].name == session.provenance["model"]["source"]


def test_a_session_without_baseline_runs_has_no_continuations(lab: Lab, session: Session) -> None:
    without = dataclasses.replace(session, runs=tuple(run for run in session.runs if run.condition), planes=())
    saved = save_session(dataclasses.replace(without, revision=0), lab.path("without")).session
    with pytest.raises(ExplorerError, match="there are no baseline continuations"):
        study(lab, "usage", saved, text="generated")
    assert study(lab, "usage", saved)["tables"]


def test_a_study_can_be_stopped_and_tells_how_far_it_is(lab: Lab, session: Session) -> None:
    from srm_explorer.engine.model_analyses.run import run_model_study

    told: list[Progress] = []
    meter = Meter([told.append], StopSignal())
    assert run_model_study("usage", {}, session=session.path, base=lab.folder, meter=meter)["tables"]
    assert told[-1].share == 1
    # What the model's own test finds decides how texts are read.
    assert "testing" in [progress.stage for progress in told]
    stopping = Meter([], StopSignal(level=1))
    with pytest.raises(Stopped):
        run_model_study("usage", {}, session=session.path, base=lab.folder, meter=stopping)


def test_a_study_that_needs_a_model_is_no_study_of_a_session_alone(lab: Lab, session: Session) -> None:
    assert session.path is not None
    with pytest.raises(ExplorerError, match="no study 'neuron'"):
        run_study("neuron", session.path, {})


def test_findings_too_large_for_a_message_go_through_a_file_that_is_gone_after() -> None:
    from srm_explorer.engine.worker.protocol import StudyResult, encode, read_reply
    from srm_explorer.engine.worker.spool import pack_result, unpack_result

    findings = {"tables": [], "text": "é" * 3_000, "number": None}
    small, large = pack_result(findings), pack_result(findings, most=1_000)
    assert (small.file, large.findings) == ("", {})
    for message in (small, large):
        reply = read_reply(encode(message))
        assert isinstance(reply, StudyResult)
        assert unpack_result(reply) == findings
    assert not Path(large.file).exists()
    with pytest.raises(ExplorerError):
        unpack_result(large)


def test_numbers_that_json_cannot_hold_are_none_wherever_a_study_runs(
    lab: Lab, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srm_explorer.engine.model_analyses.run import MODEL_STUDIES

    found = {"a": np.float32("nan"), "b": (float("inf"), np.int64(3)), "c": np.array([1.0, np.nan]), "d": np.True_}
    monkeypatch.setitem(MODEL_STUDIES, "usage", dataclasses.replace(MODEL_STUDIES["usage"], function=lambda *_: found))
    assert study(lab, "usage", session) == {"a": None, "b": [None, 3], "c": [1.0, None], "d": True}


def test_a_task_is_told_by_its_title_while_it_runs() -> None:
    from srm_explorer.engine.worker.queue import JobQueue, ModelTask

    queue = JobQueue()
    assert queue.model_task() is None
    result = queue.run_model_task(lambda stop: 7, "neuron card")
    task = queue.next(0)
    assert isinstance(task, ModelTask)
    queue.task_progress(Progress("running", 1, 4))
    assert queue.model_task() is task
    assert task.progress is not None
    assert task.progress.share == 0.25
    worker = threading.Thread(target=lambda: task.result.set_result(task.function(task.stop)))
    worker.start()
    assert result.result(10) == 7
    worker.join()
    assert queue.model_task() is None
