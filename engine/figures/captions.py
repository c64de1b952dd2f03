"""What sites, planes, interventions and sessions are called on a chart and in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from srm_explorer.engine.experiment import Experiment, InterventionSpec, Site
from srm_explorer.engine.experiment.directions import (
    Component,
    FileVector,
    GroupMean,
    MeanDifference,
    NeuronWeights,
    RandomDirection,
    RunChoice,
    direction_of,
)
from srm_explorer.engine.experiment.model_fit import apart_from_all
from srm_explorer.engine.experiment.positions import positions_text
from srm_explorer.engine.figures.numbers import short
from srm_explorer.engine.figures.table import EXPLORATORY
from srm_explorer.engine.session import PlaneRecord, Session, Unknown
from srm_explorer.engine.session.session import IMPORTED

DEMO = "demo"
LONGEST = 32
"""Characters that a direction's name may take on a chart."""
_PAST = {
    "clamp": "clamped",
    "add": "added",
    "scale": "scaled",
    "zero": "ablated",
    "mean": "mean-ablated",
    "steer": "steered",
    "project_out": "projected out",
    "patch": "patched",
}
_UNITS = {"raw": "", "sigma": " σ", "quantile": " quantile", "norm": " norm"}


def token_caption(token: int, text: str | None) -> str:
    """A token as a table has it: its text quoted, controls as their codes; "#198" where it has none that is known.

    What stands for an id beyond all tokens, "[50300]" (a model's vocabulary may be padded), says nothing, nor does what
    was kept of half a character before its bytes were: the number does.
    """
    return repr(text) if text and "\ufffd" not in text and text != f"[{token}]" else f"#{token}"


def site_caption(site: str) -> str:
    """A site in short: "L11 hook_post", "L0 resid_pre", "L3 E7 hook_post" for an expert's neurons, "unknown site"."""
    parsed = Site.parse(site)
    if parsed.is_unknown:
        return parsed.kind.partition(".")[2] or "unknown site"
    kind = parsed.kind.rpartition(".")[2]
    expert = "" if parsed.expert is None else f"E{parsed.expert} "
    return f"L{parsed.layer} {expert}{kind.removeprefix('hook_') if parsed.is_stream else kind}"


def coordinate_caption(site: str, index: int) -> str:
    """A coordinate of a site: "n373" for a neuron, "e3" for a router's expert, "d373" for a dimension of anything else.

    Index i of one is unrelated to index i of the other, so they must not look alike.
    """
    parsed = Site.parse(site)
    return f"{'n' if parsed.has_neurons else 'e' if parsed.is_mixture else 'd'}{index}"


def direction_caption(site: str, along: int | str) -> str:
    """A direction in few words: "n373", "mean type=declarative", "PC1", "W_out L11 n373", "v" of "file.npz#v"."""
    match direction_of(along):
        case int(index):
            caption = coordinate_caption(site, index)
        case FileVector(_, name):
            caption = name
        case GroupMean(runs):
            caption = f"mean {_runs(runs)}"
        case MeanDifference(runs, others):
            caption = _difference(runs, others)
        case Component(number, runs):
            caption = f"PC{number}" + (f" of {_runs(runs)}" if runs != RunChoice() else "")
        case RandomDirection(seed):
            caption = f"random {seed}"
        case NeuronWeights(kind, layer, neuron):
            caption = f"{kind.replace('w', 'W')} L{layer} n{neuron}"
    return caption if len(caption) <= LONGEST else f"{caption[: LONGEST - 1].rstrip()}…"


def plane_captions(plane: PlaneRecord) -> tuple[str, str]:
    """The two directions of a plane: "n373", "n2202"."""
    return direction_caption(plane.site, plane.a), direction_caption(plane.site, plane.b)


def plane_title(plane: PlaneRecord) -> str:
    """A plane and where it lies: "n373 × n2202 · L11 hook_post", and of how many units it is made and shown."""
    a, b = plane_captions(plane)
    held = plane.held_out
    split = "" if held is None else f" · held out: made on {held.made} units, shown on {held.shown}"
    return f"{a} × {b} · {site_caption(plane.site)}{split}"


_LONGEST = 40
"""Characters of a list of neurons."""


def pooled_caption(experiment: Experiment) -> str:
    """What all values together are called: "clamped"; "intervened" where operations differ."""
    operations = {edit.op for edit in experiment.interventions if not edit.background}
    return _PAST[operations.pop()] if len(operations) == 1 else "intervened"


def survey_caption(experiment: Experiment) -> str:
    """What a survey goes through: "all neurons of L11, forced, then free for the top 50"; empty without one."""
    survey = experiment.survey
    if not survey:
        return ""
    neurons = survey.neurons if len(survey.neurons) <= _LONGEST else f"{survey.neurons[:_LONGEST]} …"
    layers = survey.layers or str(Site.parse(experiment.interventions[0].site).layer)
    of = "" if "." in neurons and ".." not in neurons else f" of {'all layers' if layers == 'all' else f'L{layers}'}"
    what = {"all": "all neurons"}.get(neurons, f"neurons {neurons}")
    then = f", then free for the top {survey.goes_on}" if survey.goes_on else ""
    on = " on the prompts" if survey.score == "prompts" else ""
    return f"{what}{of}, {survey.depth}{on}{then}"


def intervention_captions(experiment: Experiment) -> tuple[str, ...]:
    """One text an intervention: "L11 hook_post · n373 · clamp −20 … 20 (11 values)"."""
    return tuple(_intervention(edit) for edit in experiment.interventions)


def edited_caption(experiment: Experiment, *, past: bool, layers: bool = False) -> str:
    """What is edited, and how: "n137 is clamped", "n3, n5 were edited" where operations differ.

    Args:
        experiment: with an intervention.
        past: as told of a session.
        layers: whether to say the layer of each, which is said anyway where there are several.
    """
    layers = layers or len({edit.site for edit in experiment.interventions}) > 1
    names: dict[str, None] = {}
    for edit in experiment.interventions:
        layer = f"L{Site.parse(edit.site).layer} " if layers else ""
        targets = [coordinate_caption(edit.site, neuron) for neuron in edit.neurons]
        targets += [f"head {head}" for head in edit.heads]
        targets += [direction_caption(edit.site, edit.direction)] if edit.direction is not None else []
        names |= dict.fromkeys(f"{layer}{target}" for target in targets)
    operations = {edit.op for edit in experiment.interventions}
    verb = ("was" if past else "is") if len(names) == 1 else ("were" if past else "are")
    return f"{_listed(list(names))} {verb} {_PAST[operations.pop()] if len(operations) == 1 else 'edited'}"


def unseen_caption(experiment: Experiment) -> str:
    """That no plane of an experiment holds anything that it edits; empty where one does, or none is known not to.

    As "no plane holds what is edited: n137 is clamped, and the plane is n373 × n2202".
    """
    apart = apart_from_all(experiment)
    if apart == "no":
        return ""
    planes: list[str] = []
    for plane in experiment.planes:
        site = experiment.plane_site(plane)
        where = f" of {site_caption(site)}" if apart == "elsewhere" else ""
        planes.append(f"{direction_caption(site, plane.a)} × {direction_caption(site, plane.b)}{where}")
    are = "planes are" if len(planes) > 1 else "plane is"
    edited = edited_caption(experiment, past=False, layers=apart == "elsewhere")
    return f"no plane holds what is edited: {edited}, and the {are} {_listed(planes, 'planes')}"


def model_caption(session: Session) -> str:
    """The model's name, "unknown model" without one; the bundled one says what it is, wherever its results show."""
    name = session.spec.model.name
    if not session.spec.model.is_known:
        return "unknown model"
    if name == DEMO:
        return "demo model"
    return f"{name} (demo model)" if session.told("model").get("is_demo") else name


_MOST_SAID, _LONGEST_SAID = 8, 40
"""Entries of metadata that a line holds, and letters of one."""


def source_caption(session: Session) -> str:
    """Where an import came from, and what the metadata beside it says, as far as that is short; empty for a run."""
    imported = session.told(IMPORTED)
    files = cast("list[object]", imported.get("files") or [])
    parts = [", ".join(map(str, files[:2])) + (f" and {len(files) - 2:,} more files" if len(files) > 2 else "")]
    for entry in cast("dict[str, object]", imported.get("metadata") or {}).values():
        said = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
        parts += [f"{name} {value}" for name, value in said.items() if isinstance(value, str | int | float)]
    if tokenizer := session.tokenizer:
        parts.append(f"texts parted by {tokenizer}")
    short = [part for part in dict.fromkeys(parts[1:]) if len(part) <= _LONGEST_SAID]
    return " · ".join(filter(None, (parts[0], *short[:_MOST_SAID])))


def state_caption(session: Session, *, is_running: bool = False) -> str:
    """How far it got: "finished", "interrupted: 412 of 600 runs", "imported: texts, tokens unknown".

    Of a survey it counts neurons too: "interrupted: 50 of 50 runs of the baseline, 29 of 512 neurons scored".

    Args:
        is_running: whether a process is going on with it: "running: 412 of 600 runs are saved".
    """
    if session.is_imported:
        return f"imported{unknown_caption(session)}"
    if session.state == "finished":
        return session.state
    return f"running: {session.kept} are saved" if is_running else f"{session.state}: {session.kept}"


def unknown_caption(session: Session) -> str:
    """What is not known of runs that came from elsewhere: ": model, tokens unknown"; empty where all is."""
    unknown = [what for what in get_args(Unknown) if session.is_unknown(what)]
    return f": {', '.join(unknown)} unknown" if unknown else ""


def value_caption(experiment: Experiment) -> str:
    """What a dose chart's horizontal axis holds: "clamp value (σ)"."""
    swept = [edit for edit in experiment.interventions if edit.takes_values and not edit.background]
    varying = [edit for edit in swept if len(edit.values) > 1] or swept
    if not varying:
        return "value"
    unit = _UNITS[varying[0].unit].strip()
    return f"{varying[0].op} value" + (f" ({unit})" if unit else "")


def _runs(choice: RunChoice) -> str:
    return " ".join([*(f"{name}={level}" for name, level in choice.levels), *choice.at]) or "baseline"


def _difference(runs: RunChoice, others: RunChoice) -> str:
    """Only what differs: "declarative − rhetorical", "+20 − baseline"."""
    if (
        len(runs.levels) == len(others.levels) == 1
        and runs.at == others.at
        and runs.levels[0][0] == others.levels[0][0]
    ):
        caption = " ".join(runs.at)
        return f"{runs.levels[0][1]} − {others.levels[0][1]}" + (f" {caption}" if caption else "")
    if runs.levels == others.levels:
        caption = " ".join(f"{name}={level}" for name, level in runs.levels)
        sides = [" ".join(choice.at) or "baseline" for choice in (runs, others)]
        return f"{sides[0]} − {sides[1]}" + (f" {caption}" if caption else "")
    return f"{_runs(runs)} − {_runs(others)}"


def _intervention(edit: InterventionSpec) -> str:
    target = (edit.direction or "").rpartition("/")[2]
    if edit.neurons:
        target = _listed([coordinate_caption(edit.site, neuron) for neuron in edit.neurons])
    if edit.heads:
        target = f"head{'s' if len(edit.heads) > 1 else ''} {_listed(list(map(str, edit.heads)), 'heads')}"
        numbers = _listed(list(map(str, edit.coordinates)), "coordinates")
        target += f" [{numbers}]" if edit.coordinates else ""
    parts = [site_caption(edit.site), target, edit.op + _values(edit)]
    parts += [f"from {edit.source}"] if edit.source else []
    if edit.positions != "all":
        told = positions_text(edit.positions)
        parts.append(f"{told} positions" if isinstance(edit.positions, str) else f"positions {told}")
    if edit.background:
        parts.append("in the background")
    return " · ".join(parts)


def _listed(names: Sequence[str], noun: str = "neurons") -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} … ({len(names)} {noun})"


def _values(edit: InterventionSpec) -> str:
    if not edit.values:
        return ""
    written = [short(value) for value in edit.values]
    unit = _UNITS[edit.unit]
    if len(written) <= 5:
        return f" {', '.join(written)}{unit}"
    low, high = short(min(edit.values)), short(max(edit.values))
    return f" {low} … {high}{unit} ({len(written)} values)"


def frozen_caption(session: Session) -> str:
    """The analysis that was frozen before a session's run: "'primary' (3a4b5c6d)"; empty where there is none."""
    analysis = session.spec.analysis
    return f"'{analysis.family}' ({analysis.sha256[:8]})" if analysis.tests else ""


def exploratory_line(session: Session) -> str:
    """What stands over everything that a frozen analysis does not compute; empty where nothing was frozen."""
    frozen = frozen_caption(session)
    if not frozen:
        return ""
    return f"{EXPLORATORY}the frozen analysis {frozen} is what `srm-explorer analysis {session.name}` computes, no more"
