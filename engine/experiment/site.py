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
"""What may follow "blocks.L." in a site's name."""

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
        match = _NAME.fullmatch(name)
        if match and match[2] in SITE_KINDS:
            return cls(int(match[1]), match[2])
        raise SpecValueError(f"{shown(name)} is not a known site", _remedy(name))

    def __str__(self) -> str:
        return f"blocks.{self.layer}.{self.kind}"

    @property
    def is_mlp(self) -> bool:
        """Whether its coordinates are the neurons of the MLP."""
        return self.kind == "mlp.hook_post"

    @property
    def is_heads(self) -> bool:
        """Whether it holds what the attention heads give, one beside the other, before their output matrix."""
        return self.kind == "attn.hook_z"

    @property
    def is_stream(self) -> bool:
        """Whether its coordinates are those of the residual stream."""
        return self.kind.startswith("hook_")

    @property
    def width_name(self) -> str:
        """The name of its width: "d_mlp", "d_model", or "n_heads x d_head"."""
        return "d_mlp" if self.is_mlp else "n_heads x d_head" if self.is_heads else "d_model"


def _remedy(name: str) -> str:
    loose = _LOOSE.fullmatch(name)
    layer = int(loose[1]) if loose and len(loose[1]) <= 6 else 0
    kind = nearest(loose[2] if loose else name, SITE_KINDS)
    if kind:
        return f"did you mean '{Site(layer, kind)}'?"
    return f"choose blocks.L. followed by one of {', '.join(SITE_KINDS)}"


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

    @property
    def neuron_layers(self) -> tuple[int, ...]:
        """The layers whose `mlp.hook_post` holds neurons."""
        return tuple(layer for layer in range(self.n_layers) if self.neurons(layer))

    def neurons(self, layer: int) -> int:
        """Count the neurons of a layer's MLP, 0 where it has none."""
        return self.mlp_widths[layer] if layer < len(self.mlp_widths) else self.d_mlp

    def width(self, site: Site) -> int:
        if site.is_heads:
            return self.n_heads * self.head_width(site.layer)
        return self.neurons(site.layer) if site.is_mlp else self.d_model

    def head_width(self, layer: int) -> int:
        """Count the coordinates of one attention head of a layer, 0 where it has none."""
        return self.head_widths[layer] if layer < len(self.head_widths) else 0

    def check_neurons(self, site: str, where: str = "") -> None:
        """Refuse a site that holds no neurons, or no heads: the ExplorerError names the layers where it does."""
        at = Site.parse(site)
        if at.is_heads and at.layer < self.n_layers and not self.head_width(at.layer):
            having = tuple(layer for layer in range(self.n_layers) if self.head_width(layer))
            raise ExplorerError(
                f"{site} holds no attention heads in {self.name}",
                where=where,
                remedy=f"choose {f'layer {spans(having)}, or ' if having else ''}{Site(at.layer, 'hook_attn_out')}",
            )
        if not at.is_mlp or at.layer >= self.n_layers or self.neurons(at.layer):
            return
        layers = f"layer {spans(self.neuron_layers)}, or " if self.neuron_layers else ""
        raise ExplorerError(
            f"{site} holds no neurons in {self.name} (the layer has no plain MLP, as in a mixture of experts)",
            where=where,
            remedy=f"choose {layers}another site, as {Site(at.layer, 'hook_resid_post')}",
        )


def head_coordinates(heads: Sequence[int], coordinates: Sequence[int], width: int) -> tuple[int, ...]:
    """The coordinates of `attn.hook_z`, heads laid one after the other, that some heads have.

    Args:
        heads: by number.
        coordinates: of each head; all where empty.
        width: coordinates of one head.
    """
    return tuple(head * width + at for head in heads for at in (coordinates or range(width)))
