"""Planes of directions that are text, from the experiment's file to the saved session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.planes import plane_of
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.run import run_experiment
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.model.weights import w_in_columns, w_out_rows
from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.runs.progress import StopSignal
from srm_explorer.engine.session import load_session

if TYPE_CHECKING:
    from srm_explorer.engine.model.load import LoadedModel

    from ..conftest import Lab

MLP, RESID = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"
PLANES = [
    {"site": MLP, "a": 3, "b": "pc1(at=baseline)"},
    {"site": RESID, "a": "w_out(1.3)", "b": "w_in(1.3)"},
    {"site": RESID, "a": "v.npz#way", "b": "random(1)"},
    {"site": RESID, "a": "mean(at=swept)", "b": "mean()"},
    {"site": RESID, "a": "mean()", "b": "mean(at=baseline)"},
]


def test_every_kind_of_plane_is_spanned_by_a_run(lab: Lab, clamp: dict[str, Any], tiny_gpt2: LoadedModel) -> None:
    way = np.random.default_rng(5).normal(size=tiny_gpt2.shape.d_model)
    np.savez(lab.folder / "v.npz", way=way)
    outcome = lab.run(lab.experiment(clamp, planes=PLANES, capture={"residual": "centred"}))
    session = outcome.session
    assert session is not None
    assert [plane.key for plane in session.planes] == [(p["site"], p["a"], p["b"]) for p in PLANES[:4]]
    assert any("mean() × mean(at=baseline) of blocks.2.hook_resid_post left out" in line for line in outcome.notes)
    own = session.vectors()[RESID]
    first, second = (of(tiny_gpt2, 1)[3].astype(np.float64) for of in (w_out_rows, w_in_columns))
    first, second = first - first.mean(), second - second.mean()
    first /= np.linalg.norm(first)
    np.testing.assert_allclose(session.planes[1].x, own @ first, atol=1e-5)
    angle = np.degrees(np.arccos(first @ second / np.linalg.norm(second)))
    assert session.planes[1].raw_angle_deg == pytest.approx(angle, abs=1e-4)
    np.testing.assert_allclose(session.planes[2].x, own @ way / np.linalg.norm(way), atol=1e-5)
    assert session.path is not None
    assert load_session(session.path).planes == session.planes
    for plane in session.planes:
        again = plane_of(session, session.vectors()[plane.site], PlaneChoice(*plane.key))
        np.testing.assert_allclose(again.xy, plane.xy, atol=1e-9)


def test_a_run_under_way_has_the_planes_that_no_run_turns(lab: Lab, clamp: dict[str, Any]) -> None:
    experiment = lab.experiment(clamp, planes=[PLANES[3], PLANES[1], PLANES[0]])
    stop = StopSignal()

    def listen(progress: Any) -> None:
        if progress.runs_done:
            stop.ask()

    outcome = run_experiment(experiment, lab.folder, lab.path(), listener=listen, stop=stop, rows=3)
    assert outcome.status == "interrupted"
    live = LiveRun(lab.path().with_suffix(".run"))
    assert live.poll()
    assert live.session is not None
    assert outcome.session is not None
    assert [plane.a for plane in live.session.planes] == ["w_out(1.3)"]
    same = next(plane for plane in outcome.session.planes if plane.a == "w_out(1.3)")
    assert live.session.planes == (same,)
    finished = lab.run(experiment).session
    assert finished is not None
    assert [plane.a for plane in finished.planes] == [PLANES[3]["a"], PLANES[1]["a"], PLANES[0]["a"]]


@pytest.mark.parametrize(
    ("plane", "told"),
    [
        ({"site": RESID, "a": "mean(type=plain)", "b": 1}, r"planes\[0\].a: no prompt has a factor 'type'"),
        ({"site": RESID, "a": "mean(at=+9)", "b": 1}, r"planes\[0\].a: no condition is called '\+9'"),
        ({"site": RESID, "a": "missing.npz#x", "b": 1}, r"missing.npz: there is no such file"),
        ({"site": RESID, "a": "v.npz#short", "b": 1}, r"planes\[0\]: v.npz#short has 3 numbers, .* has 32"),
        ({"site": RESID, "a": "v.npz#other", "b": 1}, "it holds no vector 'other'; choose one of short"),
        ({"site": RESID, "a": "w_out(1.3)", "b": "w_out(1.99999)"}, r"planes\[0\].b: neuron 99999 is out of range"),
    ],
)
def test_a_plane_that_cannot_be_is_refused_before_anything_runs(
    lab: Lab, clamp: dict[str, Any], plane: dict[str, Any], told: str
) -> None:
    np.savez(lab.folder / "v.npz", short=np.ones(3))
    with pytest.raises(ExplorerError, match=told):
        lab.run(lab.experiment(clamp, planes=[plane]))
    assert not lab.path().with_suffix(".run").exists()


def test_the_weights_of_what_was_clamped_are_kept_unasked(lab: Lab, clamp: dict[str, Any]) -> None:
    session = lab.session(lab.experiment(clamp))
    held = session.provenance["directions"]
    assert set(held) == {"w_out(1.3)", "w_in(1.3)"}
    assert len(json.dumps(held)) < 3000
