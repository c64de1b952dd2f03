"""What the worker answers about models while it may be busy with another one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import TypeVar

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.registry import Findings
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import SITE_KINDS, ModelSpec, Site
from srm_explorer.engine.experiment.site import ROUTER
from srm_explorer.engine.model import (
    LoadedModel,
    ModelKey,
    Tokenizer,
    WarmModel,
    device_key,
    fetch_model,
    measured_rate,
    model_key,
    sizes_of,
    weight_bytes,
)
from srm_explorer.engine.model_analyses.run import model_study, run_model_study
from srm_explorer.engine.runs.device_lock import device_lock
from srm_explorer.engine.runs.pace import keep_pace, known_pace
from srm_explorer.engine.runs.progress import Meter, Stopped, StopSignal
from srm_explorer.engine.worker.protocol import (
    CallerContext,
    Describe,
    Description,
    Study,
    StudyResult,
    Tokenize,
    Tokens,
    in_context,
    read_model,
)
from srm_explorer.engine.worker.queue import JobQueue, ending
from srm_explorer.engine.worker.spool import pack_result

_K = TypeVar("_K")
_V = TypeVar("_V")

_KEPT = 8
"""Tokenizers and descriptions that are kept."""

_LOOK = 0.2
"""Seconds between two looks at whether somebody still waits for a study."""


class Answers:
    """Describes models, tokenises texts, and has studies run.

    A tokenizer of its own serves the texts, so that they need not wait for a run; a description needs the model, is
    made between two runs, and kept.

    Args:
        queue: where the model is loaded, between two jobs.
        warm: the model at hand.
    """

    def __init__(self, queue: JobQueue, warm: WarmModel) -> None:
        self._queue = queue
        self._warm = warm
        self._guard = threading.Lock()
        self._tokenizers: dict[ModelKey, Tokenizer] = {}
        self._descriptions: dict[ModelKey, Description] = {}

    def describe(self, message: Describe) -> Description:
        """Describe a model, loading it if need be.

        Raises:
            ExplorerError: there is no such model, or the worker is busy.
        """
        spec = read_model(message.model)
        base = _base(spec, message.base, message.place)
        key = model_key(spec, base)
        known = self._descriptions.get(key)
        at_hand = self._warm.model_of(key)
        if known is None and at_hand is not None:
            known = _description(at_hand)
            if not known_pace(spec, base).sizes:
                keep_pace(spec, base, sizes=known.model_dump(mode="json"))
        if known is None:
            known = self._queue.run_model_task(lambda stop: self._load(spec, base, message.place, stop)).result()
            assert isinstance(known, Description)
        _keep(self._descriptions, key, known)
        return known

    def tokenize(self, message: Tokenize) -> Tokens:
        """Turn texts into ids and the text of each id.

        Raises:
            ExplorerError: there is no such tokenizer, or it has no BOS where one is asked for.
        """
        spec = read_model(message.model)
        base = _base(spec, message.base, message.place)
        key = model_key(spec, base)
        with self._guard:
            # A tokenizer of the library serves one thread at a time.
            tokenizer = self._tokenizers.get(key)
            if tokenizer is None:
                files = fetch_model(spec.name, spec.revision, base, only_tokenizer=True)
                tokenizer = Tokenizer.load(str(files.folder), None, stop_ids=frozenset())
                _keep(self._tokenizers, key, tokenizer)
            ids = [tokenizer.encode_prompt(content, message) for content in message.texts]
            return Tokens(ids=tuple(map(tuple, ids)), pieces=tuple(tuple(tokenizer.pieces(row)) for row in ids))

    def study(self, message: Study, is_wanted: Callable[[], bool]) -> StudyResult:
        """Run a study between two jobs, as long as somebody waits for it.

        Raises:
            ExplorerError: the worker is busy, the study refuses, or nobody waits any more.
        """
        stop = StopSignal()
        title = model_study(message.name).title
        findings = self._queue.run_model_task(lambda stop: self._study(message, stop), title, stop)
        while True:
            done, _ = wait([findings], timeout=_LOOK)
            if done:
                return pack_result(findings.result())
            if not is_wanted():
                stop.level = 2

    def loaded(self) -> tuple[str, str] | None:
        """Name the model at hand and its device."""
        model = self._warm.model
        return (model.name, model.placement.name) if model else None

    def _study(self, message: Study, stop: StopSignal) -> Findings:
        meter = Meter([self._queue.task_progress], stop)
        spec = read_model(message.model) if message.model else None
        try:
            if stop.level:
                raise Stopped
            with in_context(message.place):
                return run_model_study(
                    message.name,
                    message.arguments,
                    session=Path(message.session) if message.session else None,
                    model=spec,
                    base=_base(spec, message.base, message.place) if spec else Path(message.base),
                    warm=self._warm,
                    meter=meter,
                )
        except Stopped:
            raise ExplorerError("the study was stopped", where=message.name, remedy="ask for it again") from None

    def _load(self, spec: ModelSpec, base: Path, context: CallerContext, stop: StopSignal) -> Description:
        try:
            with in_context(context):
                return describe_here(spec, base, Meter([], stop), self._warm)
        except Stopped:
            raise ending() from None


def describe_here(spec: ModelSpec, base: Path, meter: Meter, warm: WarmModel) -> Description:
    """Load a model and describe it; keep its sizes and, where that is not known on this machine, measure its pace.

    Raises:
        ExplorerError: it cannot be loaded.
        Stopped: it was asked to stop while it waited for the device.
    """
    with device_lock(device_key(spec, base), meter, warm):
        model = warm.load(spec, base, meter.stage)
        description = _description(model).model_copy(update={"base_bytes": model.placement.used_bytes() or 0})
        rate = 0.0 if known_pace(spec, base).rate else measured_rate(model)
        keep_pace(spec, base, rate=rate, sizes=description.model_dump(mode="json"))
        return description


def _base(spec: ModelSpec, base: str, context: CallerContext) -> Path:
    """The folder a relative model folder is found from: the experiment's, then where the command was typed."""
    written = paths.expanded(spec.name)
    return next((Path(folder) for folder in (base, context.folder) if (Path(folder) / written).is_dir()), Path(base))


def _description(model: LoadedModel) -> Description:
    known: dict[str, object] = model.bridge.hook_dict
    layers = range(model.shape.n_layers)
    sites = [f"blocks.{layer}.{kind}" for layer in layers for kind in SITE_KINDS if f"blocks.{layer}.{kind}" in known]
    hollow = {site for site in sites if not model.shape.width(Site.parse(site))}
    sizes = sizes_of(model)
    return Description(
        shape=model.shape,
        device=model.placement.name,
        is_demo=model.is_demo,
        sites=(*(site for site in sites if site not in hollow), *(f"blocks.{at}.{ROUTER}" for at in model.experts)),
        weight_bytes=weight_bytes(model),
        kv_width=sizes.kv_width,
        n_vocab=sizes.n_vocab,
        free_bytes=model.placement.free_bytes(with_blocks=True),
    )


def _keep(kept: dict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]
