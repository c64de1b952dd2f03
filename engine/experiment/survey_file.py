"""The neurons of a survey as they are given to a command: words of the experiment file, or a file that lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.survey import chosen
from srm_explorer.engine.experiment.values import shown
from srm_explorer.engine.io.files import read_text

_PARTS = re.compile(r"\s*[,;\t]\s*|\s+")
_NUMBER = re.compile(r"[0-9]{1,7}")
_WITH_LAYER = re.compile(r"[0-9]{1,7}\.[0-9]{1,7}")
_FORM = "write a neuron a line, or layer and neuron, or CSV with columns layer and neuron"

Listed: TypeAlias = str | int | Iterable[str | int]
"""One word of an experiment file, or several of them."""
_LISTS = (".txt", ".csv", ".tsv", ".dat")
"""Endings of what is taken for a file wherever it lies."""


def survey_overrides(**fields: Listed | None) -> list[str]:
    """Fields of [survey] as overrides of an experiment; those that are None are left as they are.

    Args:
        fields: neurons, which may name a file or be several, layers, depth, then, vectors and score.

    Raises:
        ExplorerError: a file that lists no neurons; layers beside neurons that have their own.
    """
    given = {name: _words(value) for name, value in fields.items() if value is not None}
    if "neurons" in given:
        given["neurons"] = neurons_given(given["neurons"])
        if _is_read(given["neurons"]) and chosen(given["neurons"]).has_layers:
            if given.get("layers"):
                what, remedy = "every neuron is named with its layer already", "leave it out, or write 373, say"
                raise ExplorerError(what, where="layers", remedy=remedy)
            # Those of an experiment that surveyed others before mean nothing here.
            given["layers"] = ""
    # As text: TOML would take 11.370 for a number.
    return [f'survey.{name}="{_escaped(text)}"' for name, text in given.items()]


def _words(value: Listed) -> str:
    return str(value) if isinstance(value, str | int) else ", ".join(map(str, value))


def neurons_given(text: str) -> str:
    """Neurons as [survey] writes them, read from a file where the text is none of its words and names one.

    A line of the file is a neuron, or its layer and itself, as 11 373 or 11.373; or the first line names columns, layer
    and neuron among them, as the CSV of a survey has them. Empty lines and what follows # are left out; what comes
    twice counts once.

    Raises:
        ExplorerError: the file cannot be read, a line of it is neither, or it lists none.
    """
    path = paths.expanded(text)
    if _is_read(text) or not ("/" in text or text.lower().endswith(_LISTS) or paths.is_file(path)):
        return text
    lines = [line.partition("#")[0].strip().strip('"') for line in read_text(path).lstrip("\ufeff").splitlines()]
    numbered = [(number, _PARTS.split(line)) for number, line in enumerate(lines, 1) if line]
    if not numbered:
        raise ExplorerError("it lists no neurons", where=str(path), remedy=_FORM)
    where, header = numbered[0]
    columns: list[int] | None = None
    if not (all(map(_NUMBER.fullmatch, header)) or _is_cell(header)):
        names = [part.strip('"').lower() for part in header]
        if "neuron" not in names:
            what = f"{shown(' '.join(header))} is no neuron, and no heading that has a column neuron"
            raise ExplorerError(what, where=f"{path}, line {where}", remedy=_FORM)
        columns = [names.index(name) for name in ("layer", "neuron") if name in names]
        numbered = numbered[1:]
    found: dict[str, None] = {}
    for number, parts in numbered:
        fields = parts if columns is None else [parts[at] if at < len(parts) else "" for at in columns]
        fields = [field.strip('"') for field in fields]
        # As the screen and `--neurons` write one with its layer; a column of numbers may hold 11.0 as well.
        fields = fields[0].split(".") if columns is None and _is_cell(fields) else fields
        if not 1 <= len(fields) <= 2 or not all(_NUMBER.fullmatch(field) for field in fields):
            said = shown(" ".join(parts))
            raise ExplorerError(f"{said} is no neuron", where=f"{path}, line {number}", remedy=_FORM)
        found[".".join(str(int(field)) for field in fields)] = None
    if not found:
        raise ExplorerError("it lists no neurons", where=str(path), remedy=_FORM)
    return str(chosen(", ".join(found)))


def _is_cell(parts: Sequence[str]) -> bool:
    return len(parts) == 1 and _WITH_LAYER.fullmatch(parts[0]) is not None


def _is_read(text: str) -> bool:
    """Whether it is words of an experiment file, as 0..99/2 is: a file of such a name is given as ./373."""
    try:
        chosen(text)
    except ExplorerError:
        return False
    return True


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
