"""What can be worked out on each tab of studies, and the settings that fit a session by themselves."""

from __future__ import annotations

from typing import Any, cast

from engine.spec import Site
from engine.spec.refusal import RefusalError
from tui.state.study_topics import Settings, StudySubject, Topic

SCORE = "score"
"""The study whose findings are saved with the session."""


def _neuron(subject: StudySubject) -> tuple[int, int] | None:
    """Layer and neuron that an experiment is about: the first it intervenes on, else the first of a plane."""
    data: dict[str, Any] = subject.session.spec.to_dict() if subject.session is not None else dict(subject.draft)
    interventions = cast("list[dict[str, Any]]", data.get("interventions") or [])
    places = [(one.get("site"), (one.get("neurons") or [None])[0]) for one in interventions]
    capture = cast("dict[str, Any]", data.get("capture") or {})
    sites = cast("list[str]", capture.get("sites") or [None])
    planes = cast("list[dict[str, Any]]", data.get("planes") or [])
    places += [(one.get("site") or sites[0], one.get("a")) for one in planes]
    for site, neuron in places:
        try:
            parsed = Site.parse(str(site))
        except RefusalError:
            continue
        if parsed.is_mlp and isinstance(neuron, int):
            return parsed.layer, neuron
    return None


def _card(subject: StudySubject) -> Settings:
    layer, neuron = _neuron(subject) or (0, 0)
    return {"layer": layer, "neuron": neuron, "neighbours": "layer", "top": 10, **_reading(subject)}


def _usage(subject: StudySubject) -> Settings:
    return {"layer": None, "top": 10, **_reading(subject)}


def _reading(subject: StudySubject) -> Settings:
    """Which texts are read: a session's own, else the prompt sets of the experiment that is being edited."""
    told = cast("dict[str, Any]", subject.draft.get("prompts") or {})
    saved = subject.session is not None and subject.session.path is not None
    return {"prompts": [] if saved else list(told.get("sets") or []), "text": "prompts", "skip": 0}


def _pairs(subject: StudySubject) -> Settings:
    return {"neuron": None, "partners": "both", "top": 20, "permutations": 2000, "seed": 0}


def _ensemble(subject: StudySubject) -> Settings:
    from engine.figures.units import UNIT_FACTOR

    session = subject.session
    factors = list(dict.fromkeys(name for prompt in session.prompts for name in prompt.factors)) if session else []
    # What statistics resample is no group of interest.
    factors = [name for name in factors if name != UNIT_FACTOR] or factors
    basis = f"mean({factors[0] if factors else 'set'}=*)"
    return {"basis": basis, "ensemble": "comb", "site": session.spec.capture.sites[0] if session else None}


CARD = Topic(
    "neuron",
    "card",
    "What the neuron reads and writes, which tokens it promotes, its nearest neighbours, how it fires on the prompts.",
    _card,
    model=True,
    needs_session=False,
)

TOPICS: dict[str, tuple[Topic, ...]] = {
    "Effects": (
        Topic(
            "effects",
            "effects",
            "What the intervention did to the texts, value by value.",
            lambda _: {"top": 10, "resamples": 10_000, "seed": 0},
        ),
        Topic(
            SCORE,
            "scoring",
            "Scores the same tokens under every condition: KL, log-probability and rank of each token, and what "
            "acts directly or only through changed text. It takes about as long as the run itself.",
            lambda _: {"texts": ["baseline", "condition"]},
            model=True,
            at_once=False,
        ),
    ),
    "Planes": (
        Topic("planes", "planes", "The session's planes: their angle, their energy, what lies in them.", lambda _: {}),
        Topic(
            "pairs",
            "co-activation",
            "Which neurons rise and fall with this one, at baseline and within each value. Enter makes the plane.",
            _pairs,
        ),
        Topic(
            "weighted-pairs",
            "with W_out",
            "The same beside the cosines of the rows of W_out, which the worker reads from the model.",
            _pairs,
            model=True,
            at_once=False,
        ),
        Topic(
            "finder",
            "finder",
            "Planes in which two groups differ most: chosen on half the units, tested on the other half.",
            lambda subject: {
                "neuron": None,
                "among": "partners",
                "k": 200,
                "criterion": "separation",
                "groups": None,
                "seed": 0,
            },
            at_once=False,
        ),
        Topic(
            "ensemble",
            "ensemble",
            "All planes that pairs of directions span, and how many runs align with the spotlight in them on average.\n"
            "basis=mean(type=*) takes the mean of every level of a factor; directions are parted by ;",
            _ensemble,
            at_once=False,
        ),
        Topic("controls", "controls", "The neuron beside others that were clamped alike.", lambda _: {"by": "pooled"}),
    ),
    "Neuron": (
        CARD,
        Topic(
            "usage",
            "usage",
            "How much every neuron of every layer is used on the prompts: the quietest, loudest and flattest.",
            _usage,
            model=True,
            at_once=False,
            needs_session=False,
        ),
    ),
}
"""By the tab's name."""
