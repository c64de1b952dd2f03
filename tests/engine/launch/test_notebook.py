from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import srm_explorer as srm
from srm_explorer.engine.analyses.dose import dose_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.experiment import Experiment, available_presets, read_experiment
from srm_explorer.engine.experiment.load import as_overrides, with_overrides
from srm_explorer.engine.launch import notebook
from srm_explorer.engine.launch.watch import Watch
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import load_session
from tests.engine.conftest import MLP, Lab
from tests.example import EXAMPLE


@pytest.fixture
def at_lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(lab.folder)
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", str(lab.folder / "out"))
    return lab


def swept(lab: Lab) -> Experiment:
    """Two batches: sigma waits for the baseline."""
    edit = {"site": MLP, "neurons": [3], "op": "clamp", "values": [-2, 0, 2], "unit": "sigma"}
    return lab.experiment(edit)


@pytest.mark.parametrize("name", available_presets())
def test_an_experiments_own_tables_as_keywords_make_it_again(name: str) -> None:
    experiment, source = read_experiment(name)
    made, _ = with_overrides({}, as_overrides(experiment.to_dict()), stem=name, base=source.base)
    assert made == experiment


def test_keywords_set_what_the_command_line_sets(tmp_path: Path) -> None:
    texts = ["generation.tokens=7", "interventions.0.values=[-1.5, 2.0]", 'prompts.sets=["watching"]', "stats="]
    fields = {
        "generation": {"tokens": np.int64(7)},
        "interventions.0.values": np.array([-1.5, 2]),
        "prompts": {"sets": ("watching",)},
        "stats": None,
    }
    assert read_experiment("demo", overrides=as_overrides(fields)) == read_experiment("demo", overrides=texts)


@pytest.fixture
def medium() -> Generator[Callable[[], bool]]:
    """A notebook that allows products of less than float32; whether it still does."""
    torch.set_float32_matmul_precision("medium")
    try:
        yield lambda: torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_run_is_that_of_the_command_and_is_opened_the_second_time(at_lab: Lab, medium: Callable[[], bool]) -> None:
    experiment = swept(at_lab)
    plain = at_lab.session(experiment, "plain")
    session = srm.run(experiment, session="again", progress=False)
    assert [run.text for run in session.runs] == [run.text for run in plain.runs]
    assert medium()
    assert session.path == at_lab.path("again")
    file = at_lab.path("again").read_bytes()
    assert srm.run(experiment, session=at_lab.path("again"), progress=False).runs == session.runs
    assert at_lab.path("again").read_bytes() == file
    (at_lab.folder / "e.toml").write_text(experiment.to_toml(), encoding="utf-8")
    shorter = srm.run("e.toml", set=["generation.tokens=2"], generation={"seed": 4}, session="short", progress=False)
    assert (shorter.spec.generation.tokens, shorter.spec.generation.seed) == (2, 4)
    assert shorter.spec.interventions == session.spec.interventions
    read = srm.read_experiment("e.toml")
    opened = srm.run(read, set=["generation.tokens=2"], generation={"seed": 4}, session="short", progress=False)
    assert (opened.spec, opened.runs) == (shorter.spec, shorter.runs)
    with pytest.raises(srm.ExplorerError, match="a dict is no experiment"):
        srm.run({"model": "demo"})  # pyright: ignore[reportArgumentType]


@pytest.fixture
def interrupted_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The stop button, as a kernel feels it, in the first batch; yields the stages at which it was pressed."""
    pressed: list[str] = []
    show = Watch.show

    def show_and_press(watch: Watch, progress: Progress) -> None:
        show(watch, progress)
        if progress.stage == "running" and progress.rows and not pressed:
            pressed.append(progress.stage)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Watch, "show", show_and_press)
    yield pressed
    assert pressed == ["running"]


def test_the_stop_button_saves_what_is_finished_and_the_same_call_goes_on(
    at_lab: Lab, interrupted_once: list[str]
) -> None:
    experiment = swept(at_lab)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="4 of 16 runs are saved; the same call goes on"):
        srm.run(experiment, session="stopped", progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_session("stopped").state == "interrupted"
    session = srm.run(experiment, session="stopped", progress=False)
    plain = at_lab.session(experiment, "plain")
    assert session.state == "finished"
    assert [run.text for run in session.runs] == [run.text for run in plain.runs]


def test_a_misspelt_name_is_one_line_with_the_nearest() -> None:
    session = load_session(EXAMPLE)
    for call, nearest in (
        (lambda: srm.study("doze", session), "dose"),
        (lambda: srm.study("dose", session, plan=1), "plane"),
        (lambda: srm.run("demo", generatoin={"tokens": 2}), "generation"),
        (lambda: srm.run("demmo"), "demo"),
        (lambda: srm.study("dose"), "session"),
    ):
        with pytest.raises(srm.ExplorerError) as error:
            call()
        assert nearest in str(error.value)
        assert len(error.value._render_traceback_()) == 1


def test_a_study_by_its_commands_name_is_what_the_command_prints() -> None:
    session = load_session(EXAMPLE)
    found = srm.study("dose", session, plane=1)
    assert found == dose_study(session, {"plane": 1})
    assert all(table.title.replace("&", "&amp;") in found._repr_html_() for table in tables_in(found))
    frame = found.frame()
    assert frame.columns.tolist() == [column.key for column in found.tables[0].columns]
    assert len(frame) == len(found.tables[0].rows)


def test_options_of_a_command_choose_its_study() -> None:
    session = load_session(EXAMPLE)
    for rule in ("published", "calibrated"):
        assert srm.study("effects", session, rule=rule) == srm.study("collapse", session, rule=rule)
    assert srm.study("effects", session) != srm.study("collapse", session)


def test_studies_with_a_model_have_their_names_here_too() -> None:
    from srm_explorer.engine.model_analyses.run import MODEL_STUDIES

    assert set(notebook.MODEL_STUDIES) == set(MODEL_STUDIES)


def test_a_plane_that_is_added_is_the_commands() -> None:
    session = load_session(EXAMPLE)
    site = session.planes[0].site
    with pytest.raises(srm.ExplorerError, match="site="):
        srm.add_plane(session, 3, 5)
    plane = srm.add_plane(session, 3, "5", site=site).planes[-1]
    held = np.asarray(session.vectors([site])[site])
    assert (plane.a, plane.b) == (3, 5)
    np.testing.assert_allclose(plane.xy, held[:, [3, 5]], rtol=1e-6)
    assert session == load_session(EXAMPLE)
