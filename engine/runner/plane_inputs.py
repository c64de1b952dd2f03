"""What the planes of an experiment take from files and from the model, kept when a run begins."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.model.weights import Weights, w_in_columns, w_out_rows
from engine.runner.inputs import Inputs
from engine.runner.planes import fixed_planes
from engine.spec import Experiment, Site
from engine.spec.direction import FileVector, NeuronWeights
from engine.spec.direction_text import direction_of
from engine.studies.directions import Vector

Matrices: TypeAlias = dict[tuple[str, int], Weights]
"""Weights by kind and layer, a row a neuron."""

MOST_NEURONS = 4
"""Neurons of an intervention whose weights are kept unasked, so that planes can be made of them later."""


def plane_directions(experiment: Experiment, inputs: Inputs, model: LoadedModel) -> dict[str, list[float]]:
    """The vectors that planes of the experiment name, by their text, and the weights of the neurons it changes.

    Raises:
        ExplorerError: a vector of another width than its site, two directions on one line, no such weights.
    """
    named = [direction_of(along) for plane in experiment.planes for along in (plane.a, plane.b)]
    found: dict[str, Vector] = {}
    matrices: Matrices = {}
    for direction in named:
        if isinstance(direction, FileVector):
            found[str(direction)] = np.asarray(inputs.directions[str(direction)], np.float64)
        elif isinstance(direction, NeuronWeights):
            found[str(direction)] = weights_of(model, direction, matrices)
    for direction in _of_changed_neurons(experiment):
        if str(direction) not in found:
            try:
                found[str(direction)] = weights_of(model, direction, matrices)
            except ExplorerError:
                break  # Nobody asked: a mixture of experts has no such matrix.
    widths = {site: Site.parse(site).width(model.shape) for site in experiment.capture.sites}
    fixed_planes(experiment, widths, found)
    return {text: vector.tolist() for text, vector in found.items()}


def weights_of(model: LoadedModel, direction: NeuronWeights, matrices: Matrices | None = None) -> Vector:
    """[d_model] the row of W_out, or column of W_in, of a neuron.

    Args:
        model: loaded.
        direction: whose.
        matrices: keeps what was read of the model for the next call.

    Raises:
        ExplorerError: as `w_out_rows`; the neuron is out of range.
    """
    read = w_out_rows if direction.kind == "w_out" else w_in_columns
    kept = {} if matrices is None else matrices
    key = direction.kind, direction.layer
    if key not in kept:
        kept[key] = read(model, direction.layer)
    rows = kept[key]
    if direction.neuron >= len(rows):
        raise ExplorerError(
            f"neuron {direction.neuron} is out of range for this model (d_mlp = {len(rows)})",
            remedy=f"choose 0 to {len(rows) - 1}",
        )
    # The shortest decimals that tell the float32 apart: half the size in a file.
    return np.array([float(str(number)) for number in rows[direction.neuron]], np.float64)


def _of_changed_neurons(experiment: Experiment) -> list[NeuronWeights]:
    if all(Site.parse(site).is_mlp for site in experiment.capture.sites):
        return []
    found: list[NeuronWeights] = []
    for one in experiment.interventions:
        site = Site.parse(one.site)
        for neuron in one.neurons[:MOST_NEURONS] if site.is_mlp else ():
            found += [NeuronWeights("w_out", site.layer, neuron), NeuronWeights("w_in", site.layer, neuron)]
    return found
