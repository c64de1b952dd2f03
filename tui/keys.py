"""Every key the screen knows, as the widgets that own them declare them: help, palette and settings are made of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from textual.actions import parse
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from srm_explorer import tui
from srm_explorer.tui.glyphs import UNICODE, Glyphs, glyphs_of

_WITHOUT_KEYS = frozenset(f"{tui.__name__}.{name}" for name in ("cli", "backend", "charts", "terminal", "web"))

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


MUST = ("run.cancel",)
"""Keys that the last line tells whatever else stands there."""

ALWAYS = ("help", "*.help", "quit", "*.leave")
"""Keys at its end, that give way to nothing but what was said just now."""

_FIRST = ("run.cancel", "run.resume", "worker.restart", "run.start")
"""Keys at its beginning."""

_KEPT = (
    *_FIRST,
    "form.edit",
    "form.leave",
    "prompts.toggle",
    "results.turn_left",
    "results.threshold",
    "study.page",
)
_THEN = (
    "table.open",
    "runs.filter",
    "survey.filter",
    "survey.mark",
    "results.tab_next",
    "intervention.presets",
    "prompts.back",
    "results.view",
    "study.work",
    "prompts.search",
    "spec.undo",
    "sessions.mark",
    "sessions.compare",
    "sessions.resume",
    "compare.view",
    "compare.part",
    "run.next",
    "run.before",
    "queue.prune",
)
_RANKS = {name: rank for rank, name in enumerate((*_KEPT, *_THEN), 2)}
"""How much the other keys matter; those that are not here follow in the order in which they are declared."""

FIRST_RANK = 1 + len(_FIRST)
"""Up to this rank, what stands to be done gives way to a key."""
KEPT_RANK = 1 + len(_KEPT)
"""Up to this rank, the progress of a run gives way to a key."""


@dataclass(frozen=True)
class KeyOf:
    """A binding of a widget.

    Attributes:
        node: the widget or screen that owns the action.
        binding: as it declares it.
        keys: the keys it has, with the user's own in place of those declared, as they are shown: "←, h".
        pressed: the same by the names that an application knows them by.
    """

    node: DOMNode
    binding: Binding
    keys: str
    pressed: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.binding.id or ""

    @property
    def acts(self) -> bool:
        """Whether the key would do something now."""
        owner, name, parameters = parse(self.binding.action)
        return bool(owner) or bool(self.node.check_action(name, parameters))

    @property
    def is_offered(self) -> bool:
        """Whether the key would change something now, and not only say why it cannot.

        A widget whose keys may be told in vain has a method `offers(action, parameters)`.
        """
        owner, name, parameters = parse(self.binding.action)
        offers = getattr(self.node, "offers", None)
        return bool(owner) or offers is None or bool(offers(name, parameters))

    @property
    def rank(self) -> int:
        """How much it matters on the last line: the less, the more."""
        if self.id in MUST:
            return 0
        if any(fnmatchcase(self.id, pattern) for pattern in ALWAYS):
            return 1
        return _RANKS.get(self.id, 2 + len(_RANKS))


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
                names = tuple(key.strip() for key in pressed.split(","))
                keys[binding.id] = KeyOf(node, binding, shown_keys(pressed, signs), names)
    return list(keys.values())


def keys_now(screen: Screen[Any]) -> list[KeyOf]:
    """The bindings that keys lead to now, from the focus outwards, each with the keys that do.

    A key that a text field would take for a letter leads nowhere, and one that two widgets know leads to the inner one.
    """
    reached: dict[tuple[DOMNode, str], tuple[Binding, list[str]]] = {}
    focused = screen.focused
    for key, active in screen.active_bindings.items():
        # Textual does not know of all keys with a name which letter they are.
        sign = _NAMES.get(key, "")
        is_text = focused not in (None, active.node) and len(sign) == 1 and focused.check_consume_key(key, sign)
        if active.binding.id is not None and active.enabled and not is_text:
            reached.setdefault((active.node, active.binding.id), (active.binding, []))[1].append(key)
    signs = glyphs_of(screen.app)
    return [
        KeyOf(node, binding, shown_keys(",".join(keys), signs), tuple(keys))
        for (node, _), (binding, keys) in reached.items()
    ]


def keys_to_tell(screen: Screen[Any], keymap: Mapping[str, str]) -> list[KeyOf]:
    """The bindings of the focus and of what is around it, each once and no key twice; what acts now has its keys first.

    One whose keys all mean something else here is left out.
    """
    now = keys_now(screen)
    taken, known = {name for key in now for name in key.pressed}, {key.id for key in now}
    inside = [] if screen.focused is None else list(screen.focused.ancestors_with_self)
    told = list(now)
    signs = glyphs_of(screen.app)
    for key in all_keys(inside or [screen, screen.app], keymap):
        free = tuple(name for name in key.pressed if name not in taken)
        if key.id not in known and free:
            taken.update(free)
            told.append(KeyOf(key.node, key.binding, shown_keys(",".join(free), signs), free))
    return told


def offered(screen: Screen[Any]) -> list[KeyOf]:
    """What the last line tells, where there is room: what would change something now, in the order it stands there."""
    keys = [key for key in keys_now(screen) if key.binding.show and key.binding.description and key.is_offered]

    def where(key: KeyOf) -> tuple[int, int]:
        if key.id in _FIRST:
            return 0, _FIRST.index(key.id)
        return (2, 0) if key.rank == 1 else (1, key.rank)

    return sorted(keys, key=where)


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
