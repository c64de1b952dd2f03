"""The command palette: every action of every part of the screen in view, the presets and the sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.markup import escape
from textual.widget import Widget

from srm_explorer.tui.keys import all_keys
from srm_explorer.tui.widgets.pane import Pane


@dataclass(frozen=True)
class Command:
    """An entry: what it does in a few words, in a sentence, and how."""

    name: str
    help: str
    run: Callable[[], Awaitable[None] | None]


class Commands(Provider):
    """Finds what can be done now; made from the bindings, so that nothing with a key is missing."""

    async def startup(self) -> None:
        """Collect the entries: what keys do, and what the screen in view has besides."""
        self._commands = self._actions()
        more: Callable[[], Awaitable[list[Command]]] | None = getattr(self.screen, "palette_commands", None)
        if more is not None:
            self._commands += await more()

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        for command in self._commands:
            name = command.name
            yield DiscoveryHit(Content(name), command.run, text=name, help=escape(command.help))

    async def search(self, query: str) -> Hits:
        """What is like the text."""
        matcher = self.matcher(query)
        for command in self._commands:
            name = command.name
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), command.run, text=name, help=escape(command.help))

    def _actions(self) -> list[Command]:
        keymap = getattr(self.app, "user_keys", {})
        screen = self.screen
        go_to: Callable[[Widget], None] | None = getattr(screen, "go_to", None)
        # A pane that is not in view is gone to; a tab is not, whose keys mean nothing while another is in view.
        widgets = [screen, *(widget for widget in screen.query(Widget) if _is_in_use(widget))]
        commands: list[Command] = []
        for key in all_keys(widgets, keymap):
            node, binding = key.node, key.binding

            async def run(node: DOMNode = node, action: str = binding.action) -> None:
                if go_to is not None and isinstance(node, Widget):
                    go_to(node)
                await self.app.run_action(action, default_namespace=node)

            name = f"{binding.description or binding.tooltip}   {key.keys}"
            commands.append(Command(name, binding.tooltip, run))
        return commands


def _is_in_use(widget: Widget) -> bool:
    above = [node for node in widget.ancestors if isinstance(node, Widget)]
    depth = next((index for index, node in enumerate(above) if isinstance(node, Pane)), len(above))
    return widget.display and all(node.display for node in above[:depth])
