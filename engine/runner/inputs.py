"""What an experiment reads besides itself: its prompt sets and its steering directions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from engine import paths
from engine.errors import ExplorerError
from engine.prompts import Problem, Prompt, PromptSet, choose, load_prompt_set
from engine.session import PromptRecord
from engine.spec import Experiment


@dataclass(frozen=True)
class ListedPrompt:
    """A prompt of the experiment's list, with the set it came from."""

    set: PromptSet
    prompt: Prompt

    @property
    def place(self) -> str:
        """File and line, for errors."""
        return f"{self.set.path}:{self.prompt.line}"


@dataclass(frozen=True)
class Inputs:
    """What was read for an experiment.

    Args:
        prompts: in the experiment's order, filtered and limited.
        directions: [d] unit vectors by the text that names them.
        problems: what is odd about the prompt files and does not stop a run.
        hashes: SHA-256 of the content of each file read, by the name in the experiment.
    """

    prompts: tuple[ListedPrompt, ...]
    directions: dict[str, np.ndarray]
    problems: tuple[Problem, ...]
    hashes: dict[str, str]


def read_inputs(experiment: Experiment, base: Path) -> Inputs:
    """Read the prompts and directions an experiment names.

    Args:
        experiment: the experiment.
        base: the folder its relative paths start from.

    Raises:
        ExplorerError: a file that is missing or broken, a factor nobody has, a number of no prompt, no prompt left, a
            direction of length 0.
    """
    folders = paths.prompt_folders()
    whole = [load_prompt_set(name, folders=folders, base=base) for name in experiment.prompts.sets]
    hashes = {f"prompts {name}": found.sha256 for name, found in zip(experiment.prompts.sets, whole, strict=True)}
    by_name = dict(zip(experiment.prompts.sets, whole, strict=True))
    wanted = experiment.prompts
    chosen = choose(by_name, where=wanted.where, omit=wanted.omit, limit=wanted.limit)
    listed = tuple(
        ListedPrompt(by_name[name], by_name[name].prompts[number - 1])
        for name, numbers in chosen.items()
        for number in numbers
    )
    directions: dict[str, np.ndarray] = {}
    for one in experiment.interventions:
        if one.direction is not None and one.direction not in directions:
            directions[one.direction] = read_direction(one.direction, base)
            hashes[f"direction {one.direction}"] = direction_sha256(directions[one.direction])
    problems = tuple(problem for one in whole for problem in one.problems)
    return Inputs(listed, directions, problems, hashes)


def read_direction(named: str, base: Path) -> np.ndarray:
    """Read a steering direction from a safetensors file and give it length 1.

    Args:
        named: "file.safetensors#name".
        base: the folder a relative path starts from; the working folder comes next.

    Returns:
        [d] float64 unit vector.

    Raises:
        ExplorerError: no such file or name, not one row of finite numbers, or all zeros.
    """
    file, _, name = named.rpartition("#")
    written = Path(file).expanduser()
    path = next((p for p in (base / written, Path.cwd() / written) if p.is_file()), None)
    if path is None:
        raise ExplorerError("there is no such file", where=file, remedy="check the path in `direction`")
    try:
        with safe_open(path, framework="numpy") as opened:  # pyright: ignore[reportUnknownVariableType]
            reader = cast("Any", opened)
            names: list[str] = list(reader.keys())
            if name not in names:
                known = ", ".join(names[:8])
                raise ExplorerError(f"it holds no vector {name!r}", where=str(path), remedy=f"choose one of {known}")
            vector = np.asarray(reader.get_tensor(name), dtype=np.float64)
    except (SafetensorError, OSError, TypeError) as error:
        what = f"it is no safetensors file that can be read: {error}"
        raise ExplorerError(what, where=str(path), remedy="save the vector with safetensors as float32") from None
    vector = vector.reshape(-1) if vector.size == max(vector.shape, default=0) else vector
    peak = float(np.abs(vector).max(initial=0)) if vector.ndim == 1 and np.isfinite(vector).all() else 0.0
    if not peak:
        what = f"{name!r} is not a direction (it must be one row of finite numbers, not all 0)"
        raise ExplorerError(what, where=str(path), remedy="save a [d] vector")
    # Scaled first, so that the squares of no number overflow or vanish.
    scaled = vector / peak
    return scaled / float(np.linalg.norm(scaled))


def direction_sha256(direction: np.ndarray) -> str:
    """Hash a direction by its numbers, wherever they lie."""
    return hashlib.sha256(np.asarray(direction, dtype="<f8").tobytes()).hexdigest()


def prompt_records(prompts: Sequence[ListedPrompt], token_ids: Sequence[Sequence[int]]) -> tuple[PromptRecord, ...]:
    """Put prompts and their token ids on record; equal ids are told apart by their occurrence."""
    seen: Counter[str] = Counter()
    records: list[PromptRecord] = []
    for listed, ids in zip(prompts, token_ids, strict=True):
        digest = hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()
        records.append(
            PromptRecord(
                set=listed.set.name,
                text=listed.prompt.text,
                factors=dict(listed.prompt.factors),
                token_ids=tuple(ids),
                occurrence=seen[digest],
                sha256=digest,
            )
        )
        seen[digest] += 1
    return tuple(records)
