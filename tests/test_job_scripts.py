"""The job scripts of the documentation, run by a shell in which `srun` and the rest only say what they were asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cluster.md"
SCRIPTS = re.findall(r"```console[^\n]*\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ONE, ARRAY, NODES = SCRIPTS

# `srun` runs a step's command here; Ray stays until it is ended, and the program ends as it is told to.
STUBS = {
    "srun": 'echo "srun $*" >> log; while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'echo "scontrol $*" >> log',
    "srm-explorer": 'until [ "$(grep -c "^ray start" log)" -ge "${RAYS:-0}" ]; do sleep 0.05; done;'
    ' echo "srm-explorer $*" >> log; exit "$STATUS"',
    "ray": '[ "$1" = status ] && exit 0; echo "ray $* $(trap -p SIGUSR1)" >> log; exec sleep 60',
    "hostname": '[ "$1" = -I ] && echo "10.0.0.1 10.0.0.2" || echo n01.of.its.site',
}


def submitted(folder: Path, script: str, status: int, **variables: str) -> tuple[int, list[str]]:
    """Run a script as a job would be; its status, and what was asked of whom."""
    tools = folder / "srm" / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    for name, text in STUBS.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    (folder / "log").write_text("")
    environ = {"PATH": os.environ["PATH"], "SCRATCH": str(folder), "SLURM_JOB_ID": "17", "STATUS": str(status)}
    # As Slurm names it, which need not be what the machine calls itself.
    environ["SLURMD_NODENAME"] = "n01"
    done = subprocess.run(
        ["bash", "-u", "-c", script],
        cwd=folder,
        env=environ | variables,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    )
    assert "unbound" not in done.stderr
    assert "not found" not in done.stderr
    return done.returncode, (folder / "log").read_text().splitlines()


@pytest.mark.parametrize("script", SCRIPTS, ids=["one", "array", "nodes"])
def test_a_job_that_was_warned_is_queued_again_and_one_that_ended_is_not(tmp_path: Path, script: str) -> None:
    assert "#SBATCH --signal=USR1@" in script
    (tmp_path / "experiments.txt").write_text("protocol --session n373\n")
    given = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NUM_NODES": "1"}
    for status, again in ((0, False), (1, False), (130, True)):
        ended, log = submitted(tmp_path, script, status, **given)
        assert ended == status
        assert ("scontrol requeue 17" in log) is again
    assert submitted(tmp_path, script, 130, **given, SLURM_RESTART_COUNT="20")[1][-1] != "scontrol requeue 17"
    if checker := shutil.which("shellcheck"):
        checked = subprocess.run([checker, "-"], input=script, capture_output=True, text=True, timeout=PATIENCE)
        assert checked.returncode == 0, checked.stdout


def test_an_array_takes_a_line_a_task_with_its_words(tmp_path: Path) -> None:
    block = re.search(r'```text title="experiments.txt"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    (tmp_path / "experiments.txt").write_text(block[1])
    _, log = submitted(tmp_path, ARRAY, 0, SLURM_ARRAY_TASK_ID="1")
    assert log[-1] == "srm-explorer run protocol --set interventions.0.neurons=[137] --session n137"


def test_ray_starts_on_every_node_hears_no_warning_and_ends_with_the_program(tmp_path: Path) -> None:
    _, log = submitted(tmp_path, NODES, 0, SLURM_JOB_NUM_NODES="3", RAYS="2")
    steps = [line for line in log if line.startswith("srun") and "ray start" in line]
    assert any("--nodelist=n01" in step and "--nodes=1 " in step for step in steps)
    assert any("--exclude=n01" in step and "--ntasks=2 " in step for step in steps)
    started = [line for line in log if line.startswith("ray start")]
    assert any("--head --node-ip-address=10.0.0.1 --port=20017 --include-dashboard=false" in line for line in started)
    assert any("--address=10.0.0.1:20017" in line for line in started)
    assert all("--disable-usage-stats --block" in line and "trap -- '' SIGUSR1" in line for line in started)
    assert any("--executor ray --address 10.0.0.1:20017" in line for line in log)
    assert "RAY_AUTH_MODE=token" in NODES
