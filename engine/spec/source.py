"""Where an experiment comes from: a shipped preset, a file, or a session."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from engine import paths
from engine.errors import ExplorerError
from engine.reading import parse_json, read_text
from engine.spec import toml
from engine.spec.experiment import Experiment
from engine.spec.following import follow_neurons
from engine.spec.overrides import apply_overrides
from engine.spec.refusal import did_you_mean, nearest
from engine.spec.values import shown


@dataclass(frozen=True)
class SpecSource:
    """Where an experiment was read.

    Attributes:
        name: the preset's name, or the file's without its ending: the stem of a session's default name.
        base: the folder that relative paths in the experiment start from.
        note: what of the planes followed an override, or could not; empty where none was named after a neuron it left.
    """

    name: str
    base: Path
    note: str = ""


def available_presets() -> tuple[str, ...]:
    """Names of the experiment files that ship."""
    return tuple(sorted(path.stem for path in paths.presets_folder().glob("*.toml")))


def read_experiment(path_or_preset: str, *, overrides: Sequence[str] = ()) -> tuple[Experiment, SpecSource]:
    """Read a preset by name, an experiment file (.toml or .json), or the experiment of a session file.

    A name with "/" or ending in .toml or .json is a path. Paths inside a preset start from the working folder, those
    inside a file from its folder. Planes that are named after a neuron follow where overrides edit another in its
    place; those that an override names do not.

    Args:
        path_or_preset: as typed.
        overrides: fields to set before validation, each "key.path=value".

    Raises:
        ExplorerError: no such preset or file, an unreadable or broken one, or an experiment that is refused.
    """
    if "/" in path_or_preset or path_or_preset.endswith((".toml", ".json")):
        path = Path(path_or_preset).expanduser()
        base = path.absolute().parent
    else:
        path = _preset(path_or_preset)
        base = Path.cwd()
    where = path.name
    data = _data(path, where)
    before = copy.deepcopy(data) if overrides else data
    origins = apply_overrides(data, overrides, base=base)
    experiment = Experiment.from_dict(data, where=where, origins=origins)
    if not overrides:
        return experiment, SpecSource(path.stem, base)
    after = experiment.to_dict()
    followed = follow_neurons(before, after, kept=origins)
    if followed.moved:
        experiment = Experiment.from_dict({**after, "planes": followed.planes}, where=where)
    return experiment, SpecSource(path.stem, base, followed.told)


def _preset(name: str) -> Path:
    known = available_presets()
    if name in known:
        return paths.presets_folder() / f"{name}.toml"
    beside = next((f"{name}{end}" for end in (".toml", ".json") if Path(f"{name}{end}").is_file()), None)
    remedy = f"did you mean the file '{beside}'?" if beside else f"{did_you_mean(name, known)} (a file ends in .toml)"
    raise ExplorerError(f"there is no preset {shown(name)}", remedy=remedy)


def _data(path: Path, where: str) -> dict[str, Any]:
    close = nearest(path.stem, available_presets())
    text = read_text(path, missing=f"check the path, or use the preset '{close}'" if close else _presets_told())
    if path.suffix != ".json":
        return toml.parse(text, where)
    data = parse_json(text, where)
    if isinstance(data, dict):
        tables = cast("dict[str, Any]", data)
        spec = tables.get("spec", tables)
        if isinstance(spec, dict):
            return cast("dict[str, Any]", spec)
    raise ExplorerError("it holds no experiment", where=where, remedy="name a session file, or an experiment as JSON")


def _presets_told() -> str:
    return f"check the path, or use one of the presets {', '.join(available_presets())}"
