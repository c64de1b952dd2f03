"""What an experiment will cost: runs, tokens, time and memory, estimated before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from srm_explorer.engine.experiment import Experiment, ModelShape, Site, conditions, survey_settings
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.experiment.survey import chosen
from srm_explorer.engine.figures import count_of, three_digits
from srm_explorer.engine.runs.pace import Pace, known_pace
from srm_explorer.engine.runs.plan import ITEM_BYTES, Sizes, captured_bytes, rows_within
from srm_explorer.engine.runs.survey import disk_bytes, written_cells
from srm_explorer.engine.session.lengths import depends_on_length
from srm_explorer.engine.stats.equivalence import detectable_effect
from srm_explorer.engine.worker.protocol import Description

_PROMPT_TOKENS = 24
"""A prompt's length, where it is not known; it matters little beside what is generated."""


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        runs: prompts times samples times conditions, the baseline and controls included.
        tokens: generated at most.
        seconds: at the pace of the last run, or the measured one; None where neither is known.
        memory: bytes of the process with the weights, where they were looked at, and of the largest batch; None where
            the model is not known.
        control_runs: how many of the runs belong to controls.
        may_feed_again: whether texts of one prompt may differ in length, so that those that others end before are fed
            once more, for their means over common tokens.
        units: how many units the prompts make; None where that is not known.
        neurons: that a survey changes, one after the other; 0 without one, and where the model is not known.
        values: that each of them is given.
        scored: texts that are scored under them; their tokens are not generated, see `scored_tokens`.
        scored_tokens: of these.
        disk: bytes that a survey's tables take.
    """

    runs: int
    tokens: int
    seconds: float | None = None
    memory: int | None = None
    control_runs: int = 0
    may_feed_again: bool = False
    units: int | None = None
    neurons: int = 0
    values: int = 0
    scored: int = 0
    scored_tokens: int = 0
    disk: int = 0

    @property
    def detectable(self) -> float | None:
        """The smallest mean over units, in their standard deviations, that is found with a power of `POWER`."""
        found = math.nan if self.units is None else detectable_effect(self.units)
        return found if math.isfinite(found) else None

    def facts(self) -> tuple[str, ...]:
        """What it will cost, a fact each, and what it can see.

        As "600 runs + 10,450 control runs", "30,000 tokens", "about 16 s", "2.1 GB", "50 units see .404 sd".
        """
        controls = f" + {count_of(self.control_runs, 'control run')}" if self.control_runs else ""
        facts = [f"{count_of(self.runs - self.control_runs, 'run')}{controls}", f"{self.tokens:,} tokens"]
        if self.neurons:
            of = f"{count_of(self.neurons, 'neuron')} × {count_of(self.values, 'value')}"
            facts = [of, *([f"{count_of(self.scored, 'text')} scored"] if self.scored else []), *facts]
        facts += [f"about {duration(self.seconds)}"] if self.seconds is not None else []
        facts += [size(self.memory)] if self.memory is not None else []
        facts += [f"{size(self.disk)} on disk"] if self.disk else []
        if self.units is not None:
            seen = "too few for a p" if self.detectable is None else f"see {three_digits(self.detectable)} sd"
            facts.append(f"{count_of(self.units, 'unit')} {seen}")
        return tuple(facts)


def estimate(
    experiment: Experiment,
    n_prompts: int,
    rate: float | None,
    description: Description | None,
    units: int | None = None,
    scored: float = 0.0,
    prompt_tokens: int = 0,
) -> Cost:
    """Estimate a cost.

    Args:
        n_prompts: those that are selected.
        rate: tokens a second, of the last run or measured; None where it is not known.
        description: of the model in use; None without one.
        units: that the prompts make; None where that is not known.
        scored: tokens a second that a survey scores; 0 where that is not known.
        prompt_tokens: about how many a prompt has; 0 where that is not known.
    """
    if experiment.survey:
        rates = rate, scored or SCORING * (rate or 0.0)
        return _surveyed(experiment, n_prompts, rates, description, units, prompt_tokens or _PROMPT_TOKENS)
    kinds = [condition.kind for condition in conditions(experiment)]
    grid = Grid(n_prompts, experiment.generation.samples, len(kinds))
    tokens = len(grid) * experiment.generation.tokens
    seconds = tokens / rate if rate and tokens else None
    memory = None
    if description is not None and description.weight_bytes > 0 and description.shape.name == experiment.model.name:
        memory = _memory(experiment, len(grid), description)
    controls = n_prompts * experiment.generation.samples * kinds.count("control")
    again = experiment.generation.stop_at_eos and experiment.capture.reduce == "mean" and depends_on_length(experiment)
    return Cost(len(grid), tokens, seconds, memory, controls, again, units)


SCORING = 10
"""Times as many tokens a second as a model writes that it scores, where nothing is known of it: a text at once."""


def _surveyed(
    experiment: Experiment,
    n_prompts: int,
    rates: tuple[float | None, float],
    description: Description | None,
    units: int | None,
    prompt_tokens: int,
) -> Cost:
    """The cost of a survey: its baseline, the texts that are scored, and those that are written.

    Args:
        rates: tokens a second that are written, and scored; None where that is not known.
    """
    rate, scored = rates
    survey, template = experiment.survey, experiment.interventions[0]
    texts, values = n_prompts * experiment.generation.samples, len(survey_settings(experiment))
    fits = description is not None and description.shape.name == experiment.model.name
    shape = description.shape if description is not None and fits else None
    neurons = _neurons(experiment, shape)
    settings = neurons * values
    forced = settings * texts if survey.depth == "forced" else 0
    under, read = written_cells(experiment, neurons, texts)
    written = under * values * read
    each = experiment.generation.tokens
    tokens = (texts + written) * each
    scored_tokens = forced * (prompt_tokens - 1 if survey.score == "prompts" else each)
    seconds = tokens / rate + scored_tokens / scored if rate and neurons else None
    kept, widths = 0, list[int]()
    if shape is not None:
        kept = len(survey.kept_cells(survey.cells(template, shape)))
        widths = [shape.width(Site.parse(site)) for site in experiment.capture.sites]
    memory = None
    if description is not None and fits and description.weight_bytes > 0:
        memory = _memory(experiment, max(texts, settings), description)
    return Cost(
        runs=texts + written,
        tokens=tokens,
        seconds=seconds,
        memory=memory,
        units=units,
        neurons=neurons,
        values=values,
        scored=forced,
        scored_tokens=scored_tokens,
        disk=disk_bytes(experiment, neurons, kept, texts, widths),
    )


def _neurons(experiment: Experiment, shape: ModelShape | None) -> int:
    """How many neurons a survey changes; 0 where the model would have to be known for it."""
    survey, template = experiment.survey, experiment.interventions[0]
    if shape is not None:
        return len(survey.cells(template, shape))
    picked, layers = chosen(survey.neurons), chosen(survey.layers or "0")
    if picked.everything or layers.everything:
        return 0
    each = picked.top or len(picked.numbers)
    return each * max(1, len(layers.numbers)) + len(picked.cells)


def estimate_here(
    experiment: Experiment, base: Path, n_prompts: int, units: int | None = None, prompt_tokens: int = 0
) -> tuple[Cost, Pace]:
    """Estimate a cost by what is known of the model on this machine; the screen and the command line say this one.

    Args:
        base: the folder that a relative model folder is found from.

    Returns:
        the cost, and the pace that it is reckoned with.
    """
    pace = known_pace(experiment.model, base)
    sizes = sizes_in(pace)
    return estimate(experiment, n_prompts, pace.rate or None, sizes, units, pace.scored, prompt_tokens), pace


def sizes_in(pace: Pace) -> Description | None:
    """The sizes that were kept with a pace; None where there are none, or of another version."""
    try:
        return Description.model_validate(dict(pace.sizes)) if pace.sizes else None
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """A time in the unit a person would say it in: "16 s", "3 min", "2.5 h"."""
    if seconds < 1:
        return "1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes in the unit a person would say them in: "580 MB", "2.1 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _memory(experiment: Experiment, runs: int, description: Description) -> int:
    positions = _PROMPT_TOKENS + experiment.generation.tokens
    item = ITEM_BYTES[experiment.model.dtype]
    shape = description.shape
    sizes = Sizes(shape.n_layers, description.kv_width, shape.n_heads, shape.d_mlp, description.n_vocab, item)
    capture = experiment.capture
    kept = sum(captured_bytes(shape.width(Site.parse(site)), capture.reduce, positions) for site in capture.sites)
    kind = description.device.partition(":")[0].removesuffix("+disk")
    generation = experiment.generation
    sampled = generation.mode == "sample"
    row = sizes.row_bytes(_PROMPT_TOKENS, generation.tokens, kept, kind=kind, sampled=sampled)
    rows = rows_within(description.free_bytes, kind, row)
    # As the memory of a run is told: what the process takes, not its tensors alone.
    base = max(description.weight_bytes, description.base_bytes)
    return base + min(rows, max(runs, 1)) * row
