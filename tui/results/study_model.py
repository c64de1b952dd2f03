"""What studies can be asked from a tab, which were asked, and the pages that their answers make."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from srm_explorer.engine.analyses import tables_in
from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.figures import HistogramFigure, SurveyMapFigure, TableFigure
from srm_explorer.engine.session import UNIT_FACTOR

if TYPE_CHECKING:
    from srm_explorer.engine.session import Session


Settings: TypeAlias = dict[str, Any]
"""Plain data, as a study takes it."""


@dataclass(frozen=True, eq=False)
class StudySubject:
    """What a study is asked about.

    Attributes:
        session: in view; None before there is one.
        plane: index of the plane in view.
        by: how runs are grouped.
        draft: the experiment that is being edited, as plain data; empty before it is known.
        run: the folder in which the session's runs are collected, while it is not saved.
    """

    session: Session | None
    plane: int = 0
    by: tuple[str, ...] = ()
    draft: Mapping[str, Any] = field(default_factory=dict[str, Any])
    run: Path | None = None


@dataclass(frozen=True)
class Topic:
    """One thing that can be worked out.

    Attributes:
        study: its name in `srm_explorer.engine.analyses`.
        title: what it is called on its tab.
        teaches: what it answers, and what it takes; stands where nothing is worked out yet.
        settings: makes its settings for a subject.
        model: whether the worker does it, with the model.
        at_once: whether it begins as soon as it is looked at.
        needs_session: whether there is nothing to ask before a session is saved.
    """

    study: str
    title: str
    teaches: str
    settings: Callable[[StudySubject], Settings]
    model: bool = False
    at_once: bool = True
    needs_session: bool = True

    @property
    def charted(self) -> bool:
        """Whether its tables have a chart for a paper."""
        return self.study in _CHARTED


_CHARTED = frozenset({"effects", "collapse", "score", "tokens", "patching", "controls", "finder"})

KEPT = 48
"""Answers that are kept."""


@dataclass(frozen=True)
class Question:
    """One study of one subject.

    Attributes:
        study: its name.
        path: the session's file, or the folder of its run; None for a study of a model alone.
        revision: of the session; a session that was saved again is asked about anew. Of a run: how much is finished.
        settings: as JSON, so that equal questions are equal.
        model: whether the worker answers it.
    """

    study: str
    path: Path | None
    revision: int
    settings: str
    model: bool = False

    def arguments(self) -> Settings:
        return json.loads(self.settings)


@dataclass(frozen=True, eq=False)
class StudyPage:
    """What a tab shows at a time: one table of an answer, or words where there is none.

    Attributes:
        title: what is on it.
        table: its table; None where words or a picture stand in its place.
        words: what is said instead of a table.
        drawing: what is drawn instead of a table.
        number: of the page within its topic, from 0.
        pages: of the topic.
    """

    title: str
    table: TableFigure | None = None
    words: str = ""
    drawing: HistogramFigure | SurveyMapFigure | None = None
    number: int = 0
    pages: int = 1

    @property
    def name(self) -> str:
        """In the names of files."""
        if self.table is not None:
            return self.table.name
        return "map" if isinstance(self.drawing, SurveyMapFigure) else "histogram"

    def neuron(self, row: int) -> tuple[int, int] | None:
        """Layer and neuron of a row: its columns of these names, else the partner in the plane it proposes."""
        table = self.table
        if table is None or not 0 <= row < len(table.rows):
            return None
        cells = {column.key: value for column, value in zip(table.columns, table.rows[row], strict=True)}
        layer, neuron = cells.get("layer"), cells.get("neuron")
        if isinstance(layer, int) and isinstance(neuron, int):
            return layer, neuron
        choice = table.planes[row] if table.planes else None
        return None if choice is None else _mlp_neuron(choice.site, choice.b)


class StudyCache:
    """Keeps the answers, the latest of them; what is being asked is known too."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Question, tuple[StudyPage, ...] | ExplorerError] = OrderedDict()
        self._asked: dict[Question, str] = {}
        self._chosen: dict[str, Settings] = {}

    def settings(self, topic: Topic, subject: StudySubject) -> Settings:
        return {**topic.settings(subject), **self._chosen.get(topic.study, {})}

    def choose(self, topic: Topic, subject: StudySubject, settings: Settings) -> None:
        """Take the settings that a person chose: those that differ from what fits the subject by itself."""
        usual = topic.settings(subject)
        self._chosen[topic.study] = {name: value for name, value in settings.items() if value != usual.get(name)}

    def question(self, topic: Topic, subject: StudySubject) -> Question | None:
        session = subject.session
        saved = session is not None and session.path is not None
        if topic.needs_session and not saved:
            return None
        path = session.path if session is not None and saved else None
        return self._question(topic, subject, path, session.revision if session is not None else 0)

    def question_of_run(self, topic: Topic, subject: StudySubject, finished: int) -> Question | None:
        """The question about a session that is not saved yet, of which so much is finished."""
        return None if subject.run is None else self._question(topic, subject, subject.run, finished)

    def _question(self, topic: Topic, subject: StudySubject, path: Path | None, revision: int) -> Question:
        settings = json.dumps(self.settings(topic, subject), sort_keys=True, ensure_ascii=False)
        return Question(topic.study, path, revision, settings, topic.model)

    def ask(self, question: Question) -> bool:
        """Note that a question is asked; False where it was before."""
        if question in self._asked or question in self._answers:
            return False
        self._asked[question] = "working it out …"
        return True

    def is_asked(self, question: Question) -> bool:
        return question in self._asked

    def wait(self, question: Question, line: str) -> None:
        if question in self._asked:
            self._asked[question] = line

    def forget(self, question: Question) -> None:
        self._asked.pop(question, None)
        self._answers.pop(question, None)

    def take(self, question: Question, answer: Mapping[str, Any] | ExplorerError) -> None:
        self._asked.pop(question, None)
        self._answers[question] = answer if isinstance(answer, ExplorerError) else _pages(answer)
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)

    def answer(self, question: Question) -> tuple[StudyPage, ...] | ExplorerError | None:
        """The pages of an answer, why there is none, or None before it is there."""
        return self._answers.get(question)

    def page(self, topic: Topic, question: Question, number: int) -> StudyPage:
        """What a tab shows of a topic: a table of the answer, or words that say why there is none yet."""
        answer = self.answer(question)
        if isinstance(answer, ExplorerError):
            return StudyPage(topic.title, words=f"{answer}\n\ne changes its settings, w tries again")
        if answer is None:
            state = self._asked.get(question) or "w works it out, e changes its settings"
            return StudyPage(topic.title, words=f"{topic.teaches}\n\n{state}")
        return answer[min(number, len(answer) - 1)]


def _pages(findings: Mapping[str, Any]) -> tuple[StudyPage, ...]:
    pages = [StudyPage(table.title, table) for table in tables_in(dict(findings))]
    histogram = findings.get("histogram")
    if histogram is not None:
        figure = HistogramFigure.from_dict(histogram)
        # Behind the facts of a card, before its lists.
        pages.insert(1, StudyPage(figure.title, drawing=figure))
    if findings.get("map") is not None:
        shown = SurveyMapFigure.from_dict(findings["map"])
        pages.insert(2, StudyPage(shown.title, drawing=shown))
    if not pages:
        return (StudyPage("nothing", words="There is nothing to tell of this session"),)
    return tuple(replace(page, number=number, pages=len(pages)) for number, page in enumerate(pages))


SCORE = "score"
"""The study whose findings are saved with the session."""


def _neuron(subject: StudySubject) -> tuple[int, int] | None:
    """Layer and neuron that an experiment is about: the first it intervenes on, else the first of a plane."""
    data: dict[str, Any] = subject.session.spec.to_dict() if subject.session is not None else dict(subject.draft)
    interventions = cast("list[dict[str, Any]]", data.get("interventions") or [])
    coordinates = [(edit.get("site"), (edit.get("neurons") or [None])[0]) for edit in interventions]
    capture = cast("dict[str, Any]", data.get("capture") or {})
    sites = cast("list[str]", capture.get("sites") or [None])
    planes = cast("list[dict[str, Any]]", data.get("planes") or [])
    coordinates += [(plane.get("site") or sites[0], plane.get("a")) for plane in planes]
    neurons = (_mlp_neuron(site, index) for site, index in coordinates)
    return next((neuron for neuron in neurons if neuron is not None), None)


def _mlp_neuron(site: object, index: object) -> tuple[int, int] | None:
    """Layer and index of a coordinate that is a neuron of an MLP; None for any other."""
    try:
        parsed = Site.parse(str(site))
    except SpecValueError:
        return None
    return (parsed.layer, index) if parsed.is_mlp and isinstance(index, int) else None


def _card(subject: StudySubject) -> Settings:
    layer, neuron = _neuron(subject) or (0, 0)
    return {"layer": layer, "neuron": neuron, "neighbours": "layer", "top": 10, **_reading(subject)}


def _usage(subject: StudySubject) -> Settings:
    return {"layer": None, "top": 10, **_reading(subject)}


def _reading(subject: StudySubject) -> Settings:
    """Which texts are read: a session's own, else the prompt sets of the experiment that is being edited."""
    prompts = cast("dict[str, Any]", subject.draft.get("prompts") or {})
    saved = subject.session is not None and subject.session.path is not None
    return {"prompts": [] if saved else list(prompts.get("sets") or []), "text": "prompts", "skip": 0}


def _pairs(subject: StudySubject) -> Settings:
    return {"neuron": None, "partners": "both", "top": 20, "permutations": 2000, "seed": 0, "family": None}


def _ensemble(subject: StudySubject) -> Settings:
    session = subject.session
    factors = list(dict.fromkeys(name for prompt in session.prompts for name in prompt.factors)) if session else []
    # What statistics resample is no group of interest.
    factors = [name for name in factors if name != UNIT_FACTOR] or factors
    basis = f"mean({factors[0] if factors else 'set'}=*)"
    return {
        "basis": basis,
        "ensemble": "comb",
        "site": next(iter(session.spec.capture.sites), None) if session else None,
    }


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
            lambda _: {"rule": "published", "top": 10, "resamples": 10_000, "seed": 0},
        ),
        Topic(
            "collapse",
            "collapse",
            "Which texts collapsed, by a rule (published or calibrated), and the net effect over units.",
            lambda _: {"rule": "published", "resamples": 10_000, "seed": 0},
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
        Topic(
            "tokens",
            "chosen tokens",
            "What the intervention does to the logits of tokens that you name, value by value, beside what its neurons "
            "add to them directly.\ne names the tokens.",
            lambda _: {"tokens": "", "over": "first", "resamples": 10_000, "seed": 0},
            model=True,
            at_once=False,
        ),
        Topic(
            "patching",
            "patching",
            "Whether what op = 'patch' writes is enough for a difference of logits (sufficiency), and whether the "
            "difference needs it (necessity: the same place set to 0, or to its mean).\n"
            "e names the tokens, or the factor of each prompt's own answer.",
            lambda _: {"tokens": "", "answer": "", "clean": "", "resamples": 10_000, "seed": 0},
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
            "e names the directions: mean(type=*) stands for the mean of every level of a factor.",
            _ensemble,
            at_once=False,
        ),
        Topic(
            "dose",
            "dose",
            "How the plane's quantities follow the value, unit by unit: slope, monotony, plateau, and what so many "
            "units could have seen.\ne sets an interest: a test that the change is smaller than that.",
            lambda _: {"plane": 1, "interest": None, "resamples": 10_000, "seed": 0},
        ),
        Topic(
            "controls",
            "controls",
            "The neuron beside others that were clamped alike.\ne says if it was chosen after looking, of how many.",
            lambda _: {"by": "pooled", "chosen": None, "candidates": None},
        ),
        Topic(
            "analysis",
            "frozen analysis",
            "What [analysis] named before the run, and no more: all else is exploratory.",
            lambda _: {"resamples": 10_000, "seed": 0},
            at_once=False,
        ),
        Topic(
            "confirm",
            "confirmation",
            "The frozen analysis on the prompts that prompts.confirm kept, which nothing else looks at; or, for a "
            "plane that was chosen since,\ne names the plane and the groups. Every try is counted.",
            lambda _: {"plane": None, "groups": None, "resamples": 10_000, "seed": 0},
            at_once=False,
        ),
        Topic(
            "ledger",
            "tests so far",
            "Every test that was computed on this session, by family, with q over all that its family holds.",
            lambda _: {},
            at_once=False,
        ),
    ),
    "Survey": (
        Topic(
            "survey",
            "survey",
            "Every neuron that was surveyed beside all the others: rank, score, p and q; how their effects are spread, "
            "and where they lie. Enter opens a neuron as a session of its own.",
            lambda _: {"depth": None, "measure": None, "value": None, "neuron": None, "texts": "reported"},
        ),
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
        Topic(
            "weights",
            "weights",
            "What the weights of every neuron of a layer say: which move few tokens, which many, and which write where "
            "the unembedding hardly reads.",
            lambda subject: {"layer": (_neuron(subject) or (None,))[0], "top": 10},
            model=True,
            at_once=False,
            needs_session=False,
        ),
    ),
}
"""By the tab's name."""
