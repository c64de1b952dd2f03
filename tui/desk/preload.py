"""Loading in a thread, while the first frame is already seen, what the screen needs next."""

from __future__ import annotations

from importlib import import_module

_PANES = ("tui.widgets.results_pane", "tui.widgets.prompts_pane", "tui.widgets.intervention_pane")
_NEXT = (
    "numpy",
    "engine.spec",
    "engine.session",
    "engine.runner.inputs",
    "engine.runner.outcome",
    "engine.figures.session",
    "tui.state.results",
    "tui.link.link",
    "plotext",
    "tui.charts.polar",
    "tui.charts.thresholds",
    "tui.charts.dose",
    "tui.paint.scenes",
)


def load_panes() -> None:
    """Import what is in the panes."""
    for name in _PANES:
        import_module(name)


def preload() -> None:
    """Import the libraries and modules behind the panes, the most urgent first."""
    for name in _NEXT:
        import_module(name)
