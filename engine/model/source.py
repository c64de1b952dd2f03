"""What a model's name stands for, and what is wrong when nothing is found there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from engine import paths
from engine.errors import ExplorerError

DEMO = "demo"


def model_source(name: str, base: Path | None = None) -> str:
    """Find what a model name stands for: the bundled folder, a local folder, or a Hugging Face name.

    Raises:
        ExplorerError: it reads as a folder and there is none, or the folder holds no model.
    """
    if name == DEMO:
        return str(paths.demo_model_folder())
    written = Path(name).expanduser()
    for folder in dict.fromkeys([(base or Path.cwd()) / written, Path.cwd() / written]):
        if folder.is_dir():
            _check_folder(folder)
            return str(folder)
    if written.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ExplorerError("there is no such folder", where=f"model.name {name}", remedy="check the path")
    return name


def is_cached(source: str, revision: str | None) -> bool:
    """Tell whether the network can be left alone: what is cached is used as it is."""
    library: Any = AutoConfig
    try:
        library.from_pretrained(source, revision=revision, trust_remote_code=False, local_files_only=True)
    except OSError:
        return False
    return True


def not_found(name: str, source: str, error: OSError) -> ExplorerError:
    """Say what is missing: a part of a folder, or a model that is not on this machine."""
    if Path(source).is_dir():
        return ExplorerError(first_line(error), where=source, remedy="the folder is incomplete; save the model again")
    return ExplorerError(
        f"the model {name!r} is not on this machine and cannot be fetched",
        where="model.name",
        remedy=f"cache it while online (`hf download {name}`), point model.name at a local folder, or use the demo",
    )


def first_line(error: BaseException) -> str:
    """Shorten a library's message to what fits in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ExplorerError("the folder holds no model (no config.json)", where=str(folder), remedy="check the path")
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        raise ExplorerError(
            "its weights are pickled, and nothing is unpickled here" if pickled else "the folder holds no weights",
            where=str(folder),
            remedy="save it as .safetensors (model.save_pretrained does)",
        )
