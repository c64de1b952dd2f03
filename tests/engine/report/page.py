"""What a page must be, whoever wrote its texts: balanced, of known elements, naming no other place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = frozenset(("meta", "br", "hr", "img", "link", "input", "base", "area", "col", "embed", "source", "track"))
_HTML = """
html head meta title style body header main footer section nav h1 h2 h3 p a ul li dl dt dd pre code span mark
details summary div table caption thead tbody tr th td figure figcaption
"""
_SVG = "svg g defs path use text tspan rect clippath circle line polygon"
_ATTRIBUTES = """
lang charset http-equiv content name id class href title scope colspan dir open aria-label viewbox d transform style
clip-path x y width height fill fill-opacity clippathunits points
"""
TAGS, ATTRIBUTES = frozenset(f"{_HTML} {_SVG}".split()), frozenset(_ATTRIBUTES.split())


class Page(HTMLParser):
    """A page as it was read: every element closed in order, every id once, every link to one of them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.tags: dict[str, int] = {}
        self.rows: list[list[str]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert self.stack == []
        assert len(set(self.ids)) == len(self.ids)
        assert self.links <= set(self.ids), self.links - set(self.ids)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            assert name in ATTRIBUTES, (tag, name)
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                assert value
                assert value.startswith("#")
                self.links.add(value[1:])
            elif tag not in ("th", "meta"):
                self.links |= set(re.findall(r"url\(#([^)]*)\)", value or ""))
                assert "url(" not in re.sub(r"url\(#", "", value or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "style":
            assert "url(" not in data
            assert "@import" not in data
            return
        self.parts.append(data)
        if self.rows and ("td" in self.stack or "th" in self.stack):
            self.rows[-1][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:80]}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data[:80]}")
