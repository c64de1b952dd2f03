"""What a session asked and how, in sentences with its own numbers: for the head of a report, and for a paper."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from srm_explorer.engine.experiment import InterventionSpec, Site, format_number
from srm_explorer.engine.experiment.positions import positions_text
from srm_explorer.engine.figures.captions import (
    direction_caption,
    frozen_caption,
    model_caption,
    plane_captions,
    site_caption,
    survey_caption,
    unknown_caption,
)
from srm_explorer.engine.figures.numbers import MINUS, count_of, short, three_digits
from srm_explorer.engine.session import Entry, Session, units_of

_MEASURED = "the baseline's generated tokens"
"""What values in units are measured on."""

_DONE = {
    "clamp": "was held at",
    "add": "had added to it",
    "scale": "was multiplied by",
    "zero": "was set to 0",
    "mean": f"was set to its mean over {_MEASURED}",
    "steer": "was added, as a unit vector, times",
    "project_out": "was projected out",
    "patch": "was replaced by what it is in another run",
}
_UNITS = {
    "raw": "",
    "sigma": f" standard deviations (σ) of its activation over {_MEASURED}",
    "quantile": f" (quantiles of its activation over {_MEASURED})",
    "norm": " mean lengths of the site's vectors",
}
_POSITIONS = {
    "all": "at every position, of the prompt and of the continuation",
    "prompt": "at the positions of the prompt",
    "last": "at the last token of the prompt",
    "predicting": "from the last token of the prompt on",
    "generated": "at the generated tokens",
}
_CAPTURED = {
    "all": "all positions",
    "prompt": "the positions of the prompt",
    "last": "the last token of the prompt",
    "predicting": "the last token of the prompt and the generated tokens",
    "generated": "the generated tokens",
}


BEYOND = "beyond arithmetic"
"""What a ledger calls the tests of that."""
_SIZES = (("n_layers", "layers"), ("d_model", "dimensions of the residual stream"), ("d_mlp", "neurons a layer"))


def question(session: Session) -> list[str]:
    """What was done, to which values, on which prompts, and what is asked: a paragraph each."""
    paragraphs = [" ".join([*_changes(session), *_controls(session)]), _prompts(session), _asked(session)]
    return [paragraph for paragraph in paragraphs if paragraph]


def _changes(session: Session) -> list[str]:
    edits = session.spec.interventions
    where = f"In {_model(session)}, "
    if not edits:
        if session.is_unknown("interventions") or session.is_unknown("conditions"):
            return [f"What was changed in {_model(session)} is unknown: the runs came from elsewhere."]
        return [f"Nothing was changed in {_model(session)}: the runs are those of the untouched model."]
    told = [f"{where if not at else 'Also, '}{_change(edit)}." for at, edit in enumerate(edits)]
    if session.spec.survey:
        told.append(f"It stands for many, which took its place one after the other: {survey_caption(session.spec)}.")
    if len([edit for edit in edits if edit.takes_values and not edit.background]) > 1:
        told.append(
            "Their values were crossed, each with each." if session.spec.grid else "Their values varied together."
        )
    return told


def _change(edit: InterventionSpec) -> str:
    values = listed([_signed(value) for value in edit.values])
    its = "their" if len(edit.neurons) + len(edit.heads) > 1 else "its"
    centre = f" {its} mean plus" if edit.op == "clamp" and edit.unit == "sigma" else ""
    strength = f"{centre} {values}{_UNITS[edit.unit].replace('its', its)}" if edit.values else ""
    source = f" ({edit.source})" if edit.source is not None else ""
    at = _POSITIONS[edit.positions] if isinstance(edit.positions, str) else f"at {_numbered(edit.positions)}"
    background = ", in every condition but the baseline" if edit.background else ""
    return f"{target_of(edit)} {_verb(edit)}{strength}{source}, {at}{background}"


def _numbered(positions: object) -> str:
    told = positions_text(positions)
    return f"positions {told}" if isinstance(positions, tuple) else told


def _verb(edit: InterventionSpec) -> str:
    verb = _DONE[edit.op]
    if len(edit.neurons) + len(edit.heads) < 2:
        return verb
    return re.sub(r"^was ", "were ", verb).replace(" to it", " to them").replace(" its ", " their ")


def target_of(edit: InterventionSpec) -> str:
    """What an intervention changes, with its site's full name: "neuron 373 of blocks.11.mlp.hook_post"."""
    site = Site.parse(edit.site)
    if edit.direction is not None:
        target = f"the direction {direction_caption(edit.site, edit.direction)}"
    elif edit.heads:
        target = f"head{'s' * (len(edit.heads) > 1)} {listed(list(map(str, edit.heads)))}"
        if edit.coordinates:
            target += f" (coordinates {listed(list(map(str, edit.coordinates)))})"
    else:
        noun = "neuron" if site.has_neurons else "coordinate"
        target = f"{noun}{'s' * (len(edit.neurons) > 1)} {listed(list(map(str, edit.neurons)))}"
    return f"{target} of {edit.site}"


def _controls(session: Session) -> list[str]:
    number = session.spec.controls.neurons
    if not number:
        return []
    alike = "matched neurons" if any(edit.neurons for edit in session.spec.interventions) else "random directions"
    chosen = session.spec.controls.chosen
    said = {"before": " before anybody looked at the results", "after": " after looking at results"}.get(chosen, "")
    return [
        f"{number} {alike} went through the same sweep as controls"
        + (f"; the target was chosen{said}." * bool(said) or ".")
    ]


def _prompts(session: Session) -> str:
    sets = Counter(prompt.set for prompt in session.prompts)
    named = listed([f"{name} ({number:,})" for name, number in sets.items()], 12)
    spec, conditions = session.spec.generation, [c for c in session.conditions if c.kind != "control"]
    number = len(session.prompts)
    told = f"The {number:,} prompts are those of {named}" if number != 1 else f"There is one prompt, of {named}"
    told += f"; {session.kept_back:,} of them are kept for confirmation and not looked at here." * bool(
        session.kept_back
    )
    told = told.rstrip(".") + "."
    if session.is_unknown("prompts"):
        told = f"Of the {count_of(number, 'prompt')} nothing but their number is known."
    if session.is_imported:
        return f"{told} {count_of(len(session.runs), 'run')} came from elsewhere{unknown_caption(session)}."
    how = (
        "taking the likeliest token each time" if spec.mode == "greedy" else f"sampled {count_of(spec.samples, 'time')}"
    )
    done = f"continued by {'up to ' * spec.stop_at_eos}{count_of(spec.tokens, 'token')}, {how}"
    done = done if spec.tokens else "passed through the model without a continuation"
    under = "once untouched (the baseline)" if len(conditions) == 1 else (
        f"once untouched (the baseline) and once under each of {count_of(len(conditions) - 1, 'setting')}"
    )  # fmt: skip
    runs = count_of(len(session.runs), "run")
    short_of = f" of {session.planned_runs:,} planned" if len(session.runs) < session.planned_runs else ""
    return f"{told} Each was {done}, {under}: {runs}{short_of}."


def _asked(session: Session) -> str:
    asked: list[str] = []
    if session.spec.interventions and session.spec.generation.tokens:
        asked.append("which texts change, and how far they move from the baseline's")
    if session.planes:
        planes = listed([f"{' × '.join(plane_captions(p))} of {site_caption(p.site)}" for p in session.planes], 6)
        noun = "plane" if len(session.planes) == 1 else "planes"
        predicted = ", what arithmetic predicts of the change," if session.spec.interventions else ""
        asked.append(
            f"how strongly, and in how many runs, the captured vectors align with a spotlight that turns through the"
            f" {noun} {planes}, beside the baseline{predicted} and what chance draws"
        )
    frozen = session.spec.analysis
    if frozen.tests:
        groups = f" of {listed(list(frozen.groups))}" if frozen.groups else ""
        tests = f"{listed(list(frozen.tests))}{groups}"
        asked.append(f"first of all what was named before the run, {frozen_caption(session)}: {tests}")
    return f"Asked is {'; '.join(asked)}." if asked else ""


def methods(session: Session, entries: Sequence[Entry]) -> list[str]:
    """The methods of a paper, a paragraph each, with the numbers of this session.

    Args:
        entries: of its ledger.
    """
    return [
        text
        for text in (_of_model(session), _of_runs(session), _of_capture(session), _of_statistics(session, entries))
        if text
    ]


def _of_model(session: Session) -> str:
    model = session.told("model")
    if not model:
        return f"Runs were made elsewhere and imported{unknown_caption(session)}." if session.is_imported else ""
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    sizes = [f"{model[key]} {noun}" for key, noun in _SIZES if model.get(key)]
    versions = session.told("versions")
    used = listed([f"{name} {version}" for name, version in versions.items()], 12)
    weights = str(model.get("weights_sha256") or "")
    told = f"We used {_model(session)}{revision} ({listed(sizes)}) in {session.spec.model.dtype}"
    told += f" on {session.provenance.get('device')}" * bool(session.provenance.get("device"))
    told += f" (SHA-256 of its weights {weights[:16]}…)" * bool(weights)
    return f"{told}, wrapped by TransformerLens' bridge with its weights as they are, nothing folded; {used}."


def _of_runs(session: Session) -> str:
    if session.is_imported:
        return ""
    spec, edits = session.spec.generation, session.spec.interventions
    tokens = sum(len(run.token_ids) for run in session.runs)
    bos = session.told("tokenizer").get("prepend_bos")
    fed = (" a BOS token before each" if bos else " without a BOS token") if isinstance(bos, bool) else ""
    told = [f"{count_of(len(session.prompts), 'prompt')} were fed{fed}; {tokens:,} tokens were written"]
    told[0] += f", at most {spec.tokens} a run" * bool(spec.tokens)
    if spec.mode == "greedy":
        told[0] += ", by greedy decoding" * bool(spec.tokens)
    else:
        limits = f", top k {spec.top_k}" * bool(spec.top_k) + f", top p {spec.top_p}" * bool(spec.top_p)
        told[0] += (
            f", sampled at temperature {short(spec.temperature)}{limits}, {count_of(spec.samples, 'sample')} a prompt"
            f" and setting (seed {spec.seed}; Gumbel noise keyed by prompt, sample and step, the same for all settings)"
        )
    if spec.stop_at_eos and spec.tokens:
        told[0] += "; a written end-of-text ended a run"
    if edits:
        changes = "; ".join(map(_change, edits))
        if session.spec.survey.score == "prompts":
            changes = changes.replace(_MEASURED, "the tokens of the prompts, but the first of each")
        told.append(f"{changes}, during generation and capture alike")
        raw = _raw(session)
        told.append(f"In raw values: {raw}" if raw else "")
    if session.spec.survey:
        told.append(
            "A survey: the neuron and layer of the intervention were replaced, one after the other"
            f" ({survey_caption(session.spec)}), and every neuron ranked among all others, unit by unit (normal scores)"
        )
    if session.spec.controls.neurons:
        told.append(
            f"{count_of(session.spec.controls.neurons, 'control')} (seed {session.spec.controls.seed}), matched on"
            " mean, spread and length of the row of W_out where they are neurons, were given the same raw values"
        )
    test = session.told("self_test")
    if test:
        told.append(
            "Runs were rows of shared batches; before the run, batch and single, cached and uncached passes agreed"
            f" within {three_digits(_largest(test))} (tolerance {three_digits(_number(test.get('tolerance')))})"
        )
    return ". ".join(text[:1].upper() + text[1:] for text in told if text) + "."


def _raw(session: Session) -> str:
    """Raw values by condition, where the experiment says them in another unit."""
    if all(edit.unit == "raw" and edit.op != "mean" for edit in session.spec.interventions) or not session.resolved:
        return ""
    parts = [
        f"{condition.label} {', '.join(three_digits(value) for value in values)}"
        for condition, row in zip(session.conditions, session.resolved, strict=False)
        if condition.kind == "sweep" and (values := [v for of in row if of is not None for v in of])
    ]
    return listed(parts, 24)


def _of_capture(session: Session) -> str:
    spec = session.spec
    if not spec.capture.sites:
        return ""
    positions = spec.capture.positions
    at = _CAPTURED[positions] if isinstance(positions, str) else _numbered(positions)
    kept = {"mean": "the mean over", "last": "the last of", "tokens": "every vector at"}[spec.capture.reduce]
    widths = session.widths
    sites = listed(
        [site + (f" ({widths[site]:,} coordinates)" if site in widths else "") for site in spec.capture.sites]
    )
    told = f"Of {sites} a run keeps {kept} {at}, as inputs" if not session.is_imported else f"Vectors are of {sites}"
    if any(Site.parse(site).is_stream for site in spec.capture.sites) and spec.capture.residual == "centred":
        told += "; residual streams less their mean over coordinates"
    if not session.planes:
        return f"{told}."
    planes = listed([f"{' × '.join(plane_captions(p))} of {site_caption(p.site)}" for p in session.planes], 6)
    levels = listed([short(level) for level in spec.spotlight.thresholds])
    return (
        f"{told}. Vectors were divided by their length and compared, by their cosine, with a direction turned through"
        f" {count_of(len(session.planes), 'plane')} ({planes}; 0° along the first, 90° along what the second adds) in"
        f" {count_of(spec.spotlight.angles, 'equal step')}; at each angle the mean cosine and the runs with a cosine"
        f" strictly above {levels} were taken. The mean is exactly A cos θ + B sin θ; amplitude and phase are those of"
        " (A, B)."
    )


def _of_statistics(session: Session, entries: Sequence[Entry]) -> str:
    if not session.runs:
        return ""
    units = len(set(units_of(session).of_run[session.seen].tolist()))
    told = [
        f"Statistics resample {count_of(units, 'unit')}, never runs: prompts with one core_id, or the same tokens, are"
        " one"
    ]
    bands = session.bands.get("planes")
    first: object = cast("list[object]", bands)[0] if isinstance(bands, list) and bands else None
    if isinstance(first, Mapping) and first:
        band = cast("Mapping[str, Any]", first)
        told.append(
            f"(A, B) has the joint {100 * _number(band.get('level')):.0f} % region of a studentised bootstrap over"
            f" units stratified by prompt set ({_number(band.get('resamples')):,.0f} resamples, seed"
            f" {band.get('seed')}); bands of curves are simultaneous"
        )
    if any(entry.test == BEYOND for entry in entries):
        told.append(
            "What is beyond arithmetic (observed less predicted, over tokens that a text and its baseline share) was"
            " tested by flips of the signs of units"
        )
    if not session.is_unknown("texts"):
        told.append(
            "Effects on texts are means over units of the mean over their runs, with a studentised bootstrap's 95 %"
            " interval and p; collapse has an exact McNemar test"
        )
    tests = sum({entry.key: entry.tests for entry in entries}.values())
    families = len({entry.family for entry in entries})
    if tests:
        told.append(
            f"{count_of(tests, 'test')} in {families} {'family' if families == 1 else 'families'}"
            f" {'was' if tests == 1 else 'were'} computed on this session so far; q is Benjamini and Hochberg's over"
            " all of a family"
        )
    return ". ".join(told) + "."


def bibtex(version: str, year: str) -> str:
    """An entry for the tool."""
    return (
        "@software{srm_explorer,\n"
        "  title   = {srm-explorer: experiments on single neurons of language models},\n"
        "  author  = {{The srm-explorer authors}},\n"
        f"  version = {{{version}}},\n"
        f"  year    = {{{year}}},\n"
        "  license = {MIT}\n"
        "}"
    )


def listed(names: Sequence[str], most: int = 40) -> str:
    """Names parted by commas, those beyond a number counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _model(session: Session) -> str:
    name = model_caption(session)
    return f"the {name}" if name in ("demo model", "unknown model") else name


def _signed(value: float) -> str:
    return format_number(value).replace("-", MINUS)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _largest(test: Mapping[str, Any]) -> float:
    names = ("wrapped_vs_plain", "batch_vs_single", "cached_vs_uncached", "add_0_vs_baseline", "shared_vs_plain")
    return max((_number(test[name]) for name in names if name in test), default=float("nan"))
