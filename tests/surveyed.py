"""A session of a survey that was made up: some neurons move the texts, the others alike by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import Experiment, conditions, survey_settings
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_records import RunStart
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.survey_journal import SurveyKept, SurveyPlanned
from srm_explorer.engine.session import (
    ForcedScores,
    FreeRuns,
    PromptRecord,
    RunRecord,
    Session,
    SurveyTables,
    save_session,
)
from srm_explorer.engine.session.standing import STANDING
from srm_explorer.engine.session.survey import SKETCH

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.2.hook_resid_post"
WIDTH = 16
TOKENS = {0: " door", 1: "it's\x1b[31m", 2: "\ufffd", 3: "\u202e", 4: "𝄞"}
"""Texts of token ids; every neuron promotes 0, 1 and 2, and demotes 3, 4 and 5."""


def begun(session: Session, *, parts: int) -> JournalWriter:
    """The folder of its run, which is not over: the baseline, and so many of the parts of ten neurons that it scores.

    Its writer is this process until it is closed.
    """
    path = session.path
    assert path is not None
    layout = Layout(len(session.runs), 0, (tuple(range(len(session.runs))),))
    start = RunStart(session.prompts, created=session.created)
    writer = JournalWriter.create(paths.run_folder(path), session.spec, layout=layout, extra=start)
    writer.append_batch(0, session.runs, session.vectors(), receipt={})
    spans = tuple((first, first + 10) for first in range(0, 40, 10))
    writer.event(SurveyPlanned("plan.safetensors", "", spans, (), 8, 8))
    for part in range(parts):
        writer.event(SurveyKept("forced", part, f"part-{part}.safetensors", "", 8))
    return writer


def surveyed(
    path: Path | None,
    *,
    layers: Sequence[int] = (1,),
    neurons: int = 40,
    named: int = 7,
    prompts: int = 12,
    values: Sequence[float] = (-4, 8),
    planted: Mapping[tuple[int, int], float] | None = None,
    depth: str = "forced",
    then: int = 0,
    done: int | None = None,
    seed: int = 0,
    spec: Mapping[str, Any] | None = None,
) -> Session:
    """Make a survey, and save it where a path is given.

    Args:
        named: the neuron of the experiment itself.
        planted: by (layer, neuron), how many times as far as the others it moves texts.
        then: with so many it went on, chosen on every other prompt.
        done: cells that are finished; all where None.
    """
    rng = np.random.default_rng(seed)
    experiment = Experiment.from_dict(
        {
            "model": {"name": "gpt2"},
            "prompts": {"sets": ["reasoning"]},
            "interventions": [{"site": SITE, "neurons": [named], "op": "clamp", "values": list(values)}],
            "generation": {"tokens": 8},
            "capture": {"sites": [SITE, RESIDUAL]},
            "planes": [{"site": SITE, "a": named, "b": 5}],
            "survey": {
                "neurons": "all",
                "layers": ", ".join(map(str, layers)),
                "depth": depth,
                **({"then": f"top:{then}"} if then else {}),
            },
            **(spec or {}),
        }
    )
    settings = survey_settings(experiment)
    cells = [(layer, neuron) for layer in layers for neuron in range(neurons)]
    at = np.arange(len(cells) if done is None else done, dtype=np.int32)
    factor = np.array([(planted or {}).get(cell, 1.0) for cell in cells])[:, None, None]
    shape = (len(cells), len(settings), prompts)
    kl = (factor * rng.exponential(size=shape) * rng.exponential(size=(1, 1, prompts)) / 100).astype(np.float32)
    change = np.stack([kl * 3, kl]).astype(np.float32)
    chose = np.arange(prompts) % 2 == 0 if then else np.zeros(prompts, np.bool_)
    forced = free = None
    if depth == "forced":
        ids = np.tile(np.arange(3, dtype=np.int32), (len(at), len(settings), 1))
        flips = np.clip(kl * 5, 0, 1)
        forced = ForcedScores(
            cells=at,
            kl=kl[at],
            logp=(-kl[at] / 2).astype(np.float32),
            flips=flips[at],
            change=change[:, at],
            promoted=ids,
            demoted=(ids + 3).astype(np.int32),
            token_texts=dict(TOKENS),
        )
    if depth == "free" or then:
        chosen_cells = at
        if then:
            moved = kl[:, :, chose].mean(axis=(1, 2))
            chosen_cells = np.sort(np.argsort(-moved, kind="stable")[:then]).astype(np.int32)
        texts = np.flatnonzero(~chose).astype(np.int32)
        part = kl[chosen_cells][:, :, texts]
        parted = np.where(part > 0.01, np.minimum(7, 0.05 / np.maximum(part, 1e-6)), -1).astype(np.int32)
        sites = change[:, chosen_cells][:, :, :, texts]
        free = FreeRuns(
            cells=chosen_cells,
            texts=texts,
            tokens=np.full(part.shape, 8, np.int32),
            parted=parted,
            text_hash=rng.integers(0, 2**63, size=part.shape).astype(np.uint64),
            change=sites,
            norm=np.ones_like(sites),
            x=part[None],
            y=-part[None],
            sketch=np.zeros((*sites.shape, SKETCH), np.float32),
        )
    raw = np.array([setting.values[0] or 0.0 for setting in settings])
    tables = SurveyTables(
        layer=np.array([layer for layer, _ in cells], np.int32),
        neuron=np.array([neuron for _, neuron in cells], np.int32),
        values=np.tile(raw, (len(cells), 1)),
        mean=rng.normal(size=len(cells)),
        std=rng.exponential(size=len(cells)),
        prompt=np.arange(prompts, dtype=np.int32),
        sample=np.zeros(prompts, np.int32),
        chose=chose,
        forced=forced,
        free=free,
        planned_forced=len(cells) if depth == "forced" else 0,
        planned_free=then or (len(cells) if depth == "free" else 0),
    )
    session = Session(
        name="many" if path is None else path.stem,
        state="finished" if done is None else "interrupted",
        spec=experiment,
        conditions=conditions(experiment),
        resolved=((None,),),
        prompts=tuple(
            PromptRecord("reasoning", f"prompt {at}", {}, (at + 1,), 0, f"{at:064x}") for at in range(prompts)
        ),
        runs=tuple(
            RunRecord(at, at, 0, 0, tuple(range(8)), "it went on", 1, "length", 0.5, {}) for at in range(prompts)
        ),
        provenance={STANDING: tables.standing.to_dict()},
        surveyed=tables,
    )
    if path is None:
        return session
    vectors = {site: rng.normal(size=(prompts, WIDTH)).astype(np.float32) for site in (SITE, RESIDUAL)}
    saved = save_session(session.changed(surveyed=None), path, vectors={**vectors, **tables.to_arrays()})
    return saved.session
