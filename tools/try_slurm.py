"""Try the job scripts of docs/cluster.md under a Slurm that is there for nothing else.

    python tools/try_slurm.py [TRIAL ...] [--keep FOLDER]

    job       the time runs out in the middle: the job is warned, queued again, and goes on
    requeue   it is put back into the queue by hand, and goes on
    cancel    it is cancelled; the same script, submitted again, goes on
    array     an experiment a task
    survey    it is warned while neurons are scored, and again while texts are written
    nodes     Ray on two nodes, which is warned in the middle as if the time ran out
    actors    the same with Ray that the run starts itself, on one
    doctor    what `doctor` says of the machine, and of a job

The scripts are as the page has them: only the experiment is another, and times are shorter. Two nodes are made up on
this machine, with GPUs that nobody uses. What is saved is compared with what one process makes. It needs root, and
Slurm and munge as packages have them (`apt-get install slurmctld slurmd slurm-client munge`), which need not be set up.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path

from try_ray import SURVEY, asked_for, carry_out, content

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cluster.md"
ONE, ARRAY, NODES = re.findall(r"```console[^\n]*\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

RUN = "run demo --set prompts.limit=50 --set generation.tokens=48 --set controls.neurons=4 --set execution.rows=2"
"""It takes longer than the minute in which Slurm warns it, also where nothing else runs."""
SHORT = "run demo --set prompts.limit=4 --set generation.tokens=8"
WARNED = ("--time=2", "--signal=USR1@60")
"""Slurm counts in minutes, and warns early, by up to half a minute."""
PATIENCE = 1800.0

CONF = """
ClusterName=tried
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={control}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={work}/munge/socket,cred_expire=5
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool-%n
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd-%n.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdLogFile={work}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=32 RealMemory=200000 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A Slurm with two nodes on this machine.

    Args:
        work: its folder, and that of the jobs.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        program = "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"
        tools = work / "srm" / "bin"
        tools.mkdir(parents=True)
        for name, code in (("srm-explorer", f"-c '{program}'"), ("ray", "-m ray.scripts.scripts")):
            (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {code} "$@"\n')
            (tools / name).chmod(0o755)
        home = {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in ("STATE", "CONFIG", "DATA")}
        self.environment = {**os.environ, **home, "SCRATCH": str(work), "OMP_NUM_THREADS": "1"}
        self.environment |= {"SLURM_CONF": str(work / "slurm.conf"), "SRM_EXPLORER_SESSIONS": str(work / "sessions")}

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Have its processes, until the end of the block."""
        munge = self.work / "munge"
        munge.mkdir(mode=0o755)
        # Whoever has a socket of munge must be able to reach it.
        self.work.chmod(0o755)
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        first = 20000 + os.getpid() % 10000
        conf = CONF.format(host=socket.gethostname(), work=self.work, control=first, first=first + 1, last=first + 2)
        (self.work / "slurm.conf").write_text(conf)
        for number in range(4):
            (self.work / f"gpu{number}").touch()
        (self.work / "gres.conf").write_text(f"Name=gpu File={self.work}/gpu[0-3]\n")
        files = {name: f"--{name}-file={munge}/{name}" for name in ("key", "pid", "seed", "log")}
        daemons = [["munged", "-F", *files.values(), f"--socket={munge}/socket"], ["slurmctld", "-D"]]
        daemons += [["slurmd", "-D", "-N", node] for node in ("n1", "n2")]
        running: list[subprocess.Popen[bytes]] = []
        try:
            for daemon in daemons:
                with (self.work / f"{daemon[0]}.out").open("ab") as log:
                    began = subprocess.Popen(daemon, stdout=log, stderr=log, env=self.environment)
                running.append(began)
                time.sleep(1)
            until(lambda: self.says("sinfo", "-h", "-o", "%D %t") == "2 idle", 30, "its nodes are not there")
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                self.says("scancel", "--user=root")
                until(lambda: not self.says("squeue", "--noheader"), 40, "jobs are left")
            for daemon in reversed(running):
                daemon.terminate()
                try:
                    daemon.wait(30)
                except subprocess.TimeoutExpired:
                    daemon.kill()

    def says(self, *command: str) -> str:
        """What a command of Slurm answers."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, cwd=self.work)
        return (done.stdout + done.stderr).strip()

    def submit(self, script: str, name: str, *options: str) -> str:
        """Put a script into the queue; the number of its job."""
        (self.work / f"{name}.sh").write_text(script)
        return self.says("sbatch", "--parsable", f"--output={self.work / name}.out", *options, f"{name}.sh")

    def state(self, job: str) -> dict[str, str]:
        """What Slurm knows of a job."""
        told = self.says("scontrol", "-o", "show", "job", job)
        parts = (word.partition("=") for word in told.split())
        return {name: value for name, is_told, value in parts if is_told}

    def restarts(self, job: str) -> int:
        """How often a job was queued again."""
        return int(self.state(job).get("Restarts", 0))

    def ended(self, job: str) -> dict[str, str]:
        """Wait until it is over; what Slurm knows of it then."""
        gone = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        until(lambda: self.state(job).get("JobState") in gone, PATIENCE, f"job {job} goes on")
        return self.state(job)


class Trial:
    """A job, and what is not as it should be."""

    def __init__(self, slurm: Slurm, name: str) -> None:
        self.slurm = slurm
        self.name = name
        self.wrong: list[str] = []

    def expect(self, holds: object, what: str) -> None:
        """Note what is wrong, where it is."""
        if not holds:
            self.wrong.append(what)

    def out(self) -> str:
        """What its jobs wrote."""
        return "\n".join(path.read_text() for path in sorted(self.slurm.work.glob(f"{self.name}.out*")))

    def journalled(self, what: str = '"event":"batch"') -> int:
        """How often something is told in the journal; unless said, how many batches are."""
        journal = self.slurm.work / "sessions" / f"{self.name}.run" / "events.jsonl"
        return journal.read_text().count(what) if journal.exists() else 0

    def is_over(self, job: str) -> None:
        """Wait for the end of a job, which is to be a good one."""
        told = self.slurm.ended(job)
        self.expect(told.get("ExitCode") == "0:0", f"it ended as {told.get('JobState')}, {told.get('ExitCode')}")

    def compare(self, command: str, session: str = "") -> None:
        """Hold a session, and a survey's table, against what one process makes."""
        name = "local-" + re.sub(r"\W+", "-", command)
        sessions = self.slurm.work / "sessions"
        if not (sessions / f"{name}.json").exists():
            subprocess.run(
                ["srm-explorer", *asked(command, name).split()],
                executable=self.slurm.work / "srm" / "bin" / "srm-explorer",
                cwd=self.slurm.work,
                env=self.slurm.environment,
                capture_output=True,
                check=True,
                timeout=PATIENCE,
            )
        made = session or self.name
        wanted = content(sessions, name)
        self.expect(wanted is not None and wanted == content(sessions, made), "another session")
        for table in self.slurm.work.glob(f"{name}.csv"):
            self.expect(table.read_bytes() == table.with_stem(made).read_bytes(), "another table")


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something.

    Raises:
        TimeoutError: it does not come.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.5)


def asked(command: str, session: str) -> str:
    """A command with where its results go: a session, and a table of a survey."""
    table = f" --csv {session}.csv" if command.startswith("survey") else ""
    return f"{command} --session {session}{table}"


def one(trial: Trial, command: str = RUN) -> str:
    return replaced(ONE, "run protocol --set model.device=cuda --session n373", asked(command, trial.name))


def replaced(script: str, old: str, new: str) -> str:
    assert old in script, f"the script is another: {old}"
    return script.replace(old, new)


def job(trial: Trial) -> None:
    """Have the time run out."""
    again(trial, trial.slurm.submit(one(trial), trial.name, *WARNED))


def again(trial: Trial, number: str, command: str = RUN, what: str = "batch") -> None:
    trial.is_over(number)
    trial.expect(trial.slurm.restarts(number) > 0, "it was never queued again")
    trial.expect(f"finishing the {what}" in trial.out(), "it does not say that it was warned")
    trial.expect("resuming" in trial.out(), "it began anew")
    trial.expect("DUE TO TIME LIMIT" not in trial.out(), "it was killed when its time was over")
    trial.compare(command)


def requeue(trial: Trial) -> None:
    """Put it back by hand, as a preemption does."""
    number = trial.slurm.submit(one(trial), trial.name)
    until(lambda: trial.journalled() > 2, PATIENCE, "it does not begin")
    trial.expect(not trial.slurm.says("scontrol", "requeue", number), "it cannot be queued again")
    trial.is_over(number)
    times = trial.slurm.restarts(number)
    trial.expect(times == 1, f"it was begun again {times} times")
    trial.expect("resuming" in trial.out(), "it began anew")
    trial.compare(RUN)


def cancel(trial: Trial) -> None:
    """Cancel it, and submit it again."""
    number = trial.slurm.submit(one(trial), trial.name)
    until(lambda: trial.journalled() > 2, PATIENCE, "it does not begin")
    trial.slurm.says("scancel", number)
    trial.expect(trial.slurm.ended(number)["JobState"] == "CANCELLED", "it is not cancelled")
    trial.is_over(trial.slurm.submit(one(trial), trial.name))
    trial.expect("resuming" in trial.out(), "it began anew")
    trial.compare(RUN)


def array(trial: Trial) -> None:
    """Run an experiment a task."""
    commands = [f"{SHORT} --set interventions.0.neurons=[{neuron}]" for neuron in (3, 5)]
    asked_for = [asked(command, f"{trial.name}-{number}") for number, command in enumerate(commands)]
    lines = [f"{line.removeprefix('run ')}\n" for line in asked_for]
    (trial.slurm.work / "experiments.txt").write_text("".join(lines))
    options = (f"--output={trial.slurm.work / trial.name}.out-%a",)
    number = trial.slurm.submit(ARRAY, trial.name, *options)
    for task, command in enumerate(commands):
        trial.is_over(f"{number}_{task}")
        trial.compare(command, f"{trial.name}-{task}")


def nodes(trial: Trial) -> None:
    """Warn Ray on two nodes."""
    script = replaced(NODES, "run protocol ", f"{RUN} ")
    warned(trial, replaced(script, "--session n373", f"--session {trial.name}"))


def actors(trial: Trial) -> None:
    """Warn Ray that the run itself started, on one."""
    warned(trial, replaced(one(trial), "srm-explorer run", "srm-explorer run --executor ray --actors 2"))


def warned(trial: Trial, script: str) -> None:
    """Warn a job as if its time ran out."""
    number = trial.slurm.submit(script, trial.name)
    until(lambda: trial.journalled() > 2, PATIENCE, "it does not begin")
    trial.slurm.says("scancel", "--signal=USR1", number)
    again(trial, number)


def survey(trial: Trial) -> None:
    """Warn a survey in either of its stages."""
    command = " ".join(SURVEY)
    number = trial.slurm.submit(one(trial, command), trial.name)
    for begun, depth in enumerate(("forced", "free")):
        until(partial(in_stage, trial, depth), PATIENCE, f"nothing of it is {depth}")
        trial.slurm.says("scancel", "--signal=USR1", number)
        until(lambda begun=begun: trial.slurm.restarts(number) > begun, PATIENCE, "it is not queued again")
    again(trial, number, command, "part")


def in_stage(trial: Trial, depth: str) -> bool:
    return trial.journalled(f'"depth":"{depth}"') > 0


def doctor(trial: Trial) -> None:
    """Ask outside of a job, and in one."""
    tools = trial.slurm.work / "srm" / "bin"
    outside = trial.slurm.says(str(tools / "srm-explorer"), "doctor")
    trial.expect("Slurm is here, and this is no job of it" in outside, "it does not see Slurm")
    number = trial.slurm.submit(replaced(one(trial), asked(RUN, trial.name), "doctor"), trial.name)
    trial.is_over(number)
    trial.expect(
        re.search(rf"Slurm job {number} · 1 node \(n[12]\) .*8 cores · 1:59 h left", trial.out()), "not its job"
    )


TRIALS: Mapping[str, Callable[[Trial], None]] = {
    trial.__name__: trial for trial in (doctor, job, requeue, cancel, array, survey, nodes, actors)
}


def main() -> int:
    """Try them; return how many went wrong."""
    # Else its processes outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with asked_for(TRIALS, __doc__, "try-slurm-") as (names, work):
        slurm = Slurm(work)
        with slurm.running():
            return carry_out(names, TRIALS, lambda name: Trial(slurm, name))


if __name__ == "__main__":
    sys.exit(main())
