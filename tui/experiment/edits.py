"""What one edit of a form does to an experiment's data, other fields that must follow it included."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import GenerationSpec, ModelShape, Site
from srm_explorer.engine.experiment.experiment import SAMPLING
from srm_explorer.engine.experiment.fields import dumped
from srm_explorer.engine.experiment.following import follow_edit
from srm_explorer.engine.experiment.intervention import ALONG_DIRECTION, UNITS, WITHOUT_VALUES
from srm_explorer.engine.experiment.site import FIRST_EXPERT
from srm_explorer.tui.experiment.data import INTERVENTION, Data, item_of, put, value_at
from srm_explorer.tui.experiment.fields import Field
from srm_explorer.tui.experiment.parsing import expert_of, parse_whole, short_kind

_REMEMBERED = ("values", "unit", "neurons", "heads", "coordinates", "direction", "from")
_GREEDY = {name: dumped(GenerationSpec())[name] for name in SAMPLING}
"""What fields that have an effect on sampling alone must be in greedy decoding."""

Memory = dict[tuple[str, str], Data]
"""What an intervention had under another operation, and what sampling was like: by table and operation or mode."""


@dataclass(frozen=True)
class Edited:
    """Data after an edit, and what else it changed, as a line for the user; empty where nothing else did."""

    data: Data
    note: str = ""


_FOLLOWED = ("layer", "expert", "kind", "op", "direction", "neurons", "heads", "coordinates")
"""What of an intervention captures and planes may belong to."""


def apply(
    data: Data,
    field: Field,
    text: str,
    memory: Mapping[tuple[str, str], Data],
    *,
    kept: Collection[str] = (),
    shape: ModelShape | None = None,
) -> Edited:
    """Set one field to what a text means, and what belongs to it with it.

    Args:
        data: left as it is.
        field: the one that is set.
        text: as typed or chosen.
        memory: what operations and modes that were left had.
        kept: fields that are set beside this one, which do not follow it.
        shape: of the model, where it is known.

    Raises:
        ExplorerError: the text means nothing; what it means may still be refused by the experiment.
    """
    edited = _alone(copy.deepcopy(data), field, text, memory)
    item, _, name = field.key.rpartition(".")
    if not item.startswith("interventions[") or name not in _FOLLOWED:
        return edited
    head_width = shape.head_width if shape is not None else lambda layer: 0
    followed = follow_edit(data, edited.data, kept=kept, head_width=head_width)
    back = f"{followed.summary}; u takes it back" if followed.moved else followed.summary
    return Edited(followed.in_place(edited.data), "; ".join(filter(None, [edited.note, back])))


def _alone(data: Data, field: Field, text: str, memory: Mapping[tuple[str, str], Data]) -> Edited:
    """Set one field in place, and of the same intervention what cannot stay beside it."""
    item, _, name = field.key.rpartition(".")
    value = field.read(text)
    if name in ("layer", "expert"):
        return Edited(_with_number(data, item, name, parse_whole(text)))
    if name == "kind":
        return _with_kind(data, item, text, memory)
    if name == "op":
        return _with_operation(data, item, text, memory)
    if field.key == "generation.mode":
        return _with_mode(data, text, memory)
    put(data, field.key, value)
    if field.key == "execution.executor" and value == "local":
        data["execution"].update(actors=None, address=None, rows=None)
    if item == "survey":
        return Edited(data, _fit_survey(data["survey"], name))
    if name == "direction" and value:
        value_at(data, item).update(neurons=[], heads=[], coordinates=[])
    elif name in ("neurons", "heads") and value and item.startswith("interventions["):
        put(data, f"{item}.direction", None)
    return Edited(data)


def _fit_survey(survey: Data, name: str) -> str:
    """Leave out of a survey what means nothing beside what was set, and say what was; that itself stays."""
    if not survey["neurons"]:
        survey.update(layers="", then="", vectors="", score="generated")
        return ""
    if name == "depth" and survey["depth"] == "free" and survey["score"] == "prompts":
        survey["score"] = "generated"
    if name == "depth" and survey["depth"] == "free" and survey["then"]:
        survey["then"] = ""
        return "then is left out: texts are written under every neuron"
    if name in ("depth", "then") and survey["depth"] == "forced" and not survey["then"] and survey["vectors"]:
        survey["vectors"] = ""
        return "vectors is left out: no texts are written"
    return ""


def remembered(old: Data, new: Data) -> Memory:
    memory: Memory = {}
    for index, (before, after) in enumerate(zip(old["interventions"], new["interventions"], strict=False)):
        if before["op"] != after["op"]:
            kept = {name: before[name] for name in _REMEMBERED}
            memory[f"interventions[{index}]", before["op"]] = copy.deepcopy(kept)
    if old["generation"]["mode"] == "sample" != new["generation"]["mode"]:
        memory["generation", "sample"] = {name: old["generation"][name] for name in SAMPLING}
    return memory


def value_of(data: Data, key: str) -> Any:
    """The value of a field as the form has it: a layer, a kind and an expert are taken out of their site."""
    item, _, name = key.rpartition(".")
    if name in ("layer", "kind", "expert") and item.startswith("interventions["):
        site = value_at(data, f"{item}.site")
        expert = expert_of(site)
        if name == "expert":
            return "" if expert is None else str(expert)
        return layer_of(site) if name == "layer" else kind_of(site) if expert is None else FIRST_EXPERT
    return value_at(data, key)


def layer_of(site: object) -> str:
    """The layer in a site's name, as text; empty for what is no site."""
    try:
        return str(Site.parse(str(site)).layer)
    except SpecValueError:
        return ""


def kind_of(site: object) -> str:
    """The kind in a site's name; the name itself for what is no site."""
    try:
        return Site.parse(str(site)).kind
    except SpecValueError:
        return str(site)


def _with_number(data: Data, item: str, name: str, number: int) -> Data:
    """Another layer, or another expert of the same layer."""
    if number < 0:
        raise SpecValueError(f"{number} is no {name}", "count from 0")
    site = value_at(data, f"{item}.site")
    layer = number if name == "layer" else layer_of(site)
    kind = kind_of(site) if name == "layer" else f"mlp.experts.{number}.hook_post"
    put(data, f"{item}.site", f"blocks.{layer}.{kind}")
    return data


def _with_kind(data: Data, item: str, kind: str, memory: Mapping[tuple[str, str], Data]) -> Edited:
    site = value_at(data, f"{item}.site")
    put(data, f"{item}.site", f"blocks.{layer_of(site) or 0}.{kind}")
    _fit_targets(data, item, memory, [0])
    if "attn.hook_z" in (kind, kind_of(site)) and kind != kind_of(site):
        return Edited(data, "it works on heads now" if kind == "attn.hook_z" else "it works on heads no longer")
    axis = _axis(kind)
    if axis == _axis(kind_of(site)) or value_at(data, f"{item}.direction") is not None:
        return Edited(data)
    axis = axis or f"coordinates of {short_kind(kind)}"
    return Edited(data, f"the numbers now name {axis}, which are other axes")


def _axis(kind: str) -> str:
    """What the numbers of a kind of site name; empty for coordinates of the residual stream."""
    if kind == "mlp.hook_post":
        return "neurons of the MLP"
    return "" if expert_of(f"blocks.0.{kind}") is None else "neurons of an expert"


def _fit_targets(data: Data, item: str, memory: Mapping[tuple[str, str], Data], first: list[int]) -> None:
    """Keep of neurons, heads and direction what fits the operation and the site, else what it had, else the first."""
    intervention: Data = value_at(data, item)
    is_heads = kind_of(intervention["site"]) == "attn.hook_z"
    op = intervention["op"]
    along = op in ALONG_DIRECTION and (op == "steer" or intervention["direction"] is not None)
    if not along:
        intervention["direction"] = None
    has_neurons, has_heads = not along and not is_heads, not along and is_heads
    for name, fits in (("neurons", has_neurons), ("heads", has_heads)):
        intervention[name] = (intervention[name] or _recalled(memory, item, name) or list(first)) if fits else []
    if not has_heads:
        intervention["coordinates"] = []


def _with_operation(data: Data, item: str, op: str, memory: Mapping[tuple[str, str], Data]) -> Edited:
    """Another operation, with the values, unit and target that it had before, else those that fit."""
    intervention: Data = value_at(data, item)
    known = memory.get((item, op))
    intervention["op"] = op
    note = ""
    if known is not None:
        intervention |= copy.deepcopy(known)
        return Edited(data)
    _fit_targets(data, item, memory, [])
    if op != "patch":
        intervention["from"] = None
    else:
        intervention["from"] = intervention["from"] or {"condition": "baseline"}
        if intervention["positions"] in ("all", "predicting", "generated"):
            intervention["positions"] = "prompt"
    if op in WITHOUT_VALUES:
        note = "its values are kept for other operations" if intervention["values"] else ""
        intervention["values"], intervention["unit"] = [], "raw"
        return Edited(data, note)
    if not intervention["values"]:
        intervention["values"] = _recalled(memory, item, "values") or []
        intervention["unit"] = _recalled(memory, item, "unit") or "raw"
    if op in UNITS and intervention["unit"] not in UNITS[op]:
        note = f"{op} takes no {intervention['unit']}: the values are {UNITS[op][0]} now"
        intervention["unit"] = UNITS[op][0]
    return Edited(data, note)


def _with_mode(data: Data, mode: str, memory: Mapping[tuple[str, str], Data]) -> Edited:
    data["generation"]["mode"] = mode
    if mode == "greedy":
        data["generation"] |= _GREEDY
    elif known := memory.get(("generation", mode)):
        data["generation"] |= known
    return Edited(data)


def _recalled(memory: Mapping[tuple[str, str], Data], item: str, name: str) -> Any:
    """What the intervention last had of something, under whatever operation; None where it never had any."""
    values = [kept[name] for (table, _), kept in memory.items() if table == item and kept[name]]
    return copy.deepcopy(values[-1]) if values else None


Moves = Mapping[str, str | None]
"""What has become of tables: "interventions[2]" is another now, or (None) gone."""

_NAMES = {"interventions": "intervention", "planes": "plane"}
_FIRST_VALUES = [-3, 0, 3]


class InView:
    """Which intervention and which plane are in view."""

    def __init__(self) -> None:
        self._index = {"interventions": 0, "planes": 0}

    @classmethod
    def of(cls, key: str) -> InView:
        """What must be in view for a field to be seen."""
        in_view = cls()
        if item := item_of(key):
            in_view._index[item[0]] = item[1]
        return in_view

    def show(self, section: str, index: int) -> None:
        """Bring one into view."""
        self._index[section] = index

    def clamped(self, data: Data) -> dict[str, int]:
        """The number of what is in view, -1 where the list is empty or shorter."""
        return {name: min(index, len(data[name]) - 1) for name, index in self._index.items()}

    def clamp(self, data: Data) -> None:
        self._index = {name: max(0, index) for name, index in self.clamped(data).items()}

    def move(self, data: Data, section: str, step: int) -> bool:
        """Bring the next one into view, round and round; False where there is no other."""
        count = len(data[section])
        if count < 2:
            return False
        self._index[section] = (self._index[section] + step) % count
        return True

    def added(self, data: Data, section: str, shape: ModelShape | None) -> tuple[Data, str, Moves]:
        new = copy.deepcopy(data)
        index = self.clamped(data)[section] + 1
        items: list[Data] = new[section]
        item = (_plane if section == "planes" else _intervention)(new, items[index - 1] if items else None, shape)
        items.insert(index, item)
        _renumber(new, section, lambda number: number + (number > index))
        self._index[section] = index
        moves = {f"{section}[{i}]": f"{section}[{i + 1}]" for i in range(index, len(items) - 1)}
        return new, f"{_NAMES[section]} {index + 1} of {len(items)} added; u takes it back", moves

    def removed(self, data: Data, section: str) -> tuple[Data | None, str, Moves]:
        new = copy.deepcopy(data)
        index = self.clamped(data)[section]
        if index < 0:
            return None, f"there is no {_NAMES[section]} to remove", {}
        del new[section][index]
        named = _renumber(new, section, lambda number: 0 if number == index + 1 else number - (number > index))
        moves: dict[str, str | None] = {f"{section}[{index}]": None}
        moves |= {f"{section}[{i}]": f"{section}[{i - 1}]" for i in range(index + 1, len(data[section]))}
        note = f"{_NAMES[section]} {index + 1} removed; u brings it back"
        return new, f"the frozen analysis is of every plane now, it named this one; {note}" if named else note, moves


def _renumber(data: Data, section: str, renumbered: Callable[[int], int]) -> bool:
    """Number the planes that a frozen analysis names anew, 0 for one that is gone; whether it names none any longer."""
    analysis: Any = data.get("analysis")
    numbers: Any = analysis.get("planes") if isinstance(analysis, dict) else None
    if section != "planes" or not numbers or not all(isinstance(number, int) for number in numbers):
        return False
    analysis["planes"] = [number for number in map(renumbered, numbers) if number]
    return not analysis["planes"]


def _intervention(data: Data, like: Data | None, shape: ModelShape | None) -> Data:
    """Another neuron at the same place, preferably one that a plane looks at; the first of all at a captured site."""
    site = like["site"] if like else _first_site(data, shape)
    if like and (like["direction"] is not None or like["heads"]):
        return copy.deepcopy(like)
    axes = [plane[axis] for plane in data["planes"] if _plane_site(data, plane) == site for axis in ("a", "b")]
    looked_at = [axis for axis in axes if isinstance(axis, int)]
    edited = {neuron for other in data["interventions"] if other["site"] == site for neuron in other["neurons"]}
    neuron = next(n for n in itertools.chain(looked_at, itertools.count()) if n not in edited)
    if like:
        return {**copy.deepcopy(like), "neurons": [neuron], "background": False}
    measured = data["generation"]["tokens"] != 0 or data["stats"] is not None
    unit = "sigma" if measured else "raw"
    return {**INTERVENTION, "site": site, "neurons": [neuron], "values": list(_FIRST_VALUES), "unit": unit}


def _plane(data: Data, like: Data | None, shape: ModelShape | None) -> Data:
    """The same first direction with another second one; of the first of all, the neuron that is intervened on."""
    captured = data["capture"]["sites"]
    site = _plane_site(data, like) if like else (captured[0] if captured else None)
    edited = [other["neurons"][0] for other in data["interventions"] if other["site"] == site and other["neurons"]]
    a: int | str = like["a"] if like else (edited[0] if edited else 0)
    used = {(plane["a"], plane["b"]) for plane in data["planes"] if _plane_site(data, plane) == site}
    width = _width(site, shape)
    # After the last number there is; a direction that is text has none.
    last = next((axis for axis in (like["b"] if like else None, a) if isinstance(axis, int)), -1)
    candidates = (n if width is None else n % width for n in itertools.count(last + 1))
    most = 10_000 if width is None else width
    b = next((n for n in itertools.islice(candidates, most) if n != a and (a, n) not in used), last + 1)
    return {"site": site, "a": a, "b": b}


def _plane_site(data: Data, plane: Data) -> Any:
    captured = data["capture"]["sites"]
    return plane["site"] or (captured[0] if captured else None)


def _first_site(data: Data, shape: ModelShape | None) -> str:
    captured = data["capture"]["sites"]
    inside = next((site for site in captured if str(site).endswith("mlp.hook_post")), None)
    if inside or not shape:
        return str(inside or "blocks.0.mlp.hook_post")
    if shape.neuron_layers:
        return f"blocks.{shape.neuron_layers[-1]}.mlp.hook_post"
    return f"blocks.{shape.n_layers - 1}.hook_resid_post"


def _width(site: Any, shape: ModelShape | None) -> int | None:
    try:
        return shape.width(Site.parse(str(site))) if shape else None
    except ExplorerError:
        return None
