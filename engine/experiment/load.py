"""Where an experiment comes from: a shipped preset, a file, or a session."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean, nearest
from srm_explorer.engine.experiment import toml
from srm_explorer.engine.experiment.directions import FileVector, parse_direction
from srm_explorer.engine.experiment.experiment import Experiment
from srm_explorer.engine.experiment.fields import dumped
from srm_explorer.engine.experiment.following import follow_edit
from srm_explorer.engine.experiment.validation import belongs, dotted, table_keys
from srm_explorer.engine.experiment.values import shown
from srm_explorer.engine.io.files import parse_json, read_text
from srm_explorer.engine.prompts import is_path

_STEP = re.compile(r"\.|\[([0-9]+)\]")


def apply_overrides(data: dict[str, Any], overrides: Sequence[str], *, base: Path) -> dict[str, str]:
    """Set fields of an experiment's plain data in place, in the order given.

    A value is written as in the file (`[1, 2]`, `true`, `"text"`); what is no TOML value is taken as text without its
    quotes, and an empty one takes the field back to its default. A path among the values is relative to the working
    folder, where it was typed.

    Args:
        data: the tables by name.
        overrides: each "key.path=value", lists counted from 0: "interventions.0.values=-5..5/1".
        base: the folder that the paths in `data` are relative to.

    Returns:
        for each field that was set, the place to name when its value is refused: "--set generation.tokens".

    Raises:
        ExplorerError: an override without "=", or a field that does not exist, with the nearest known name.
    """
    origins: dict[str, str] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        where = f"--set {override if len(override) <= 60 else override[:57] + '...'}"
        if not equals or not name.strip():
            raise ExplorerError("this sets nothing", where=where, remedy="write it as --set generation.tokens=20")
        path = _path(name)
        table = _table(data, path, where)
        key = path[-1]
        if text == "" and isinstance(table, dict):
            cast("dict[str, Any]", table).pop(str(key), None)
            continue
        value = _value(text, path)
        if path in (["prompts", "omit"], ["prompts", "where"]) and isinstance(value, dict):
            items = cast("dict[str, object]", value).items()
            is_set = {name: path[1] == "omit" or isinstance(item, dict) for name, item in items}
            value = {_listed(name, data, base) if is_set[name] else name: item for name, item in items}
        table[key] = _anchored(value, path, base)
        origins[dotted(path)] = "--set"
    return origins


def as_overrides(fields: Mapping[str, Any]) -> list[str]:
    """Fields as Python has them, as overrides: {"generation.tokens": 20} is ["generation.tokens=20"].

    A table's fields are set one by one, {"generation": {"tokens": 20}} is the same; None takes a field back to its
    default; arrays of numpy are lists.
    """
    written: list[str] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            written += [f"{name}.{key}={_literal(item)}" for key, item in table.items()]
        else:
            written.append(f"{name}={_literal(value)}")
    return written


def _literal(value: object) -> str:
    return "" if value is None else toml.literal(_as_data(value))


def _as_data(value: Any) -> object:
    match value:
        case BaseModel():
            return dumped(value)
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {str(name): _as_data(item) for name, item in items if item is not None}
        case list() | tuple():
            return [_as_data(item) for item in cast("Sequence[Any]", value)]
        case np.ndarray() | np.generic():
            return _as_data(value.tolist())
        case Path():
            return str(value)
        case str() | int() | float():
            return value
        case _:
            what = f"{shown(repr(value))} is no value of an experiment"
            raise ExplorerError(what, remedy="give numbers, texts, lists and dictionaries, as the file has them")


def _path(name: str) -> list[str | int]:
    steps = [step for step in _STEP.split(name.strip()) if step]
    return [int(step) if step.isdecimal() and step.isascii() else step.strip() for step in steps]


def _table(data: dict[str, Any], path: Sequence[str | int], where: str) -> Any:
    """The table (or list) that holds the last step of the path, made where it is missing."""
    node: Any = data
    for depth, step in enumerate(path):
        if isinstance(node, list):
            count = len(cast("list[object]", node))
            if not isinstance(step, int) or step >= count:
                listed = dotted(path[:depth])
                if count and not isinstance(step, int):
                    what = f"{listed} is a list, and {shown(step)} is of one of it"
                    raise ExplorerError(what, where=where, remedy=f"write {dotted([*path[:depth], 0, *path[depth:]])}")
                remedy = f"choose from 0 to {count - 1}" if count else f"set {listed} as a whole"
                raise ExplorerError(f"{listed} has no number {step}", where=where, remedy=remedy)
        elif isinstance(node, dict):
            keys = table_keys(Experiment, path[:depth])
            free = depth == 2 and list(path[:2]) in (["prompts", "where"], ["prompts", "omit"])
            free |= depth == 3 and list(path[:2]) == ["prompts", "where"]
            if not free and step not in keys:
                inside = f" in [{dotted(path[:depth])}]" if depth else ""
                remedy = (
                    belongs(str(step), Experiment, path[:depth]) if keys else f"set {dotted(path[:depth])} as a whole"
                )
                raise ExplorerError(f"unknown key {shown(str(step))}{inside}", where=where, remedy=remedy)
        else:
            raise ExplorerError(f"{dotted(path[:depth])} is no table", where=where, remedy="set it as a whole")
        if depth == len(path) - 1:
            return cast("Any", node)
        if isinstance(node, dict) and step not in node:
            node[step] = [] if step in ("interventions", "planes") else {}
        node = cast("Any", node)[step]
    raise ExplorerError("this sets nothing", where=where, remedy="write it as --set generation.tokens=20")


def _value(text: str, path: Sequence[str | int]) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = parsed["value"]
    is_whole = len(parsed) == 1 and isinstance(value, bool | int | float | str | list | dict)
    if not is_whole or (_is_text_field(path) and not isinstance(value, str)):
        return text
    return cast("object", value)


def _is_text_field(path: Sequence[str | int]) -> bool:
    """Whether a field holds one text, so that `model.revision=1234567` is no number."""
    annotation = str(table_keys(Experiment, path[:-1]).get(str(path[-1]), ""))
    return annotation.startswith(("<class 'str'>", "typing.Annotated[str", "typing.Optional[typing.Annotated[str"))


def _anchored(value: object, path: Sequence[str | int], base: Path) -> object:
    """A relative path typed on the command line, kept true when the file lies in another folder."""
    folder = paths.working_folder()
    if base == folder:
        return value
    of_sets = list(path[:2]) == ["prompts", "sets"]
    if of_sets and len(path) == 2 and isinstance(value, str):
        value = [word.strip() for word in value.split(",")]
    if isinstance(value, list):
        return [_anchored(item, [*path, 0], base) for item in cast("list[object]", value)]
    if not isinstance(value, str):
        return value
    if of_sets:
        return _anchored_set(value, base)
    is_path = (
        (path[-1] == "direction")
        or (path[0] == "planes" and path[-1] in ("a", "b") and _is_file_vector(value))
        or (path[-1] == "stats" and _is_path(value, (".json",)))
        or (path[-1] == "name" and value != "demo" and paths.is_folder(folder / value))
    )
    return str(folder / value) if is_path else value


def _is_file_vector(text: str) -> bool:
    try:
        return isinstance(parse_direction(text), FileVector)
    except SpecValueError:
        return False


def _listed(name: str, data: dict[str, Any], base: Path) -> str:
    """A set as `sets` names it, which for a path typed on the command line is the anchored one."""
    sets = data["prompts"].get("sets", ())
    return name if isinstance(sets, list) and name in sets else _anchored_set(name, base)


def _anchored_set(word: str, base: Path) -> str:
    folder = paths.working_folder()
    return str(folder / word) if base != folder and is_path(word) else word


def _is_path(word: str, suffixes: tuple[str, ...]) -> bool:
    return "/" in word or word.endswith(suffixes)


@dataclass(frozen=True)
class SpecSource:
    """Where an experiment was read.

    Attributes:
        name: the preset's name, or the file's without its ending, where overrides name another model with that one's
            name in it: the stem of a session's default name.
        base: the folder that relative paths in the experiment start from.
        note: what of the planes followed an override, or could not; empty where none was named after a neuron it left.
    """

    name: str
    base: Path
    note: str = ""


def stem_for(stem: str, named_for: str, model: str) -> str:
    """The stem of a default name for a run of one model, where it was chosen for an experiment with another.

    The other model's name in it gives way to this one's ("demo" to "smol"); a stem without it has this one's added
    ("lighthouse" to "lighthouse-smol").

    Args:
        stem: a preset's or a file's name.
        named_for: the model of the experiment that has this name.
        model: the model that runs.
    """
    old, new = _model_word(named_for), _model_word(model)
    if old == new:
        return stem
    renamed = _as_word(old).sub(new, stem)
    return stem if _as_word(new).search(stem) else renamed if renamed != stem else f"{stem}-{new}"


def default_stem(stem: str, model: str) -> str:
    """The stem itself, unless it says that the bundled model runs where another does."""
    return stem_for(stem, _DEMO, model) if _as_word(_DEMO).search(stem) else stem


_DEMO = "demo"
"""The bundled model, and the preset on it."""
_LONGEST_WORD = 40


def _model_word(model: str) -> str:
    """A model's name as part of a file's name: without its folder or owner."""
    word = re.sub(r"[^\w.+-]+", "-", Path(model).name).strip("-.")
    return word[:_LONGEST_WORD] or "model"


def _as_word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])")


def available_presets() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in paths.presets_folder().glob("*.toml")))


def read_experiment(path_or_preset: str, *, overrides: Sequence[str] = ()) -> tuple[Experiment, SpecSource]:
    """Read a preset by name, an experiment file (.toml or .json), or the experiment of a session file.

    A name with "/" or ending in .toml or .json is a path. Paths inside a preset start from the working folder, those
    inside a file from its folder, those of a session from where they started when it ran, as long as that is there.
    Captures and planes that belong to what is edited follow where overrides edit another neuron, layer or direction in
    its place; those that an override names do not.

    Args:
        path_or_preset: as typed.
        overrides: fields to set before validation, each "key.path=value".

    Raises:
        ExplorerError: no such preset or file, an unreadable or broken one, or an experiment that is refused.
    """
    if "/" in path_or_preset or path_or_preset.endswith((".toml", ".json")):
        path = paths.expanded(path_or_preset)
        base = paths.absolute(path).parent
    else:
        path = _preset(path_or_preset)
        base = paths.working_folder()
    data, recorded = _data(path, path.name)
    return with_overrides(data, overrides, stem=path.stem, base=recorded or base, where=path.name)


def with_overrides(
    data: dict[str, Any], overrides: Sequence[str], *, stem: str, base: Path, where: str = ""
) -> tuple[Experiment, SpecSource]:
    """Make an experiment of plain data, as `read_experiment` does of a file's.

    Args:
        data: the tables by name; overrides are set in it.
        overrides: each "key.path=value".
        stem: of a session's default name.
        base: the folder that relative paths in the data start from.
        where: what an error names as the place: a file name.

    Raises:
        ExplorerError: an override of what is no field, or an experiment that is refused.
    """
    before = copy.deepcopy(data) if overrides else data
    origins = apply_overrides(data, overrides, base=base)
    experiment = Experiment.from_dict(data, where=where, origins=origins)
    if not overrides:
        return experiment, SpecSource(stem, base)
    model: object = before.get("model")
    if isinstance(model, dict):
        named_for: object = cast("dict[str, object]", model).get("name")
        stem = stem_for(stem, named_for, experiment.model.name) if isinstance(named_for, str) else stem
    after = experiment.to_dict()
    followed = follow_edit(before, after, kept=origins)
    if followed.moved:
        experiment = Experiment.from_dict(followed.in_place(after), where=where)
    return experiment, SpecSource(stem, base, followed.summary)


def _preset(name: str) -> Path:
    known = available_presets()
    if name in known:
        return paths.presets_folder() / f"{name}.toml"
    file = next((f"{name}{end}" for end in (".toml", ".json") if paths.is_file(Path(f"{name}{end}"))), None)
    remedy = f"did you mean the file '{file}'?" if file else f"{did_you_mean(name, known)} (a file ends in .toml)"
    raise ExplorerError(f"there is no preset {shown(name)}", remedy=remedy)


def _data(path: Path, where: str) -> tuple[dict[str, Any], Path | None]:
    """The tables of an experiment, and the folder that a session of it says its paths start from, where it is there."""
    presets = available_presets()
    close = nearest(path.stem, presets)
    others = f"the preset '{close}'" if close else f"one of the presets {', '.join(presets)}"
    text = read_text(path, missing=f"check the path, or use {others}")
    if path.suffix != ".json":
        return toml.parse(text, where), None
    data = parse_json(text, where)
    if isinstance(data, dict):
        tables = cast("dict[str, Any]", data)
        spec = tables.get("spec", tables)
        if isinstance(spec, dict):
            provenance = tables.get("provenance")
            recorded = cast("dict[str, Any]", provenance).get("base") if isinstance(provenance, dict) else None
            known = isinstance(recorded, str) and Path(recorded).is_absolute() and paths.is_folder(Path(recorded))
            return cast("dict[str, Any]", spec), Path(str(recorded)) if known else None
    raise ExplorerError("it holds no experiment", where=where, remedy="name a session file, or an experiment as JSON")
