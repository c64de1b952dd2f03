"""Runs and surveys on GPUs that are pretended: what they keep is what the processor keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import Session
from tests.pretended_gpus import Gpus, pretended_gpus

if TYPE_CHECKING:
    from ..conftest import Lab

SIGMA = {"site": "blocks.1.mlp.hook_post", "neurons": [3], "op": "clamp", "values": [-20, 30], "unit": "sigma"}
SAMPLED = {"tokens": 18, "mode": "sample", "samples": 2}


def both(lab: Lab, device: str, gpus: int, **changes: Any) -> tuple[Session, Session, Gpus]:
    """One experiment on the processor and on pretended GPUs."""
    here = lab.session(lab.experiment(SIGMA, **changes), "here")
    with pretended_gpus(gpus) as there:
        on_gpus = lab.experiment(SIGMA, **changes, model={"device": device})
        return here, lab.session(on_gpus, "there", warm=None), there


def assert_same_runs(one: Session, other: Session) -> None:
    assert [run.token_ids for run in one.runs] == [run.token_ids for run in other.runs]
    for site, vectors in one.vectors().items():
        np.testing.assert_allclose(np.asarray(vectors), np.asarray(other.vectors()[site]), atol=1e-6)


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cuda:0-1", 2)], ids=["one", "two"])
def test_a_run_is_what_it_is_on_the_processor(lab: Lab, device: str, gpus: int) -> None:
    here, there, pretended = both(lab, device, gpus, generation=SAMPLED)
    assert_same_runs(here, there)
    assert there.provenance["device"].startswith("cuda")
    # Steps of a model that is over several GPUs are no graphs.
    assert (pretended.replays > 0) == (gpus == 1)
    assert all(pretended.most)


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cuda:0-1", 2)], ids=["one", "two"])
def test_a_survey_is_what_it_is_on_the_processor(lab: Lab, device: str, gpus: int) -> None:
    here, there, _ = both(lab, device, gpus, survey={"neurons": "0..5", "layers": "1..2", "then": "top:2"})
    assert_same_runs(here, there)
    one, other = here.survey(), there.survey()
    assert one is not None
    assert other is not None
    for name in ("kl", "logp", "flips", "change"):
        left, right = (np.asarray(getattr(tables.forced, name)) for tables in (one, other))
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)
    assert one.free is not None
    assert other.free is not None
    assert np.array_equal(one.free.cells, other.free.cells)


def test_a_batch_that_does_not_fit_on_a_gpu_is_halved_and_what_is_told_of_it_meanwhile_is_right(lab: Lab) -> None:
    changes = {"generation": {"tokens": 24, "stop_at_eos": False}}
    here = lab.session(lab.experiment(SIGMA, **changes), "here")
    told: list[Progress] = []
    with pretended_gpus() as gpus:

        def fill(progress: Progress) -> None:
            # Somebody else takes what is free, but for a part of what the batch was planned to take.
            if progress.stage == "running" and not told:
                gpus.memory = gpus.taken[0] + 400_000
            if progress.stage == "running":
                told.append(progress)

        on_gpu = lab.experiment(SIGMA, **changes, model={"device": "cuda"})
        there = lab.session(on_gpu, "there", warm=None, listener=fill)
    assert [event["rows"] for event in there.events if event["event"] == "out of memory"]
    assert_same_runs(here, there)
    # Steps are told some at a time, each with all that was written meanwhile.
    within = [one for one in told if one.step in (8, 16)]
    assert within
    assert all(one.tokens == 24 * one.runs_done + one.step * one.rows for one in within)
