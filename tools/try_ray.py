"""Kill an actor, the driver and the raylet of a run on Ray with SIGKILL: the same command goes on, and nothing differs.

    python tools/try_ray.py [actor] [driver] [raylet] [--keep FOLDER]

Each trial is `srm-explorer run demo --executor ray --actors 2`, small, killed as soon as a batch is finished; then the
same command again where that ended it. The session is compared with that of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SMALL = ("--set", "prompts.limit=6", "--set", "generation.tokens=40", "--set", "controls.neurons=1")
ACTORS = ("--executor", "ray", "--actors", "2")
PATIENCE = 300.0
"""Seconds that a run may take."""


def main() -> int:
    """Try them; return how many went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("victims", nargs="*", default=["actor", "driver", "raylet"], help="which; all unless said")
    parser.add_argument("--keep", type=Path, help="put the sessions there, and leave them")
    arguments = parser.parse_args()
    folder: Path | None = arguments.keep
    work = folder or Path(tempfile.mkdtemp(prefix="try-ray-"))
    environment = {**os.environ, "TMPDIR": str(work / "t"), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    environment |= {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in ("STATE", "CONFIG", "DATA")}
    (work / "t").mkdir(parents=True, exist_ok=True)
    try:
        begun(work, "local", (), environment).wait(PATIENCE)
        wrong = [victim for victim in arguments.victims if not tried(work, victim, environment)]
    finally:
        if folder is None:
            shutil.rmtree(work, ignore_errors=True)
    return len(wrong)


def begun(work: Path, name: str, options: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"]
    command += ["run", "demo", *SMALL, "--session", str(work / name), *options]
    with (work / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def tried(work: Path, victim: str, environment: Mapping[str, str]) -> bool:
    """Kill one of them, look at what comes of it, and print that."""
    began = time.monotonic()
    run = begun(work, victim, ACTORS, environment)
    seen: dict[int, str] = {}
    killed = 0
    while run.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.1)
        seen |= below(run.pid)
        if not killed and list((work / f"{victim}.run").glob("shard-*")):
            killed = run.pid if victim == "driver" else found(below(run.pid), victim)
            if killed:
                os.kill(killed, signal.SIGKILL)
    status = run.wait(PATIENCE)
    time.sleep(5)
    left = [pid for pid, text in seen.items() if text and line(pid) == text]
    again = 0
    if status:
        again = begun(work, victim, ACTORS, environment).wait(PATIENCE)
    same = content(work, "local") == content(work, victim)
    right = bool(killed) and same and not again and (victim == "actor") == (status == 0)
    print(
        f"{victim}: killed {killed}, status {status}, again {again}, {'the same' if same else 'ANOTHER'} session,"
        f" {len(left)} processes left, {time.monotonic() - began:.0f} s"
    )
    return right


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


def found(family: Mapping[int, str], victim: str) -> int:
    mark = {"actor": "ray::Actor", "raylet": "raylet/raylet"}[victim]
    return next((pid for pid, text in sorted(family.items()) if mark in text.partition(" --")[0]), 0)


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
