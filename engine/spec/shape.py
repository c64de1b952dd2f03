"""What must be known of a concrete model to say whether an experiment fits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import ExplorerError
from engine.spec.conditions import conditions
from engine.spec.controls import taken_neurons, targets_of
from engine.spec.direction import Component, Direction, NeuronWeights, choices_of
from engine.spec.direction_text import direction_of
from engine.spec.experiment import Experiment
from engine.spec.refusal import RefusalError
from engine.spec.run_choice import conditions_of
from engine.spec.site import Site


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

    def check_neurons(self, site: str, where: str = "") -> None:
        """Refuse `mlp.hook_post` at a layer where it holds no neurons.

        Raises:
            ExplorerError: names the layers where it does.
        """
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


def spans(numbers: Sequence[int]) -> str:
    """Write rising numbers in short: "0, 2 to 5"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    return ", ".join(" to ".join(map(str, one)) for one in found)


def check_against(experiment: Experiment, shape: ModelShape) -> None:
    """Refuse an experiment that reaches beyond a model.

    Raises:
        ExplorerError: a layer, neuron, plane or length out of range, with the range; or a centred residual stream on a
            model whose norms do not centre it.
    """
    for misfit in misfits(experiment, shape):
        raise misfit


def misfits(experiment: Experiment, shape: ModelShape) -> Iterator[ExplorerError]:
    """Tell every field of an experiment that reaches beyond a model, as `check_against` refuses the first of them."""
    for index, one in enumerate(experiment.interventions):
        place = f"interventions[{index}]"
        yield from _site(one.site, f"{place}.site", shape)
        for at, neuron in enumerate(one.neurons):
            yield from _coordinate(one.site, neuron, f"{place}.neurons[{at}]", shape)
    for index, name in enumerate(experiment.capture.sites):
        yield from _site(name, f"capture.sites[{index}]", shape)
    for index, plane in enumerate(experiment.planes):
        site = experiment.plane_site(plane)
        for key, along in (("a", plane.a), ("b", plane.b)):
            yield from _direction(experiment, site, direction_of(along), f"planes[{index}].{key}", shape)
    yield from _controls(experiment, shape)
    if experiment.generation.tokens >= shape.n_ctx:
        yield ExplorerError(
            f"{experiment.generation.tokens} tokens leave no room for a prompt in this model's context ({shape.n_ctx})",
            where="generation.tokens",
            remedy=f"choose at most {shape.n_ctx - 1}",
        )
    if experiment.capture.residual == "centred" and not shape.centres:
        yield ExplorerError(
            f"{shape.name} does not centre its residual stream (its norms are no LayerNorm)",
            where="capture.residual",
            remedy="choose 'raw'",
        )


def _controls(experiment: Experiment, shape: ModelShape) -> Iterator[ExplorerError]:
    """Each target of a site needs other neurons for its controls, none of which is used twice."""
    sites = [site for site, _ in targets_of(experiment.interventions)]
    count = experiment.controls.neurons
    for site in dict.fromkeys(sites if count else ()):
        free = shape.d_mlp - len(taken_neurons(experiment, site))
        if sites.count(site) * count > free:
            yield ExplorerError(
                f"{count} controls for each of {sites.count(site)} neurons of {site}, and only {free} others to choose",
                where="controls.neurons",
                remedy=f"choose at most {free // sites.count(site)}",
            )


def _site(name: str, where: str, shape: ModelShape) -> Iterator[ExplorerError]:
    layer = Site.parse(name).layer
    if layer >= shape.n_layers:
        yield ExplorerError(
            f"layer {layer} is out of range for this model ({shape.n_layers} layers)",
            where=where,
            remedy=f"choose 0 to {shape.n_layers - 1}",
        )
    try:
        shape.check_neurons(name, where)
    except ExplorerError as error:
        yield error


def _direction(
    experiment: Experiment, site: str, along: int | Direction, where: str, shape: ModelShape
) -> Iterator[ExplorerError]:
    """A coordinate's number, a neuron of a layer, a component, or conditions that the experiment has not."""
    match along:
        case int():
            yield from _coordinate(site, along, where, shape)
        case NeuronWeights():
            own = f"blocks.{along.layer}.mlp.hook_post"
            yield from _site(own, where, shape)
            yield from _coordinate(own, along.neuron, where, shape)
        case Component() if along.number > (width := Site.parse(site).width(shape)):
            yield ExplorerError(
                f"{site} has {width} principal components at most", where=where, remedy=f"choose pc1 to pc{width}"
            )
        case _:
            for choice in choices_of(along):
                try:
                    conditions_of(choice, conditions(experiment), "baseline")
                except RefusalError as error:
                    yield ExplorerError(error.what, where=where, remedy=error.remedy)


def _coordinate(site_name: str, index: int, where: str, shape: ModelShape) -> Iterator[ExplorerError]:
    site = Site.parse(site_name)
    width = site.width(shape)
    if index >= width:
        noun = "neuron" if site.is_mlp else "coordinate"
        yield ExplorerError(
            f"{noun} {index} is out of range for this model ({site.width_name} = {width})",
            where=where,
            remedy=f"choose 0 to {width - 1}",
        )
