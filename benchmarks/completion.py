"""How long a shell waits at a tab: the program that completes, beside a Python that does nothing, taking turns.

    python benchmarks/completion.py [--times N] [--most SECONDS]

For each kind of word (a command, a session among 2,000, a key of `--set`, a prompt set) the medians of both and what
the completion takes beyond a bare start are printed; `--most` makes a longer wait than so many seconds a failure.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES = {
    "a command": "srm-explorer sh",
    "a session": "srm-explorer show run-1",
    "a key of --set": "srm-explorer run demo --set interventions.0.",
    "a prompt set": "srm-explorer run demo --set prompts.sets=",
}
PROGRAM = "import sys; from srm_explorer.tui.cli import main; sys.exit(main(sys.argv[1:]))"
SESSIONS = 2_000


def seconds(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Of a process: by the clock, and of a processor."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--times", type=int, default=7)
    asked.add_argument("--most", type=float)
    options = asked.parse_args()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SESSIONS):
            Path(folder, f"run-{number}.json").write_text('{"schema_version": 2}')
        plain = {**os.environ, "SRM_EXPLORER_SESSIONS": folder}
        environment = {**plain, "_SRM_EXPLORER_COMPLETE": "bash"}
        for what, line in LINES.items():
            bare: list[tuple[float, float]] = []
            ours: list[tuple[float, float]] = []
            for _ in range(options.times):
                bare.append(seconds([sys.executable, "-c", "pass"], plain))
                ours.append(seconds([sys.executable, "-c", PROGRAM, line, " \t\n\"'><=;|&(:"], environment))
            (least, _), (most, work) = (map(statistics.median, zip(*times, strict=True)) for times in (bare, ours))
            slowest = max(slowest, most)
            ratio = f"{most / least:.1f} times bare Python's {least:.3f} s"
            print(f"{what:16} {most:.3f} s, {work:.3f} s of a processor, {ratio}")
    return int(options.most is not None and slowest > options.most)


if __name__ == "__main__":
    sys.exit(main())
