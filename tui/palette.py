"""The command palette: every action of every part of the screen in view, the presets and the sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape
from textual.widget import Widget

from srm_explorer.tui.keys import all_keys
from srm_explorer.tui.widgets.pane import Pane


@dataclass(frozen=True)
class Command:
    """An entry: what it does in a few words, in a sentence, and how."""

    name: str
    told: str
    run: Callable[[], Awaitable[None] | None]


class Commands(Provider):
    """Finds what can be done now; made from the bindings, so that nothing with a key is missing."""

    async def startup(self) -> None:
        """Collect the entries; presets and sessions are listed in a thread."""
        self._commands = self._actions()
        source = getattr(self.screen, "palette_commands", None)
        if source is not None:
            self._commands += await asyncio.to_thread(source)

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        for one in self._commands:
            yield DiscoveryHit(Content(one.name), one.run, text=one.name, help=escape(one.told))

    async def search(self, query: str) -> Hits:
        """What is like the text."""
        matcher = self.matcher(query)
        for one in self._commands:
            score = matcher.match(one.name)
            if score > 0:
                yield Hit(score, matcher.highlight(one.name), one.run, text=one.name, help=escape(one.told))

    def _actions(self) -> list[Command]:
        keymap = getattr(self.app, "own_keys", {})
        screen = self.screen
        go_to: Callable[[Widget], None] | None = getattr(screen, "go_to", None)
        # A pane that is not in view is gone to; a tab is not, whose keys mean nothing while another is in view.
        widgets = [screen, *(one for one in screen.query(Widget) if _is_in_use(one))]
        found: list[Command] = []
        for one in all_keys(widgets, keymap):
            node, action = one.node, one.binding.action

            async def run(node: object = node, action: str = action) -> None:
                if go_to is not None and isinstance(node, Widget):
                    go_to(node)
                await self.app.run_action(action, default_namespace=node)  # pyright: ignore[reportArgumentType]

            found.append(
                Command(f"{one.binding.description or one.binding.tooltip}   {one.keys}", one.binding.tooltip, run)
            )
        return found


def _is_in_use(widget: Widget) -> bool:
    above = [node for node in widget.ancestors if isinstance(node, Widget)]
    pane = next((at for at, node in enumerate(above) if isinstance(node, Pane)), len(above))
    return widget.display and all(node.display for node in above[:pane])
