"""Studies that need a model: run by the worker between two runs, or in this process under the same device lock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from srm_explorer.engine.analyses.pairs import SETTINGS, chosen_neuron, pair_tables
from srm_explorer.engine.analyses.registry import STUDIES, Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.execution.w_out import Matrices, weights_of
from srm_explorer.engine.experiment import ModelSpec, Site
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.model.device import is_out_of_memory, used_bytes
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.warm import WarmModel, device_key
from srm_explorer.engine.model.weights import w_out_rows
from srm_explorer.engine.model_analyses.neurons import absolute_sets
from srm_explorer.engine.runs.progress import Meter, StopSignal
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.worker.device_lock import device_lock


class ModelStudy(Protocol):
    """What the home of a study with `needs="model"` is."""

    def __call__(self, session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
        """Find something out; `meter` is told how far it is and raises Stopped where that is wished."""
        ...


def run_model_study(
    name: str,
    arguments: Arguments,
    *,
    session: Path | None = None,
    model: ModelSpec | None = None,
    base: Path,
    warm: WarmModel | None = None,
    meter: Meter | None = None,
) -> Findings:
    """Run a study that needs a model.

    Args:
        name: as `srm_explorer.engine.analyses` lists it.
        arguments: plain data, as the study takes it.
        session: path of the session it is about; None where it is about a model alone.
        model: the model; None for the session's own.
        base: the folder that a relative model folder, where `model` is given, and prompt files in `arguments` are
            found from; the working folder comes next.
        warm: holds the model before and after, so that the next study or run need not load it.
        meter: told how far it is, and asked whether it should go on.

    Returns:
        plain data: a number that is not finite is None, as it is in JSON.

    Raises:
        ExplorerError: no such study, session or model; the model is another than the session's; what the study itself
            refuses.
        Stopped: it was asked to stop.
    """
    study = model_study(name)
    meter = meter or Meter([], StopSignal())
    opened = load_session(session) if session is not None else None
    sets = arguments.get("prompts")
    if isinstance(sets, list | tuple):
        named = [str(one) for one in cast("list[Any]", sets)]
        # A session has its own prompts, wherever their files are now.
        if opened is None or named != list(opened.spec.prompts.sets):
            arguments = {**arguments, "prompts": absolute_sets(named, base)}
    if model is None:
        if opened is None:
            raise ExplorerError(f"the study '{name}' is about no model", remedy="name a session or a model")
        model, base = model_of(opened)
    tenant = warm or WarmModel()
    try:
        with device_lock(device_key(model.device), meter, tenant):
            loaded = tenant.load(model, base, meter.stage)
            if opened is not None:
                check_same_model(opened, loaded)
            meter.weigh = partial(used_bytes, loaded.device)
            return cast("Findings", _plain(study(opened, arguments, loaded, meter)))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        what = "there is not enough memory for this study"
        raise ExplorerError(what, where=name, remedy="free some, or name fewer prompts") from None
    finally:
        if warm is None:
            tenant.unload()


def model_study(name: str) -> ModelStudy:
    """Find a study by name.

    Raises:
        ExplorerError: there is none of that name that needs a model.
    """
    known = [one.name for one in STUDIES.values() if one.needs == "model"]
    if name not in known:
        raise ExplorerError(f"there is no study '{name}' that needs a model", remedy=did_you_mean(name, known))
    return cast("ModelStudy", STUDIES[name].function())


def load_model_studies() -> None:
    """Import what does the work of every study, so that an upgrade later on mixes no two versions in one process."""
    for one in STUDIES.values():
        if one.needs == "model":
            one.function()


def model_of(session: Session) -> tuple[ModelSpec, Path]:
    """Find the model a session was made with: as its experiment names it, else from where it was loaded then.

    Returns:
        the model, and the folder that a relative path of it starts from.
    """
    spec, recorded = session.spec.model, session.provenance
    base = Path(str(recorded.get("base") or (session.path or Path()).parent))
    source = Path(str(_recorded_model(session).get("source", "")))
    if not (base / spec.name).is_dir() and source.is_absolute() and source.is_dir():
        spec = spec.model_copy(update={"name": str(source)})
    return spec, base


def check_same_model(session: Session, model: LoadedModel) -> None:
    """Refuse a model that is not the one a session was made with, by the hash of its weights.

    Raises:
        ExplorerError: the hashes differ.
    """
    recorded = _recorded_model(session).get("weights_sha256")
    if recorded and recorded != model.weights_sha256:
        raise ExplorerError(
            f"{model.name} has not the weights that session {session.name} was made with",
            where=model.name,
            remedy=f"use the model with hash {str(recorded)[:12]}…",
        )


def _recorded_model(session: Session) -> Mapping[str, Any]:
    known: object = session.provenance.get("model")
    return cast("Mapping[str, Any]", known) if isinstance(known, Mapping) else {}


def _plain(value: Any) -> Any:
    """As JSON would hold it, the same whether it crosses a socket or not."""
    match value:
        case float() | np.floating():
            number = float(cast("float", value))
            return number if math.isfinite(number) else None
        case np.integer() | np.bool_():
            return cast("Any", value).item()
        case Mapping():
            return {str(key): _plain(one) for key, one in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple():
            return [_plain(one) for one in cast("list[Any]", value)]
        case np.ndarray():
            return _plain(cast("Any", value).tolist())
        case _:
            return value


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
    for text in StudyArguments(arguments, ("directions",), "directions").texts("directions"):
        direction = direction_of(text)
        if not isinstance(direction, NeuronWeights):
            raise ExplorerError(f"'{text}' is no neuron's weights", remedy="write w_out(layer.neuron)")
        found[str(direction)] = weights_of(model, direction, matrices).tolist()
    return findings_of(vectors=found)


def weighted_pairs_study(session: Session | None, arguments: Arguments, model: LoadedModel, meter: Meter) -> Findings:
    """Do what the study "pairs" does, with the cosines of the rows of W_out beside the correlations.

    Args:
        session: with its vectors.
        arguments: as `pairs_study`.
        model: the session's.
        meter: not told anything; the study takes seconds.

    Raises:
        ExplorerError: as `pairs_study`, and for a neuron that is no MLP's.
    """
    if session is None:
        raise ExplorerError("pairings are those of a session", remedy="name one")
    given = StudyArguments(arguments, SETTINGS, "pairs")
    site, _ = chosen_neuron(session, given.text("site"), given.whole("neuron"))
    parsed = Site.parse(site)
    if not parsed.is_mlp:
        raise ExplorerError(f"{site} has no W_out", where=session.name, remedy="choose an MLP's site")
    return pair_tables(session, arguments, w_out_rows(model, parsed.layer))
