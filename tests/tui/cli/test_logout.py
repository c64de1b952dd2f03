"""What ends the worker beside its user, read off a system's files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from srm_explorer.tui.cli.doctor import at_logout, batch_job, scheduler_text

SHIPPED = "[Login]\n#NAutoVTs=6\n#KillUserProcesses=no\n#KillOnlyUsers=\n#KillExcludeUsers=root\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/user-7.slice/session-3.scope\n")
    put(tmp_path, "usr/lib/systemd/logind.conf", SHIPPED)
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def told(root: Path, user: str = "ada") -> str:
    return at_logout(user, root, {})


def test_the_shipped_default_in_a_comment_counts(root: Path) -> None:
    assert "outlives a logout (KillUserProcesses=no)" in told(root)
    put(root, "usr/lib/systemd/logind.conf", SHIPPED.replace("Processes=no", "Processes=yes"))
    assert "is killed at logout" in told(root)


def test_a_later_file_wins_and_one_of_the_same_name_replaces(root: Path) -> None:
    put(root, "usr/lib/systemd/logind.conf.d/50-site.conf", "[Login]\nKillUserProcesses=yes\n")
    assert "enable-linger" in told(root)
    put(root, "etc/systemd/logind.conf.d/90-mine.conf", "[Login]\n KillUserProcesses = no \n")
    assert "outlives" in told(root)
    (root / "etc/systemd/logind.conf.d/90-mine.conf").unlink()
    put(root, "etc/systemd/logind.conf.d/50-site.conf", "[Login]\n# nothing\n")
    assert "outlives" in told(root)


def test_users_who_are_excepted_are_told_so(root: Path) -> None:
    put(root, "etc/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=root ada\n")
    assert "not for ada" in told(root)
    assert "is killed" in told(root, "bob")
    put(root, "etc/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n")
    assert "not for ada" in told(root)
    assert "is killed" in told(root, "bob")


def test_a_service_of_the_user_lives_as_long_as_they_linger(root: Path) -> None:
    put(root, "etc/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\n")
    put(root, "proc/self/cgroup", "0::/user.slice/user-7.slice/user@7.service/app.slice/run-1.scope\n")
    assert told(root).endswith("`loginctl enable-linger` keeps them")
    put(root, "var/lib/systemd/linger/ada", "")
    assert "outlives" in told(root)


def test_a_machine_without_a_login_manager_ends_nothing(tmp_path: Path) -> None:
    assert "no login manager" in told(tmp_path)


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "17"}, "Slurm job 17"),
        ({"PBS_JOBID": "8.host"}, "PBS job 8.host"),
        ({"JOB_ID": "4"}, ""),
        ({"JOB_ID": "4", "SGE_ROOT": "/opt"}, "Grid Engine job 4"),
    ],
)
def test_a_batch_job_is_told_by_its_variable(root: Path, environ: dict[str, str], job: str) -> None:
    assert batch_job(environ) == job
    line = at_logout("ada", root, environ)
    assert line.startswith(f"{job} ends the worker") if job else "outlives" in line


def test_a_slurm_job_is_told_with_what_it_was_given_and_how_long_it_has() -> None:
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[01-02]"}
    assert scheduler_text(job) == "Slurm job 17 · 2 nodes (n[01-02])"
    more = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "8"}
    ends = {"SLURM_RESTART_COUNT": "2", "SLURM_JOB_END_TIME": "10000"}
    told = scheduler_text(job | more | ends, seconds=10000 - 4330)
    assert told == (
        "Slurm job 17, task 3 of its array · 2 nodes (n[01-02]) · 4 GPUs a node · 8 cores · begun again 2 times"
        " · 1:12 h left"
    )


@pytest.mark.process
def test_an_older_slurm_is_asked_when_the_job_ends(tmp_path: Path) -> None:
    end = datetime(2026, 11, 30, 12, 0, 30)
    job = {"SLURM_JOB_ID": "17", "PATH": str(tmp_path)}
    for answer, told in ((f"echo {end.isoformat()}", " · 1:02 h left"), ("echo N/A", ""), ("exit 1", "")):
        (tmp_path / "squeue").write_text(f'#!/bin/sh\n[ "$2" = --jobs=17 ] || exit 1\n{answer}\n')
        (tmp_path / "squeue").chmod(0o755)
        assert scheduler_text(job, seconds=end.timestamp() - 3750) == f"Slurm job 17{told}"


def test_a_batch_system_is_seen_from_outside_of_its_jobs(tmp_path: Path) -> None:
    assert scheduler_text({"PATH": str(tmp_path)}) == "none here"
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    assert scheduler_text({"PATH": str(tmp_path)}).startswith("Slurm is here, and this is no job of it")
