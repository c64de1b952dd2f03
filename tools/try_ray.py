"""Try runs on Ray whole, with everything that can end them: nothing finished is lost, and nothing differs.

    python tools/try_ray.py [TRIAL ...] [--keep FOLDER]

    actor, driver, raylet   one of them is killed with SIGKILL while a run has batches in flight
    beginning               the driver is killed while it starts Ray, while actors load the model, and test it
    interrupt, warned       ctrl+c, or a batch system's SIGUSR1, once: what is in flight is finished
    survey                  the driver is killed while neurons are scored, and again while texts are written
    address, auto           the driver is killed at a cluster that somebody else started, which lives on
    head                    the head of such a cluster dies: it is told in a line, and another one goes on
    node, survey-node       one of the two nodes of such a cluster is killed, and what was there goes to the other
    crowded                 others have the processors of such a cluster, then one of them, then none; ctrl+c where all
    worker                  ctrl+c, once, over a run in the background process

All are small runs of the bundled model by two actors, and then the same command again where that ended it. What is
saved is compared with what one process makes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

RUN = ("run", "demo", "--set", "prompts.limit=40", "--set", "generation.tokens=40", "--set", "controls.neurons=1")
RUN += ("--set", "execution.rows=12")
"""By default it is one batch or two, of which none would be in flight beside another. It takes seconds, and a batch so
long that hardly ever none is in flight."""
SURVEY = ("survey", "demo", "--neurons", "0..19", "--layers", "0..5", "--then", "top:12", "--chart", "none")
SURVEY += ("--set", "prompts.limit=4", "--set", "generation.tokens=24", "--set", "execution.rows=8")
ACTORS = ("--executor", "ray", "--actors", "2")

PATIENCE = 600.0
"""Seconds that a run may take."""
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Else Ray listens to other machines all the same."""
RAY = "import sys; from ray._private import ray_constants as known; known.ENABLE_RAY_CLUSTER = True;"
RAY += " from ray.scripts.scripts import main; sys.exit(main())"
"""Its command, which else lets nothing join a cluster that listens here alone."""
FAREWELL = 90.0
"""Seconds in which everything that a run started must be gone, once it is."""
INTERRUPTED = 130


def main() -> int:
    """Try them; return how many went wrong."""
    # What a shell began in the background ignores ctrl+c, and all that it begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with asked_for(TRIALS, __doc__, "try-ray-") as (names, work):
        environment = {**os.environ, "TMPDIR": str(work / "t"), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
        # Where "auto" looks for clusters: there may be others on this machine.
        environment["RAY_TMPDIR"] = str(work)
        environment |= {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in ("STATE", "CONFIG", "DATA")}
        (work / "t").mkdir(parents=True, exist_ok=True)
        return carry_out(names, TRIALS, lambda name: Trial(work, environment, name))


@contextlib.contextmanager
def asked_for(trials: Iterable[str], about: str | None, prefix: str) -> Generator[tuple[list[str], Path]]:
    """Which trials the command line names, and a folder for them, which goes with the block unless it is to be kept."""
    known = list(trials)
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", default=known, help="which; all unless said")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put everything there, and leave it")
    arguments = parser.parse_args()
    if unknown := set(arguments.trials) - set(known):
        parser.error(f"no such trial: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    folder: Path | None = arguments.keep
    work = (folder or Path(tempfile.mkdtemp(prefix=prefix))).absolute()
    try:
        yield arguments.trials, work
    finally:
        if folder is None:
            shutil.rmtree(work, ignore_errors=True)


def carry_out(names: Iterable[str], trials: Mapping[str, Callable[[Any], None]], begin: Callable[[str], Any]) -> int:
    """Try one after the other, and tell what is not as it should be; how many went wrong.

    Args:
        begin: makes what a trial is given, which notes in `wrong` what is.
    """
    wrong = 0
    for name in names:
        began, trial = time.monotonic(), begin(name)
        trials[name](trial)
        wrong += bool(trial.wrong)
        told = "; ".join(trial.wrong).upper() or "nothing is lost, nothing differs"
        print(f"{name}: {told}, {time.monotonic() - began:.0f} s", flush=True)
    return wrong


@dataclass
class Trial:
    """A session that is ended and gone on with.

    Attributes:
        work: folder of the sessions.
        name: of the session.
        wrong: what is not as it should be.
        begun: processes of its commands.
        seen: processes below its runs, with their command lines.
    """

    work: Path
    environment: Mapping[str, str]
    name: str
    wrong: list[str] = field(default_factory=list[str])
    begun: list[int] = field(default_factory=list[int])
    seen: dict[int, str] = field(default_factory=dict[int, str])

    def expect(self, holds: object, what: str) -> None:
        """Note what is wrong, where it is."""
        if not holds:
            self.wrong.append(what)

    def begin(self, command: Sequence[str], name: str = "") -> subprocess.Popen[bytes]:
        """Start a command over a session; this one, unless another is named."""
        name = name or self.name
        program = [sys.executable, "-c", "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"]
        at = ["--session", str(self.work / name)] if command[0] in ("run", "survey") else []
        with (self.work / f"{name}.log").open("ab") as log:
            everything = [*program, *command, *at]
            run = subprocess.Popen(everything, stdout=log, stderr=log, env=self.environment, start_new_session=True)
        self.begun.append(run.pid)
        return run

    def log(self) -> str:
        """What its commands said."""
        log = self.work / f"{self.name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def journalled(self, mark: str) -> int:
        """How many lines of its journal have a mark."""
        journal = self.work / f"{self.name}.run" / "events.jsonl"
        return sum(mark in line for line in journal.read_text().splitlines()) if journal.exists() else 0

    def struck(self, command: Sequence[str], when: Callable[[], bool], strike: Callable[[int], bool]) -> int:
        """Run a command, do something to it at the right moment, and return its status.

        Args:
            when: whether it is far enough.
            strike: is given its process; tells whether it could do it.
        """
        run, began, done = self.begin(command), time.monotonic(), False
        looked = began
        while run.poll() is None and time.monotonic() - began < PATIENCE:
            if not done and when():
                done = strike(run.pid)
            if done or time.monotonic() > looked + 1:
                self.seen |= below(run.pid)
                looked = time.monotonic()
            time.sleep(0.005)
        self.expect(done, "it was over before its time")
        return run.wait(FAREWELL)

    def gone_on_with(self, command: Sequence[str]) -> None:
        """Run the command again: it goes on from what was there, and ends well."""
        before = self.log()
        status = self.begin(command).wait(PATIENCE)
        said = self.log()[len(before) :]
        self.expect(status == 0, f"the same command again ended with {status}")
        self.expect("resuming" in said, "the same command began anew")

    def compare(self, command: Sequence[str]) -> None:
        """Hold what it saved against what one process makes of the command."""
        name = f"local-{command[0]}"
        if not (self.work / f"{name}.json").exists():
            status = self.begin([*command, *self.table(name)], name).wait(PATIENCE)
            self.expect(status == 0, f"one process ended with {status}")
        self.expect(content(self.work, name) == content(self.work, self.name) is not None, "another session")
        deadline = time.monotonic() + FAREWELL
        while (left := [text for pid, text in self.seen.items() if text and line(pid) == text]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.2)
        self.expect(not left, f"processes are left: {', '.join(text[:60] for text in left)}")
        folders = list(Path(self.environment["TMPDIR"]).rglob("ray-*"))
        folders += [folder for pid in self.begun for folder in Path("/tmp").glob(f"srm-ray-{pid}-*")]
        self.expect(not folders, f"folders are left: {', '.join(map(str, folders))}")

    def table(self, name: str = "") -> tuple[str, ...]:
        """The option that has a survey write its table."""
        return ("--csv", str(self.work / f"{name or self.name}.csv")) if "survey" in (name or self.name) else ()

    def same_tables(self) -> bool:
        """Whether its survey wrote the table that one process writes."""
        tables = [self.work / f"{name}.csv" for name in (self.name, "local-survey")]
        return len({table.read_bytes() for table in tables if table.exists()}) == 1


def with_a_victim(trial: Trial, victim: str) -> None:
    """Kill one of them once a batch is finished and others are in flight."""
    command = [*RUN, *ACTORS]

    def strike(pid: int) -> bool:
        family = below(pid)
        struck = pid if victim == "driver" else found(family, victim)
        if not struck:
            return False
        held = [actor for actor, text in family.items() if is_kind(text, "actor")]
        signalled(held, signal.SIGSTOP)
        trial.expect(listening({pid, *family}) <= LOOPBACK, "others can reach it")
        os.kill(struck, signal.SIGKILL)
        # That their raylet is gone actors notice within seconds: until then they could finish everything.
        for _ in range(8 if victim == "raylet" else 0):
            time.sleep(1)
            signalled(held, signal.SIGCONT)
            time.sleep(0.1)
            signalled(held, signal.SIGSTOP)
        signalled(held, signal.SIGCONT)
        return True

    status = trial.struck(command, lambda: trial.journalled('"batch"') > 1, strike)
    if victim == "actor":
        trial.expect(status == 0, f"it ended with {status}")
        trial.expect("is lost, what it had went to another" in trial.log(), "nobody was told")
    else:
        trial.expect(status == (1 if victim == "raylet" else -signal.SIGKILL), f"it ended with {status}")
        trial.gone_on_with(command)
    trial.compare(RUN)


def beginning(trial: Trial) -> None:
    """Kill the driver before there is a journal: each start is to remove what the one before left."""
    command = [*RUN, *ACTORS]

    def strike(pid: int, kind: str, mark: str) -> bool:
        said = trial.log()[before:]
        far = found(below(pid), kind) and (mark in said or trial.journalled("{"))
        return bool(far) and killed(pid)

    for kind, mark in (("head", ""), ("actor", ""), ("actor", "testing")):
        before = len(trial.log())
        status = trial.struck(command, lambda: True, partial(strike, kind=kind, mark=mark))
        trial.expect(status == -signal.SIGKILL, f"it ended with {status} when there was {kind} {mark}")
    status = trial.begin(command).wait(PATIENCE)
    trial.expect(status == 0, f"the same command again ended with {status}")
    trial.compare(RUN)


def signalled(processes: Iterable[int], number: signal.Signals) -> None:
    """Send those that are still there a signal."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def interrupt(trial: Trial, by: signal.Signals = signal.SIGINT) -> None:
    """Press ctrl+c, which every process of the terminal hears, or warn them, as a batch system does."""
    command = [*RUN, *ACTORS]
    finished = 0

    def strike(pid: int) -> bool:
        nonlocal finished
        finished = trial.journalled('"batch"')
        for each in (pid, *below(pid)):
            os.kill(each, by)
        return True

    status = trial.struck(command, lambda: trial.journalled('"batch"') > 1, strike)
    trial.expect(status == INTERRUPTED, f"it ended with {status}")
    trial.expect(trial.journalled('"batch"') > finished, "what was in flight is lost")
    trial.expect("is lost" not in trial.log(), "actors died of it")
    trial.expect("the same command goes on" in trial.log(), "it does not say how to go on")
    trial.gone_on_with(command)
    trial.compare(RUN)


def survey(trial: Trial) -> None:
    """Kill the driver of a survey in either of its stages."""
    command = [*SURVEY, *ACTORS, *trial.table()]
    for depth in ("forced", "free"):
        status = trial.struck(command, partial(in_stage, trial, depth), killed)
        trial.expect(status == -signal.SIGKILL, f"it ended with {status} when {depth}")
    trial.gone_on_with(command)
    trial.compare(SURVEY)
    trial.expect(trial.same_tables(), "another table")


def in_stage(trial: Trial, depth: str) -> bool:
    """Whether a part of a survey is finished there."""
    return trial.journalled(f'"depth":"{depth}"') + trial.journalled(f'"depth": "{depth}"') > 0


def killed(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return True


def address(trial: Trial, named: str = "") -> None:
    """Kill the driver at a cluster that is not its own.

    Args:
        named: how the cluster is named; by its port unless said.
    """
    with a_cluster(trial, 1) as (port, (cluster,)):
        command = [*RUN, *ACTORS, "--address", named or f"127.0.0.1:{port}"]
        status = trial.struck(command, lambda: trial.journalled('"batch"') > 1, killed)
        trial.expect(status == -signal.SIGKILL, f"it ended with {status}")
        trial.gone_on_with(command)
        deadline = time.monotonic() + FAREWELL
        while found(below(cluster.pid), "actor") and time.monotonic() < deadline:
            time.sleep(0.2)
        family = below(cluster.pid)
        trial.expect(cluster.poll() is None and found(family, "raylet"), "the cluster is gone")
        trial.expect(not found(family, "actor"), "actors are left there")
        trial.seen |= family
    trial.compare(RUN)


def crowded(trial: Trial) -> None:
    """Run where others have every processor, and end it; then where they have one of two, and go before it is over."""
    with a_cluster(trial, 1) as (port, (cluster,)):
        command = [*RUN, *ACTORS, "--address", f"127.0.0.1:{port}"]
        asked = time.monotonic()

        def interrupted(pid: int) -> bool:
            nonlocal asked
            os.kill(pid, signal.SIGINT)
            asked = time.monotonic()
            return True

        with others(trial, port, 2):
            none = "2 of 2 actors wait for a place in the cluster: each asks for 1 processor of one node"
            status = trial.struck(command, lambda: none in trial.log(), interrupted)
            trial.expect(status == INTERRUPTED, f"without room it ended with {status}")
            trial.expect(time.monotonic() < asked + 30, "it took its time to end")
            trial.expect("Traceback" not in trial.log(), "it ended with a traceback")
        with others(trial, port, 1) as leave:
            one = "1 of 2 actors waits for a place in the cluster: each asks for 1 processor of one node"

            def left(_: int) -> bool:
                first = found(below(cluster.pid), "actor")
                if not first:
                    return False
                leave()
                # It could finish everything before the other one has its model.
                os.kill(first, signal.SIGSTOP)
                deadline = time.monotonic() + PATIENCE / 3
                while trial.journalled('"actor joined"') < 2 and time.monotonic() < deadline:
                    time.sleep(0.2)
                os.kill(first, signal.SIGCONT)
                return True

            status = trial.struck(command, lambda: one in trial.log() and trial.journalled('"batch"') > 0, left)
            trial.expect(status == 0, f"with room for one it ended with {status}")
            saved = trial.work / f"{trial.name}.json"
            events = json.loads(saved.read_text())["events"] if saved.exists() else []
            joined = sum(event["event"] == "actor joined" for event in events)
            trial.expect(joined == 2, f"{joined} joined, of one that had room at once and one that found it later")
        trial.expect(cluster.poll() is None, "the cluster is gone")
    trial.compare(RUN)


OTHERS = (
    "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); hold = ray.remote(num_cpus=int(sys.argv[2]))"
)
OTHERS += "(type('Other', (), {'here': lambda self: True})).remote(); ray.get(hold.here.remote());"
OTHERS += " print('here', flush=True); sys.stdin.read()"
"""Somebody who has so many processors of a cluster until nothing more can be read."""


@contextlib.contextmanager
def others(trial: Trial, port: int, processors: int) -> Generator[Callable[[], None]]:
    """Somebody else who has processors of a cluster; what is given has them leave."""
    command = [sys.executable, "-c", OTHERS, f"127.0.0.1:{port}", str(processors)]
    with (trial.work / f"{trial.name}-others.log").open("ab") as log:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env={**trial.environment, **ALONE}
        )
    assert started.stdin is not None
    assert started.stdout is not None
    try:
        trial.expect(started.stdout.readline() == b"here\n", "others have no processor")
        yield started.stdin.close
    finally:
        started.stdin.close()
        started.wait(FAREWELL)


def head(trial: Trial) -> None:
    """Kill the head of a cluster, without which nothing of it goes on."""
    with a_cluster(trial, 1) as (port, (cluster,)):

        def strike(_: int) -> bool:
            family = below(cluster.pid)
            held = [actor for actor, text in family.items() if is_kind(text, "actor")]
            # They could finish everything before anybody sees it.
            signalled(held, signal.SIGSTOP)
            os.kill(found(family, "head"), signal.SIGKILL)
            return True

        command = [*RUN, *ACTORS, "--address", f"127.0.0.1:{port}"]
        status = trial.struck(command, lambda: trial.journalled('"batch"') > 1, strike)
        trial.expect(status == 1, f"it ended with {status}")
        trial.expect("Ray ended: its gcs_server is gone" in trial.log(), "nobody was told")
        trial.expect("Traceback" not in trial.log(), "it ended with a traceback")
        for pid, text in below(cluster.pid).items():
            signalled([pid] * is_kind(text, "actor"), signal.SIGKILL)
    with a_cluster(trial, 1) as (port, _):
        trial.gone_on_with([*RUN, *ACTORS, "--address", f"127.0.0.1:{port}"])
    trial.compare(RUN)


def node(trial: Trial, run: Sequence[str] = RUN) -> None:
    """Kill a node of two, on which one of the actors is."""
    table = trial.table()

    with a_cluster(trial, 2) as (port, (_, second)):
        command = [*run, *ACTORS, "--address", f"127.0.0.1:{port}", *table]

        def begun() -> bool:
            done = in_stage(trial, "forced") if table else trial.journalled('"batch"') > 1
            return done and bool(found(below(second.pid), "actor"))

        def strike(_: int) -> bool:
            os.kill(found(below(second.pid), "raylet"), signal.SIGKILL)
            return True

        status = trial.struck(command, begun, strike)
        trial.expect(status == 0, f"it ended with {status}")
        told = [line for line in trial.log().splitlines() if "is lost, what it had went to another" in line]
        trial.expect(len(told) == 1 and "its node is gone" in told[0], f"of the node it says: {told}")
    trial.compare(run)
    if table:
        trial.expect(trial.same_tables(), "another table")


@contextlib.contextmanager
def a_cluster(trial: Trial, nodes: int) -> Generator[tuple[int, list[subprocess.Popen[bytes]]]]:
    """A cluster that somebody else started, listening on 127.0.0.1 alone: its port, and a process a node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Each ends with its process: `ray stop` would end every cluster of this user.
    start = [sys.executable, "-c", RAY, "start", "--block", "--disable-usage-stats"]
    start += ["--node-ip-address=127.0.0.1", f"--num-cpus={3 - nodes}", f"--object-store-memory={2**28}"]
    head = ["--head", f"--port={port}", "--include-dashboard=false"]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(nodes):
            name = trial.work / f"{trial.name}-{number}.log"
            with name.open("ab") as log:
                which = [f"--address=127.0.0.1:{port}"] if number else head
                environment = {**trial.environment, **ALONE}
                begun = subprocess.Popen(
                    [*start, *which], stdout=log, stderr=log, env=environment, start_new_session=True
                )
            running.append(begun)
            began = time.monotonic()
            while "Ray runtime started" not in name.read_text() and begun.poll() is None:
                if time.monotonic() - began > PATIENCE:
                    break
                time.sleep(0.2)
        yield port, running
    finally:
        for begun in running:
            begun.terminate()
            begun.wait(FAREWELL)


def worker(trial: Trial) -> None:
    """Press ctrl+c over a run that the background process has."""
    trial.expect(trial.begin(["worker", "restart"]).wait(PATIENCE) == 0, "there is no background process")
    command = [*RUN, "--set", "execution.executor=ray", "--set", "execution.actors=2"]

    def strike(pid: int) -> bool:
        os.killpg(pid, signal.SIGINT)
        return True

    try:
        status = trial.struck(command, lambda: trial.journalled('"batch"') > 1, strike)
        trial.expect(status == INTERRUPTED, f"it ended with {status}")
        trial.gone_on_with(command)
        trial.expect("running in this process" not in trial.log(), "the background process takes nothing")
    finally:
        trial.expect(trial.begin(["worker", "stop"]).wait(PATIENCE) == 0, "the background process does not end")
    trial.compare(RUN)


TRIALS: dict[str, Callable[[Trial], None]] = {
    **{victim: partial(with_a_victim, victim=victim) for victim in ("actor", "driver", "raylet")},
    "beginning": beginning,
    "interrupt": interrupt,
    "warned": partial(interrupt, by=signal.SIGUSR1),
    "survey": survey,
    "address": address,
    "auto": partial(address, named="auto"),
    "head": head,
    "node": node,
    "survey-node": partial(node, run=SURVEY),
    "crowded": crowded,
    "worker": worker,
}


def below(pid: int) -> dict[int, str]:
    """Processes below one, with their command lines."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return {child: line(child) for child in family - {pid}}


def line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as the system writes it, also as an address of the newer kind."""


def listening(pids: set[int]) -> set[str]:
    """Addresses, as the system writes them, at which some processes listen."""
    sockets: set[str] = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(file.readlink()))
            except OSError:
                continue
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def found(family: Mapping[int, str], victim: str) -> int:
    return next((pid for pid, text in sorted(family.items()) if is_kind(text, victim)), 0)


def is_kind(text: str, kind: str) -> bool:
    """Whether a command line is that of an actor, of a raylet, or of what a cluster has once."""
    return {"actor": "ray::Actor", "raylet": "raylet/raylet", "head": "gcs/gcs_server"}[kind] in text.partition(" --")[
        0
    ]


def content(work: Path, name: str) -> tuple[dict[str, Any], bytes] | None:
    """What a session holds, without times and what happened on the way, and its vectors."""
    path = work / f"{name}.json"
    if not path.exists():
        return None
    session = json.loads(path.read_text())
    for key in ("name", "created", "saved", "revision", "events"):
        session.pop(key, None)
    session["vectors"].pop("file")
    session["provenance"]["self_test"].pop("seconds")
    return session, path.with_suffix(".safetensors").read_bytes()


if __name__ == "__main__":
    sys.exit(main())
