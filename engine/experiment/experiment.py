"""The whole experiment: everything that decides what a session will hold."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, ValidationError, model_validator

from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean
from srm_explorer.engine.experiment import toml
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.experiment.fields import (
    BOS_WORDS,
    Along,
    Bos,
    Filters,
    Index,
    Levels,
    Number,
    NumberedFrom1,
    Numbers,
    Ordinal,
    OrdinalsByName,
    Passage,
    Seed,
    SpecPart,
    Text,
    Words,
    check_distinct,
    check_site,
    dumped,
)
from srm_explorer.engine.experiment.intervention import InterventionSpec
from srm_explorer.engine.experiment.positions import PositionChoice, Positions
from srm_explorer.engine.experiment.site import UNKNOWN, Site
from srm_explorer.engine.experiment.survey import SurveySpec, check_scored_prompts, check_survey
from srm_explorer.engine.experiment.validation import as_explorer_error, problems_of
from srm_explorer.engine.experiment.values import MOST_VALUES, format_number, shown
from srm_explorer.engine.io.files import parse_json


class ModelSpec(SpecPart):
    """The model and how it is loaded: a Hugging Face name, a local folder, or "demo"."""

    name: Text = Field(description="a Hugging Face name, a folder, or demo")
    device: Text = Field(
        default="auto",
        examples=["auto", "cpu", "cuda", "cuda:0-1", "mps", "cpu+disk"],
        description="auto, cpu, cuda, cuda:1, mps; cuda:0-3 for a model that is too big for one GPU; cpu+disk, slow",
    )
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = Field(
        default="float32", description="precision of weights and activations"
    )
    revision: Text | None = Field(default=None, description="branch, tag or commit of a Hugging Face name")
    tf32: StrictBool = Field(default=False, description="on CUDA, faster and less exact matrix products")

    @property
    def is_known(self) -> bool:
        """Whether it says which model; what came from elsewhere may not."""
        return self.name != UNKNOWN

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = re.fullmatch(r"auto|cpu|cpu\+disk|mps|cuda(:([0-9]{1,3})(-([0-9]{1,3}))?)?", self.device)
        if named is None:
            remedy = "choose auto, cpu, cuda, cuda:1, mps, cuda:0-3 or cpu+disk"
            raise SpecValueError(f"{shown(self.device)} is not a device", remedy, "device")
        first, last = named.group(2), named.group(4)
        if last is not None and int(last) <= int(first):
            remedy = f"write the lower number first, or cuda:{first} for one"
            raise SpecValueError(f"{self.device} are not several GPUs", remedy, "device")
        return self


class PromptsSpec(SpecPart):
    """Which prompts, in which order: sets, filtered by factors, some left out, the first `limit` of the whole list.

    `where` names the levels that are wanted: by factor, of every set, so that one without the factor gives no prompt;
    or by set and factor, of that set alone.
    `omit` names, by set, the numbers of prompts that are left out: from 1, in the file's order, whatever `where` keeps.
    `chat_template` has every text rendered as the user's message; sets of messages are rendered in any case.
    `confirm` names sets that run with the rest and that nothing looks at but a confirmation.
    """

    sets: Words
    confirm: Words = Field(default=(), description="sets that no analysis looks at, until one is confirmed on them")
    where: Filters = Field(default_factory=dict)
    omit: OrdinalsByName = Field(default_factory=dict)
    prepend_bos: Bos = Field(
        default="auto",
        examples=[*BOS_WORDS],
        description="auto: as the tokenizer does; once: unless the text has it; true: always; false: never",
    )
    limit: Ordinal | None = None
    text: Text | None = Field(default=None, description="column of the tables and records that holds the prompts")
    chat_template: StrictBool = Field(default=False, description="feed each text as a message to an instruct model")
    system: Passage | None = Field(default=None, description="system message, where a chat template is used")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sets:
            raise SpecValueError("there is no prompt set", "name at least one, as ['reasoning']", "sets")
        check_distinct(self.sets, "sets")
        self._check_confirm()
        for name, levels in self.where.items():
            if not isinstance(levels, dict):
                self._check_levels(levels, f"where.{name}")
                continue
            if name not in self.sets:
                field = ".".join(["where", name, *list(levels)[:1]])
                raise SpecValueError(f"{shown(name)} is not among the sets", did_you_mean(name, self.sets), field)
            if not levels:
                raise SpecValueError("no factor is named", "name a factor, or leave the set out", f"where.{name}")
            for factor, of_set in levels.items():
                self._check_levels(of_set, f"where.{name}.{factor}")
        for name, numbers in self.omit.items():
            if name not in self.sets:
                raise SpecValueError(f"{shown(name)} is not among the sets", did_you_mean(name, self.sets), "omit")
            if not numbers:
                raise SpecValueError(
                    "no prompt is named", "name at least one number, or leave the set out", f"omit.{name}"
                )
            check_distinct(numbers, f"omit.{name}")
        return self

    def _check_levels(self, levels: Levels, field: str) -> None:
        if not levels:
            raise SpecValueError("no level is chosen", "name at least one level, or leave the factor out", field)
        check_distinct(levels, field)

    def _check_confirm(self) -> None:
        check_distinct(self.confirm, "confirm")
        for name in self.confirm:
            if name not in self.sets:
                raise SpecValueError(f"{shown(name)} is not among the sets", did_you_mean(name, self.sets), "confirm")
        if self.confirm and len(self.confirm) == len(self.sets):
            what = "every set is kept for confirmation, and none is left to look at"
            raise SpecValueError(what, "take one out of confirm, or add a set", "confirm")


SAMPLING = ("temperature", "top_k", "top_p", "samples")
"""Fields that have no effect on greedy decoding, where they must be left at their defaults."""


class GenerationSpec(SpecPart):
    """How the model writes; 0 tokens is a plain forward over the prompt."""

    tokens: Index = Field(default=50, description="how many are written; 0: a plain forward over the prompt")
    mode: Literal["greedy", "sample"] = Field(default="greedy", description="the likeliest token, or one drawn")
    temperature: Number = Field(default=1.0, description="above 0")
    top_k: Ordinal | None = Field(default=None, description="the likeliest only")
    top_p: Number | None = Field(default=None, description="up to 1")
    samples: Ordinal = Field(default=1, description="continuations of each prompt under each condition")
    seed: Seed = Field(default=0, description="the same for every condition")
    stop_at_eos: StrictBool = Field(default=True, description="whether a written end-of-text ends the run")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.temperature <= 0:
            raise SpecValueError(
                f"{format_number(self.temperature)} is not above 0", "use mode = 'greedy' for no chance", "temperature"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SpecValueError(f"{format_number(self.top_p)} is not above 0 and up to 1", "choose 0.9, say", "top_p")
        if self.mode == "greedy":
            for name in SAMPLING:
                if getattr(self, name) != GenerationSpec.model_fields[name].default:
                    raise SpecValueError(
                        f"{name} has no effect on greedy decoding", "set mode = 'sample', or remove it", name
                    )
        return self


class CaptureSpec(SpecPart):
    """What is kept of the activations at which sites."""

    sites: Words
    reduce: Literal["mean", "tokens", "last"] = Field(default="mean", description="what a run keeps of its positions")
    positions: PositionChoice = Field(
        default="generated",
        examples=list(get_args(Positions)),
        description='which are kept; or 3, -1, or token " door", or after " door"',
    )
    residual: Literal["auto", "raw", "centred"] = Field(
        default="auto", description="centred: less its mean over d_model; auto: where the model's norms take it out"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_distinct(self.sites, "sites")
        for index, site in enumerate(self.sites):
            check_site(site, f"sites[{index}]")
        return self


_ALONG = "a number, mean(type=x), difference(at=swept | type=x), pc1, random(0), w_out(11.373), v.npz#key"


class PlaneSpec(SpecPart):
    """Two directions of a captured site: 0 degrees lies on `a`, 90 on what `b` adds to it.

    Each is a coordinate's number (a neuron of an MLP), or a direction's text: see `engine.experiment.directions`.
    """

    site: Text | None = Field(default=None, description="the captured site whose coordinates these are")
    a: Along = Field(description=_ALONG)
    b: Along = Field(description=_ALONG)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.site is not None:
            check_site(self.site, "site")
        if self.a == self.b:
            noun = "coordinates" if isinstance(self.a, int) else "directions"
            raise SpecValueError(f"the plane needs two different {noun}, both are {self.a}", "choose another", "b")
        return self


class SpotlightSpec(SpecPart):
    """The sweep of the plane: equally spaced angles from 0, and the cosines above which a vector is lit."""

    angles: Annotated[StrictInt, Field(ge=1, le=36_000)] = Field(
        default=360, description="equally spaced angles of the spotlight, from 0"
    )
    thresholds: Numbers = Field(default=(0.7, 0.5, 0.3, 0.1), description="cosines above which a vector is lit")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.thresholds:
            raise SpecValueError("there is no threshold", "name at least one, as [0.5]", "thresholds")
        check_distinct(self.thresholds, "thresholds")
        for threshold in self.thresholds:
            if not -1 <= threshold <= 1:
                raise SpecValueError(f"{format_number(threshold)} is not a cosine", "choose from -1 to 1", "thresholds")
        return self


MOST_CONTROLS = 999


class ControlsSpec(SpecPart):
    """Controls go through the whole sweep: other neurons, matched and clamped alike; for a direction random ones.

    A rank among controls is a p-value for a target that was chosen `before` anybody looked at what is ranked. For one
    that was chosen `after` looking, `candidates` says among how many, itself included.
    """

    neurons: Annotated[StrictInt, Field(ge=0, le=MOST_CONTROLS)] = Field(
        default=0, description="each through the whole sweep; k give p of at least 1/(k+1): 19 for .05"
    )
    seed: Seed = Field(default=0, description="seed of their choice")
    chosen: Literal["unknown", "before", "after"] = Field(
        default="unknown", description="the target: before or after looking at what is ranked; p is valid for before"
    )
    candidates: Ordinal | None = Field(
        default=None, description="how many were looked at before this target was chosen, itself included"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.candidates is not None and self.chosen != "after":
            what = f"{self.candidates} candidates were looked at, and the target is not said to be chosen after that"
            raise SpecValueError(what, "set controls.chosen = 'after', or remove it", "candidates")
        return self


EXECUTION = "execution"
"""The table that says who decodes: no part of what an experiment is, of its digest, or of a session."""


class ExecutionSpec(SpecPart):
    """Who decodes: this process, or actors of Ray. Nothing of what comes out depends on who it is.

    Without an address, Ray starts a cluster of its own on this machine; `auto` is the one that runs here, or that
    RAY_ADDRESS names. In other batches rows may differ in their last bits; a run that was begun keeps those it has.
    """

    executor: Literal["local", "ray"] = Field(default="local", description="this process, or actors of Ray")
    actors: Ordinal | None = Field(default=None, description="of Ray; left out: one for each GPU, or by the processors")
    address: Text | None = Field(
        default=None, examples=["auto"], description="of a running cluster of Ray: auto, or HOST:PORT"
    )
    rows: Ordinal | None = Field(default=None, description="the most of a batch; left out: as many as fit into memory")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("actors", "address") if self.executor == "local" else ():
            if getattr(self, name) is not None:
                raise SpecValueError(
                    f"{name} has no effect on this process", "set executor = 'ray', or remove it", name
                )
        return self


def check_controls(controls: ControlsSpec, interventions: Sequence[InterventionSpec], tokens: int) -> None:
    """Refuse controls where nothing can be matched.

    Args:
        controls: of an experiment.
        interventions: of the same.
        tokens: that it generates.

    Raises:
        SpecValueError: nothing is changed, or something that has no neurons to match, or nothing is generated that
            neurons could be matched on.
    """
    if not controls.neurons:
        return
    foreground = [(index, edit) for index, edit in enumerate(interventions) if not edit.background]
    remedy = "set controls.neurons = 0"
    if not foreground:
        what = "there is no intervention that controls could be matched to"
        raise SpecValueError(what, f"add one, or {remedy}", "controls.neurons")
    for index, edit in foreground:
        if edit.op == "patch":
            what = f"interventions[{index}] writes another run's values, which controls have none of"
            raise SpecValueError(what, remedy, "controls.neurons")
        site = Site.parse(edit.site)
        if edit.direction is None and not site.is_mlp:
            what = f"coordinates of {edit.site}, which are no neurons to be matched"
            if site.has_neurons:
                what = f"neurons of {edit.site}, among which none are matched"
            raise SpecValueError(
                f"interventions[{index}] changes {what}",
                f"choose neurons of mlp.hook_post, or a direction, or {remedy}",
                "controls.neurons",
            )
        if edit.direction is None and not tokens:
            what = "controls are matched on generated tokens, and there are none"
            raise SpecValueError(what, f"set generation.tokens, or {remedy}", "controls.neurons")


TESTS = ("difference", "separation", "controls")
"""What an analysis can be frozen of: two groups' difference of means in each plane, whether each plane separates them
as the finder tests it, and the target's rank among its controls."""
AGAINST = " against "
"""Parts the two groups of a difference."""


class AnalysisSpec(SpecPart):
    """What will be tested, named before the run; whatever else is computed of the session later is exploratory.

    `groups` are pairs, as "clamped against baseline" or "+20, type=plain against baseline"; `planes` number those of
    the experiment, from 1: all of them where none is named.
    """

    family: Text = Field(default="frozen analysis", description="what its tests are called together: q is over them")
    tests: Words = Field(default=(), description="difference, separation, controls; none: nothing is frozen")
    groups: Words = Field(default=(), description="pairs that are compared: clamped against baseline")
    planes: NumberedFrom1 = Field(default=(), description="numbers of planes, from 1; none: all")

    @property
    def compares(self) -> bool:
        """Whether a test of it is of two groups."""
        return "difference" in self.tests or "separation" in self.tests

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The groups of every difference, by name."""
        parted = (text.partition(AGAINST) for text in self.groups)
        return tuple((first.strip(), other.strip()) for first, _, other in parted)

    @property
    def sha256(self) -> str:
        """Of its content: what a session says was frozen before its run."""
        content = json.dumps(dumped(self), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.tests:
            if name not in TESTS:
                raise SpecValueError(f"{shown(name)} is not allowed", did_you_mean(name, TESTS), "tests")
        for field in ("tests", "groups", "planes"):
            check_distinct(getattr(self, field), field)
        for text, (first, other) in zip(self.groups, self.pairs, strict=True):
            if not first or not other or first == other:
                remedy = "write two that differ, as 'clamped against baseline'"
                raise SpecValueError(f"{shown(text)} names no two groups", remedy, "groups")
        if self.compares != bool(self.groups):
            what = (
                "no groups are named to compare" if not self.groups else "groups are named, and no test compares them"
            )
            raise SpecValueError(
                what, "name tests = ['difference'] and groups = ['clamped against baseline']", "groups"
            )
        return self


def targets_of(interventions: Sequence[InterventionSpec]) -> tuple[tuple[str, int], ...]:
    """The neurons that controls are matched to, each once: (site, neuron) in the order of the experiment."""
    foreground = [edit for edit in interventions if not edit.background]
    return tuple(dict.fromkeys((edit.site, neuron) for edit in foreground for neuron in edit.neurons))


def taken_neurons(experiment: Experiment, site: str) -> frozenset[int]:
    """Neurons of a site that no control may be: those that are intervened on, and those that span a plane."""
    taken = {neuron for edit in experiment.interventions if edit.site == site for neuron in edit.neurons}
    for plane in experiment.planes:
        if experiment.plane_site(plane) == site:
            taken.update(direction for direction in (plane.a, plane.b) if isinstance(direction, int))
    return frozenset(taken)


def _tables(value: object) -> object:
    if isinstance(value, Mapping):
        raise SpecValueError(
            "it is one table where a list of tables belongs", "write its name in double brackets: [[...]]"
        )
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class Experiment(SpecPart):
    """A model, prompts, interventions and what to capture and look at; attribute names are the keys of the TOML file.

    `stats` names a session whose baseline statistics give sigma, quantiles and means their raw values; left out, they
    are measured on this experiment's own baseline. `grid = true` crosses the values of several interventions instead
    of varying them together. Both stand at the top of the file, before the first table.
    """

    stats: Text | None = Field(default=None, description="a session whose baseline gives sigma, quantiles and means")
    grid: StrictBool = Field(
        default=False, description="values of several interventions: first with first, or each with each"
    )
    model: ModelSpec
    prompts: PromptsSpec
    interventions: Annotated[tuple[InterventionSpec, ...], BeforeValidator(_tables)] = ()
    generation: GenerationSpec = GenerationSpec()
    capture: CaptureSpec
    planes: Annotated[tuple[PlaneSpec, ...], BeforeValidator(_tables)] = ()
    spotlight: SpotlightSpec = SpotlightSpec()
    controls: ControlsSpec = ControlsSpec()
    survey: SurveySpec = SurveySpec()
    analysis: AnalysisSpec = AnalysisSpec()
    execution: ExecutionSpec = ExecutionSpec()

    @classmethod
    def from_dict(cls, data: object, *, where: str = "", origins: Mapping[str, str] | None = None) -> Self:
        """Validate plain data as TOML or JSON gives it.

        Args:
            data: the tables by name.
            where: what an error names as the place: a file name.
            origins: for a field such as "generation.tokens", the place that its value came from if not from `where`.

        Raises:
            ExplorerError: the first problem in full, with its field and remedy, and the number of the others.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise as_explorer_error(error, cls, where, origins or {}) from None

    @classmethod
    def problems(cls, data: object) -> tuple[ExplorerError, ...]:
        """Tell everything that `from_dict` would refuse, one error a field; empty where it would accept the data."""
        try:
            cls.model_validate(data)
        except ValidationError as error:
            return problems_of(error, cls)
        return ()

    @classmethod
    def from_toml(cls, text: str, *, where: str = "") -> Self:
        """Read an experiment file's text; errors are those of `from_dict`, and broken TOML by line and column."""
        return cls.from_dict(toml.parse(text, where), where=where)

    @classmethod
    def from_json(cls, text: str, *, where: str = "") -> Self:
        """Read what `to_json` wrote; errors are those of `from_dict`, and broken JSON by line and column."""
        return cls.from_dict(parse_json(text, where), where=where)

    def __repr__(self) -> str:
        # Of figures, which know experiments.
        return import_module("srm_explorer.engine.figures.html").experiment_line(self)

    def _repr_html_(self) -> str:
        return import_module("srm_explorer.engine.figures.html").experiment_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every field, for JSON; `from_dict` reads it back to an equal experiment."""
        return dumped(self)

    def to_toml(self) -> str:
        """The experiment as a file a person would write: fields left at an unsurprising default are left out."""
        return toml.write(self.to_dict(), dumped(self, exclude_defaults=True))

    def to_json(self) -> str:
        """Canonical JSON on one line: equal experiments give equal text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))

    def digest(self, length: int = 6) -> str:
        """The first hexadecimal digits of the content's SHA-256, the same however the file was written.

        Fields at their default are left out of it, so that a field added to a later version changes no digest.
        """
        data = dumped(self, exclude_defaults=True)
        data.pop(EXECUTION, None)
        # Raw was the default once, and the shipped experiments said centred: what they were called, they are called.
        data["capture"].pop("residual", None)
        if self.capture.residual != "raw":
            data["capture"]["residual"] = "centred"
        content = json.dumps(data, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:length]

    def with_residual(self, centred: bool) -> Self:
        """The same with how residual streams are captured decided; as it is where it says so itself."""
        if self.capture.residual != "auto":
            return self
        capture = self.capture.model_copy(update={"residual": "centred" if centred else "raw"})
        return self.model_copy(update={"capture": capture})

    def as_run(self) -> Self:
        """The same without who decodes, as a session has it."""
        return self.model_copy(update={EXECUTION: ExecutionSpec()})

    def plane_site(self, plane: PlaneSpec) -> str:
        """The site a plane lies in: its own, or the only captured one; empty where none is captured."""
        return plane.site or next(iter(self.capture.sites), "")

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Texts alone may have come from elsewhere.
        if not self.capture.sites and self.model.is_known:
            remedy = "name at least one, as ['blocks.11.mlp.hook_post']"
            raise SpecValueError("no site is captured", remedy, "capture.sites")
        self._check_planes()
        self._check_sweep()
        self._check_positions()
        check_controls(self.controls, self.interventions, self.generation.tokens)
        check_survey(self.survey, self.interventions, self.generation.tokens, self.controls.neurons, self.stats)
        check_scored_prompts(self.survey, self.interventions, self.generation.samples, self.capture.positions)
        self._check_analysis()
        return self

    def _check_planes(self) -> None:
        for index, plane in enumerate(self.planes):
            captured = ", ".join(self.capture.sites)
            field = f"planes[{index}].site"
            if plane.site is None and len(self.capture.sites) > 1:
                raise SpecValueError(
                    "the plane does not say in which of the captured sites it lies", f"choose {captured}", field
                )
            if self.plane_site(plane) not in self.capture.sites:
                raise SpecValueError(
                    f"'{plane.site or 'its site'}' is not captured",
                    f"add it to capture.sites, or choose {captured}",
                    field,
                )
            for key, along in (("a", plane.a), ("b", plane.b)):
                if isinstance(direction_of(along), NeuronWeights) and not Site.parse(self.plane_site(plane)).is_stream:
                    among = "the neurons" if Site.parse(self.plane_site(plane)).is_mlp else "the coordinates"
                    raise SpecValueError(
                        f"{along} lies in the residual stream, the plane among {among} of {self.plane_site(plane)}",
                        "name the neuron by its number, or a site of the residual stream",
                        f"planes[{index}].{key}",
                    )
        check_distinct([(self.plane_site(plane), plane.a, plane.b) for plane in self.planes], "planes")

    def _check_analysis(self) -> None:
        analysis, number = self.analysis, len(self.planes)
        if analysis.compares and not number:
            raise SpecValueError("there is no plane to compare groups in", "add [[planes]]", "analysis.tests")
        for plane in analysis.planes:
            if plane > number:
                raise SpecValueError(f"there is no plane {plane}", f"choose 1 to {number}", "analysis.planes")
        if "controls" in analysis.tests and not self.controls.neurons:
            raise SpecValueError("there are no controls to rank among", "set controls.neurons = 19", "analysis.tests")

    def _check_sweep(self) -> None:
        swept = [(i, edit) for i, edit in enumerate(self.interventions) if edit.takes_values and not edit.background]
        if self.grid:
            if math.prod(len(edit.values) for _, edit in swept) > MOST_VALUES:
                raise SpecValueError(
                    f"crossing the values gives more than {MOST_VALUES:,} conditions", "use fewer values", "grid"
                )
            return
        for index, edit in swept[1:]:
            first, expected = swept[0][0], len(swept[0][1].values)
            if len(edit.values) != expected:
                raise SpecValueError(
                    f"{len(edit.values)} values cannot vary together with the {expected} of interventions[{first}]",
                    f"give it {expected}, set grid = true to cross them, or keep one value with background = true",
                    f"interventions[{index}].values",
                )

    def _check_positions(self) -> None:
        if self.generation.tokens:
            return
        if self.capture.positions == "generated":
            raise SpecValueError(
                "no position is generated with generation.tokens = 0", "choose prompt or all", "capture.positions"
            )
        for index, edit in enumerate(self.interventions):
            if edit.positions == "generated":
                raise SpecValueError(
                    "no position is generated with generation.tokens = 0",
                    "choose prompt or all",
                    f"interventions[{index}].positions",
                )
            if self.stats is None and not self.survey and (edit.op == "mean" or edit.unit != "raw"):
                raise SpecValueError(
                    f"{edit.op if edit.op == 'mean' else edit.unit} is measured on generated tokens,"
                    " and there are none",
                    "name a session to take it from: stats = 'NAME' at the top of the file",
                    f"interventions[{index}].{'op' if edit.op == 'mean' else 'unit'}",
                )
