"""The sizes of a model: all that an experiment is checked against."""

from __future__ import annotations

from dataclasses import dataclass

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment.site import Site
from srm_explorer.engine.experiment.values import spans


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model.

    Attributes:
        name: as the experiment names it.
        n_layers: number of blocks.
        d_model: width of the residual stream.
        d_mlp: number of neurons of one MLP.
        n_ctx: positions it was made for.
        centres: whether its norms subtract the mean (LayerNorm), so that `residual = "centred"` loses nothing.
        without_neurons: layers whose `mlp.hook_post` holds no neurons, or not `d_mlp` of them: a mixture of experts.
    """

    name: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_ctx: int
    centres: bool = True
    without_neurons: tuple[int, ...] = ()

    @property
    def neuron_layers(self) -> tuple[int, ...]:
        """The layers whose `mlp.hook_post` holds `d_mlp` neurons."""
        return tuple(layer for layer in range(self.n_layers) if layer not in self.without_neurons)

    def width(self, site: Site) -> int:
        return self.d_mlp if site.is_mlp else self.d_model

    def check_neurons(self, site: str, where: str = "") -> None:
        """Refuse `mlp.hook_post` where it holds no neurons: the ExplorerError names the layers where it does."""
        at = Site.parse(site)
        if not at.is_mlp or at.layer not in self.without_neurons:
            return
        lacking = f"the {self.d_mlp} neurons of a plain MLP" if self.neuron_layers else "neurons"
        layers = f"layer {spans(self.neuron_layers)}, or " if self.neuron_layers else ""
        raise ExplorerError(
            f"{site} does not hold {lacking} in {self.name} (it may be a mixture of experts)",
            where=where,
            remedy=f"choose {layers}another site, as {Site(at.layer, 'hook_resid_post')}",
        )
