"""What edited neurons write into captured sites of their layer, where that is their row of W_out and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import ExplorerError
from engine.figures.editing import SiteEdits
from engine.model.capture import Capture
from engine.model.decode import Generation, Row, decode
from engine.model.edits import Edit
from engine.model.load import LoadedModel
from engine.model.weights import w_out_rows
from engine.runner.forecast import MOST_NEURONS
from engine.spec import Experiment, Site

_TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
_HALF = 0.05
_PROBE = (0, 1)
"""Any two tokens."""


def written_rows(model: LoadedModel, experiment: Experiment) -> dict[str, NDArray[np.float32]]:
    """Find, for each captured site that sums what edited neurons write, their rows of W_out.

    A norm after W_out, or experts that share it, would make the site something else: so the model is asked once what
    moving the neurons does, and a site where that is not their rows' sum is left out.

    Returns:
        by site, [neuron, d_model].
    """
    found: dict[str, NDArray[np.float32]] = {}
    for site in experiment.capture.sites:
        edits = SiteEdits.of(experiment, site)
        if not 0 < len(edits.neurons) <= MOST_NEURONS:
            continue
        layer = Site.parse(site).layer
        try:
            rows = w_out_rows(model, layer)[edits.neurons]
        except ExplorerError:
            continue
        if _is_written(model, site, Site(layer, "mlp.hook_post"), tuple(edits.neurons.tolist()), rows):
            found[site] = rows
    return found


def _is_written(model: LoadedModel, site: str, post: Site, neurons: tuple[int, ...], rows: NDArray[np.float32]) -> bool:
    def last(*edits: Edit) -> NDArray[np.float64]:
        decoded = decode(model, [Row(_PROBE, edits)], Generation(0), [Capture(site, "last", "prompt")], share=False)
        return np.asarray(decoded.rows[0].captured[0], np.float64)

    before = last()
    step = float(np.linalg.norm(before)) / max(float(np.linalg.norm(rows)), 1e-30)
    values = tuple(step * (1 + place) / len(neurons) for place in range(len(neurons)))
    moved = last(Edit(str(post), "add", "all", neurons, values)) - before
    expected = np.array(values) @ rows.astype(np.float64)
    tolerance = _TOLERANCE.get(str(model.dtype).removeprefix("torch."), _HALF)
    return float(np.linalg.norm(moved - expected)) <= tolerance * float(np.linalg.norm(before))
