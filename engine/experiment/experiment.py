"""The whole experiment: everything that decides what a session will hold."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationError,
    model_validator,
)

from srm_explorer.engine.errors import ExplorerError, SpecValueError, did_you_mean
from srm_explorer.engine.experiment import toml
from srm_explorer.engine.experiment.directions import NeuronWeights, direction_of
from srm_explorer.engine.experiment.fields import (
    Along,
    Bos,
    Index,
    Indices,
    Levels,
    Number,
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
from srm_explorer.engine.experiment.positions import PositionChoice, Positions
from srm_explorer.engine.experiment.site import ROUTER, Site
from srm_explorer.engine.experiment.validation import as_explorer_error, problems_of
from srm_explorer.engine.experiment.values import MOST_VALUES, format_number, number, shown
from srm_explorer.engine.io.files import parse_json


class ModelSpec(SpecPart):
    """The model and how it is loaded: a Hugging Face name, a local folder, or "demo"."""

    name: Text = Field(description="a Hugging Face name, a folder, or demo")
    device: Text = Field(
        default="auto", examples=["auto", "cpu", "cuda", "mps"], description="auto, cpu, cuda, cuda:1, mps"
    )
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = Field(
        default="float32", description="precision of weights and activations"
    )
    revision: Text | None = Field(default=None, description="branch, tag or commit of a Hugging Face name")
    tf32: StrictBool = Field(default=False, description="on CUDA, faster and less exact matrix products")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device):
            raise SpecValueError(
                f"{shown(self.device)} is not a device", "choose auto, cpu, cuda, cuda:1 or mps", "device"
            )
        return self


class PromptsSpec(SpecPart):
    """Which prompts, in which order: sets, filtered by factors, some left out, the first `limit` of the whole list.

    `omit` names, by set, the numbers of prompts that are left out: from 1, in the file's order, whatever `where` keeps.
    `chat_template` has every text rendered as the user's message; sets of messages are rendered in any case.
    """

    sets: Words
    where: Levels = Field(default_factory=dict)
    omit: OrdinalsByName = Field(default_factory=dict)
    prepend_bos: Bos = Field(
        default="auto",
        examples=["auto", "once", "true", "false"],
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
        for factor, levels in self.where.items():
            if not levels:
                raise SpecValueError(
                    "no level is chosen", "name at least one level, or leave the factor out", f"where.{factor}"
                )
            check_distinct(levels, f"where.{factor}")
        for name, numbers in self.omit.items():
            if name not in self.sets:
                raise SpecValueError(f"{shown(name)} is not among the sets", did_you_mean(name, self.sets), "omit")
            if not numbers:
                raise SpecValueError(
                    "no prompt is named", "name at least one number, or leave the set out", f"omit.{name}"
                )
            check_distinct(numbers, f"omit.{name}")
        return self


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
    positions: Literal["generated", "predicting", "prompt", "all"] = Field(
        default="generated", description="positions that are kept"
    )
    residual: Literal["auto", "raw", "centred"] = Field(
        default="auto", description="centred: less its mean over d_model; auto: where the model's norms take it out"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sites:
            raise SpecValueError("no site is captured", "name at least one, as ['blocks.11.mlp.hook_post']", "sites")
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


Operation = Literal["clamp", "add", "scale", "zero", "mean", "steer", "project_out", "patch"]
Unit = Literal["raw", "sigma", "quantile", "norm"]

UNITS: dict[str, tuple[str, ...]] = {
    "clamp": ("raw", "sigma", "quantile"),
    "add": ("raw", "sigma"),
    "scale": ("raw",),
    "zero": ("raw",),
    "mean": ("raw",),
    "steer": ("raw", "sigma", "norm"),
    "project_out": ("raw",),
    "patch": ("raw",),
}
"""The units each operation may be given in."""

WITHOUT_VALUES = ("zero", "mean", "project_out", "patch")
"""Operations that have no strength, and take no values at all."""

ALONG_DIRECTION = ("steer", "project_out", "patch")
"""Operations that a direction can be given to; `steer` takes nothing else."""

ACCOMPANYING = ("baseline", "reference")
"""Conditions from which a patch comes into every condition of the sweep; from another it is a condition of its own."""


@dataclass(frozen=True)
class PatchSource:
    """The run whose values are written; exactly one of the two is said.

    Attributes:
        condition: label of a condition of the same experiment, for the same prompt: "baseline", "+20".
        prompt: a factor that pairs prompts: the untouched run of the other prompt with the same level.
    """

    condition: str = ""
    prompt: str = ""

    @property
    def name(self) -> Literal["condition", "prompt"]:
        """Its key in an experiment file."""
        return "prompt" if self.prompt else "condition"

    @property
    def accompanies(self) -> bool:
        """Whether it is present in every condition of the sweep, and not in one of its own."""
        return bool(self.prompt) or self.condition in ACCOMPANYING

    def __str__(self) -> str:
        return f"{self.name} {self.prompt or self.condition}"


_SOURCE_FORMS = "{ condition = '+20' }, 'baseline', or { prompt = 'pair' } with a factor that pairs prompts"


def _source(value: object) -> PatchSource | None:
    """A table as a file has it, or its text: `condition +20`, `baseline`, `prompt pair`."""
    if isinstance(value, str):
        word, gap, rest = value.strip().partition(" ")
        value = {word: rest.strip()} if gap else {"condition": word} if word in ACCOMPANYING else value
    if value is None or isinstance(value, PatchSource):
        return value
    if isinstance(value, Mapping) and len(table := cast("Mapping[object, object]", value)) == 1:
        key, text = next(iter(table.items()))
        if isinstance(text, int | float) and not isinstance(text, bool):
            text = format_number(number(text))
        if key in ("condition", "prompt") and isinstance(text, str) and text.strip():
            return PatchSource(**{str(key): text.strip()})
    raise SpecValueError(f"{shown(cast('object', value))} does not say which run", f"write {_SOURCE_FORMS}")


def source_text(value: object) -> str:
    """A source as a person types it; empty for none."""
    try:
        source = _source(value)
    except SpecValueError:
        return str(value)
    return "" if source is None else str(source)


Source = Annotated[
    PatchSource | None,
    PlainValidator(_source),
    PlainSerializer(lambda value: value and {value.name: value.prompt or value.condition}, return_type=Any),
]


class InterventionSpec(SpecPart):
    """One operation on neurons (coordinates of a site), or along a direction, for every value of a sweep.

    `background = true` makes it part of every clamped condition, and of an extra reference condition of its own.
    """

    site: Text
    neurons: Indices = Field(default=(), description="one, or several: 373, 2202")
    heads: Indices = Field(default=(), description="attention heads of attn.hook_z: 3, or 3, 5")
    coordinates: Indices = Field(default=(), description="of each head, all of them where it is empty: 17, or 0..7/1")
    direction: Text | None = Field(
        default=None, description="a vector of a file beside the experiment: vectors.safetensors#name"
    )
    op: Operation = Field(description="what is done to it")
    values: Numbers = Field(default=(), description="-20..20/5, or -20, -10, 0")
    unit: Unit = Field(default="raw", description="raw, or measured on the baseline's generated tokens")
    source: Source = Field(
        default=None, alias="from", description="of a patch: baseline, or condition +20, or prompt pair"
    )
    positions: PositionChoice = Field(
        default="all", examples=list(get_args(Positions)), description='or 3, -1, or token " door", or after " door"'
    )
    background: StrictBool = Field(
        default=False, description="present in every clamped condition, and in a reference of its own"
    )

    @model_validator(mode="before")
    @classmethod
    def _patch_prompts(cls, data: object) -> object:
        """A patch that says no positions writes at those of the prompt: no other run has the generated ones."""
        if not isinstance(data, Mapping):
            return data
        table = cast("Mapping[str, object]", data)
        return {**table, "positions": "prompt"} if table.get("op") == "patch" and "positions" not in table else table

    @model_validator(mode="after")
    def _check(self) -> Self:
        if check_site(self.site, "site").kind == ROUTER:
            remedy = "choose neurons of an expert, as blocks.3.mlp.experts.7.hook_post"
            raise SpecValueError(f"{self.site} is captured only, not changed", remedy, "site")
        for name in ("neurons", "heads", "coordinates"):
            check_distinct(getattr(self, name), name)
        check_distinct(self.values, "values")
        self._check_target()
        self._check_source()
        self._check_values()
        return self

    @property
    def takes_values(self) -> bool:
        """Whether the operation has a strength; zero and mean ablation have none."""
        return self.op not in WITHOUT_VALUES

    def _check_target(self) -> None:
        self._check_heads()
        if self.direction is None:
            if self.heads and self.op != "steer":
                return
            if self.op == "steer":
                target = "heads" if self.heads else "neurons"
                is_set = bool(self.heads or self.neurons)
                what = f"steer works along a direction, not on {target}" if is_set else "steer needs a direction"
                remedy = "write direction = 'vectors.safetensors#name'"
                raise SpecValueError(what, remedy, target if is_set else "direction")
            if not self.neurons:
                if Site.parse(self.site).is_heads:
                    raise SpecValueError(f"{self.op} needs heads", "write heads = [3]", "heads")
                either = ", or direction = 'vectors.safetensors#name'" if self.op in ALONG_DIRECTION else ""
                raise SpecValueError(f"{self.op} needs neurons", f"write neurons = [373]{either}", "neurons")
            return
        if self.op not in ALONG_DIRECTION:
            remedy = f"use op = {' or '.join(map(repr, ALONG_DIRECTION))}, or neurons"
            raise SpecValueError(f"{self.op} works on neurons, not along a direction", remedy, "direction")
        for target in ("neurons", "heads"):
            if getattr(self, target):
                what = f"{self.op} works along the direction, not on {target} too"
                raise SpecValueError(what, f"remove the {target}, or the direction", target)
        file, hash_sign, name = self.direction.rpartition("#")
        if not (file.strip() and hash_sign and name.strip()):
            raise SpecValueError(f"{shown(self.direction)} does not name a vector", "write 'file#name'", "direction")

    def _check_heads(self) -> None:
        is_heads = Site.parse(self.site).is_heads
        if self.neurons and is_heads:
            remedy = "write heads = [3], with coordinates = [17] for single ones"
            raise SpecValueError(f"{self.site} holds attention heads, not neurons", remedy, "neurons")
        if self.heads and not is_heads:
            remedy = "choose blocks.L.attn.hook_z, or write neurons = [373]"
            raise SpecValueError(f"{self.site} holds no attention heads", remedy, "heads")
        if self.coordinates and not self.heads:
            raise SpecValueError("these are coordinates of no head", "write heads = [3], or remove them", "coordinates")

    def _check_source(self) -> None:
        if self.op != "patch":
            if self.source is not None:
                raise SpecValueError(
                    f"{self.op} takes nothing from another run", "use op = 'patch', or remove it", "from"
                )
            return
        if self.source is None:
            raise SpecValueError(
                "patch does not say which run's values it writes", f"write from = {_SOURCE_FORMS}", "from"
            )
        if self.positions in ("all", "predicting", "generated"):
            raise SpecValueError(
                "a patch writes at positions of the prompt alone",
                "choose prompt, last, [3, -1] or a token",
                "positions",
            )
        if Site.parse(self.site).expert is not None:
            what = "an expert holds only the positions that are sent to it, and in the other run these may be others"
            raise SpecValueError(what, "patch another site, as hook_mlp_out", "site")
        if self.background and self.source.condition:
            what = "a patch from a condition cannot be part of that condition"
            raise SpecValueError(what, "set background = false, or take it from a paired prompt", "background")

    def _check_values(self) -> None:
        if self.unit not in UNITS[self.op]:
            fitting = ", ".join(UNITS[self.op])
            raise SpecValueError(f"{self.op} cannot be given in {self.unit}", f"choose {fitting}", "unit")
        if not self.takes_values:
            if self.values:
                raise SpecValueError(f"{self.op} takes no values", "remove them", "values")
            return
        if not self.values:
            raise SpecValueError(
                f"{self.op} needs values", "write a list, as [-10, 0, 10], or a range, as '-20..20/5'", "values"
            )
        if self.background and len(self.values) != 1:
            raise SpecValueError(
                f"a background intervention holds one value, not {len(self.values)}", "keep one", "values"
            )
        if self.unit == "quantile":
            for value in self.values:
                if not 0 <= value <= 1:
                    raise SpecValueError(
                        f"{format_number(value)} is not a quantile", "choose values from 0 to 1", "values"
                    )


MOST_CONTROLS = 999


class ControlsSpec(SpecPart):
    """Controls go through the whole sweep: other neurons, matched and clamped alike; for a direction random ones."""

    neurons: Annotated[StrictInt, Field(ge=0, le=MOST_CONTROLS)] = Field(
        default=0, description="each through the whole sweep; k give p of at least 1/(k+1): 19 for .05"
    )
    seed: Seed = Field(default=0, description="seed of their choice")


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

    def plane_site(self, plane: PlaneSpec) -> str:
        """The site a plane lies in: its own, or the only captured one."""
        return plane.site or self.capture.sites[0]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_planes()
        self._check_sweep()
        self._check_positions()
        check_controls(self.controls, self.interventions, self.generation.tokens)
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
                    f"'{plane.site}' is not captured", f"add it to capture.sites, or choose {captured}", field
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
            if self.stats is None and (edit.op == "mean" or edit.unit != "raw"):
                raise SpecValueError(
                    f"{edit.op if edit.op == 'mean' else edit.unit} is measured on generated tokens,"
                    " and there are none",
                    "name a session to take it from: stats = 'NAME' at the top of the file",
                    f"interventions[{index}].{'op' if edit.op == 'mean' else 'unit'}",
                )
