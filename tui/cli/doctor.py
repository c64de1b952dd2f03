"""`srm-explorer doctor`: what this machine offers, and what would stop an experiment here."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from engine import paths
from tui.cli.doctor_terminal import terminal_findings
from tui.cli.doctor_worker import worker_findings
from tui.cli.finding import Finding
from tui.cli.output import count, fields, file_size, note, say, say_json, table_width

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
        say_json({"ok": not problems, "findings": [vars(finding) for finding in findings]})
    else:
        rows = [(finding.name, f"{'✗ ' if finding.problem else ''}{finding.told}") for finding in findings]
        say(*fields(rows, width=table_width()))
    if problems:
        note(f"{count(len(problems), 'problem')}: {problems[0].name}: {problems[0].told}")
    return 1 if problems else 0


def _program() -> list[Finding]:
    found = [
        Finding(_PROGRAM, _version(_PROGRAM) or "run from its source, not installed"),
        Finding("python", f"{platform.python_version()} ({sys.executable})"),
        Finding("system", _system()),
    ]
    versions = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in versions.items() if not version]
    told = " · ".join(f"{name} {version}" for name, version in versions.items() if version)
    found.append(Finding("packages", told))
    if missing:
        found.append(Finding("missing", f"{', '.join(missing)}; install the program again", problem=True))
    return found


def _torch() -> list[Finding]:
    try:
        import torch

        from engine.model.device import free_bytes, resolve_device

        device = resolve_device("auto")
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        backends = f"CUDA {torch.version.cuda or 'no'}, MPS {'yes' if torch.backends.mps.is_available() else 'no'}"
        free = free_bytes(device)
    except (ImportError, OSError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [Finding("torch", f"cannot be used: {first[:200]}; install the program again", problem=True)]
    found = [Finding("torch", f"{torch.__version__} · {backends} · {count(torch.get_num_threads(), 'thread')}")]
    found += [Finding("gpu", f"cuda:{index} {name}") for index, name in enumerate(names)]
    found.append(Finding("device", f"auto is {device}, {file_size(free)} free"))
    return found


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
    for snapshot in sorted((cache / f"models--{name}" / "snapshots").glob("*")):
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
    found: list[Finding] = []
    for name, folder, needed in (
        ("sessions", paths.sessions_folder(), True),
        ("state", paths.state_folder(), True),
        ("settings", paths.config_folder(), False),
    ):
        there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
        if not there.is_dir():
            told, bad = f"{folder} is no folder: {there} is a file", True
        elif not os.access(there, os.W_OK | os.X_OK):
            told, bad = f"{folder} cannot be written; choose another folder or its permissions", True
        else:
            free = file_size(shutil.disk_usage(there).free)
            told, bad = f"{folder}{'' if there == folder else ' (made when needed)'} · {free} free", False
        found.append(Finding(name, told, problem=bad and needed))
    found.extend(Finding("prompts", str(folder)) for folder in paths.prompt_folders())
    return found


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()} · {count(os.cpu_count() or 1, 'core')}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
