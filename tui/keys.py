"""Every key the screen knows, as the widgets that own them declare them: help, palette and settings are made of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.actions import parse
from textual.binding import Binding
from textual.dom import DOMNode

from srm_explorer import tui
from srm_explorer.tui.glyphs import UNICODE, Glyphs, glyphs_of

_WITHOUT_KEYS = frozenset(f"{tui.__name__}.{name}" for name in ("cli", "backend", "charts", "terminal"))

_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "comma": ",",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "minus": "-",
    "plus": "+",
    "space": "space",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "escape": "esc",
    "delete": "del",
}


@dataclass(frozen=True)
class KeyOf:
    """A binding of a widget.

    Attributes:
        node: the widget or screen that owns the action.
        binding: as it declares it.
        keys: the keys it has, with the user's own in place of those declared, as they are shown: "←, h".
    """

    node: DOMNode
    binding: Binding
    keys: str

    @property
    def acts(self) -> bool:
        """Whether the key would do something now."""
        owner, name, parameters = parse(self.binding.action)
        return bool(owner) or bool(self.node.check_action(name, parameters))


def keys_of(node: DOMNode, keymap: Mapping[str, str]) -> list[KeyOf]:
    """The bindings with an id that a widget's class and its bases declare, a base's own after those of the class.

    Args:
        node: a widget, screen or app.
        keymap: the user's own keys by id.
    """
    keys: dict[str, KeyOf] = {}
    signs = glyphs_of(node.app)
    for kind in type(node).__mro__:
        for binding in vars(kind).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id is not None and binding.id not in keys:
                pressed = keymap.get(binding.id) or binding.key
                keys[binding.id] = KeyOf(node, binding, shown_keys(pressed, signs))
    return list(keys.values())


def all_keys(nodes: Iterable[DOMNode], keymap: Mapping[str, str]) -> list[KeyOf]:
    """The bindings of several widgets, each id once."""
    keys: dict[str, KeyOf] = {}
    for node in nodes:
        for key in keys_of(node, keymap):
            keys.setdefault(key.binding.id or "", key)
    return list(keys.values())


def declared_bindings() -> dict[str, list[Binding]]:
    """All bindings by the name of the class that declares them, in the order they are declared.

    It imports every screen, also those not shown yet, so call it in a thread.
    """
    for folder in pkgutil.iter_modules(tui.__path__, f"{tui.__name__}."):
        if folder.name in _WITHOUT_KEYS:
            continue
        inside = importlib.import_module(folder.name)
        for module in pkgutil.iter_modules(getattr(inside, "__path__", ()), f"{folder.name}."):
            importlib.import_module(module.name)
    kinds: list[type[DOMNode]] = [DOMNode]
    for kind in kinds:
        kinds += [below for below in kind.__subclasses__() if below not in kinds]
    return {
        kind.__name__: [binding for binding in vars(kind).get("BINDINGS", ()) if isinstance(binding, Binding)]
        for kind in kinds
        if kind.__module__.startswith(f"{tui.__name__}.") and vars(kind).get("BINDINGS")
    }


def known_ids() -> frozenset[str]:
    """The names of all keys; see `declared_bindings` for what it costs."""
    return frozenset(binding.id for bindings in declared_bindings().values() for binding in bindings if binding.id)


def shown_keys(keys: str, signs: Glyphs = UNICODE) -> str:
    """Keys as people write them: "left,shift+left" is "←, shift+←"."""
    arrows = {"left": signs.left, "right": signs.right, "up": signs.up, "down": signs.down}
    return ", ".join(_shown(key.strip(), arrows) for key in keys.split(",") if key)


def _shown(key: str, arrows: Mapping[str, str]) -> str:
    held, plus, last = key.rpartition("+")
    return f"{held}{plus}{arrows.get(last) or _NAMES.get(last, last)}" if last else key
