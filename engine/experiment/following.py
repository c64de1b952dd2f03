"""What of an experiment follows when others than before are edited (neurons, layers, directions): captures, planes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.directions import Direction, FileVector, NeuronWeights, direction_of
from srm_explorer.engine.experiment.fields import Indices
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.experiment.validation import covers

Neuron: TypeAlias = tuple[Site, int]
"""A coordinate of a site, which is a neuron where the site is an MLP's."""

HeadWidth: TypeAlias = Callable[[int], int]
"""Coordinates of one attention head of a layer, 0 where that is not known."""


@dataclass(frozen=True)
class _Target:
    """What an intervention edits.

    Attributes:
        site: None for what names none.
        neurons: coordinates, those of heads where their width is known.
        heads: the heads.
        vector: the direction, in its canonical text; empty for none.
    """

    site: Site | None
    neurons: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    vector: str = ""


_INDICES: TypeAdapter[tuple[int, ...]] = TypeAdapter(Indices)


@dataclass(frozen=True)
class Followed:
    """Captures and planes after an edit, and what is to be said of those that belonged to what it left.

    Attributes:
        sites: all captured sites.
        planes: all planes, as plain data.
        moved: a line for what follows: "capture and plane move along to layer 5", "plane 373 × 2202 moves along to
            137 × 2202".
        stayed: a line for what cannot: "plane 373 × 2202 stays: 2 neurons are edited in place of 1".
    """

    sites: list[str]
    planes: list[dict[str, Any]]
    moved: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Everything on one line, what needs a look first; empty where there is nothing to say."""
        return "; ".join((*self.stayed, *self.moved))

    def in_place(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The experiment with what follows."""
        return {**data, "capture": {**data["capture"], "sites": list(self.sites)}, "planes": self.planes}


def follow_edit(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    kept: Collection[str] = (),
    head_width: HeadWidth = lambda layer: 0,
) -> Followed:
    """Take captures and planes along to what is edited now, where they belonged to what was edited before.

    Captures at a layer, and planes in them, go to the layer its intervention goes to, if nothing else is edited there;
    those of an expert go to the other expert. A plane's direction is named after a neuron by its number, in a plane of
    the site it is edited at, or by its weights, "w_out(11.373)"; after a vector by its file and name. Neurons of an
    intervention are replaced in the order they are written; one that is still edited is not left, and its planes stay.

    Args:
        before: the experiment as plain data; its interventions alone matter, also where they are refused.
        after: the same once other neurons, or sites, are edited, with the rest as `Experiment.to_dict` has it.
        kept: fields that were set by hand and stay: "planes", "planes[0].a", "capture.sites".
        head_width: of the model, where it is known.

    Returns:
        The captures and planes of `after`, changed where they follow; planes are distinct, and of two directions, if
        they were so before.
    """
    old, new = _targets(before, head_width), _targets(after, head_width)
    captured = _captured(after)
    moves, left_behind = _relocations(old, new, captured, kept)
    planes = cast("list[dict[str, Any]]", copy.deepcopy(after["planes"]))
    along: dict[int, dict[str, Any]] = {}
    for index, plane in enumerate(planes):
        moved = plane if _is_kept(kept, index, "site") else moves.plane(plane, _plane_site(after, plane))
        if moved is not plane:
            along[index] = moved
    stayed: dict[int, str] = {}
    _part(after, planes, along, stayed)
    now = [along.get(index, plane) for index, plane in enumerate(planes)]
    # A plane that stays keeps its site captured.
    in_planes = [name for name in captured if any(plane["site"] == name for plane in now)]
    sites = list(dict.fromkeys([*(moves.site(name) for name in captured), *in_planes]))
    relocated = {**after, "capture": {**after["capture"], "sites": sites}, "planes": now}
    left = tuple(dataclasses.replace(one, site=moves.place(one.site)) for one in old)
    heirs = [_heirs(left if index in along else old, new) for index in range(len(now))]
    named = _follow_names(old, new, relocated, kept, heirs, stayed)
    told = moves.told(captured != sites, sum(plane["site"] != planes[index]["site"] for index, plane in along.items()))
    return Followed(
        sites, named.planes, (*told, *named.moved), (*left_behind, *named.stayed, *_doubtful(old, new, after, kept))
    )


@dataclass(frozen=True)
class _Moves:
    """Where captures go: layers, and experts' sites; of several interventions that part, nothing does."""

    layers: Mapping[int, int] = dataclasses.field(default_factory=dict[int, int])
    experts: Mapping[Site, Site] = dataclasses.field(default_factory=dict[Site, Site])

    def place(self, site: Site | None) -> Site | None:
        if site is None or site in self.experts:
            return self.experts[site] if site is not None else None
        return Site(self.layers.get(site.layer, site.layer), site.kind)

    def site(self, name: Any) -> Any:
        """The name of a captured site after the move; what names none, as it is."""
        site = _site(name)
        moved = self.place(site)
        return name if moved == site else str(moved)

    def plane(self, plane: dict[str, Any], lies_in: object) -> dict[str, Any]:
        """A plane in a captured site that moves, and with it the weights of neurons of its layer."""
        if self.site(lies_in) == lies_in:
            return plane
        site = None if plane["site"] is None else self.site(plane["site"])
        return {**plane, "site": site, **{key: self._along(plane[key]) for key in ("a", "b")}}

    def told(self, are_captures: bool, planes: int) -> tuple[str, ...]:
        """A line for what moves along, and where to; none where nothing does."""
        what = ["capture"] if are_captures else []
        what += ["plane" if planes == 1 else "planes"] if planes else []
        to = [f"layer {layer}" for layer in self.layers.values()]
        to += [f"expert {site.expert}" for site in self.experts.values()]
        verb = "moves" if what in (["capture"], ["plane"]) else "move"
        return (f"{' and '.join(what)} {verb} along to {', '.join(dict.fromkeys(to))}",) if what else ()

    def _along(self, along: object) -> object:
        direction = _direction(along)
        if not isinstance(direction, NeuronWeights):
            return along
        return str(dataclasses.replace(direction, layer=self.layers.get(direction.layer, direction.layer)))


def _relocations(
    old: Sequence[_Target], new: Sequence[_Target], captured: Sequence[object], kept: Collection[str]
) -> tuple[_Moves, tuple[str, ...]]:
    """Where captures go, and a line for those that stay though their intervention leaves."""
    sites = [site for site in map(_site, captured) if site is not None]
    still = [one.site for one in new if one.site is not None]
    layers: dict[int, int] = {}
    experts: dict[Site, Site] = {}
    stayed: dict[str, None] = {}
    for was, now in zip(old, new, strict=False):
        if was.site is None or now.site is None or was.site == now.site:
            continue
        if any(covers(name, "capture.sites") for name in kept):
            continue
        if was.site.kind == now.site.kind and any(site.layer == was.site.layer for site in sites):
            if any(site.layer == was.site.layer for site in still):
                stayed[f"captures and planes stay at layer {was.site.layer}, where another intervention is"] = None
            else:
                layers.setdefault(was.site.layer, now.site.layer)
        elif None not in (was.site.expert, now.site.expert) and was.site in sites:
            if was.site in still:
                stayed["captures and planes stay at the expert where another intervention is"] = None
            else:
                experts.setdefault(was.site, now.site)
    return _Moves(layers, experts), tuple(stayed)


def _doubtful(
    old: Sequence[_Target], new: Sequence[_Target], after: Mapping[str, Any], kept: Collection[str]
) -> tuple[str, ...]:
    """A line where it was said when the target was chosen, on which a p hangs, and the target is another now."""
    controls = cast("Mapping[str, Any]", after.get("controls") or {})
    chosen = controls.get("chosen", "unknown")
    is_set = any(covers(name, "controls.chosen") for name in kept)
    if old == new or is_set or chosen == "unknown" or not controls.get("neurons"):
        return ()
    return (f"controls.chosen = {chosen} was said of the target before: see that it holds of this one",)


def _follow_names(
    old: Sequence[_Target],
    new: Sequence[_Target],
    after: Mapping[str, Any],
    kept: Collection[str],
    heirs: Sequence[Mapping[Neuron | str, Neuron | str]],
    stayed: dict[int, str],
) -> Followed:
    """Name planes after what is edited now: [plane] `heirs` of neurons; those in `stayed` are told of, and left."""
    planes = cast("list[dict[str, Any]]", after["planes"])
    vectors = _vectors(old, new)
    heads = _changed_heads(old, new)
    moved: dict[int, dict[str, Any]] = {}
    for index, plane in enumerate(planes):
        site = _site(_plane_site(after, plane))
        changed = dict(plane)
        for key in ("a", "b"):
            left = _named(site, plane[key])
            heir = {**heirs[index], **vectors}.get(left) if left is not None else None
            if heir is None and site in heads and isinstance(plane[key], int):
                heir = heads[site]
            if heir is None:
                continue
            along = (
                "it was set by hand"
                if _is_kept(kept, index, key)
                else heir
                if isinstance(heir, str | _Named)
                else _renamed(plane[key], site, heir)
            )
            if isinstance(along, _Named):
                changed[key] = along.direction
            else:
                stayed.setdefault(index, along)
        if index in stayed or changed == plane:
            continue
        if changed["a"] == changed["b"]:
            stayed[index] = f"{changed['a']} lies in it already"
        else:
            moved[index] = changed
    _part(after, planes, moved, stayed)
    return Followed(
        _captured(after),
        [moved.get(index, plane) for index, plane in enumerate(planes)],
        tuple(f"plane {_plane_text(planes[index])} moves along to {_plane_text(new)}" for index, new in moved.items()),
        tuple(f"plane {_plane_text(planes[index])} stays: {why}" for index, why in sorted(stayed.items())),
    )


def _is_kept(kept: Collection[str], index: int, key: str) -> bool:
    return any(covers(name, f"planes[{index}].{key}") for name in kept)


@dataclass(frozen=True)
class _Named:
    """What a plane's field holds."""

    direction: int | str


def _heirs(old: Sequence[_Target], new: Sequence[_Target]) -> dict[Neuron | str, Neuron | str]:
    """For every neuron that is edited no longer, or not by the same intervention, what took its place or why not."""
    edited = {(one.site, neuron) for one in new if one.site is not None for neuron in one.neurons}
    heirs: dict[Neuron | str, Neuron | str] = {}
    for index, was in enumerate(old):
        now = new[index] if index < len(new) else _Target(was.site)
        if was.site is None or now.site is None:
            continue
        left = [neuron for neuron in was.neurons if neuron not in now.neurons]
        came = iter([neuron for neuron in now.neurons if neuron not in was.neurons])
        for neuron in was.neurons if was.site != now.site else left:
            heir: Neuron | str
            if (was.site, neuron) in edited:
                heir = f"another intervention edits {neuron}"
            elif was.site.kind != now.site.kind:
                heir = f"what is edited lies at {now.site} now"
            elif len(was.neurons) != len(now.neurons) and neuron in left:
                are = "neuron is" if len(now.neurons) == 1 else "neurons are"
                heir = f"{len(now.neurons)} {are} edited in place of {len(was.neurons)}"
            else:
                heir = (now.site, next(came) if neuron in left else neuron)
            known = heirs.setdefault((was.site, neuron), heir)
            if known != heir:
                heirs[was.site, neuron] = f"more than one neuron takes the place of {neuron}"
    return heirs


def _vectors(old: Sequence[_Target], new: Sequence[_Target]) -> dict[Neuron | str, _Named | str]:
    """For every vector that nothing is edited along any longer, the one that took its place, or why there is none."""
    along = {one.vector for one in new}
    heirs: dict[Neuron | str, _Named | str] = {}
    for was, now in zip(old, new, strict=False):
        if not was.vector or was.vector in along:
            continue
        heir = _Named(now.vector) if now.vector else f"nothing is edited along {was.vector} now"
        if heirs.setdefault(was.vector, heir) != heir:
            heirs[was.vector] = f"more than one vector takes the place of {was.vector}"
    return heirs


def _changed_heads(old: Sequence[_Target], new: Sequence[_Target]) -> dict[Site | None, str]:
    """Sites at which other heads are edited, whose coordinates' numbers are not known, and how that is said."""
    changed: dict[Site | None, str] = {}
    for was, now in zip(old, new, strict=False):
        if was.heads and now.heads and was.heads != now.heads and was.site == now.site and not now.neurons:
            heads = [", ".join(map(str, one.heads)) for one in (now, was)]
            changed[was.site] = f"head {heads[0]} is edited in place of head {heads[1]}"
    return changed


def _renamed(along: int | str, site: Site | None, heir: Neuron) -> _Named | str:
    """A direction named after another neuron; why not, where that one lies at another site."""
    direction = _direction(along)
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


def _direction(along: object) -> int | Direction | None:
    """What a plane's field holds; None for what is refused."""
    try:
        return direction_of(along) if isinstance(along, int | str) else None
    except SpecValueError:
        return None


def _named(site: Site | None, along: object) -> Neuron | str | None:
    """The neuron, coordinate, or vector that a direction of a plane at a site is named after."""
    direction = _direction(along)
    match direction:
        case int():
            return None if site is None else (site, direction)
        case NeuronWeights():
            return Site(direction.layer, "mlp.hook_post"), direction.neuron
        case FileVector():
            return str(direction)
        case _:
            return None


def _targets(data: Mapping[str, Any], head_width: HeadWidth) -> tuple[_Target, ...]:
    listed: object = data.get("interventions")
    items: Iterable[object] = cast("list[object]", listed) if isinstance(listed, list) else ()
    targets: list[_Target] = []
    for item in items:
        table = cast("Mapping[str, object]", item if isinstance(item, Mapping) else {})
        site = _site(table.get("site"))
        neurons, heads, coordinates = (_indices(table.get(name, ())) for name in ("neurons", "heads", "coordinates"))
        width = head_width(site.layer) if site is not None and heads else 0
        of_heads = [head * width + number for head in heads for number in (coordinates or range(width)) if width]
        vector = _named(None, table.get("direction"))
        targets.append(_Target(site, (*neurons, *of_heads), heads, vector if isinstance(vector, str) else ""))
    return tuple(targets)


def _indices(value: object) -> tuple[int, ...]:
    try:
        return _INDICES.validate_python(value)
    except ValidationError:
        return ()


def _captured(data: Mapping[str, Any]) -> list[Any]:
    captured: object = data["capture"]["sites"]
    return list(cast("list[object]", captured)) if isinstance(captured, list | tuple) else []


def _plane_site(data: Mapping[str, Any], plane: Mapping[str, Any]) -> object:
    """The name of a plane's site: its own, or the first captured one; None where there is none."""
    return cast("object", plane["site"] or next(iter(_captured(data)), None))


def _site(name: object) -> Site | None:
    try:
        return Site.parse(name) if isinstance(name, str) else None
    except SpecValueError:
        return None


def _plane_text(plane: Mapping[str, Any]) -> str:
    return f"{plane['a']} × {plane['b']}"
