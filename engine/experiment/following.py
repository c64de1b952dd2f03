"""What of an experiment follows when other neurons are edited than before: the planes that were named after them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.experiment.fields import Indices
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.experiment.validation import covers

Neuron: TypeAlias = tuple[Site, int]
"""A coordinate of a site, which is a neuron where the site is an MLP's."""

_Targets: TypeAlias = Sequence[tuple[Site | None, tuple[int, ...]]]
"""Site and neurons of each intervention; None for what names no site."""

_INDICES: TypeAdapter[tuple[int, ...]] = TypeAdapter(Indices)


@dataclass(frozen=True)
class Followed:
    """Planes after an edit, and what is to be said of those that were named after a neuron it left.

    Attributes:
        planes: all of them, as plain data.
        moved: a line a plane that follows: "plane 373 × 2202 moves along to 137 × 2202".
        stayed: a line a plane that cannot: "plane 373 × 2202 stays: 2 neurons are edited in place of 1".
    """

    planes: list[dict[str, Any]]
    moved: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Everything on one line, what needs a look first; empty where there is nothing to say."""
        return "; ".join((*self.stayed, *self.moved))


def follow_neurons(before: Mapping[str, Any], after: Mapping[str, Any], *, kept: Collection[str] = ()) -> Followed:
    """Name planes after the neurons that are edited now, where they were named after those edited before.

    A direction is named after a neuron by its number, in a plane of the site it is edited at, or by its weights,
    "w_out(11.373)". Neurons of an intervention are replaced in the order they are written; one that is still edited is
    not left, and its planes stay.

    Args:
        before: the experiment as plain data; its interventions alone matter, also where they are refused.
        after: the same once other neurons, or sites, are edited, with planes as `Experiment.to_dict` has them.
        kept: fields of planes that were set by hand: "planes", "planes[0].a".

    Returns:
        The planes of `after`, changed where they follow; distinct, and of two directions, if they were so before.
    """
    planes = cast("list[dict[str, Any]]", copy.deepcopy(after["planes"]))
    heirs = _heirs(_targets(before), _targets(after))
    moved: dict[int, dict[str, Any]] = {}
    stayed: dict[int, str] = {}
    for index, plane in enumerate(planes):
        site = _site(_plane_site(after, plane))
        new = dict(plane)
        for key in ("a", "b"):
            left = _named(site, plane[key])
            heir = heirs.get(left) if left is not None else None
            if heir is None:
                continue
            is_set = any(covers(name, f"planes[{index}].{key}") for name in kept)
            along = (
                "it was set by hand" if is_set else heir if isinstance(heir, str) else _renamed(plane[key], site, heir)
            )
            if isinstance(along, _Named):
                new[key] = along.direction
            else:
                stayed.setdefault(index, along)
        if index in stayed or new == plane:
            continue
        if new["a"] == new["b"]:
            stayed[index] = f"{new['a']} lies in it already"
        else:
            moved[index] = new
    _part(after, planes, moved, stayed)
    return Followed(
        [moved.get(index, plane) for index, plane in enumerate(planes)],
        tuple(f"plane {_plane_text(planes[index])} moves along to {_plane_text(new)}" for index, new in moved.items()),
        tuple(f"plane {_plane_text(planes[index])} stays: {why}" for index, why in sorted(stayed.items())),
    )


@dataclass(frozen=True)
class _Named:
    """What a plane's field holds."""

    direction: int | str


def _heirs(before: _Targets, after: _Targets) -> dict[Neuron, Neuron | str]:
    """For every neuron that is edited no longer, or not by the same intervention, what took its place or why not."""
    edited = {(site, neuron) for site, neurons in after if site is not None for neuron in neurons}
    heirs: dict[Neuron, Neuron | str] = {}
    for index, (site, neurons) in enumerate(before):
        new_site, new = after[index] if index < len(after) else (site, ())
        if site is None or new_site is None or site.kind != new_site.kind:
            continue
        left = [neuron for neuron in neurons if neuron not in new]
        came = iter([neuron for neuron in new if neuron not in neurons])
        for neuron in neurons if site != new_site else left:
            heir: Neuron | str
            if (site, neuron) in edited:
                heir = f"another intervention edits {neuron}"
            elif len(neurons) != len(new) and neuron in left:
                are = "neuron is" if len(new) == 1 else "neurons are"
                heir = f"{len(new)} {are} edited in place of {len(neurons)}"
            else:
                heir = (new_site, next(came) if neuron in left else neuron)
            known = heirs.setdefault((site, neuron), heir)
            if known != heir:
                heirs[site, neuron] = f"more than one neuron takes the place of {neuron}"
    return heirs


def _renamed(along: int | str, site: Site | None, heir: Neuron) -> _Named | str:
    """A direction named after another neuron; why not, where that one lies at another site."""
    direction = direction_of(along)
    if isinstance(direction, NeuronWeights):
        return _Named(str(NeuronWeights(direction.kind, heir[0].layer, heir[1])))
    return _Named(heir[1]) if heir[0] == site else f"what is edited lies at {heir[0]} now"


def _part(
    after: Mapping[str, Any], planes: Sequence[dict[str, Any]], moved: dict[int, dict[str, Any]], stayed: dict[int, str]
) -> None:
    """Leave planes where they are, until no two of them are the same; `moved` and `stayed` are changed in place."""
    while True:
        now = [moved.get(index, plane) for index, plane in enumerate(planes)]
        keys = [(_plane_site(after, plane), plane["a"], plane["b"]) for plane in now]
        twice = next((index for index in moved if keys.count(keys[index]) > 1), None)
        if twice is None:
            return
        stayed[twice] = f"{_plane_text(moved.pop(twice))} is there already"


def _named(site: Site | None, along: object) -> Neuron | None:
    """The neuron, or coordinate, that a direction of a plane at a site is named after."""
    try:
        direction = direction_of(along) if isinstance(along, int | str) else None
    except SpecValueError:
        return None
    match direction:
        case int():
            return None if site is None else (site, direction)
        case NeuronWeights():
            return Site(direction.layer, "mlp.hook_post"), direction.neuron
        case _:
            return None


def _targets(data: Mapping[str, Any]) -> _Targets:
    listed: object = data.get("interventions")
    items: Iterable[object] = cast("list[object]", listed) if isinstance(listed, list) else ()
    targets: list[tuple[Site | None, tuple[int, ...]]] = []
    for item in items:
        table = cast("Mapping[str, object]", item if isinstance(item, Mapping) else {})
        try:
            neurons = _INDICES.validate_python(table.get("neurons", ()))
        except ValidationError:
            neurons = ()
        targets.append((_site(table.get("site")), neurons))
    return targets


def _plane_site(data: Mapping[str, Any], plane: Mapping[str, Any]) -> object:
    """The name of a plane's site: its own, or the first captured one; None where there is none."""
    captured: object = data["capture"]["sites"]
    first = captured[0] if isinstance(captured, list | tuple) and captured else None  # pyright: ignore[reportUnknownVariableType]
    return cast("object", plane["site"] or first)


def _site(name: object) -> Site | None:
    try:
        return Site.parse(name) if isinstance(name, str) else None
    except SpecValueError:
        return None


def _plane_text(plane: Mapping[str, Any]) -> str:
    return f"{plane['a']} × {plane['b']}"
