"""Files: opening a session and the list of them, import and export, and how long a shell waits at a tab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from measuring import Measured, Options, peak_above, seconds

from srm_explorer.engine.analyses.bands import with_bands
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.session_overlays import overlays_from_session, stored_bands
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, load_session, save_session
from srm_explorer.engine.session.export import export
from srm_explorer.engine.session.imported import session_from
from srm_explorer.engine.session.source_files import import_session
from srm_explorer.tui.sessions.list_model import SessionList
from srm_explorer.tui.sessions.summary import SummaryCache

SITE = "blocks.11.mlp.hook_post"
WORDS = ("the", "door", "opened", "and", "nobody", "said", "a", "word", "until", "rain", "fell")


def made_up(prompts: int, values: int, tokens: int) -> Session:
    """A session of prompts times values (the baseline is one of them), with texts, a plane and its bands."""
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [373], "op": "clamp", "values": list(range(1, values))}],
            "generation": {"tokens": tokens},
            "capture": {"sites": [SITE]},
            "planes": [{"site": SITE, "a": 373, "b": 2202}],
        }
    )
    listed = conditions(experiment)
    rng = np.random.default_rng(0)
    runs = tuple(
        RunRecord(
            index=index,
            prompt=index // len(listed),
            condition=index % len(listed),
            sample=0,
            token_ids=tuple(rng.integers(0, 50_000, tokens).tolist()),
            text=" ".join(rng.choice(WORDS, tokens)),
            prompt_tokens=12,
            finish="length",
            min_margin=float(rng.random()),
            metrics={},
        )
        for index in range(prompts * len(listed))
    )
    xy, norm = rng.normal(size=(len(runs), 2)), np.full(len(runs), 9.0)
    x, y = xy.T.tolist()
    session = Session(
        name="large",
        state="finished",
        spec=experiment,
        conditions=listed,
        resolved=(),
        prompts=tuple(
            PromptRecord("reasoning", f"If number {i} is late, then", {}, (*range(11), 100 + i), 0, f"{i:064x}")
            for i in range(prompts)
        ),
        runs=runs,
        planes=(PlaneRecord.of(SITE, 373, 2202, xy, norm),),
        predictions={"arithmetic": {"planes": [{"plane": 0, "x": x, "y": y, "norm": norm.tolist()}]}},
    )
    vectors = rng.normal(size=(len(runs), 3072)).astype(np.float32)
    return with_bands(session, {SITE: vectors})


def opening(options: Options) -> None:
    """2,000 runs of 50 tokens with their texts, until the curves of their plane can be drawn, beside `json.loads`."""
    path = options.scratch / "large.json"
    save_session(made_up(50, 40, 50), path)
    ours: list[float] = []
    parsing: list[float] = []

    def ready() -> None:
        session = load_session(path)
        groups = swept_groups(session, session.planes[0])
        overlays_from_session(session, session.planes[0], groups, (), stored_bands(session, 0))

    ready()
    for _ in range(9):
        parsing.append(seconds(lambda: json.loads(path.read_bytes())))
        ours.append(seconds(ready))
    note = f"{path.stat().st_size / 1e6:.1f} MB"
    options.report.times("sessions: one of 2,000 runs opened, against json.loads alone", ours, parsing, note)


def folder_of(sessions: int, folder: Path) -> Path:
    """A folder of so many finished sessions of 24 runs, told apart by their names."""
    folder.mkdir()
    first = save_session(made_up(6, 4, 20), folder / "run-0.json").path.read_bytes()
    for number in range(1, sessions):
        (folder / f"run-{number}.json").write_bytes(first)
    return folder


def listing(options: Options) -> None:
    """The list of a folder of 2,000: on the screen, where none is known, and whole: the first time, and every later.

    The screen shows what it finds at once, and reads the heads of files that it does not know while it is looked at.
    """
    folder = folder_of(2_000, options.scratch / "many")
    cache, none = options.scratch / "list.json", options.scratch / "none.json"
    opened = [seconds(lambda: SessionList(folder, SummaryCache(none)).scan()) for _ in range(5)]
    options.report.number("sessions: a folder of 2,000 opened on the screen, none of them known", opened)
    first = seconds(lambda: SessionList(folder, SummaryCache(cache)).rows())
    later = [seconds(lambda: SessionList(folder, SummaryCache(cache)).rows()) for _ in range(5)]
    options.report.add(Measured("sessions: a folder of 2,000 listed for the first time", first))
    options.report.number("sessions: a folder of 2,000 listed", later)


WIDTH = 3072
KEYS = ("baseline", "-20.0", "-10.0", "-6.0", "-3.0", "-1.0", "1.0", "3.0", "10.0", "20.0")


def captured(path: Path, count: int) -> float:
    """Write vectors as scripts do that save one a run; their megabytes."""
    rows = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    keys = [f"core_id=07_x_{i // 10}_type=declarative_certain_level=2_sweep={KEYS[i % 10]}" for i in range(count)]
    np.savez(path, **dict(zip(keys, rows, strict=True)))
    path.read_bytes()
    return rows.nbytes / 1e6


def plain(path: Path) -> np.ndarray:
    """What a script does that reads them: every key into one matrix."""
    with np.load(path) as archive:
        return np.stack([archive[key] for key in archive.files])


def exchange(options: Options) -> None:
    """10,000 vectors of 3,072, a key each, in and out, beside numpy; and 100,000 runs as CSV, without vectors."""
    count = 2_000 if options.quick else 10_000
    source, saved = options.scratch / "in.npz", options.scratch / "vectors.json"
    size = captured(source, count)
    reading = seconds(lambda: plain(source))
    peak, took, _ = peak_above(lambda: save_session(import_session([source]).session, saved))
    note = f"{count:,} vectors, {size:.0f} MB; {peak / 2**20:.0f} MB of memory at its peak"
    options.report.times("import: vectors from .npz, against numpy.load", [took], [reading], note)
    vectors = dict(zip(map(str, range(count)), plain(source), strict=True))
    out = options.scratch / "out.npz"
    ours = seconds(lambda: export(load_session(saved), npz=out))
    theirs = seconds(lambda: np.savez(options.scratch / "plain.npz", **vectors))
    with np.load(source) as there, np.load(out) as back:
        equal = there.files == back.files and all(there[key].tobytes() == back[key].tobytes() for key in there.files)
    note = f"keys and bytes are {'equal' if equal else 'NOT equal'}"
    options.report.times("export: vectors to .npz, against numpy.savez", [ours], [theirs], note)
    many = range(20_000 if options.quick else 100_000)
    runs = {
        "core_id": [i // 20 for i in many],
        "sweep": [KEYS[i % 10] for i in many],
        "prompt": [f"The man of door {i // 10} looked" for i in many],
        "output": [f"and he saw, {i}, that it rained\nall day; nobody cared, and the dogs slept" for i in many],
    }
    texts = save_session(session_from(None, runs), options.scratch / "texts.json").path
    spent = seconds(lambda: export(load_session(texts), csv=options.scratch / "runs.csv"))
    options.report.add(Measured("export: runs to CSV", len(many) / spent, note=f"{len(many):,} runs, loading counted"))


LINES = {
    "a command": "srm-explorer sh",
    "a session": "srm-explorer show run-1",
    "a key of --set": "srm-explorer run demo --set interventions.0.",
    "a prompt set": "srm-explorer run demo --set prompts.sets=",
}
PROGRAM = "import sys; from srm_explorer.tui.cli import main; sys.exit(main(sys.argv[1:]))"


def completion(options: Options) -> None:
    """What a tab asks for among 2,000 sessions, beside a Python that does nothing."""
    folder = options.scratch / "completed"
    folder.mkdir()
    for number in range(2_000):
        (folder / f"run-{number}.json").write_text('{"schema_version": 2}')
    bare = {**os.environ, "SRM_EXPLORER_SESSIONS": str(folder)}
    asking = {**bare, "_SRM_EXPLORER_COMPLETE": "bash"}
    words = [PROGRAM, "", " \t\n\"'><=;|&(:"]

    def started(code: str, environment: dict[str, str], *more: str) -> float:
        command = [sys.executable, "-c", code, *more]
        return seconds(lambda: subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL))

    for what, line in LINES.items():
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(3):
            theirs.append(started("pass", bare))
            ours.append(started(words[0], asking, line, words[2]))
        options.report.times(f"completion: {what}, against bare Python", ours, theirs)
