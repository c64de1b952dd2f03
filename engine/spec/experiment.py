"""The whole experiment: everything that decides what a session will hold."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, StrictBool, ValidationError, model_validator

from engine.errors import ExplorerError
from engine.reading import parse_json
from engine.spec import toml
from engine.spec.controls import ControlsSpec, check_controls
from engine.spec.direction import NeuronWeights
from engine.spec.direction_text import direction_of
from engine.spec.fields import SpecPart, Text, check_distinct, dumped
from engine.spec.intervention import InterventionSpec
from engine.spec.parts import CaptureSpec, GenerationSpec, ModelSpec, PlaneSpec, PromptsSpec, SpotlightSpec
from engine.spec.problems import as_explorer_error, problems_of
from engine.spec.refusal import RefusalError
from engine.spec.site import Site
from engine.spec.values import MOST_VALUES


def _tables(value: object) -> object:
    if isinstance(value, Mapping):
        raise RefusalError(
            "it is one table where a list of tables belongs", "write its name in double brackets: [[...]]"
        )
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class Experiment(SpecPart):
    """A model, prompts, interventions and what to capture and look at; attribute names are the keys of the TOML file.

    `stats` names a session whose baseline statistics give sigma, quantiles and means their raw values; left out, they
    are measured on this experiment's own baseline. `grid = true` crosses the values of several interventions instead
    of varying them together. Both stand at the top of the file, before the first table.
    """

    stats: Text | None = None
    grid: StrictBool = False
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
        content = json.dumps(dumped(self, exclude_defaults=True), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:length]

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
                raise RefusalError(
                    "the plane does not say in which of the captured sites it lies", f"choose {captured}", field
                )
            if self.plane_site(plane) not in self.capture.sites:
                raise RefusalError(
                    f"'{plane.site}' is not captured", f"add it to capture.sites, or choose {captured}", field
                )
            for key, along in (("a", plane.a), ("b", plane.b)):
                if isinstance(direction_of(along), NeuronWeights) and Site.parse(self.plane_site(plane)).is_mlp:
                    raise RefusalError(
                        f"{along} lies in the residual stream, the plane among the neurons of {self.plane_site(plane)}",
                        "name the neuron by its number, or a site of the residual stream",
                        f"planes[{index}].{key}",
                    )
        check_distinct([(self.plane_site(plane), plane.a, plane.b) for plane in self.planes], "planes")

    def _check_sweep(self) -> None:
        swept = [(i, one) for i, one in enumerate(self.interventions) if one.takes_values and not one.background]
        if self.grid:
            if math.prod(len(one.values) for _, one in swept) > MOST_VALUES:
                raise RefusalError(
                    f"crossing the values gives more than {MOST_VALUES:,} conditions", "use fewer values", "grid"
                )
            return
        for index, one in swept[1:]:
            first, expected = swept[0][0], len(swept[0][1].values)
            if len(one.values) != expected:
                raise RefusalError(
                    f"{len(one.values)} values cannot vary together with the {expected} of interventions[{first}]",
                    f"give it {expected}, set grid = true to cross them, or keep one value with background = true",
                    f"interventions[{index}].values",
                )

    def _check_positions(self) -> None:
        if self.generation.tokens:
            return
        if self.capture.positions == "generated":
            raise RefusalError(
                "no position is generated with generation.tokens = 0", "choose prompt or all", "capture.positions"
            )
        for index, one in enumerate(self.interventions):
            if one.positions == "generated":
                raise RefusalError(
                    "no position is generated with generation.tokens = 0",
                    "choose prompt or all",
                    f"interventions[{index}].positions",
                )
            if self.stats is None and (one.op == "mean" or one.unit != "raw"):
                raise RefusalError(
                    f"{one.op if one.op == 'mean' else one.unit} is measured on generated tokens, and there are none",
                    "name a session to take it from: stats = 'NAME' at the top of the file",
                    f"interventions[{index}].{'op' if one.op == 'mean' else 'unit'}",
                )
