"""`srm-explorer doctor`: what this machine offers, and what would stop an experiment here."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.io.files import has_flock
from srm_explorer.engine.runs import known_runs, writer_pid
from srm_explorer.engine.worker import ENDED, LONGEST_PATH, find_worker, here, is_alive, other_workers
from srm_explorer.tui.cli.output import (
    colour_wanted,
    count,
    fields,
    file_size,
    note,
    say,
    say_json,
    screen_size,
    table_width,
)


@dataclass(frozen=True)
class Finding:
    """One fact; `problem` where an experiment cannot run because of it."""

    name: str
    text: str
    problem: bool = False


SMALLEST = (60, 16)
"""Columns and rows below which the full screen asks for more room."""


def terminal_findings() -> list[Finding]:
    """Tell the terminal's size, colours and characters, and where a copied text goes."""
    clipboard = [Finding("clipboard", _clipboard())] if sys.stdout.isatty() else []
    return [Finding("terminal", " · ".join(_abilities())), *clipboard]


def _abilities() -> list[str]:
    encoding = (sys.stdout.encoding or "unknown").lower()
    return [
        os.environ.get("TERM") or "no TERM",
        _size() if sys.stdout.isatty() else "not a terminal",
        _colours() if colour_wanted() else "no colours",
        "unicode" if "utf" in encoding else f"{encoding}, no unicode: charts need UTF-8",
        *(["tmux"] if os.environ.get("TMUX") else ["screen"] if os.environ.get("STY") else []),
        *(["ssh"] if os.environ.get("SSH_CONNECTION") else []),
    ]


def _size() -> str:
    width, height = screen_size()
    small = width < SMALLEST[0] or height + 1 < SMALLEST[1]
    return f"{width}x{height + 1}{f', the full screen needs {SMALLEST[0]}x{SMALLEST[1]}' if small else ''}"


def _colours() -> str:
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16 million colours"
    if "256" not in os.environ.get("TERM", ""):
        return "8 colours"
    # OpenSSH does not forward the variable that says so, whatever the terminal can.
    more = " (if the terminal has more: export COLORTERM=truecolor)" if os.environ.get("SSH_CONNECTION") else ""
    return f"256 colours{more}"


def _clipboard() -> str:
    if os.environ.get("TERM", "") in ("", "dumb", "linux"):
        return "this terminal keeps no copies; they go to a file"
    if not os.environ.get("TMUX"):
        return "copies go by OSC 52, where the terminal takes it"
    passes = _tmux("allow-passthrough") in ("on", "all")
    keeps = _tmux("set-clipboard") == "on"
    if passes or keeps:
        return f"copies go by OSC 52 through tmux ({'allow-passthrough' if passes else 'set-clipboard'} is on)"
    return "tmux keeps copies from the terminal: `tmux set -g set-clipboard on`"


def _tmux(option: str) -> str:
    try:
        done = subprocess.run(["tmux", "show", "-gv", option], capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


_BATCH = (("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF"), ("JOB_ID", "Grid Engine"))
_SUBMIT = (("sbatch", "Slurm"), ("qsub", "PBS or Grid Engine"), ("bsub", "LSF"))
_PAGE = "docs/cluster.md"
_FOLDERS = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
"""Where settings of the login manager are; a later folder's file replaces one of the same name."""

_SETTINGS = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
_STAYS = "`loginctl enable-linger` once, then start it with `systemd-run --user --scope srm-explorer`"


def batch_job(environ: Mapping[str, str] = os.environ) -> str:
    """Name the batch job this process is part of: "Slurm job 17"; empty outside of one."""
    for variable, system in _BATCH:
        # Other programs call something else JOB_ID; Grid Engine says where its spool is, too.
        if environ.get(variable) and (variable != "JOB_ID" or environ.get("SGE_ROOT")):
            return f"{system} job {environ[variable]}"
    return ""


def scheduler_text(environ: Mapping[str, str] = os.environ, seconds: float | None = None) -> str:
    """Say which batch system there is, and of a job what it was given and how long it has.

    Args:
        environ: tells a job.
        seconds: since 1970; None for now.
    """
    job = batch_job(environ)
    if not job:
        there = next((name for command, name in _SUBMIT if shutil.which(command, path=environ.get("PATH"))), "")
        return f"{there} is here, and this is no job of it: a job script is in {_PAGE}" if there else "none here"
    task, restarts = environ.get("SLURM_ARRAY_TASK_ID"), environ.get("SLURM_RESTART_COUNT", "0")
    gpus = environ.get("SLURM_GPUS_ON_NODE") or environ.get("SLURM_GPUS_PER_NODE", "").rpartition(":")[2]
    nodes = environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES") or ""
    cores = environ.get("SLURM_CPUS_PER_TASK") or environ.get("SLURM_CPUS_ON_NODE") or ""
    facts = [
        job + (f", task {task} of its array" if task else ""),
        *([f"{count(int(nodes), 'node')} ({environ.get('SLURM_JOB_NODELIST', '')})"] if nodes.isdigit() else []),
        *([f"{count(int(gpus), 'GPU')} a node"] if gpus.isdigit() else []),
        *([count(int(cores), "core")] if cores.isdigit() else []),
        *([f"begun again {count(int(restarts), 'time')}"] if restarts.isdigit() and int(restarts) else []),
    ]
    end = _end_of(environ)
    if end is not None:
        left = max(int(end) - int(time.time() if seconds is None else seconds), 0) // 60
        facts.append(f"{left // 60}:{left % 60:02} h left")
    return " · ".join(facts)


def _end_of(environ: Mapping[str, str]) -> float | None:
    """When a job of Slurm ends, in seconds since 1970; None where that is not known."""
    end, job = environ.get("SLURM_JOB_END_TIME", ""), environ.get("SLURM_JOB_ID", "")
    ask = shutil.which("squeue", path=environ.get("PATH", ""))
    if end.isdigit():
        return int(end)
    # Slurm before 23.02 tells only who asks.
    if job and ask:
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            command = [ask, "--noheader", f"--jobs={job}", "--format=%e"]
            asking = {**environ, "SLURM_TIME_FORMAT": "standard"}
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True, env=asking)
            return datetime.fromisoformat(done.stdout.strip()).timestamp()
    return None


def at_logout(user: str, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> str:
    """Say what ends the worker beside the user, and what to do about it.

    Args:
        user: their name.
        root: where the system's files are.
        environ: tells a batch job.
    """
    job = batch_job(environ)
    if job:
        return f"{job} ends the worker with it: the same command in the next job goes on where it was"
    if not (root / "run/systemd/system").is_dir():
        return "no login manager ends the worker; it lives as long as this machine or container"
    settings = _settings(root)
    kills = settings.get("KillUserProcesses", "").lower()
    if kills not in ("yes", "true", "1", "on"):
        known = f"KillUserProcesses={kills}" if kills else "KillUserProcesses is not set"
        return f"the worker outlives a logout ({known})"
    only, excluded = (settings.get(name, "").split() for name in ("KillOnlyUsers", "KillExcludeUsers"))
    if user in excluded or (only and user not in only):
        return f"the worker outlives a logout (KillUserProcesses=yes, but not for {user})"
    if _is_in_user_manager(root):
        if (root / "var/lib/systemd/linger" / user).exists():
            return "the worker outlives a logout (it lingers with the user's own services)"
        return "the worker ends at logout with the user's services: `loginctl enable-linger` keeps them"
    return f"the worker is killed at logout (KillUserProcesses=yes): {_STAYS}"


def _settings(root: Path) -> dict[str, str]:
    """Ask the login manager, else read its files: the shipped file names the defaults in comments."""
    return (_asked() if root == Path("/") else {}) or dict(_read(root))


def _asked() -> dict[str, str]:
    command = ["loginctl", "show-session", *(f"--property={name}" for name in _SETTINGS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in pairs if name in _SETTINGS}


def _read(root: Path) -> Iterator[tuple[str, str]]:
    mains = [root / folder / "logind.conf" for folder in _FOLDERS]
    main = next((path for path in reversed(mains) if path.is_file()), None)
    if main is not None:
        yield from _pairs(main, commented=True)
        yield from _pairs(main)
    dropped = {path.name: path for folder in _FOLDERS for path in (root / folder / "logind.conf.d").glob("*.conf")}
    for _, path in sorted(dropped.items()):
        yield from _pairs(path)


def _pairs(path: Path, *, commented: bool = False) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        text = line.strip()
        if text.startswith(("#", ";")) is not commented:
            continue
        name, equals, value = text.lstrip("#; ").partition("=")
        if equals and name.strip() in _SETTINGS:
            yield name.strip(), value.strip()


def _is_in_user_manager(root: Path) -> bool:
    """Whether this process, and so what it starts, is a service or scope of the user rather than of a login."""
    try:
        return "/user@" in (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def worker_findings() -> list[Finding]:
    """Tell the worker's state, where it is reached, what would end it, and the runs it may be needed for."""
    return [
        _worker(),
        _socket(),
        _runs(),
        Finding("logout", at_logout(_user())),
        Finding("scheduler", scheduler_text()),
    ]


def _worker() -> Finding:
    endpoint = here()
    try:
        client = find_worker(endpoint)
        if client is None:
            elsewhere = ", ".join(f"process {state.pid}" for state in other_workers())
            none = "none lives; the full screen starts one"
            none += f" (of other environments: {elsewhere}; `srm-explorer worker status`)" if elsewhere else ""
            return Finding("worker", "starting" if is_alive(endpoint) else none)
        state = client.status()
    except ExplorerError as error:
        # Locks of devices lie in the same folder: without it no experiment runs.
        return Finding("worker", str(error), problem=True)
    waiting = sum(job.state not in ENDED for job in state.jobs)
    parts = [
        f"process {state.pid}",
        f"{state.model} warm on {state.device}" if state.model else "no model loaded",
        count(waiting, "job") if waiting else "idle",
        *(["of another version: `srm-explorer worker restart`"] if client.welcome.limited else []),
        *(["about to end"] if state.draining else []),
    ]
    return Finding("worker", " · ".join(parts))


def _socket() -> Finding:
    endpoint = here()
    length = len(os.fsencode(endpoint.socket))
    text = f"{endpoint.socket}"
    if length > LONGEST_PATH:
        text += f": {length} bytes are too long for a socket; set TMPDIR to a shorter folder, such as /tmp"
    return Finding("socket", text)


def _runs() -> Finding:
    folders = known_runs()
    alive = sum(writer_pid(folder) is not None for folder in folders)
    left = len(folders) - alive
    text = f"{alive} under way, {left} unfinished" if folders else "none under way or unfinished"
    return Finding("runs", f"{text}; the full screen offers to resume them" if left else text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


_PROGRAM = "srm-explorer"
_PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "scipy", "textual", "plotext")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))


def doctor_command(as_json: bool) -> int:
    """Print what was found; 1 if something would stop an experiment, else 0."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _program,
        _torch,
        _models,
        worker_findings,
        terminal_findings,
        _folders,
    )
    findings = [finding for check in checks for finding in check()]
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        listed = [{"name": finding.name, "told": finding.text, "problem": finding.problem} for finding in findings]
        say_json({"ok": not problems, "findings": listed}, "doctor")
    else:
        rows = [(finding.name, f"{'✗ ' if finding.problem else ''}{finding.text}") for finding in findings]
        say(*fields(rows, width=table_width()))
    if problems:
        note(f"{count(len(problems), 'problem')}: {problems[0].name}: {problems[0].text}")
    return 1 if problems else 0


def _program() -> list[Finding]:
    findings = [
        Finding(_PROGRAM, _version(_PROGRAM) or "run from its source, not installed"),
        Finding("python", f"{platform.python_version()} ({sys.executable})"),
        Finding("system", _system()),
    ]
    versions = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in versions.items() if not version]
    text = " · ".join(f"{name} {version}" for name, version in versions.items() if version)
    findings.append(Finding("packages", text))
    if missing:
        findings.append(Finding("missing", f"{', '.join(missing)}; install the program again", problem=True))
    return findings + version_findings()


def version_findings() -> list[Finding]:
    """Name packages whose versions are not among those that the program was tried with, as it asks for them."""
    try:
        asked = [Requirement(text) for text in metadata.requires(_PROGRAM) or ()]
    except metadata.PackageNotFoundError:
        return []
    wrong: list[str] = []
    for requirement in asked:
        version = _version(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and version and not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, tried with {requirement.specifier}")
    remedy = "install the program again, in an environment of its own"
    return [Finding("versions", f"{'; '.join(wrong)}: {remedy}", problem=True)] if wrong else []


def _torch() -> list[Finding]:
    try:
        # torch takes seconds to load, and may not be there at all.
        from srm_explorer.engine.model import backends, free_bytes, threads

        known = backends()
        free = free_bytes(known.auto)
    except (ImportError, OSError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [Finding("torch", f"cannot be used: {first[:200]}; install the program again", problem=True)]
    built = f"CUDA {known.cuda or 'no'}, MPS {'yes' if known.mps else 'no'}"
    findings = [Finding("torch", f"{known.version} · {built} · {count(threads(), 'thread')}")]
    findings += [
        Finding("gpu", f"cuda:{index} {name} · {file_size(size)}")
        for index, (name, size) in enumerate(zip(known.gpus, known.memory, strict=True))
    ]
    if len(known.gpus) > 1:
        whole = f"cuda:0-{len(known.gpus) - 1}"
        findings.append(
            Finding("gpus", f"{whole} together: {file_size(sum(known.memory))}, for one model that needs it")
        )
    findings.append(Finding("device", f"auto is {known.auto}, {file_size(free)} free"))
    return findings


def _models() -> list[Finding]:
    demo = paths.demo_model_folder()
    there = (demo / "config.json").is_file() and any(demo.glob("*.safetensors"))
    cache = _cache_folder()
    offline = " · offline (HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    return [
        Finding("demo model", str(demo) if there else f"missing in {demo}; install the program again", not there),
        Finding("model cache", f"{cache}{'' if cache.is_dir() else ' (not there yet)'}{offline}"),
        Finding("gpt2", _cached(cache, "gpt2")),
    ]


def _cached(cache: Path, name: str) -> str:
    remedy = f"`hf download {name}` while online, or point model.name at a folder"
    # It may be there by either of its names.
    homes = (cache / f"models--{home}" / "snapshots" for home in (name, f"openai-community--{name}"))
    for snapshot in (snapshot for home in homes for snapshot in sorted(home.glob("*"))):
        files = {path.name for path in snapshot.iterdir() if path.exists()}
        lacking = [] if "config.json" in files else ["config.json"]
        lacking += [] if files.intersection(_WEIGHTS) else ["weights (.safetensors)"]
        lacking += [] if any(files.issuperset(needed) for needed in _TOKENIZERS) else ["tokenizer"]
        return "cached" if not lacking else f"cached without {', '.join(lacking)}: {remedy}"
    return f"not cached: {remedy}"


def _cache_folder() -> Path:
    for variable, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser() / below
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _folders() -> list[Finding]:
    findings: list[Finding] = []
    try:
        paths.working_folder()
    except ExplorerError as error:
        return [Finding("folder", str(error), problem=True)]
    for name, folder, needed in (
        ("sessions", paths.sessions_folder(), True),
        ("state", paths.state_folder(), True),
        ("settings", paths.config_folder(), False),
    ):
        there = next((candidate for candidate in (folder, *folder.parents) if candidate.exists()), Path("/"))
        if not there.is_dir():
            text, bad = f"{folder} is no folder: {there} is a file", True
        elif not os.access(there, os.W_OK | os.X_OK):
            text, bad = f"{folder} cannot be written; choose another folder or its permissions", True
        else:
            free = file_size(shutil.disk_usage(there).free)
            text, bad = f"{folder}{'' if there == folder else ' (made when needed)'} · {free} free", False
            text += "" if has_flock(there) else " · no flock here: lock files with host and process stand for it"
        findings.append(Finding(name, text, problem=bad and needed))
    findings.extend(Finding("prompts", str(folder)) for folder in paths.prompt_folders())
    return findings


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()} · {count(os.cpu_count() or 1, 'core')}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
