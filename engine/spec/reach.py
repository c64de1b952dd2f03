"""How far an intervention reaches: what it does to a captured site while the text stays as it is."""

from __future__ import annotations

from typing import Literal, TypeAlias

from engine.spec.direction import Direction, NeuronWeights
from engine.spec.direction_text import direction_of
from engine.spec.experiment import Experiment
from engine.spec.intervention import InterventionSpec
from engine.spec.site import SITE_KINDS, Site

Segments: TypeAlias = tuple[bool, bool, bool]
"""Which stretches of a row: the prompt before its last token, that token, the generated tokens."""

Reach: TypeAlias = Literal["none", "own", "written", "through"]
"""What an intervention does at a site: nothing; it edits the site itself; the site sums what its neurons write; or it
comes there through other layers, which no arithmetic on the site's vectors can tell."""

Apartness: TypeAlias = Literal["no", "here", "elsewhere"]
"""Whether a plane holds nothing that is edited: no, or not known; yes, though neurons of the same layer, or coordinates
of the same site, are edited; yes, and neurons of other layers alone are edited."""

_ORDER = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "mlp.hook_post", "hook_mlp_out", "hook_resid_post")
_COVERED: dict[str, Segments] = {
    "all": (True, True, True),
    "prompt": (True, True, False),
    "last": (False, True, False),
    "predicting": (False, True, True),
    "generated": (False, False, True),
}
_KEEPS_OWN = ("add", "steer")


def covered(positions: str) -> Segments:
    """The stretches of a row that a choice of positions covers; each is covered whole or not at all."""
    return _COVERED[positions]


def captured_segments(experiment: Experiment) -> Segments:
    """The stretches of a row whose activations reach a captured vector."""
    before, last, generated = covered(experiment.capture.positions)
    generated = generated and experiment.generation.tokens > 0
    if experiment.capture.reduce == "last":
        return False, last and not generated, generated
    return before, last, generated


def reach_of(edited: str, captured: str) -> Reach:
    """What an intervention at one site does at another, tokens unchanged; sites by their TransformerLens names."""
    own, there = Site.parse(edited), Site.parse(captured)
    if own == there:
        return "own"
    if (there.layer, _ORDER.index(there.kind)) < (own.layer, _ORDER.index(own.kind)):
        return "none"
    if own.layer == there.layer and own.is_mlp and there.kind in ("hook_mlp_out", "hook_resid_post"):
        return "written"
    return "through"


def apart_from(experiment: Experiment, site: str, a: int | str, b: int | str) -> Apartness:
    """Whether nothing that an experiment edits lies in a plane of a site, as far as its directions' names tell.

    A neuron lies in a plane that is named after it: by its number, or by its row of W_out or column of W_in.
    Coordinates of the residual stream are told apart at the edited site alone: what arrives there from elsewhere, and
    what is steered along, has a share in all of them. Of vectors, means, components and random directions nothing is
    said.

    Args:
        experiment: without interventions nothing is said.
        site: the plane's, by its TransformerLens name.
        a, b: the plane's directions, as experiment files have them.
    """
    edits = experiment.interventions
    met = [_meeting(one, site, direction_of(along)) for along in (a, b) for one in edits]
    if not met or not set(met) <= {"here", "elsewhere"}:
        return "no"
    return "here" if "here" in met else "elsewhere"


def is_centred(experiment: Experiment, site: str) -> bool:
    """Whether a site's captured vectors have their mean over coordinates taken out."""
    return experiment.capture.residual == "centred" and not Site.parse(site).is_mlp


def needs_own(experiment: Experiment, site: str, one: InterventionSpec) -> bool:
    """Whether predicting a site takes the edited coordinates by segment, which its captured vectors do not tell.

    They do where nothing is lost of what was there (`add`, `steer`), and at an uncentred edited site where the captured
    positions are all edited, or none.
    """
    if one.op in _KEEPS_OWN or reach_of(one.site, site) not in ("own", "written"):
        return False
    if reach_of(one.site, site) == "written" or is_centred(experiment, site):
        return True
    pairs = zip(captured_segments(experiment), covered(one.positions), strict=True)
    return len({edited for captured, edited in pairs if captured}) > 1


def _meeting(one: InterventionSpec, site: str, along: int | Direction) -> Literal["in", "here", "elsewhere", "unknown"]:
    """Where a direction of a site lies beside what an intervention edits: it is that, or is apart from it."""
    edited, own = Site.parse(one.site), Site.parse(site)
    if isinstance(along, NeuronWeights):
        own, number = Site(along.layer, "mlp.hook_post"), along.neuron
    elif isinstance(along, int):
        number = along
    else:
        return "unknown"
    if not one.neurons or edited.is_mlp != own.is_mlp:
        return "unknown"
    if edited == own:
        return "in" if number in one.neurons else "here"
    return "elsewhere" if own.is_mlp else "unknown"


assert set(_ORDER) == set(SITE_KINDS)
