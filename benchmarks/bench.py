"""Everything side by side in one run: writes results.json and RESULTS.md beside this file.

    python benchmarks/bench.py [--quick] [--real-model FOLDER] [--only NAME ...] [--gpu REPORT.json]

Each section runs in a process of its own: one that fails, or finds no time left, leaves its rows unmeasured and says
why, and the others go on. Within a section ours and the references take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import ROOT, Asked, Measured, Options, Report, at_least, at_most, brief, under

HERE = Path(__file__).resolve().parent
LINEAR = at_most(1.1)
"""Growth that is no worse than linear, and a tenth for what else a machine does."""


@dataclass(frozen=True)
class Section:
    """Some rows that are measured together.

    Args:
        calls: the functions that measure them, `file.function`; one that fails does not keep the others from it.
        seconds: that it takes, about, in the short run and in the whole one, on a machine that does nothing else; it
            is not begun where fewer are left.
        rows: that it fills.
        needs: what a machine may lack: the option that names it.
    """

    calls: tuple[str, ...]
    seconds: tuple[int, int]
    rows: tuple[Asked, ...]
    needs: str = ""


def _growth(of: str) -> tuple[Asked, Asked]:
    return (
        Asked(f"growth: time of 16 times the {of}", "s", LINEAR),
        Asked(f"growth: memory of 16 times the {of}", "MB", LINEAR),
    )


# Those with goals first: where the time is up, the others are left out.
SECTIONS = {
    "decode": Section(
        ("decoding.shaped",),
        (100, 230),
        (
            Asked("decode: share of what matrix products alone allow", "tokens/s", at_least(0.90, quick=0.75)),
            Asked("decode: the same, alike texts as one", "tokens/s"),
            Asked("decode: against one value at a time (ii)", "tokens/s", at_least(3)),
            Asked("decode: against one run at a time (i)", "tokens/s"),
            Asked("decode: memory of a batch at its peak", "MB"),
            Asked("decode: texts that differ from the references'", "texts", under(0)),
        ),
    ),
    "real": Section(
        ("decoding.real",),
        (0, 180),
        (
            Asked("real model: against one value at a time (ii)", "tokens/s", at_least(6), quick=False),
            Asked("real model: share of what matrix products alone allow", "tokens/s", quick=False),
            Asked("real model: the same, alike texts as one", "tokens/s", quick=False),
            Asked("real model: texts that a clamp leaves as they are", "%", quick=False),
            Asked("real model: texts that differ from (ii)", "texts", quick=False),
        ),
        "REAL_MODEL",
    ),
    "growth of rows": Section(("growth.rows",), (15, 40), _growth("rows")),
    "growth of values": Section(("growth.values",), (15, 35), _growth("values")),
    "growth of neurons": Section(("growth.neurons",), (15, 25), _growth("neurons")),
    "growth of vectors": Section(("growth.vectors",), (10, 10), _growth("vectors")),
    "growth of sessions": Section(("growth.sessions",), (10, 10), _growth("sessions in the folder")),
    "scoring": Section(
        ("scoring.forced_survey", "scoring.free_survey", "scoring.forcing"),
        (50, 100),
        (
            *(
                Asked(f"survey: forced, {layer} layer, against one neuron at a time", "neurons/s")
                for layer in ("last", "middle")
            ),
            Asked("survey: free, middle layer, against one neuron at a time", "tokens/s"),
            Asked("forcing: against one run at a time", "runs/s"),
        ),
    ),
    "listing": Section(
        ("sessions.listing",),
        (10, 10),
        (
            Asked("sessions: a folder of 2,000 opened on the screen, none of them known", "s", under(1)),
            Asked("sessions: a folder of 2,000 listed", "s", under(1)),
            Asked("sessions: a folder of 2,000 listed for the first time", "s"),
        ),
    ),
    "opening": Section(
        ("sessions.opening",),
        (10, 10),
        (Asked("sessions: one of 2,000 runs opened, against json.loads alone", "s"),),
    ),
    "spotlight": Section(
        ("analyses.spotlight",),
        (15, 25),
        (Asked("spotlight: sweep of 2,050 vectors against a loop over angles", "s"),),
    ),
    "resampling": Section(
        ("analyses.resampling",),
        (15, 15),
        (Asked("resampling: 10,000 times, against a loop over resamples", "s", under(1)),),
    ),
    "frame": Section(
        ("screen.first_frame",),
        (10, 20),
        (Asked("screen: first frame, against a bare app", "s"),),
    ),
    "step": Section(
        ("screen.spotlight_step",),
        (40, 75),
        (
            Asked("screen: bytes of a step, against a full redraw", "bytes"),
            Asked("screen: a step on an idle machine, against a full redraw", "ms"),
            Asked("screen: a step on a busy machine, against a full redraw", "ms"),
        ),
    ),
    "exchange": Section(
        ("sessions.exchange",),
        (15, 40),
        (
            Asked("import: vectors from .npz, against numpy.load", "s"),
            Asked("export: vectors to .npz, against numpy.savez", "s"),
            Asked("export: runs to CSV", "runs/s"),
        ),
    ),
    "pairs": Section(
        ("analyses.pairs",),
        (15, 25),
        (
            Asked("plane finder: every pair of neurons, against one by one", "s"),
            Asked("plane finder: the whole study", "s"),
        ),
    ),
    "completion": Section(
        ("sessions.completion",),
        (10, 10),
        tuple(
            Asked(f"completion: {what}, against bare Python", "s")
            for what in ("a command", "a session", "a key of --set", "a prompt set")
        ),
    ),
}
GPU = (
    Asked("GPU: 2,050 runs x 50 tokens of GPT-2 Small, fp32 with TF32", "s", under(1), needs="a GPU"),
    Asked("GPU: against one run at a time (i), 16 runs scaled", "tokens/s", at_least(500), needs="a GPU"),
    Asked("GPU: share of the roofline at 2,048 rows", "tokens/s", at_least(0.5), needs="a GPU"),
    Asked("GPU: free survey of a layer, 15 million tokens", "s", under(300), needs="a GPU"),
)


def random_model(folder: Path) -> Path:
    """Write a model of GPT-2 Small's shape with random weights, by tools/make_random_model.py."""
    spec = importlib.util.spec_from_file_location("make_random_model", ROOT / "tools" / "make_random_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    folder.mkdir(parents=True, exist_ok=True)
    module.write_model(folder, module.Sizes())
    return folder


def filled(asked: Asked, row: Measured | None, quick: bool, why: str) -> dict[str, Any]:
    """A row of results.json; without numbers, `why` says what is missing."""
    value, ratio = (row.value, row.ratio) if row else (None, None)
    met = None if asked.goal is None or value is None else asked.goal.is_met(value, ratio, quick)
    return {
        "name": asked.name,
        "value": value,
        "unit": asked.unit,
        "reference": row.reference if row else None,
        "ratio": ratio,
        "goal": asked.goal.told(quick) if asked.goal else None,
        "met": met,
        "spread": row.spread if row else None,
        "note": row.note if row else why,
    }


class Bench:
    """One run of the sections.

    Args:
        quick: the short one.
        shaped: a random model of GPT-2 Small's shape.
        real: a real model, if there is one.
        scratch: for whatever the sections write.
        until: by `time.monotonic`, when all must be done.
    """

    def __init__(self, quick: bool, shaped: Path, real: Path | None, scratch: Path, until: float) -> None:
        self._quick = quick
        self._shaped = shaped
        self._real = real
        self._scratch = scratch
        self._until = until

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Measure a section, and fill its rows."""
        section = SECTIONS[name]
        if self._quick and not any(asked.quick for asked in section.rows):
            return self._empty(section, "not in the short run")
        if section.needs == "REAL_MODEL" and self._real is None:
            return self._empty(section, "unmeasured: no REAL_MODEL=FOLDER was given")
        if self._until - time.monotonic() < section.seconds[0 if self._quick else 1]:
            return self._empty(section, "unmeasured: the time was up (bench.py --minutes gives more)")
        into = self._scratch / f"{name}.rows"
        why = self._ended(name, into)
        lines = into.read_text().splitlines() if into.exists() else []
        found = {row["name"]: Measured(**row) for row in map(json.loads, lines)}
        unknown = found.keys() - {asked.name for asked in section.rows}
        if unknown:
            print(f"  rows that nobody asked for: {', '.join(sorted(unknown))}", flush=True)
        return [
            filled(asked, found.get(asked.name), self._quick, why or "not in the short run") for asked in section.rows
        ]

    def _ended(self, name: str, into: Path) -> str:
        """Run a section to its end; return why its rows are missing, or nothing."""
        command = [sys.executable, __file__, "--section", name, "--into", str(into), "--shaped", str(self._shaped)]
        command += ["--scratch", str(self._scratch / "section")] + (["--quick"] if self._quick else [])
        command += ["--real-model", str(self._real)] if self._real else []
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment |= {f"XDG_{kind}_HOME": str(self._scratch / kind.lower()) for kind in ("DATA", "STATE", "CONFIG")}
        limit = max(1.0, self._until - time.monotonic())
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return f"unmeasured: it was not done in {limit:.0f} s (bench.py --minutes gives more)"
        except BaseException:
            # A section is a group of its own, which no signal to this process reaches.
            os.killpg(process.pid, 9)
            raise
        if process.returncode == 0:
            return ""
        print(said, file=sys.stderr, flush=True)
        last = said.strip().splitlines()[-1] if said.strip() else f"ended by {process.returncode}"
        return f"unmeasured: {last}"

    def _empty(self, section: Section, why: str) -> list[dict[str, Any]]:
        return [filled(asked, None, self._quick, why) for asked in section.rows]


def measure_section(name: str, options: Options) -> None:
    """Be the process of one section."""
    failed: list[Exception] = []
    for call in SECTIONS[name].calls:
        file, _, function = call.partition(".")
        try:
            getattr(importlib.import_module(file), function)(options)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told, and the others are measured)
            traceback.print_exc()
            failed.append(error)
    if failed:
        raise failed[-1]


def gpu_rows(report: Path | None, quick: bool) -> list[dict[str, Any]]:
    """What tools/gpu_check.py has found, by the rows' names; all unmeasured without its report."""
    found: dict[str, Measured] = {}
    if report is not None:
        content = json.loads(report.read_text())
        about = ", ".join(f"{name} {value}" for name, value in content.get("about", {}).items() if name != "rehearsal")
        for row in content.get("rows", ()):
            note = "; ".join(filter(None, (row.get("note"), about)))
            found[row["name"]] = Measured(row["name"], row["value"], row.get("reference"), row.get("ratio"), note=note)
    return [filled(asked, found.get(asked.name), quick, "unmeasured: no device") for asked in GPU]


def machine() -> str:
    """The machine and the versions that matter, on one line."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "transformer-lens", "numpy"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = model[1] if model else platform.processor()
    return f"{cores} cores of {kind}; Python {platform.python_version()}, {packages}"


def page(rows: Sequence[dict[str, Any]], about: str) -> str:
    """The table as Markdown."""
    marks = {True: "met", False: "**missed**", None: ""}
    lines = [
        "# Results",
        "",
        f"Written by `make bench`, {about}.",
        "",
        "The ratio is the median over the turns of ours and of the reference, with the smallest and the largest in",
        "brackets: for rates and seconds how many times as fast ours is; for a share, bytes, the screen and growth the",
        "size beside the reference. What the references are, `README.md` tells.",
        "",
        "| what | ours | reference | ratio | goal | |",
        "|---|--:|--:|--:|---|---|",
    ]
    notes: dict[str, list[str]] = {}
    for row in rows:
        value = f"{brief(row['value'])} {row['unit']}" if row["value"] is not None else "unmeasured"
        spread = row["spread"]
        ratio = brief(row["ratio"]) if row["ratio"] is not None else ""
        if spread is not None and spread[0] != spread[1]:
            ratio = f"{ratio} ({brief(spread[0])} to {brief(spread[1])})".strip()
        reference = brief(row["reference"]) if row["reference"] is not None else ""
        goal = (row["goal"] or "").replace(">=", "≥").replace("<=", "≤")
        lines.append(f"| {row['name']} | {value} | {reference} | {ratio} | {goal} | {marks[row['met']]} |")
        if row["note"]:
            notes.setdefault(row["note"].removeprefix("unmeasured: "), []).append(row["name"])
    told = (f"- {'; '.join(names)}: {note}." for note, names in notes.items())
    return "\n".join([*lines, "", *told, ""])


def main() -> int:
    """Read the command line; measure everything, or be the process of one section."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within five minutes, without a real model")
    parser.add_argument("--real-model", type=Path, default=None, help="folder of a real model")
    parser.add_argument("--shaped", type=Path, default=None, help="a random model, instead of one made on the spot")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections; nothing is written")
    parser.add_argument("--minutes", type=float, default=None, help="after which nothing is begun: 4.7, or 14")
    parser.add_argument("--gpu", type=Path, default=None, help="report of tools/gpu_check.py")
    for hidden in ("--section", "--into", "--scratch"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.section:
        with tempfile.TemporaryDirectory(dir=asked.scratch if Path(asked.scratch).is_dir() else None) as scratch:
            report = Report(Path(asked.into))
            measure_section(asked.section, Options(report, asked.quick, asked.shaped, asked.real_model, Path(scratch)))
        return 0
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        print("making a random model of GPT-2 Small's shape", flush=True)
        shaped = asked.shaped or random_model(Path(scratch) / "gpt2-shaped")
        until = began + 60 * (asked.minutes or (4.7 if asked.quick else 14))
        bench = Bench(asked.quick, shaped, asked.real_model, Path(scratch), until)
        names = asked.only or list(SECTIONS)
        for number, name in enumerate(names):
            passed = time.monotonic() - began
            print(f"[{passed:4.0f} s] {number + 1} of {len(names)}: {name}", flush=True)
            rows += bench.rows(name)
    rows += gpu_rows(asked.gpu, asked.quick)
    took = time.monotonic() - began
    kind = "the short run" if asked.quick else "the whole run"
    about = f"{kind} in {took / 60:.1f} minutes on {machine()}"
    if not asked.only:
        (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(page(rows, about))
    missed = [row["name"] for row in rows if row["met"] is False]
    unmeasured = [row["name"] for row in rows if row["value"] is None]
    print(f"{len(rows)} rows in {took:.0f} s, {len(unmeasured)} unmeasured; missed: {', '.join(missed) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
