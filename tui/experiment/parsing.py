"""Fields of an experiment as a person types and reads them in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import SITE_KINDS, Site, format_number, parse_values
from srm_explorer.engine.experiment.directions import canonical
from srm_explorer.engine.experiment.site import ROUTER
from srm_explorer.engine.experiment.values import plain_number, shown
from srm_explorer.engine.figures import count_of, direction_caption

_SHORT = {ROUTER: "hook_router"} | {
    kind: kind.rpartition(".")[2] if "." in kind else kind.removeprefix("hook_") for kind in SITE_KINDS
}
_KINDS = {short: kind for kind, short in _SHORT.items()} | {kind: kind for kind in SITE_KINDS}
_EXPERT = re.compile(r"[Ee]([0-9]{1,6})(?:\s+hook_post)?")

_WHOLE = re.compile(r"[+-]?[0-9]+")
_SITE = re.compile(r"(?:L|l|blocks\.)?\s*([0-9]+)[\s.]+(.+)", re.DOTALL)
_LEAST_RANGE = 4
"""Fewer values than these are not written as a range."""
_LONGEST_LIST = 50
"""Characters of numbers that are told before some are left out."""


def short_kind(kind: str) -> str:
    """A kind of site in few letters: "hook_post", "resid_post", "E7 hook_post" of an expert."""
    expert = Site(0, kind).expert
    return _SHORT.get(kind, kind) if expert is None else f"E{expert} hook_post"


def expert_of(name: object) -> int | None:
    """The expert in a site's name; None for another site, and for what is none."""
    try:
        return Site.parse(str(name)).expert
    except SpecValueError:
        return None


def _kind(text: str) -> str | None:
    """Read a kind as `short_kind` writes it, or by its full name; None for what is none."""
    expert = _EXPERT.fullmatch(text)
    return f"mlp.experts.{int(expert[1])}.hook_post" if expert else _KINDS.get(text)


def site_text(name: str) -> str:
    """A site in few letters, "L11 hook_post"; a name that is none as it is."""
    try:
        site = Site.parse(name)
    except SpecValueError:
        return name
    return f"L{site.layer} {short_kind(site.kind)}"


def sites_text(names: Sequence[str]) -> str:
    """Sites in few letters, the layer said where it changes: "L11 hook_post, resid_post"."""
    words: list[str] = []
    layer_before = ""
    for name in names:
        layer, gap, kind = site_text(name).partition(" ")
        words.append(kind if gap and layer == layer_before else f"{layer}{gap}{kind}")
        layer_before = layer if gap else ""
    return ", ".join(words)


def parse_sites(text: str) -> list[str]:
    """Read sites as `sites_text` writes them, or by full names; what is no site is left for the spec to refuse."""
    names: list[str] = []
    layer = ""
    for item in (part.strip() for part in text.split(",")):
        match = _SITE.fullmatch(item)
        if match:
            layer = str(int(match[1])) if len(match[1]) <= 6 else match[1]
            kind = match[2].strip()
            names.append(f"blocks.{layer}.{_kind(kind) or kind}")
        elif layer and (known := _kind(item)):
            names.append(f"blocks.{layer}.{known}")
        else:
            names.append(item)
    return names


def numbers_text(values: Sequence[float]) -> str:
    """Numbers as they are typed: a range where they are evenly spaced, else a list."""
    if not all(isinstance(value, int | float) for value in values):
        return ", ".join(str(value) for value in values)
    listed = " ".join(format_number(value) for value in values)
    if len(values) < _LEAST_RANGE:
        return listed
    first, second, last = (Decimal(format_number(value)) for value in (values[0], values[1], values[-1]))
    text = f"{format_number(values[0])}..{format_number(values[-1])} step {format_number(float(abs(second - first)))}"
    try:
        is_same = last != first and parse_values(text) == tuple(float(value) for value in values)
    except ExplorerError:
        return listed
    return text if is_same else listed


def numbers_forms(values: Sequence[float]) -> tuple[str, ...]:
    """Numbers as they are shown, from the longest way to the shortest: "-20 -10 -6 … 10 20 ×11"."""
    if not all(isinstance(value, int | float) for value in values):
        return (", ".join(str(value) for value in values),)
    words = [format_number(value) for value in values]
    count = len(words)
    forms = [" ".join(words)] if count <= 40 else []
    for head, tail in ((6, 3), (4, 2), (3, 2), (2, 2), (2, 1), (1, 1)):
        if head + tail < count:
            forms.append(f"{' '.join(words[:head])} … {' '.join(words[-tail:])} ×{count}")
    return (*forms, f"×{count}") if count > 2 else tuple(forms)


def gives_text(values: Sequence[float], noun: str) -> str:
    """What a list that was typed holds: "-20 -10 0 10 20: 5 values"."""
    forms = numbers_forms(values)
    longest = next(form for form in forms if len(form) <= _LONGEST_LIST or form is forms[-1])
    return f"{longest.rpartition(' ×')[0] or longest}: {count_of(len(values), noun)}"


def cosines_forms(values: Sequence[float]) -> tuple[str, ...]:
    """Thresholds as they are shown: ".7 .5 .3 .1"."""
    return tuple(re.sub(r"(?<![0-9])0\.", ".", form) for form in numbers_forms(values))


def parse_numbers(text: str) -> list[int | float]:
    """Read numbers and ranges; SpecValueError as `parse_values`."""
    return [plain_number(value) for value in parse_values(text)]


def parse_number(text: str) -> int | float:
    """Read one number; SpecValueError for something else."""
    values = parse_numbers(text)
    if len(values) != 1:
        raise SpecValueError(f"{shown(text)} is not one number", "write a number")
    return values[0]


def parse_whole(text: str) -> int:
    """Read one whole number; SpecValueError for something else."""
    if not _WHOLE.fullmatch(text.strip()) or len(text) > 40:
        raise SpecValueError(f"{shown(text.strip())} is not a whole number", "write a whole number")
    return int(text)


def parse_direction_text(text: str) -> int | str:
    """Read a plane's direction: a coordinate's number, or what `canonical` knows; SpecValueError for something else."""
    return parse_whole(text) if _WHOLE.fullmatch(text.strip()) else canonical(text)


def direction_forms(site: str, value: Any) -> tuple[str, ...]:
    """A plane's direction as it is shown: a number as it is, text in full, else in few words."""
    if not isinstance(value, str):
        return (str(value),)
    try:
        return value, direction_caption(site, value)
    except ExplorerError:
        return (value,)


def parse_word(text: str) -> str:
    return text.strip()


def parse_optional_word(text: str) -> str | None:
    return text.strip() or None


def optional_text(value: Any) -> str:
    return "" if value is None else str(value)


def number_text(value: Any) -> str:
    """One number, "none" where there is none, and anything else as it is."""
    if value is None:
        return "none"
    return format_number(value) if isinstance(value, int | float) else str(value)


def is_none(text: str) -> bool:
    return text.strip().lower() in ("", "none")


def parse_optional_number(text: str) -> int | float | None:
    return None if is_none(text) else parse_number(text)


def parse_optional_whole(text: str) -> int | None:
    return None if is_none(text) else parse_whole(text)


def parse_answer(text: str) -> bool | str:
    """Read "yes" or "no"; anything else is left for the spec to refuse."""
    return {"yes": True, "no": False}.get(text.strip().lower(), text)


def parse_truth(text: str) -> bool | str:
    """Read "true" or "false"; any other word is left for the spec to know or refuse."""
    return {"true": True, "false": False}.get(text.strip().lower(), text.strip())


def truth_text(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def answer_text(value: Any) -> str:
    return "yes" if value is True else "no" if value is False else str(value)
