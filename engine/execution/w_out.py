"""What edited neurons write into captured sites of their layer, where that is their row of W_out and nothing else."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.directions import Vector
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, Site
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.figures.arithmetic import SiteEdits
from srm_explorer.engine.model import LoadedModel, Weights, is_written, w_in_columns, w_out_rows, writing_rows
from srm_explorer.engine.runs.forecast import MOST_NEURONS
from srm_explorer.engine.runs.inputs import Inputs
from srm_explorer.engine.runs.planes import fixed_planes


def effective_w_out_rows(model: LoadedModel, experiment: Experiment) -> dict[str, NDArray[np.float32]]:
    """Find, for each captured site that sums what edited neurons write, their rows of W_out.

    A norm after W_out, or experts that share it, would make the site something else: so the model is asked once what
    moving the neurons does, and a site where that is not their rows' sum is left out.

    Returns:
        by site, [neuron, d_model].
    """
    written: dict[str, NDArray[np.float32]] = {}
    for site in experiment.capture.sites:
        edits = SiteEdits.of(experiment, site)
        if not 0 < len(edits.neurons) <= MOST_NEURONS:
            continue
        layer = Site.parse(site).layer
        try:
            rows = w_out_rows(model, layer)[edits.neurons]
        except ExplorerError:
            continue
        if is_written(model, site, str(Site(layer, "mlp.hook_post")), tuple(edits.neurons.tolist()), rows):
            written[site] = rows
    return written


Matrices: TypeAlias = dict[tuple[str, int], Weights]
"""Weights by kind and layer, a row a neuron."""

MOST_KEPT_NEURONS = 4
"""Neurons of an intervention whose weights are kept unasked, so that planes can be made of them later."""


def kept_directions(experiment: Experiment, inputs: Inputs, model: LoadedModel) -> dict[str, list[float]]:
    """The vectors that the experiment names, by their text, and the weights of the neurons it changes.

    A session holds them: it is replayed, and its planes are spanned again, also where no file of them is.

    Raises:
        ExplorerError: a vector of another width than its site, two directions on one line, no such weights.
    """
    named = [direction_of(along) for plane in experiment.planes for along in (plane.a, plane.b)]
    vectors: dict[str, Vector] = {text: np.asarray(vector, np.float64) for text, vector in inputs.directions.items()}
    matrices: Matrices = {}
    for direction in named:
        if isinstance(direction, NeuronWeights):
            vectors[str(direction)] = weights_of(model, direction, matrices)
    for direction in _of_changed_neurons(experiment):
        if str(direction) not in vectors:
            try:
                vectors[str(direction)] = weights_of(model, direction, matrices)
            except ExplorerError:
                break  # Nobody asked: a mixture of experts has no such matrix.
    widths = {site: model.shape.width(Site.parse(site)) for site in experiment.capture.sites}
    fixed_planes(experiment, widths, vectors)
    return {text: vector.tolist() for text, vector in vectors.items()}


def weights_of(model: LoadedModel, direction: NeuronWeights, matrices: Matrices | None = None) -> Vector:
    """[d_model] the row of W_out, times the gain of a norm that follows it, or column of W_in, of a neuron.

    Args:
        model: loaded.
        direction: whose.
        matrices: keeps what was read of the model for the next call.

    Raises:
        ExplorerError: as `w_out_rows`; the neuron is out of range.
    """
    read = writing_rows if direction.kind == "w_out" else w_in_columns
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
    if not any(Site.parse(site).is_stream for site in experiment.capture.sites):
        return []
    weights: list[NeuronWeights] = []
    for intervention in experiment.interventions:
        site = Site.parse(intervention.site)
        for neuron in intervention.neurons[:MOST_KEPT_NEURONS] if site.is_mlp else ():
            weights += [NeuronWeights("w_out", site.layer, neuron), NeuronWeights("w_in", site.layer, neuron)]
    return weights
