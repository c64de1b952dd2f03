"""Studies that need a model: run by the worker between two runs, or in this process under the same device lock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from srm_explorer.engine.analyses.registry import Arguments, Findings, marked, tables_in
from srm_explorer.engine.errors import ExplorerError, did_you_mean, is_out_of_memory
from srm_explorer.engine.execution.provenance import check_same_model, model_of
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.model import LoadedModel, WarmModel, device_key, settings_given_back
from srm_explorer.engine.model_analyses.neurons import (
    absolute_sets,
    directions_study,
    neuron_study,
    usage_study,
    weighted_pairs_study,
    weights_study,
)
from srm_explorer.engine.model_analyses.patching import patching_study
from srm_explorer.engine.model_analyses.scoring import score_study
from srm_explorer.engine.model_analyses.token_logits import tokens_study
from srm_explorer.engine.runs.device_lock import device_lock
from srm_explorer.engine.runs.progress import Meter, StopSignal
from srm_explorer.engine.session import Session, load_session


@dataclass(frozen=True)
class ModelStudy:
    """One study that needs a model.

    Attributes:
        name: "usage".
        title: what it answers, a few words.
        function: takes (session, arguments, model, meter) and returns `Findings`; it tells the meter how far it is,
            which raises Stopped where that is wished.
    """

    name: str
    title: str
    function: Callable[[Session | None, Arguments, LoadedModel, Meter], Findings]


MODEL_STUDIES = {
    study.name: study
    for study in (
        ModelStudy("neuron", "neuron card", neuron_study),
        ModelStudy("patching", "sufficiency and necessity of what is patched", patching_study),
        ModelStudy("score", "scoring of the texts", score_study),
        ModelStudy("tokens", "effect on chosen tokens", tokens_study),
        ModelStudy("usage", "use of neurons", usage_study),
        ModelStudy("weights", "weights of all neurons", weights_study),
        ModelStudy("directions", "weights of neurons", directions_study),
        ModelStudy("weighted-pairs", "pairings and weights", weighted_pairs_study),
    )
}
"""By name."""


@settings_given_back()
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
        name: one of `MODEL_STUDIES`.
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
        named = [str(prompt_set) for prompt_set in cast("list[Any]", sets)]
        # A session has its own prompts, wherever their files are now.
        if opened is None or named != list(opened.spec.prompts.sets):
            arguments = {**arguments, "prompts": absolute_sets(named, base)}
    if model is None:
        if opened is None:
            raise ExplorerError(f"the study '{name}' is about no model", remedy="name a session or a model")
        model, base = model_of(opened)
    holder = warm or WarmModel()
    try:
        with device_lock(device_key(model, base), meter, holder):
            loaded = holder.load(model, base, meter.stage)
            if opened is not None:
                check_same_model(opened, loaded)
            meter.weigh = loaded.placement.used_bytes
            # What it finds decides how texts are read: which of them share a pass, and what those share.
            holder.test(meter.stage, partial(meter.part, "testing"))
            findings = cast("Findings", _plain(study.function(opened, arguments, loaded, meter)))
            findings |= {"tables": _remarked(findings, loaded.remarks)} if loaded.remarks else {}
            return findings if opened is None else marked(findings, opened)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        what = "there is not enough memory for this study"
        raise ExplorerError(what, where=name, remedy="free some, or name fewer prompts") from None
    finally:
        if warm is None:
            holder.unload()


def _remarked(findings: Findings, remarks: tuple[str, ...]) -> list[dict[str, Any]]:
    """The tables of what was found, the first with what is to be known of the model."""
    first, *others = tables_in(findings)
    for remark in remarks:
        first = first.noted(remark)
    return [table.to_dict() for table in (first, *others)]


def model_study(name: str) -> ModelStudy:
    """Find a study by name; ExplorerError where there is none of it that needs a model."""
    if name not in MODEL_STUDIES:
        remedy = did_you_mean(name, list(MODEL_STUDIES))
        raise ExplorerError(f"there is no study '{name}' that needs a model", remedy=remedy)
    return MODEL_STUDIES[name]


def _plain(value: Any) -> Any:
    """As JSON would hold it, the same whether it crosses a socket or not."""
    match value:
        case float() | np.floating():
            number = float(cast("float", value))
            return number if math.isfinite(number) else None
        case np.integer() | np.bool_():
            return cast("Any", value).item()
        case Mapping():
            return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple():
            return [_plain(item) for item in cast("list[Any]", value)]
        case np.ndarray():
            return _plain(cast("Any", value).tolist())
        case _:
            return value
