"""A batch that does not fit into memory is halved until it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from srm_explorer.engine.execution.run import run_experiment
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.session import load_session
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
PROGRAM = """
import gc, resource, sys
from pathlib import Path

gc.disable()  # what is imported stays

import torch

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.run import run_experiment
from srm_explorer.engine.experiment import Experiment

gc.freeze()
gc.enable()
torch.set_num_threads(1)
folder, name, rows, spare, stage = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
experiment = Experiment.from_json((folder / "spec.json").read_text())


def limit(progress):
    # From here on only so much more may be mapped than is mapped now: the model is loaded and tested.
    if progress.stage == stage and not limit.done:
        limit.done = True
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        allowed = pages * resource.getpagesize() + spare * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (allowed, resource.RLIM_INFINITY))


limit.done = False
try:
    run_experiment(experiment, folder, folder / f"{name}.json", rows=rows, listener=limit)
except ExplorerError as error:
    sys.exit(f"refused: {error}")
"""


def limited(folder: Path, name: str, rows: int, spare: int, stage: str) -> subprocess.CompletedProcess[str]:
    """Run the experiment of a folder in a process that may have so many MB more from some stage on."""
    command = [sys.executable, "-c", PROGRAM, str(folder), name, str(rows), str(spare), stage]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from /proc")
def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same_result(
    random_models: ModuleType, tmp_path: Path
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
    done = limited(tmp_path, "tight", rows=800, spare=80, stage="running")
    assert done.returncode == 0, done.stderr[-2000:]
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
    random_models: ModuleType, tmp_path: Path
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
    done = limited(tmp_path, "s", rows=40, spare=8, stage="saving")
    assert done.returncode == 1, done.stderr[-2000:]
    assert (tmp_path / "s.run").exists(), "what is finished is kept until it is saved"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert "not enough memory" in line, "its vectors alone are 98 MB, and 8 are left"
    assert "Traceback" not in done.stderr
    run_experiment(Experiment.from_dict(spec), tmp_path, tmp_path / "s.json", rows=40)
    assert not (tmp_path / "s.run").exists()
    assert load_session(tmp_path / "s.json").state == "finished"
