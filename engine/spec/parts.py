"""The tables of an experiment file, one frozen model each; attribute names are the keys of the file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from engine.spec.fields import (
    Along,
    Bos,
    Index,
    Levels,
    Number,
    Numbers,
    Ordinal,
    OrdinalsByName,
    SpecPart,
    Text,
    Words,
    check_distinct,
    check_site,
)
from engine.spec.refusal import RefusalError, did_you_mean
from engine.spec.values import format_number, shown


class ModelSpec(SpecPart):
    """The model and how it is loaded: a Hugging Face name, a local folder, or "demo"."""

    name: Text
    device: Text = "auto"
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = "float32"
    revision: Text | None = None
    tf32: StrictBool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device):
            raise RefusalError(
                f"{shown(self.device)} is not a device", "choose auto, cpu, cuda, cuda:1 or mps", "device"
            )
        return self


class PromptsSpec(SpecPart):
    """Which prompts, in which order: sets, filtered by factors, some left out, the first `limit` of the whole list.

    `omit` names, by set, the numbers of prompts that are left out: from 1, in the file's order, whatever `where` keeps.
    """

    sets: Words
    where: Levels = Field(default_factory=dict)
    omit: OrdinalsByName = Field(default_factory=dict)
    prepend_bos: Bos = "auto"
    limit: Ordinal | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sets:
            raise RefusalError("there is no prompt set", "name at least one, as ['reasoning']", "sets")
        check_distinct(self.sets, "sets")
        for factor, levels in self.where.items():
            if not levels:
                raise RefusalError(
                    "no level is chosen", "name at least one level, or leave the factor out", f"where.{factor}"
                )
            check_distinct(levels, f"where.{factor}")
        for name, numbers in self.omit.items():
            if name not in self.sets:
                raise RefusalError(f"{shown(name)} is not among the sets", did_you_mean(name, self.sets), "omit")
            if not numbers:
                raise RefusalError(
                    "no prompt is named", "name at least one number, or leave the set out", f"omit.{name}"
                )
            check_distinct(numbers, f"omit.{name}")
        return self


class GenerationSpec(SpecPart):
    """How the model writes; 0 tokens is a plain forward over the prompt."""

    tokens: Index = 50
    mode: Literal["greedy", "sample"] = "greedy"
    temperature: Number = 1.0
    top_k: Annotated[StrictInt, Field(ge=1)] | None = None
    top_p: Number | None = None
    samples: Annotated[StrictInt, Field(ge=1)] = 1
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    stop_at_eos: StrictBool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.temperature <= 0:
            raise RefusalError(
                f"{format_number(self.temperature)} is not above 0", "use mode = 'greedy' for no chance", "temperature"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise RefusalError(f"{format_number(self.top_p)} is not above 0 and up to 1", "choose 0.9, say", "top_p")
        if self.mode == "greedy":
            for name in ("temperature", "top_k", "top_p", "samples"):
                if getattr(self, name) != GenerationSpec.model_fields[name].default:
                    raise RefusalError(
                        f"{name} has no effect on greedy decoding", "set mode = 'sample', or remove it", name
                    )
        return self


class CaptureSpec(SpecPart):
    """What is kept of the activations at which sites."""

    sites: Words
    reduce: Literal["mean", "tokens", "last"] = "mean"
    positions: Literal["generated", "predicting", "prompt", "all"] = "generated"
    residual: Literal["raw", "centred"] = "raw"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.sites:
            raise RefusalError("no site is captured", "name at least one, as ['blocks.11.mlp.hook_post']", "sites")
        check_distinct(self.sites, "sites")
        for index, site in enumerate(self.sites):
            check_site(site, f"sites[{index}]")
        return self


class PlaneSpec(SpecPart):
    """Two directions of a captured site: 0 degrees lies on `a`, 90 on what `b` adds to it.

    Each is a coordinate's number (a neuron of an MLP), or a direction's text: see `engine.spec.direction`.
    """

    site: Text | None = None
    a: Along
    b: Along

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.site is not None:
            check_site(self.site, "site")
        if self.a == self.b:
            noun = "coordinates" if isinstance(self.a, int) else "directions"
            raise RefusalError(f"the plane needs two different {noun}, both are {self.a}", "choose another", "b")
        return self


class SpotlightSpec(SpecPart):
    """The sweep of the plane: equally spaced angles from 0, and the cosines above which a vector is lit."""

    angles: Annotated[StrictInt, Field(ge=1, le=36_000)] = 360
    thresholds: Numbers = (0.7, 0.5, 0.3, 0.1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.thresholds:
            raise RefusalError("there is no threshold", "name at least one, as [0.5]", "thresholds")
        check_distinct(self.thresholds, "thresholds")
        for threshold in self.thresholds:
            if not -1 <= threshold <= 1:
                raise RefusalError(f"{format_number(threshold)} is not a cosine", "choose from -1 to 1", "thresholds")
        return self
