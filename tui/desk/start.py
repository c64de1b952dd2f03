"""What the full screen was started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """What to begin with instead of where the last screen ended.

    Attributes:
        session: .json file of a session to be opened.
        spec: a preset's name or an experiment file; the draft of the last screen is then left where it is.
        prompts: files of prompts to be added to the experiment.
    """

    session: Path | None = None
    spec: str | None = None
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Farewell:
    """What is said on standard output after the screen is gone.

    Attributes:
        going: name of the session whose run goes on; empty for none.
        problem: why the draft could not be kept; empty where it was.
    """

    going: str = ""
    problem: str = ""

    def lines(self) -> list[str]:
        """The lines, none where there is nothing to say."""
        found: list[str] = []
        if self.going:
            found.append(f"the run goes on: {self.going}; `srm-explorer` follows it again")
        if self.problem:
            found.append(f"the edited experiment could not be kept: {self.problem}")
        return found
