"""What becomes of the worker when its user logs out, or when the batch job it was started in ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_BATCH = (("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF"), ("JOB_ID", "Grid Engine"))
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


def at_logout(user: str, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> str:
    """Say what ends the worker beside the user, and what to do about it.

    Args:
        user: their name.
        root: where the system's files are.
        environ: tells a batch job.
    """
    job = batch_job(environ)
    if job:
        return f"{job} ends the worker with it: ask for time enough; the same command goes on where it was"
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
    found = _asked() if root == Path("/") else {}
    return found or dict(_read(root))


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
