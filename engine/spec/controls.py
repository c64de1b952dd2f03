"""What an experiment's interventions are compared with: controls that go through the same sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictInt

from engine.spec.fields import SpecPart
from engine.spec.intervention import InterventionSpec
from engine.spec.refusal import RefusalError
from engine.spec.site import Site

if TYPE_CHECKING:
    from engine.spec.experiment import Experiment

MOST_CONTROLS = 999


class ControlsSpec(SpecPart):
    """Controls go through the whole sweep: other neurons, matched and clamped alike; for `steer` random directions.

    Attributes:
        neurons: how many; 0 for none. With k of them no p-value is below 1/(k+1).
        seed: of their choice.
    """

    neurons: Annotated[StrictInt, Field(ge=0, le=MOST_CONTROLS)] = 0
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0


def check_controls(controls: ControlsSpec, interventions: Sequence[InterventionSpec], tokens: int) -> None:
    """Refuse controls where nothing can be matched.

    Args:
        controls: of an experiment.
        interventions: of the same.
        tokens: that it generates.

    Raises:
        RefusalError: nothing is changed, or something that has no neurons to match, or nothing is generated that
            neurons could be matched on.
    """
    if not controls.neurons:
        return
    foreground = [(index, one) for index, one in enumerate(interventions) if not one.background]
    remedy = "set controls.neurons = 0"
    if not foreground:
        what = "there is no intervention that controls could be matched to"
        raise RefusalError(what, f"add one, or {remedy}", "controls.neurons")
    for index, one in foreground:
        if one.op != "steer" and not Site.parse(one.site).is_mlp:
            raise RefusalError(
                f"interventions[{index}] changes coordinates of {one.site}, which are no neurons to be matched",
                f"choose neurons of mlp.hook_post, or steer, or {remedy}",
                "controls.neurons",
            )
        if one.op != "steer" and not tokens:
            what = "controls are matched on generated tokens, and there are none"
            raise RefusalError(what, f"set generation.tokens, or {remedy}", "controls.neurons")


def targets_of(interventions: Sequence[InterventionSpec]) -> tuple[tuple[str, int], ...]:
    """The neurons that controls are matched to, each once: (site, neuron) in the order of the experiment."""
    foreground = [one for one in interventions if not one.background]
    return tuple(dict.fromkeys((one.site, neuron) for one in foreground for neuron in one.neurons))


def taken_neurons(experiment: Experiment, site: str) -> frozenset[int]:
    """Neurons of a site that no control may be: those that are intervened on, and those that span a plane."""
    taken = {neuron for one in experiment.interventions if one.site == site for neuron in one.neurons}
    for plane in experiment.planes:
        if experiment.plane_site(plane) == site:
            taken.update(one for one in (plane.a, plane.b) if isinstance(one, int))
    return frozenset(taken)
