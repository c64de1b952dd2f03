"""What the full screen is started with and leaves behind, and the modules it loads after the first frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class LaunchOptions:
    """What to begin with instead of where the last screen ended.

    Attributes:
        session: .json file of a session to be opened.
        spec: a preset's name or an experiment file; the draft of the last screen is then left where it is.
        prompts: files of prompts to be added to the experiment.
        settings: by its name, what a setting is for this time.
    """

    session: Path | None = None
    spec: str | None = None
    prompts: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ExitSummary:
    """What is said on standard output after the screen is gone.

    Attributes:
        going: name of the session whose run goes on; empty for none.
        problem: why the draft could not be kept; empty where it was.
    """

    going: str = ""
    problem: str = ""

    def lines(self) -> list[str]:
        """The lines, none where there is nothing to say."""
        lines: list[str] = []
        if self.going:
            lines.append(f"the run goes on: {self.going}; `srm-explorer` follows it again")
        if self.problem:
            lines.append(f"the edited experiment could not be kept: {self.problem}")
        return lines


_PANES = ("srm_explorer.tui.results.pane", "srm_explorer.tui.prompts.pane", "srm_explorer.tui.experiment.pane")
_NEXT = (
    "numpy",
    "srm_explorer.engine.experiment",
    "srm_explorer.engine.session",
    "srm_explorer.engine.runs.inputs",
    "srm_explorer.engine.runs.resume",
    "srm_explorer.engine.figures.groups",
    "srm_explorer.tui.results.state",
    "srm_explorer.tui.backend.link",
    "plotext",
    "srm_explorer.tui.charts.polar",
    "srm_explorer.tui.charts.thresholds",
    "srm_explorer.tui.charts.dose",
    "srm_explorer.tui.charts.scenes",
)


def load_panes() -> None:
    """Import what is in the panes."""
    for name in _PANES:
        import_module(name)


def preload() -> None:
    """Import the libraries and modules behind the panes, the most urgent first."""
    for name in _NEXT:
        import_module(name)
