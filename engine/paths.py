"""Where things live: what ships, what belongs to the user, and what a name on the command line stands for."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import platformdirs

from srm_explorer.engine.errors import ExplorerError

_APP = "srm-explorer"
_ENGINE = Path(__file__).absolute().parent
LARGEST_SETTINGS = 65_536
"""Bytes of the settings file: parsing takes the square of them, and no settings have more."""


def package_folder() -> Path:
    """The folder of the package itself: `srm_explorer`."""
    return _ENGINE.parent


def engine_folder() -> Path:
    """The sources of the engine."""
    return _ENGINE


def presets_folder() -> Path:
    """The experiment files that ship."""
    return _ENGINE / "presets"


def demo_model_folder() -> Path:
    """The bundled model with its tokenizer and card."""
    return _ENGINE / "demo"


def shipped_prompts() -> Path:
    """The prompt sets that ship: inside the installed package, else in the repository that it was installed from."""
    packaged = package_folder() / "shipped_prompts"
    return packaged if packaged.is_dir() else package_folder().parent / "prompts"


def user_prompts_folder() -> Path:
    """Where prompt sets go that belong to the user and to no working folder, such as edited copies of shipped ones."""
    return platformdirs.user_data_path(_APP, appauthor=False) / "prompts"


def working_folder() -> Path:
    """The folder that relative paths start from.

    Raises:
        ExplorerError: it was removed, or may not be entered any more.
    """
    try:
        return Path.cwd()
    except OSError:
        raise ExplorerError("the working folder is gone", remedy="start from another folder") from None


def expanded(path: str | Path) -> Path:
    """A path as it was typed, with the home folder for `~`; ExplorerError where `~user` names nobody."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ExplorerError("there is no such user's folder", where=str(path), remedy="write the folder out") from None


def absolute(path: Path) -> Path:
    """A path as it is meant from the working folder, without ".." so that no folder is made on the way to another.

    Raises:
        ExplorerError: the working folder is gone.
    """
    if not path.is_absolute():
        path = working_folder() / path
    # Links are followed only where a name may lie behind one: others stay as they were typed.
    return path.resolve() if ".." in path.parts else path


def is_there(path: Path) -> bool:
    """Whether something is there that can be looked at.

    A `Path` itself raises, by the version of Python, where a name is too long or a folder above may not be entered;
    what reads or writes such a file says so.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Whether a file is there that can be looked at, as `is_there`."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether a folder is there that can be looked at, as `is_there`."""
    return os.path.isdir(path)  # noqa: PTH112


def prompt_folders() -> list[Path]:
    """Folders in which a prompt set is looked up by name: ./prompts, the user's own, then those that ship."""
    shipped = shipped_prompts()
    folders = (working_folder() / "prompts", user_prompts_folder())
    return [*(folder for folder in folders if folder.is_dir() and not _same(folder, shipped)), shipped]


def sessions_folder() -> Path:
    """Where sessions with a bare name live: $SRM_EXPLORER_SESSIONS, `sessions` in the settings, or the default."""
    named = os.environ.get("SRM_EXPLORER_SESSIONS", "").strip() or _in_settings()
    return absolute(expanded(named)) if named else default_sessions_folder()


def default_sessions_folder() -> Path:
    """Where sessions live where nothing else is set: ./saved_sessions if there, else XDG data."""
    local = working_folder() / "saved_sessions"
    return local if local.is_dir() else platformdirs.user_data_path(_APP, appauthor=False) / "sessions"


def _in_settings() -> str:
    """The sessions folder that the settings file names; a file that is wrong is told by who reads all of it."""
    file = settings_file()
    try:
        stamp = file.stat()
    except OSError:
        return ""
    return _named_in(file, stamp.st_mtime_ns, stamp.st_size) if stamp.st_size <= LARGEST_SETTINGS else ""


@functools.lru_cache(maxsize=8)
def _named_in(file: Path, changed: int, size: int) -> str:
    del changed, size  # They tell a file from what it was.
    # Only who has settings waits for it.
    import tomllib

    try:
        text = file.read_text("utf-8-sig") if file.is_file() else ""
        named = tomllib.loads(text).get("sessions", "") if "sessions" in text else ""
    except (OSError, ValueError, RecursionError):
        return ""
    return named.strip() if isinstance(named, str) else ""


def state_folder() -> Path:
    """What the program remembers between starts: the list of run folders, logs, drafts, the trash."""
    return platformdirs.user_state_path(_APP, appauthor=False)


def config_folder() -> Path:
    """The user's settings."""
    return platformdirs.user_config_path(_APP, appauthor=False)


def settings_file() -> Path:
    """The file of the user's settings."""
    return config_folder() / "settings.toml"


def trash_folder() -> Path:
    """Where removed and restarted sessions are moved."""
    return state_folder() / "trash"


def session_path(name_or_path: str) -> Path:
    """The .json file of a session, which need not exist.

    A name with "/" or ending in .json is a path ("out/s" is out/s.json); a bare name lives in `sessions_folder`.

    Raises:
        ExplorerError: a name that is empty, "." or "..", begins with "-", is too long, or holds a control character;
            the working folder is gone.
    """
    is_path = "/" in name_or_path or name_or_path.endswith(".json")
    name = name_or_path.rpartition("/")[2].removesuffix(".json")
    _check_name(name, name_or_path)
    if not is_path:
        return sessions_folder() / f"{name}.json"
    folder = Path(name_or_path.rpartition("/")[0] + "/") if "/" in name_or_path else Path()
    return absolute(expanded(folder)) / f"{name}.json"


def run_folder(session: Path) -> Path:
    """The folder beside a session's .json file in which its runs are collected until it is saved."""
    return session.with_name(f"{session.name.removesuffix('.json')}.run")


def ledger_file(session: Path) -> Path:
    """The file beside a session's .json file that lists the tests computed on it."""
    return session.with_name(f"{session.name.removesuffix('.json')}.ledger.jsonl")


def notes_drafts(session: Path) -> tuple[Path, str]:
    """The folder of notes that were typed and not saved, and how the names begin of those on one session."""
    return state_folder() / "notes", hashlib.sha256(os.fsencode(absolute(session))).hexdigest()[:16]


def _check_name(name: str, typed: str) -> None:
    what = ""
    if not name.strip():
        what = "the session has no name"
    elif name in (".", "..") or name.startswith(("-", " ")) or name != name.strip():
        what = f"a session cannot be named {name!r}"
    elif any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in typed):
        what = "the session's name holds a control character"
    elif len(os.fsencode(name)) > 200:
        what = "the session's name is longer than 200 bytes"
    if what:
        raise ExplorerError(
            what, where="" if what.endswith(repr(name)) else repr(typed[:60]), remedy="use letters, digits, - and _"
        )


def _same(path: Path, other: Path) -> bool:
    return other.is_dir() and path.samefile(other)
