"""The interventions and planes of an experiment: which is in view, adding one, removing one."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

from engine.errors import ExplorerError
from engine.spec import ModelShape, Site
from tui.state.spec_data import Data
from tui.state.spec_places import item_of

Moves = Mapping[str, str | None]
"""What has become of places: "interventions[2]" is another now, or (None) gone."""

_NAMES = {"interventions": "intervention", "planes": "plane"}
_FIRST_VALUES = [-3, 0, 3]


class Lists:
    """Which intervention and which plane are in view."""

    def __init__(self) -> None:
        self._at = {"interventions": 0, "planes": 0}

    @classmethod
    def of(cls, key: str) -> Lists:
        """What must be in view for a field to be seen."""
        lists = cls()
        if item := item_of(key):
            lists._at[item[0]] = item[1]
        return lists

    def clamped(self, data: Data) -> dict[str, int]:
        """The number of what is in view, -1 where the list is empty or shorter."""
        return {name: at if at < len(data[name]) else len(data[name]) - 1 for name, at in self._at.items()}

    def clamp(self, data: Data) -> None:
        """Stay within what is there."""
        self._at = {name: max(0, at) for name, at in self.clamped(data).items()}

    def move(self, data: Data, section: str, step: int) -> bool:
        """Bring the next one into view, round and round; False where there is no other."""
        count = len(data[section])
        if count < 2:
            return False
        self._at[section] = (self._at[section] + step) % count
        return True

    def added(self, data: Data, section: str, shape: ModelShape | None) -> tuple[Data, str, Moves]:
        """The data with one more after the one in view, and that one in view."""
        new = copy.deepcopy(data)
        at = self.clamped(data)[section]
        items: list[Data] = new[section]
        item = (_plane if section == "planes" else _intervention)(new, items[at] if items else None, shape)
        items.insert(at + 1, item)
        self._at[section] = at + 1
        moves = {f"{section}[{i}]": f"{section}[{i + 1}]" for i in range(at + 1, len(items) - 1)}
        return new, f"{_NAMES[section]} {at + 2} of {len(items)} added; u takes it back", moves

    def removed(self, data: Data, section: str) -> tuple[Data | None, str, Moves]:
        """The data without the one in view; None where there is none."""
        new = copy.deepcopy(data)
        at = self.clamped(data)[section]
        if at < 0:
            return None, f"there is no {_NAMES[section]} to remove", {}
        del new[section][at]
        moves: dict[str, str | None] = {f"{section}[{at}]": None}
        moves |= {f"{section}[{i}]": f"{section}[{i - 1}]" for i in range(at + 1, len(data[section]))}
        return new, f"{_NAMES[section]} {at + 1} removed; u brings it back", moves


def _intervention(data: Data, like: Data | None, shape: ModelShape | None) -> Data:
    """Another neuron at the same place, preferably one that a plane looks at; the first of all at a captured site."""
    site = like["site"] if like else _first_site(data, shape)
    if like and like["op"] == "steer":
        return copy.deepcopy(like)
    along = [plane[axis] for plane in data["planes"] if _plane_site(data, plane) == site for axis in ("a", "b")]
    looked_at = [one for one in along if isinstance(one, int)]
    used = {neuron for one in data["interventions"] if one["site"] == site for neuron in one["neurons"]}
    neuron = next(n for n in itertools.chain(looked_at, itertools.count()) if n not in used)
    if like:
        return {**copy.deepcopy(like), "neurons": [neuron], "background": False}
    measured = data["generation"]["tokens"] != 0 or data["stats"] is not None
    return {
        "site": site,
        "neurons": [neuron],
        "direction": None,
        "op": "clamp",
        "values": list(_FIRST_VALUES),
        "unit": "sigma" if measured else "raw",
        "positions": "all",
        "background": False,
    }


def _plane(data: Data, like: Data | None, shape: ModelShape | None) -> Data:
    """The same first direction with another second one; of the first of all, the neuron that is intervened on."""
    captured = data["capture"]["sites"]
    site = _plane_site(data, like) if like else (captured[0] if captured else None)
    here = [one["neurons"][0] for one in data["interventions"] if one["site"] == site and one["neurons"]]
    a: int | str = like["a"] if like else (here[0] if here else 0)
    used = {(plane["a"], plane["b"]) for plane in data["planes"] if _plane_site(data, plane) == site}
    width = _width(site, shape)
    # After the last number there is; a direction that is text has none.
    last = next((one for one in (like["b"] if like else None, a) if isinstance(one, int)), -1)
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
        return Site.parse(str(site)).width(shape) if shape else None
    except ExplorerError:
        return None
