"""The command palette: every action of every screen, by what it does, the presets, the studies and the sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.markup import escape
from textual.widget import Widget

from srm_explorer.tui.glyphs import glyphs_of
from srm_explorer.tui.keys import KeyOf, all_keys, declared_bindings, shown_keys
from srm_explorer.tui.keywords import WAYS, likeness, words_for
from srm_explorer.tui.settings import THEMES
from srm_explorer.tui.widgets.pane import Pane
from srm_explorer.tui.widgets.status import StatusLine


@dataclass(frozen=True)
class Command:
    """An entry.

    Attributes:
        name: what it does in a few words.
        help: in a sentence.
        run: does it.
        keys: that do it too, as they are shown.
        words: by which it is found besides.
        is_here: whether it is of what is in view, and listed before anything is typed.
        weight: what its likeness counts for: less for one of many alike, which would hide others.
    """

    name: str
    help: str
    run: Callable[[], Awaitable[None] | None]
    keys: str = ""
    words: str = ""
    is_here: bool = True
    weight: float = 1.0

    @property
    def text(self) -> str:
        return f"{self.name}   {self.keys}".rstrip()

    def likeness(self, query: str) -> float:
        """How well a query fits; what is in view before what is not."""
        score = likeness(query, self.name, self.words, f"{self.help} {self.keys}")
        return score and score * self.weight + (0.4 if self.is_here else 0)


class Palette(CommandPalette):
    """Textual's, with the last line of every other screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "escape", "leave it", id="palette.leave", tooltip="Close the commands and do nothing"),
        Binding("down", "cursor_down", "next", id="palette.next", tooltip="Go to the next command of the list"),
    ]

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield StatusLine()

    def _action_command_list(self, action: str) -> None:
        # Textual turns a page by the lines of the list, of which there are none before it is laid out.
        if self.query_one(CommandList).size or not action.startswith("page_"):
            super()._action_command_list(action)


class Commands(Provider):
    """Finds what can be done; made from the bindings, so that nothing with a key is missing."""

    async def startup(self) -> None:
        """Collect the entries: what keys do here, what the screen in view has besides, and what keys do elsewhere."""
        self._commands = self._actions()
        more: Callable[[], Awaitable[list[Command]]] | None = getattr(self.screen, "palette_commands", None)
        if more is not None:
            self._commands += await more()
        choose: Callable[[str], None] | None = getattr(self.app, "choose_theme", None)
        self._commands += [_theme(name, choose) for name in THEMES if choose is not None]
        self._commands += self._elsewhere(await asyncio.to_thread(declared_bindings))

    async def _wait_init(self) -> None:
        """Wait for the entries; who waits no more, for another letter was typed, must not stop what collects them."""
        if self._init_task is not None:
            await asyncio.shield(self._init_task)

    async def discover(self) -> Hits:
        """What is in view, before anything is typed."""
        for command in self._commands:
            if command.is_here:
                yield DiscoveryHit(Content(command.text), command.run, text=command.text, help=escape(command.help))

    async def search(self, query: str) -> Hits:
        """What is like the text: by its words, and else by the letters of its name."""
        matcher = self.matcher(query)
        for command in self._commands:
            text = command.text
            score = command.likeness(query) or matcher.match(command.name) / 1000
            if score > 0:
                yield Hit(score, matcher.highlight(text), command.run, text=text, help=escape(command.help))

    def _actions(self) -> list[Command]:
        keymap = getattr(self.app, "user_keys", {})
        screen = self.screen
        # A pane that is not in view is gone to; a tab is not, whose keys mean nothing while another is in view.
        widgets = [screen, *(widget for widget in screen.query(Widget) if _is_in_use(widget)), self.app]
        self._here = all_keys(widgets, keymap)
        return [
            Command(_title(key.binding), key.binding.tooltip, self._runner(key), key.keys, words_for(key.id))
            for key in self._here
        ]

    def _runner(self, key: KeyOf) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            go_to: Callable[[DOMNode, str], None] | None = getattr(self.screen, "go_to", None)
            if go_to is not None and isinstance(key.node, Widget):
                go_to(key.node, key.binding.action)
            if key.acts:
                await self.app.run_action(key.binding.action, default_namespace=key.node)
            else:
                self._tell(key.keys, key.binding)

        return run

    def _elsewhere(self, declared: dict[str, list[Binding]]) -> list[Command]:
        keymap: dict[str, str] = getattr(self.app, "user_keys", {})
        signs = glyphs_of(self.app)
        known = {key.id for key in self._here}
        hidden = {type(widget).__name__: widget for widget in reversed(self.screen.query(Widget))}
        commands: list[Command] = []
        for kind, bindings in declared.items():
            where, way = WAYS.get(kind, ("while a box is open", ""))
            for binding in (binding for binding in bindings if binding.id and binding.id not in known):
                known.add(binding.id or "")
                keys = shown_keys(keymap.get(binding.id or "", binding.key), signs)
                widget = hidden.get(kind)
                run = self._runner(KeyOf(widget, binding, keys)) if widget else self._way(way, keys, binding)
                told = binding.tooltip or binding.description
                words = f"{words_for(binding.id or '')} {where}"
                commands.append(Command(_title(binding), f"{told} ({where})", run, keys, words, is_here=False))
        return commands

    def _way(self, way: str, keys: str, binding: Binding) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if way and hasattr(self.screen, "go_to"):
                await self.app.run_action(way, default_namespace=self.screen)
            self._tell(keys, binding)

        return run

    def _tell(self, keys: str, binding: Binding) -> None:
        """Say which key does it, where it cannot be done from here."""
        told = binding.tooltip or binding.description
        self.app.notify(f"{keys}: {told[:1].lower()}{told[1:]}", markup=False)


def _theme(name: str, choose: Callable[[str], None]) -> Command:
    told = "Draw everything in the colours of this theme, and keep it in the settings"
    words = "theme colours colors appearance look dark light"
    return Command(f"theme {name}", told, lambda: choose(name), words=words, is_here=False, weight=0.2)


def _title(binding: Binding) -> str:
    return (binding.description or binding.tooltip).lower()


def _is_in_use(widget: Widget) -> bool:
    above = [node for node in widget.ancestors if isinstance(node, Widget)]
    depth = next((index for index, node in enumerate(above) if isinstance(node, Pane)), len(above))
    return widget.display and all(node.display for node in above[:depth])
