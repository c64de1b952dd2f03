"""One intervention: where it acts, on what, how and how strongly; frozen data, never a closure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    model_validator,
)

from srm_explorer.engine.errors import SpecValueError
from srm_explorer.engine.experiment.fields import (
    Indices,
    Numbers,
    SpecPart,
    Text,
    check_distinct,
    check_site,
)
from srm_explorer.engine.experiment.positions import PositionChoice, Positions
from srm_explorer.engine.experiment.site import ROUTER, Site
from srm_explorer.engine.experiment.values import format_number, number, shown

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
    PlainValidator(_source, json_schema_input_type=dict[Literal["condition", "prompt"], str | float] | str | None),
    PlainSerializer(lambda value: value and {value.name: value.prompt or value.condition}, return_type=Any),
]


class InterventionSpec(SpecPart):
    """One operation on neurons (coordinates of a site), or along a direction, for every value of a sweep.

    `background = true` makes it part of every clamped condition, and of an extra reference condition of its own.
    """

    site: Text
    neurons: Indices = Field(default=(), description="one, or several: 373, 2202")
    heads: Indices = Field(default=(), description="attention heads of attn.hook_z: 3, or 3, 5")
    coordinates: Indices = Field(
        default=(), description="of each head, all of them where it is empty: 17, or 0..7 step 1"
    )
    direction: Text | None = Field(
        default=None, description="a vector of a file beside the experiment: vectors.safetensors#name"
    )
    op: Operation = Field(description="what is done to it")
    values: Numbers = Field(default=(), description="-20 -10 0, or from..to step: 0..9 step 3 gives 0 3 6 9")
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
    def _default_patch_positions(cls, data: object) -> object:
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
                f"{self.op} needs values", "write a list, as [-10, 0, 10], or a range, as '-20..20 step 5'", "values"
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
