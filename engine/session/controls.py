"""The controls of a session: which neurons, or directions, went through the sweep beside the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from srm_explorer.engine.session.fields import (
    DamagedError,
    plain_float,
    take,
    take_floats,
    take_ints,
    take_list,
    take_records,
    take_table,
)
from srm_explorer.engine.session.session import Session

CONTROLS = "controls"
"""Where a session's provenance holds them, and the kind of event that freezes them in a journal."""


@dataclass(frozen=True)
class ControlTraits:
    """What one neuron was matched on.

    Attributes:
        mean: over the baseline's generated tokens.
        std: over the same.
        norm: length of its row of W_out.
    """

    mean: float
    std: float
    norm: float


@dataclass(frozen=True)
class ControlMatch:
    """The controls of one target neuron.

    Attributes:
        site: where it lies.
        target: the neuron that the experiment names.
        neurons: [control] the neuron that stands for it.
        distances: [control] how unlike the target it is, in robust spreads of mean, log std and log W_out norm.
        traits: of the target, then of each control.
    """

    site: str
    target: int
    neurons: tuple[int, ...]
    distances: tuple[float, ...]
    traits: tuple[ControlTraits, ...]


@dataclass(frozen=True)
class Controls:
    """Everything that was chosen before the first control ran.

    Attributes:
        count: how many controls.
        seed: of the choice.
        tokens: generated tokens of the baseline that neurons were matched on.
        matches: one a target neuron.
        placebos: by the place of a `steer` intervention, [control] the SHA-256 of its random direction.
    """

    count: int
    seed: int
    tokens: int
    matches: tuple[ControlMatch, ...]
    placebos: Mapping[int, tuple[str, ...]]

    def neuron(self, number: int, site: str, target: int) -> int:
        """The neuron that stands for a target in a control, numbered from 1."""
        match = next(one for one in self.matches if (one.site, one.target) == (site, target))
        return match.neurons[number - 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "count": self.count,
            "seed": self.seed,
            "tokens": self.tokens,
            "matches": [
                {
                    "site": one.site,
                    "target": one.target,
                    "neurons": list(one.neurons),
                    "distances": [plain_float(value) for value in one.distances],
                    "mean": [plain_float(trait.mean) for trait in one.traits],
                    "std": [plain_float(trait.std) for trait in one.traits],
                    "norm": [plain_float(trait.norm) for trait in one.traits],
                }
                for one in self.matches
            ],
            "placebos": {str(place): list(hashes) for place, hashes in self.placebos.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; DamagedError names the field that is not."""
        count = take(data, "count", int)
        placebos: dict[int, tuple[str, ...]] = {}
        for place, hashes in take_table(data, "placebos").items():
            if not place.isdecimal() or not isinstance(hashes, list):
                raise DamagedError("placebos is no table of lists")
            placebos[int(place)] = tuple(str(one) for one in hashes)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        found = cls(
            count=count,
            seed=take(data, "seed", int),
            tokens=take(data, "tokens", int),
            matches=tuple(_match(one, count) for one in take_records(data, "matches")),
            placebos=placebos,
        )
        if any(len(hashes) != count for hashes in placebos.values()):
            raise DamagedError(f"placebos has no direction for each of {count} controls")
        return found


def controls_of(session: Session) -> Controls | None:
    """The controls of a session; None where there are none, or none were chosen before it was interrupted.

    Raises:
        DamagedError: what it says of them is not what was written.
    """
    return controls_in(session.provenance.get(CONTROLS))


def controls_in(data: object) -> Controls | None:
    """Read controls where there are any; DamagedError as `controls_of`."""
    if data is None:
        return None
    return Controls.from_dict(take_table({CONTROLS: data}, CONTROLS))


def _match(data: Mapping[str, Any], count: int) -> ControlMatch:
    columns: Sequence[tuple[float, ...]] = [take_floats(data, name) for name in ("mean", "std", "norm")]
    match = ControlMatch(
        site=take(data, "site", str),
        target=take(data, "target", int),
        neurons=take_ints(data, "neurons"),
        distances=take_floats(data, "distances"),
        traits=tuple(ControlTraits(*row) for row in zip(*columns, strict=False)),
    )
    if len(match.neurons) != count or len(match.distances) != count or len(match.traits) != count + 1:
        raise DamagedError(f"a match has not {count} controls")
    if any(neuron < 0 for neuron in match.neurons) or len(take_list(data, "mean")) != count + 1:
        raise DamagedError("a match names no neurons")
    return match
