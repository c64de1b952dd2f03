"""The keys of the Runs tab."""

from __future__ import annotations

from textual.binding import Binding, BindingType

HINT = 'door   "two words"   value>3   value=baseline   cos>.5   set=watching   lit   changed   !lit'

RUNS_KEYS: list[BindingType] = [
    Binding(
        "slash",
        "filter",
        "Filter",
        id="runs.filter",
        key_display="/",
        tooltip=f"List some runs: {' '.join(HINT.split())}",
    ),
    Binding("S", "sort", "Sort", id="runs.sort", tooltip="Sort by the next column"),
    Binding("R", "reverse", "Reverse", id="runs.reverse", show=False, tooltip="Turn the order round"),
    Binding("m", "only_lit", "Lit only", id="runs.only-lit", tooltip="List only what the spotlight lights, or all"),
    Binding(
        "n", "next_lit(1)", "Next lit", id="runs.next-lit", show=False, tooltip="Highlight the next run that is lit"
    ),
    Binding(
        "N", "next_lit(-1)", "Lit before", id="runs.lit-before", show=False, tooltip="Highlight the lit run before"
    ),
    Binding("escape", "leave_filter", "All runs", id="runs.all", show=False, tooltip="Leave the filter, then drop it"),
]
