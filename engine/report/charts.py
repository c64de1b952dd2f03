"""Figures of papers as pictures inside a page: several in one file, with nothing that names another place."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any
from xml.etree import ElementTree

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.paper import figure_bytes
from srm_explorer.engine.report.texts import plain

_LINK = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d{3,}")


def inline_svg(made: Any, prefix: str) -> str:
    """A matplotlib figure as an element of an HTML page.

    Args:
        made: as `figure` draws it; characters of its texts that no file can hold are written as their codes.
        prefix: of all its ids, so that those of two figures on a page differ.

    Raises:
        ExplorerError: it cannot be written.
    """
    for text in made.findobj(import_module("matplotlib.text").Text):
        text.set_text(plain(text.get_text()))
        # A name may hold dollar signs, and is no formula.
        text.set_parse_math(False)
    try:
        svg = ElementTree.fromstring(figure_bytes(made, "svg"))
    except (ElementTree.ParseError, ValueError) as error:
        raise ExplorerError(f"a chart cannot be written as SVG: {error}", remedy="show it on the screen") from None
    for parent in list(svg.iter()):
        for child in list(parent):
            # What it says of itself names addresses; its style would hold for all of the page.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in svg.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id":
                value = f"{prefix}-{value}"
            elif name == "href":
                value = f"#{prefix}-{value.removeprefix('#')}"
            elif name in ("d", "transform", "points", "x", "y", "style", "clip-path"):
                value = _LINK.sub(rf"url(#{prefix}-\1)", value)
                value = _NUMBER.sub(_rounded, value)
            element.set(name, value)
    for size in ("width", "height", "version"):
        svg.attrib.pop(size, None)
    return ElementTree.tostring(svg, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rounded(number: re.Match[str]) -> str:
    """A coordinate to a hundredth of a point: finer than any printer, and half the size."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
