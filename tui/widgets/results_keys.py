"""The keys of the results pane: what turns the spotlight and changes how a session is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

if TYPE_CHECKING:
    from tui.state.results import ResultsState

TABS = ("Polar", "Thresholds", "Dose", "Runs", "Effects", "Planes", "Neuron", "Log")
STUDY_TABS = ("Effects", "Planes", "Neuron")
# Tabs on which an action changes what is seen.
_TURNING = frozenset({"Polar", "Thresholds", "Runs"})
ACTS_ON = {
    "turn": _TURNING,
    "threshold": frozenset({"Polar", "Thresholds", "Dose", "Runs"}),
    "baseline": frozenset({"Polar", "Thresholds"}),
    "view": frozenset({"Polar"}),
    "grouping": frozenset({"Polar", "Thresholds"}),
    "difference": frozenset({"Thresholds"}),
    "sight": frozenset({"Polar", "Thresholds", "Dose"}),
    "band": frozenset({"Polar", "Thresholds"}),
    "plane": frozenset({"Polar", "Thresholds", "Dose", "Runs", "Planes"}),
}


class ResultsKeys(Widget, can_focus=True):
    """Actions of the results pane; the tabs are in the class built on this one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "turn", id="results.turn_left", tooltip="Turn the spotlight back by 1°"),
        Binding("right,l", "turn(1)", "turn", show=False, id="results.turn_right", tooltip="Turn the spotlight by 1°"),
        Binding(
            "shift+left,H", "turn(-10)", show=False, id="results.turn_left_10", tooltip="Turn the spotlight back by 10°"
        ),
        Binding(
            "shift+right,L", "turn(10)", show=False, id="results.turn_right_10", tooltip="Turn the spotlight by 10°"
        ),
        Binding("t", "threshold(1)", "threshold", id="results.threshold", tooltip="Go to the next threshold"),
        Binding(
            "T", "threshold(-1)", show=False, id="results.threshold_back", tooltip="Go back to the threshold before"
        ),
        Binding("v", "view", "view", id="results.view", tooltip="Polar: counts, mean cosine, or every run (compass)"),
        Binding("g", "grouping", "group", id="results.grouping", tooltip="Pool the runs, or group by value or factor"),
        Binding("b", "baseline", "baseline", id="results.baseline", tooltip="Show the baseline, or leave it out"),
        Binding("d", "difference", "difference", id="results.difference", tooltip="Thresholds: subtract the baseline"),
        Binding(
            "a",
            "sight",
            "arithmetic",
            id="results.sight",
            tooltip="Charts: as observed, minus what arithmetic predicts, or without the clamped axis",
        ),
        Binding(
            "B",
            "band",
            "band",
            show=False,
            id="results.band",
            tooltip="Show the band, and what chance draws, of the next group",
        ),
        Binding("p", "plane", "plane", show=False, id="results.plane", tooltip="Go to the session's next plane"),
        Binding("left_square_bracket", "tab(-1)", show=False, id="results.tab_before", tooltip="Go to the tab before"),
        Binding("right_square_bracket", "tab(1)", "tab", id="results.tab_next", tooltip="Go to the next tab"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state: ResultsState | None = None
        self._current = 0

    @property
    def state(self) -> ResultsState:
        """What is shown; made when it is first asked for, since it needs numpy."""
        if self._state is None:
            from tui.state.results import ResultsState

            self._state = ResultsState()
        return self._state

    @property
    def tab(self) -> str:
        """Name of the tab in view."""
        return TABS[self._current]

    def changed(self) -> None:
        """Show the state and tell that it changed."""
        raise NotImplementedError

    def pick(self, index: int) -> None:
        """Go to a tab."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave a key to others on tabs where it would change nothing."""
        return self.tab in ACTS_ON.get(action, TABS)

    def action_turn(self, degrees: int) -> None:
        """Turn the spotlight."""
        self.state.turn(degrees)
        self.changed()

    def action_threshold(self, step: int) -> None:
        """Go to another threshold."""
        self.state.next_threshold(step)
        self.changed()

    def action_baseline(self) -> None:
        """Show the baseline, or leave it out."""
        self.state.baseline = not self.state.baseline
        self.changed()

    def action_view(self) -> None:
        """Go to the polar chart's next view."""
        self.state.next_view()
        self.changed()

    def action_grouping(self) -> None:
        """Group the runs in the next way."""
        self.state.next_grouping()
        self.changed()

    def action_difference(self) -> None:
        """Show curves, or what they are beyond the baseline's."""
        if self.state.sight == "minus arithmetic":
            self.state.sight, self.state.difference = "observed", True
        else:
            self.state.difference = not self.state.difference
        self.changed()

    def action_sight(self) -> None:
        """See the session in the next way."""
        self.state.next_sight()
        self.changed()

    def action_band(self) -> None:
        """Put the next group's band in focus."""
        self.state.next_choice()
        self.changed()

    def action_plane(self) -> None:
        """Go to the next plane."""
        self.state.next_plane()
        self.changed()

    def action_tab(self, step: int) -> None:
        """Go to another tab, round and round."""
        self.pick((self._current + step) % len(TABS))


def told(state: ResultsState, tab: str, computing: bool = False) -> str:
    """How a tab shows the session, in few words, and whether its bands are being computed."""
    parts = ["computing bands"] if computing else []
    if tab in ACTS_ON["sight"] and state.sight != "observed":
        parts.append(state.sight)
    if tab == "Polar":
        parts.append(state.view)
    if tab == "Thresholds" and state.difference and state.sight != "minus arithmetic":
        parts.append("difference")
    if tab in ACTS_ON["grouping"]:
        names = ["value" if name == "condition" else name for name in state.by]
        parts.append(f"by {', '.join(names)}" if names else "pooled")
        parts += [] if state.baseline else ["no baseline"]
    planes = len(state.session.planes) if state.session is not None else 0
    if planes > 1 and tab in ACTS_ON["plane"]:
        parts.append(f"plane {state.plane + 1} of {planes}")
    return " · ".join(parts)
