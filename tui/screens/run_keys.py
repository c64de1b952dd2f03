"""The keys of the view of a run."""

from __future__ import annotations

from textual.binding import Binding, BindingType

RUN_KEYS: list[BindingType] = [
    Binding("n,j", "run(1)", "next", id="run.next", tooltip="The next run of the table"),
    Binding("p,k", "run(-1)", "before", id="run.before", tooltip="The run before in the table"),
    Binding("b", "baseline", "baseline", id="run.baseline", tooltip="The baseline of this prompt, and back"),
    Binding("left,h", "token(-1)", "token", id="run.token-before", tooltip="The token before"),
    Binding("right,l", "token(1)", "token", id="run.token-next", show=False, tooltip="The next token"),
    Binding("shift+left,H", "token(-10)", "", id="run.tokens-before", show=False, tooltip="Ten tokens before"),
    Binding("shift+right,L", "token(10)", "", id="run.tokens-next", show=False, tooltip="Ten tokens on"),
    Binding("v", "neuron", "neuron", id="run.neuron", tooltip="The next neuron whose activations were kept"),
    Binding("up", "scroll(-1)", "", id="run.up", show=False, tooltip="Scroll up"),
    Binding("down", "scroll(1)", "", id="run.down", show=False, tooltip="Scroll down"),
    Binding("pageup", "scroll(-10)", "", id="run.page-up", show=False, tooltip="Scroll a page up"),
    Binding("pagedown", "scroll(10)", "", id="run.page-down", show=False, tooltip="Scroll a page down"),
    Binding("y", "copy", "copy", id="run.copy", tooltip="Copy prompt, texts and numbers"),
    Binding("question_mark", "help", "help", id="run.help", tooltip="Keys and words"),
    Binding("escape,q", "leave", "back", id="run.leave", tooltip="Back to the table"),
]
