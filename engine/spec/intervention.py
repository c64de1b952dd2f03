"""An intervention as an experiment file states it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import StrictBool, model_validator

from engine.spec.fields import Indices, Numbers, SpecPart, Text, check_distinct, check_site
from engine.spec.refusal import RefusalError
from engine.spec.values import format_number, shown

Operation = Literal["clamp", "add", "scale", "zero", "mean", "steer"]
Unit = Literal["raw", "sigma", "quantile", "norm"]
Positions = Literal["all", "prompt", "last", "predicting", "generated"]

UNITS: dict[str, tuple[str, ...]] = {
    "clamp": ("raw", "sigma", "quantile"),
    "add": ("raw", "sigma"),
    "scale": ("raw",),
    "zero": ("raw",),
    "mean": ("raw",),
    "steer": ("raw", "sigma", "norm"),
}
"""The units each operation may be given in; `zero` and `mean` take no values at all."""


class InterventionSpec(SpecPart):
    """One operation on neurons (coordinates of a site), or along a direction, for every value of a sweep.

    `background = true` makes it part of every clamped condition, and of an extra reference condition of its own.
    """

    site: Text
    neurons: Indices = ()
    direction: Text | None = None
    op: Operation
    values: Numbers = ()
    unit: Unit = "raw"
    positions: Positions = "all"
    background: StrictBool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_site(self.site, "site")
        check_distinct(self.neurons, "neurons")
        check_distinct(self.values, "values")
        self._check_target()
        self._check_values()
        return self

    @property
    def takes_values(self) -> bool:
        """Whether the operation has a strength; zero and mean ablation have none."""
        return self.op not in ("zero", "mean")

    def _check_target(self) -> None:
        if self.op == "steer":
            if self.neurons:
                raise RefusalError(
                    "steer works along a direction, not on neurons", "remove it, and give a direction", "neurons"
                )
            if self.direction is None:
                raise RefusalError(
                    "steer needs a direction", "write direction = 'vectors.safetensors#name'", "direction"
                )
            file, hash_sign, name = self.direction.rpartition("#")
            if not (file.strip() and hash_sign and name.strip()):
                raise RefusalError(f"{shown(self.direction)} does not name a vector", "write 'file#name'", "direction")
        elif self.direction is not None:
            raise RefusalError(
                f"{self.op} works on neurons, not along a direction", "use op = 'steer', or neurons", "direction"
            )
        elif not self.neurons:
            raise RefusalError(f"{self.op} needs neurons", "write neurons = [373]", "neurons")

    def _check_values(self) -> None:
        if self.unit not in UNITS[self.op]:
            fitting = ", ".join(UNITS[self.op])
            raise RefusalError(f"{self.op} cannot be given in {self.unit}", f"choose {fitting}", "unit")
        if not self.takes_values:
            if self.values:
                raise RefusalError(f"{self.op} takes no values", "remove them", "values")
            return
        if not self.values:
            raise RefusalError(
                f"{self.op} needs values", "write a list, as [-10, 0, 10], or a range, as '-20..20/5'", "values"
            )
        if self.background and len(self.values) != 1:
            raise RefusalError(
                f"a background intervention holds one value, not {len(self.values)}", "keep one", "values"
            )
        if self.unit == "quantile":
            for value in self.values:
                if not 0 <= value <= 1:
                    raise RefusalError(
                        f"{format_number(value)} is not a quantile", "choose values from 0 to 1", "values"
                    )
