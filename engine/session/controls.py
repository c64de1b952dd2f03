"""The controls of a session: which neurons, or directions, went through the sweep beside the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from srm_explorer.engine.session.codec import DamagedError, Number, Text, Whole, read_record
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
        neurons: [control] the neuron that stands for it.
        distances: [control] how unlike the target it is, in robust spreads of mean, log std and log W_out norm.
        mean: as `ControlTraits` has it: of the target, then of each control; so are the next two.
        norm: length of the row of W_out.
    """

    site: Text
    target: Whole
    neurons: tuple[Whole, ...]
    distances: tuple[Number, ...]
    mean: tuple[Number, ...]
    std: tuple[Number, ...]
    norm: tuple[Number, ...]

    @property
    def traits(self) -> tuple[ControlTraits, ...]:
        """Of the target, then of each control."""
        return tuple(ControlTraits(*row) for row in zip(self.mean, self.std, self.norm, strict=True))


@dataclass(frozen=True)
class Controls:
    """Everything that was chosen before the first control ran.

    Attributes:
        tokens: generated tokens of the baseline that neurons were matched on.
        placebos: by the index of a `steer` intervention, [control] the SHA-256 of its random direction.
    """

    count: Whole
    seed: Whole
    tokens: Whole
    matches: tuple[ControlMatch, ...]
    placebos: Mapping[int, tuple[Text, ...]]

    def neuron(self, number: int, site: str, target: int) -> int:
        """The neuron that stands for a target in a control, numbered from 1."""
        match = next(match for match in self.matches if (match.site, match.target) == (site, target))
        return match.neurons[number - 1]


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
    controls = read_record(Controls, data, CONTROLS)
    for match in controls.matches:
        lengths = {len(match.mean), len(match.std), len(match.norm), len(match.neurons) + 1, len(match.distances) + 1}
        if lengths != {controls.count + 1}:
            raise DamagedError(f"a match has not {controls.count} controls")
        if any(neuron < 0 for neuron in match.neurons):
            raise DamagedError("a match names no neurons")
    if any(len(hashes) != controls.count for hashes in controls.placebos.values()):
        raise DamagedError(f"placebos has no direction for each of {controls.count} controls")
    return controls
