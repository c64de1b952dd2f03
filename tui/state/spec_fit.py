"""Whether an experiment fits the model in use, as the worker describes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.errors import ExplorerError
from engine.spec import SITE_KINDS, Experiment, ModelShape, Site, misfits

if TYPE_CHECKING:
    from engine.runner.wire import Description


def shape_of(description: Description | None, name: object) -> ModelShape | None:
    """Sizes of the model of that name; None where something else, or nothing, was described."""
    if description is None or description.name != name:
        return None
    told = description
    return ModelShape(
        told.name, told.n_layers, told.d_model, told.d_mlp, told.n_ctx, told.centres, told.without_neurons
    )


def unfitting(experiment: Experiment, description: Description | None) -> Iterator[ExplorerError]:
    """Fields that reach beyond the model, and sites that it has not; none where its sizes are not known."""
    shape = shape_of(description, experiment.model.name)
    if shape is None or description is None:
        return
    yield from misfits(experiment, shape)
    named = {f"interventions[{i}].site": one.site for i, one in enumerate(experiment.interventions)}
    named |= {f"capture.sites[{i}]": site for i, site in enumerate(experiment.capture.sites)}
    for where, site in named.items():
        layer = f"blocks.{Site.parse(site).layer}."
        there = [name.removeprefix(layer) for name in description.sites if name.startswith(layer)]
        lacks_neurons = Site.parse(site).is_mlp and Site.parse(site).layer in shape.without_neurons
        if there and site not in description.sites and not lacks_neurons:
            what = f"{shape.name} has no site {site}"
            yield ExplorerError(what, where=where, remedy=f"choose {layer} and one of {', '.join(there)}")


def kinds_at(layer: str, present: str, description: Description | None) -> Sequence[str]:
    """Kinds of sites that can be chosen at a layer: those the model has, and the present one."""
    if description is None:
        return SITE_KINDS
    there = [kind for kind in SITE_KINDS if f"blocks.{layer}.{kind}" in description.sites]
    return [kind for kind in SITE_KINDS if kind in there or kind == present] if there else SITE_KINDS
