"""`keys`: the keys of the full screen, what they do, and their names in the settings."""

from __future__ import annotations

from collections.abc import Sequence

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.cli.output import say, say_json, table, table_width
from srm_explorer.tui.keys import declared_bindings, shown_keys
from srm_explorer.tui.keywords import WAYS, likeness, words_for
from srm_explorer.tui.settings import load_settings


def keys_command(words: Sequence[str], as_json: bool) -> None:
    """Print the keys whose action fits all of some words, the best first; every key where none is named.

    Raises:
        ExplorerError: nothing fits.
    """
    own = load_settings().keys
    query = " ".join(words)
    found: list[tuple[float, tuple[str, str, str, str]]] = []
    for kind, bindings in declared_bindings().items():
        where = WAYS.get(kind, ("in a box", ""))[0]
        for binding in (binding for binding in bindings if binding.id):
            name, told = binding.id or "", binding.tooltip or binding.description
            fit = likeness(query, binding.description, words_for(name), f"{told} {where} {name}") if query else 1.0
            if fit:
                found.append((fit, (shown_keys(own.get(name) or binding.key), told, where, name)))
    if not found:
        raise ExplorerError(f"no key is about {query!r}", remedy="`srm-explorer keys` lists all")
    rows = [row for _, row in sorted(found, key=lambda pair: -pair[0])]
    names = ("keys", "what", "where", "name")
    if as_json:
        say_json({"keys": [dict(zip(names, row, strict=True)) for row in rows]}, "keys")
        return
    say(*table(("keys", "what they do", "where", "name in settings"), rows, width=table_width(), flexible=1))
