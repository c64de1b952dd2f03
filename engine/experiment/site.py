"""A place in a model by its TransformerLens name, and the sizes that an experiment is checked against."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from srm_explorer.engine.errors import ExplorerError, SpecValueError, nearest
from srm_explorer.engine.experiment.values import shown, spans

SITE_KINDS = (
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "hook_attn_out",
    "attn.hook_z",
)
"""What may follow "blocks.L." in a site's name, besides the sites of experts."""

ROUTER = "mlp.hook_router"
"""The weight that each expert's output is added with, 0 where a position is not sent to it; captured only."""

FIRST_EXPERT = "mlp.experts.0.hook_post"
"""What `act(gate) * up` of an expert is called, here of the first."""

UNKNOWN = "unknown"
"""Stands for what the maker of a session could not tell: its model, and a site that nobody named. Another place than
those above, of which captured vectors came from elsewhere, is "unknown.NAME"."""

_EXPERT = re.compile(r"mlp\.experts\.(0|[1-9][0-9]{0,5})\.hook_post")

_NAME = re.compile(r"blocks\.(0|[1-9][0-9]{0,5})\.(.+)")
_LOOSE = re.compile(r"\D*([0-9]+)\.?(.*)", re.DOTALL)


@dataclass(frozen=True, order=True)
class Site:
    """A place in the model: a layer and the kind of activation there; `str` gives its TransformerLens name."""

    layer: int
    kind: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read "blocks.11.mlp.hook_post".

        Raises:
            SpecValueError: a name outside SITE_KINDS, with the nearest known name as its remedy.
        """
        if name == UNKNOWN or (name.startswith(f"{UNKNOWN}.") and name.isprintable()):
            return cls(0, name)
        match = _NAME.fullmatch(name)
        if match and (match[2] in SITE_KINDS or match[2] == ROUTER or _EXPERT.fullmatch(match[2])):
            return cls(int(match[1]), match[2])
        raise SpecValueError(f"{shown(name)} is not a known site", _remedy(name))

    def __str__(self) -> str:
        if self.is_unknown:
            return self.kind
        return f"blocks.{self.layer}.{self.kind}"

    @property
    def is_unknown(self) -> bool:
        """Whether it is no place in a model that is known; its layer means nothing then."""
        return self.kind.partition(".")[0] == UNKNOWN

    @property
    def is_mlp(self) -> bool:
        """Whether its coordinates are the neurons of a plain MLP."""
        return self.kind == "mlp.hook_post"

    @property
    def is_heads(self) -> bool:
        """Whether it holds what the attention heads give, one beside the other, before their output matrix."""
        return self.kind == "attn.hook_z"

    @property
    def expert(self) -> int | None:
        """The expert whose neurons its coordinates are; None anywhere else."""
        match = _EXPERT.fullmatch(self.kind)
        return int(match[1]) if match else None

    @property
    def is_mixture(self) -> bool:
        """Whether it lies in a mixture of experts: an expert's neurons, or the router."""
        return self.expert is not None or self.kind == ROUTER

    @property
    def has_neurons(self) -> bool:
        """Whether its coordinates are neurons, of a plain MLP or of an expert."""
        return self.is_mlp or self.expert is not None

    @property
    def is_stream(self) -> bool:
        """Whether its coordinates are those of the residual stream."""
        return self.kind.startswith("hook_")

    @property
    def width_name(self) -> str:
        """The name of its width: "d_mlp", "d_model", "n_heads x d_head", "d_expert" or "n_experts"."""
        if self.is_mixture:
            return "n_experts" if self.expert is None else "d_expert"
        return "d_mlp" if self.is_mlp else "n_heads x d_head" if self.is_heads else "d_model"


def _remedy(name: str) -> str:
    loose = _LOOSE.fullmatch(name)
    layer = int(loose[1]) if loose and len(loose[1]) <= 6 else 0
    written = loose[2] if loose else name
    # With its number an expert's site is near to no kind.
    number = re.search(r"experts?\D{0,2}([0-9]{1,6})", written)
    kind = f"mlp.experts.{int(number[1])}.hook_post" if number else nearest(written, (*SITE_KINDS, ROUTER))
    if kind:
        return f"did you mean '{Site(layer, kind)}'?"
    return f"choose blocks.L. followed by one of {', '.join(SITE_KINDS)}, {ROUTER}, mlp.experts.E.hook_post"


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model.

    Attributes:
        name: as the experiment names it.
        n_layers: number of blocks.
        d_model: width of the residual stream.
        d_mlp: number of neurons of an MLP; of the most layers, where they differ.
        n_ctx: positions it was made for.
        centres: whether its norms subtract the mean (LayerNorm), so that `residual = "centred"` loses nothing.
        mlp_widths: [layer] neurons that `mlp.hook_post` holds, 0 where it holds none: a mixture of experts, a block
            without an MLP. Empty where every layer has `d_mlp`.
        n_heads: of attention, those that ask (a group of them may share keys and values).
        head_widths: [layer] coordinates of one head in `attn.hook_z`, 0 where a layer has no such heads.
        experts: [layer] number of experts and neurons of each, (0, 0) where a layer has none that can be reached. Empty
            where no layer has any.
        unreached_experts: the class of the model's experts where it has some and none can be reached.
    """

    name: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_ctx: int
    centres: bool = True
    mlp_widths: tuple[int, ...] = ()
    n_heads: int = 0
    head_widths: tuple[int, ...] = ()
    experts: tuple[tuple[int, int], ...] = ()
    unreached_experts: str = ""

    @property
    def neuron_layers(self) -> tuple[int, ...]:
        """The layers whose `mlp.hook_post` holds neurons."""
        return tuple(layer for layer in range(self.n_layers) if self.neurons(layer))

    def neurons(self, layer: int) -> int:
        """Count the neurons of a layer's MLP, 0 where it has none."""
        return self.mlp_widths[layer] if layer < len(self.mlp_widths) else self.d_mlp

    def experts_at(self, layer: int) -> tuple[int, int]:
        """Count the experts of a layer, and the neurons of each; (0, 0) where it has none."""
        return self.experts[layer] if layer < len(self.experts) else (0, 0)

    def width(self, site: Site) -> int:
        """Count the coordinates of a site; 0 where a layer has no such neurons or experts."""
        if site.is_heads:
            return self.n_heads * self.head_width(site.layer)
        number, neurons = self.experts_at(site.layer)
        if site.kind == ROUTER:
            return number
        if site.expert is not None:
            return neurons
        return self.neurons(site.layer) if site.is_mlp else self.d_model

    def head_width(self, layer: int) -> int:
        """Count the coordinates of one attention head of a layer, 0 where it has none."""
        return self.head_widths[layer] if layer < len(self.head_widths) else 0

    def check_neurons(self, site: str, where: str = "") -> None:
        """Refuse neurons, heads or experts where a layer has none: the ExplorerError names what there is instead."""
        at = Site.parse(site)
        if at.is_stream or at.layer >= self.n_layers:
            return
        if at.is_heads and not self.head_width(at.layer):
            having = tuple(layer for layer in range(self.n_layers) if self.head_width(layer))
            raise ExplorerError(
                f"{site} holds no attention heads in {self.name}",
                where=where,
                remedy=f"choose {f'layer {spans(having)}, or ' if having else ''}{Site(at.layer, 'hook_attn_out')}",
            )
        number, _ = self.experts_at(at.layer)
        if at.is_mlp and not self.neurons(at.layer):
            layers = f"layer {spans(self.neuron_layers)}, " if self.neuron_layers else ""
            expert = f"an expert's, as {Site(at.layer, FIRST_EXPERT)}, " if number else ""
            raise ExplorerError(
                f"{site} holds no neurons in {self.name} (the layer has no plain MLP, as in a mixture of experts)",
                where=where,
                remedy=f"choose {layers}{expert}{'or ' if layers or expert else ''}another site, as"
                f" {Site(at.layer, 'hook_resid_post')}",
            )
        if at.is_mixture and not number:
            layers = [layer for layer, (count, _) in enumerate(self.experts) if count]
            what = f"layer {at.layer} of {self.name} has no experts"
            if self.unreached_experts:
                what = (
                    f"the experts of {self.name} cannot be reached ({self.unreached_experts} computes in its own way)"
                )
            raise ExplorerError(
                what,
                where=where,
                remedy=f"choose layer {spans(layers)}" if layers else f"choose {Site(at.layer, 'hook_mlp_out')}",
            )
        if at.expert is not None and at.expert >= number:
            raise ExplorerError(
                f"expert {at.expert} is out of range for layer {at.layer} of {self.name} ({number} experts)",
                where=where,
                remedy=f"choose 0 to {number - 1}",
            )


def head_coordinates(heads: Sequence[int], coordinates: Sequence[int], width: int) -> tuple[int, ...]:
    """The coordinates of `attn.hook_z`, heads laid one after the other, that some heads have.

    Args:
        heads: by number.
        coordinates: of each head; all where empty.
        width: coordinates of one head.
    """
    return tuple(head * width + at for head in heads for at in (coordinates or range(width)))
