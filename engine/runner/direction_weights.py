"""Study "directions": what neurons write into the residual stream and read from it, as vectors for planes."""

from __future__ import annotations

from engine.errors import ExplorerError
from engine.model.load import LoadedModel
from engine.runner.plane_inputs import Matrices, weights_of
from engine.runner.progress import Meter
from engine.session import Session
from engine.spec.direction import NeuronWeights
from engine.spec.direction_text import direction_of
from engine.studies.arguments import Given
from engine.studies.study import Arguments, Findings, findings_of


def directions_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Read rows of W_out and columns of W_in.

    Args:
        session: not asked anything; the model is known to be its own.
        arguments: "directions": texts such as "w_out(11.373)".
        model: loaded.
        meter: not told anything; it takes a moment.

    Returns:
        "vectors": by text, [d_model] numbers.

    Raises:
        ExplorerError: a text that is no neuron's weights, or no such layer or neuron.
    """
    found: dict[str, list[float]] = {}
    matrices: Matrices = {}
    for text in Given(arguments, ("directions",), "directions").texts("directions"):
        direction = direction_of(text)
        if not isinstance(direction, NeuronWeights):
            raise ExplorerError(f"'{text}' is no neuron's weights", remedy="write w_out(layer.neuron)")
        found[str(direction)] = weights_of(model, direction, matrices).tolist()
    return findings_of(vectors=found)
