"""A batch that does not fit into memory is halved until it does."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.run import run_experiment
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.runs.progress import Progress
from srm_explorer.engine.session import load_session
from tests.e2e.warm import WarmProcess, WarmServer

HERE = "tests.engine.execution.test_out_of_memory"


def limited_run(arguments: Sequence[str]) -> int:
    """Run the experiment of a folder in this process, which from some stage on may have so many MB more."""
    folder, name, rows, spare, stage = (
        Path(arguments[0]),
        arguments[1],
        int(arguments[2]),
        int(arguments[3]),
        arguments[4],
    )
    limits: list[int] = []

    def limit(progress: Progress) -> None:
        # From here on only so much more may be mapped than is mapped now: the model is loaded and tested.
        if progress.stage == stage and not limits:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limits.append(pages * resource.getpagesize() + spare * 2**20)
            resource.setrlimit(resource.RLIMIT_AS, (limits[0], resource.RLIM_INFINITY))

    experiment = Experiment.from_json((folder / "spec.json").read_text())
    try:
        run_experiment(experiment, folder, folder / f"{name}.json", rows=rows, listener=limit)
    except ExplorerError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


def limited(server: WarmServer, folder: Path, name: str, rows: int, spare: int, stage: str) -> tuple[int, str]:
    """That in a process of its own; its exit status and what it says."""
    arguments = [str(folder), name, str(rows), str(spare), stage]
    target, env = f"{HERE}:{limited_run.__name__}", {**os.environ, "OMP_NUM_THREADS": "1"}
    process = WarmProcess(server, target, arguments, env=env, cwd=folder, stderr=subprocess.PIPE, text=True)
    _, told = process.communicate()
    return process.wait(), told


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from /proc")
def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same_result(
    random_models: ModuleType, tmp_path: Path, warm_server: WarmServer
) -> None:
    model = tmp_path / "model"
    sizes = random_models.Sizes("gpt2", layers=1, d_model=16, d_mlp=16, heads=2, vocab=30_000, context=128)
    random_models.write_model(model, sizes)
    (tmp_path / "texts.txt").write_text("".join(f"{'ab ' * 30}{number}\n" for number in range(40)))
    site = "blocks.0.mlp.hook_post"
    spec = {
        "model": {"name": str(model), "device": "cpu"},
        "prompts": {"sets": ["texts.txt"], "prepend_bos": False},
        "interventions": [{"site": site, "neurons": [1], "op": "clamp", "values": list(range(19))}],
        "generation": {"tokens": 2},
        "capture": {"sites": [site]},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    run_experiment(Experiment.from_dict(spec), tmp_path, tmp_path / "free.json", rows=100)
    status, told = limited(warm_server, tmp_path, "tight", rows=800, spare=80, stage="running")
    assert status == 0, told[-2000:]
    free, tight = (load_session(tmp_path / f"{name}.json") for name in ("free", "tight"))
    halved = [event["rows"] for event in tight.events if event["event"] == "out of memory"]
    assert halved, "the logits of the whole batch alone are 96 MB, and 80 are left"
    assert halved == [800 >> (place + 1) for place in range(len(halved))]
    assert max(map(len, tight.layout["batches"])) == halved[-1]
    assert not [event for event in free.events if event["event"] == "out of memory"]
    assert [run.token_ids for run in tight.runs] == [run.token_ids for run in free.runs]
    np.testing.assert_allclose(np.asarray(tight.vectors()[site]), np.asarray(free.vectors()[site]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from /proc")
def test_a_session_that_does_not_fit_is_one_line_and_saved_once_there_is_room(
    random_models: ModuleType, tmp_path: Path, warm_server: WarmServer
) -> None:
    model = tmp_path / "model"
    sizes = random_models.Sizes("gpt2", layers=1, d_model=16, d_mlp=2_048, heads=2, vocab=300, context=128)
    random_models.write_model(model, sizes)
    (tmp_path / "texts.txt").write_text("".join(f"ab {number}\n" for number in range(40)))
    site = "blocks.0.mlp.hook_post"
    spec = {
        "model": {"name": str(model), "device": "cpu"},
        "prompts": {"sets": ["texts.txt"], "prepend_bos": False},
        "interventions": [{"site": site, "neurons": [1], "op": "clamp", "values": list(range(9))}],
        "generation": {"tokens": 30},
        "capture": {"sites": [site], "reduce": "tokens"},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    status, told = limited(warm_server, tmp_path, "s", rows=40, spare=8, stage="saving")
    assert status == 1, told[-2000:]
    assert (tmp_path / "s.run").exists(), "what is finished is kept until it is saved"
    (line,) = [line for line in told.splitlines() if line.startswith("refused: ")]
    assert "not enough memory" in line, "its vectors alone are 98 MB, and 8 are left"
    assert "Traceback" not in told
    run_experiment(Experiment.from_dict(spec), tmp_path, tmp_path / "s.json", rows=40)
    assert not (tmp_path / "s.run").exists()
    assert load_session(tmp_path / "s.json").state == "finished"
