"""How far a survey is, counted in neurons."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from srm_explorer.engine.session.codec import Whole

STANDING = "surveyed"
"""What the provenance of a session calls how far its survey is."""


@dataclass(frozen=True)
class Standing:
    """How many neurons are scored, and written under, of so many each: all 0 before the plan of a survey is fixed."""

    scored: Whole = 0
    to_score: Whole = 0
    written: Whole = 0
    to_write: Whole = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @property
    def is_planned(self) -> bool:
        """Whether it is known how many there are to be."""
        return bool(self.to_score or self.to_write)

    @property
    def _scores(self) -> bool:
        return self.scored < self.to_score or not self.to_write

    @property
    def share(self) -> tuple[int, int]:
        """Finished neurons of what is under way, of so many; scored ones until all are, then those written under."""
        return (self.scored, self.to_score) if self._scores else (self.written, self.to_write)

    @property
    def under_way(self) -> str:
        """The same in words: "40 of 512 neurons scored", "3 of 20 neurons written under"."""
        done, planned = self.share
        return f"{done:,} of {planned:,} neurons {'scored' if self._scores else 'written under'}"

    @property
    def words(self) -> str:
        """The same in words; of none of a kind nothing is said."""
        parts = [f"{self.scored:,} of {self.to_score:,} neurons scored"] if self.to_score else []
        if self.to_write:
            neurons = "" if parts else "neurons "
            parts.append(f"{self.written:,} of {self.to_write:,} {neurons}written under")
        return ", ".join(parts) or "no neuron yet"

    def short(self, between: str = " of ") -> str:
        """The same for a cell of a table: "40 of 512 neurons"; where all are finished, how many were surveyed."""
        done, planned = self.share
        if done < planned:
            return f"{done:,}{between}{planned:,} neurons"
        return f"{self.to_score or self.to_write:,} neurons" if self.is_planned else "no neuron yet"


def kept_words(done: int, runs: int, standing: Standing | None) -> str:
    """What is there of what was planned: "412 of 600 runs", of a survey those of its baseline, and how far it is."""
    words = f"{done:,} of {runs:,} run{'' if runs == 1 else 's'}"
    return words if standing is None else f"{words} of the baseline, {standing.words}"
