"""The controls of a session: which neurons, or directions, went through the sweep beside the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session.codec import DamagedError, Number, Text, Whole, read_record
from srm_explorer.engine.session.ledger import looked_at
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

    def edges(self) -> tuple[tuple[str, float, float, float], ...]:
        """Traits in which the target lies at or beyond the end of its controls: name, its own, their smallest, largest.

        It is at an end of one of three traits by chance with a probability of up to 6 / (controls + 1), and where it
        is, nothing tells what a neuron further out would have done.
        """
        named = (("mean", self.mean), ("σ", self.std), ("W_out norm", self.norm))
        ends = ((name, own, min(others), max(others)) for name, (own, *others) in named if others)
        return tuple(row for row in ends if not row[2] < row[1] < row[3] and len(set(row[1:])) > 1)

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


@dataclass(frozen=True)
class Selection:
    """How the target of a session came to be the target.

    Attributes:
        chosen: before or after looking at what is ranked, or unknown.
        candidates: how many were looked at, itself included, as is said; None where it is not.
        known: the same by the session's ledger, see `looked_at`; 1 where that knows of no search.
    """

    chosen: Text = "unknown"
    candidates: Whole | None = None
    known: Whole = 1

    @property
    def compared(self) -> int:
        """Of how many it counts as the best, the larger of what is said and known: 1 where not chosen by looking."""
        return max(self.candidates or 1, self.known) if self.chosen == "after" else 1

    @property
    def p_title(self) -> str:
        """What a rank p is: a p of a target chosen before, or of the best of its candidates, else a mere condition."""
        if self.chosen == "before":
            return "p"
        return "p if before" if self.compared == 1 else "p of best"

    @property
    def _source(self) -> str:
        """Who knows of how many it counts as the best."""
        said = "nobody says of how many" if self.candidates is None else f"{self.candidates:,} are stated"
        if self.known > (self.candidates or 1):
            return f"by the session's ledger; {said}"
        return "as stated" + (f"; the ledger knows of {self.known:,}" if self.known > 1 else "")

    @property
    def q_title(self) -> str:
        return self.p_title.replace("p", "q", 1)

    def notes(self, count: int) -> tuple[str, ...]:
        """What a reader of rank p-values among a number of controls must know of the choice."""
        if self.chosen == "before":
            return ("the target was chosen before looking, the experiment says: p holds for no other",)
        if self.chosen == "unknown":
            return (
                "p holds for a target that was chosen before looking at what is ranked; whether this one was, nobody"
                " says (controls.chosen, or --chosen before|after)"
                + (f"; the ledger knows that it was looked at among {self.known:,}" if self.known > 1 else ""),
            )
        if self.compared == 1 and self.candidates is None:
            return (
                "chosen after looking: p is that of a target chosen before, and too small for this one by nobody knows"
                " how much; say among how many it was chosen (controls.candidates, or --candidates)",
            )
        least = self.compared / (self.compared + count)
        few = f"; {19 * self.compared:,} controls are the fewest that can give .05" if least > 0.05 else ""
        return (
            f"chosen after looking at {self.compared:,} ({self._source}): p is that of the best of as many, none of"
            f" them a control (max-statistic), so none below {least:.2g}{few}",
        )


def selection_of(session: Session, chosen: str | None = None, candidates: int | None = None) -> Selection:
    """How the target of a session was chosen: as its experiment says, or else as is said now, and by its ledger.

    Args:
        session: any.
        chosen: before or after, where the experiment does not say.
        candidates: how many were looked at, where the experiment does not say.

    Raises:
        ExplorerError: the experiment says otherwise, or candidates of a target that was chosen before.
    """
    spec = session.spec.controls
    for name, said, now in (
        ("chosen", spec.chosen if spec.chosen != "unknown" else None, chosen),
        ("candidates", spec.candidates, candidates),
    ):
        if said is not None and now is not None and said != now:
            what = f"the experiment says controls.{name} = {said}, not {now}"
            raise ExplorerError(what, where=session.name, remedy="leave it as it was said before the run")
    when = chosen or spec.chosen
    number = candidates or spec.candidates
    if number is not None and when != "after":
        what = f"{number} candidates were looked at, and the target is not said to be chosen after that"
        raise ExplorerError(what, where=session.name, remedy="say chosen after, or leave the candidates out")
    controls = controls_of(session)
    targets = [(match.site, match.target) for match in controls.matches] if controls is not None else []
    return Selection(when, number, max((looked_at(session, *target) for target in targets), default=1))


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
