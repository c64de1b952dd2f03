from __future__ import annotations

import base64
import dataclasses
import pickle
from html.parser import HTMLParser

import pytest

from srm_explorer.engine.analyses.dose import dose_study
from srm_explorer.engine.analyses.registry import tables_in
from srm_explorer.engine.figures import html
from srm_explorer.engine.figures.paper import draw, page, plane_figure
from srm_explorer.engine.figures.paper.page import LARGEST_SVG
from srm_explorer.engine.figures.table import TableColumn, TableFigure
from srm_explorer.engine.session import Session, load_session
from tests.example import EXAMPLE

pytestmark = pytest.mark.process  # matplotlib asks for the fonts once.

HOSTILE = "<script>alert(1)</script>\"'& $x_1^2$ $\\frac{ \u202e\x1b[31m\nz"
VOID = {"progress", "img", "br", "meta", "link"}


class Reader(HTMLParser):
    """Reads HTML: its tags, whose ends must match, and the texts of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.fixture
def session() -> Session:
    return load_session(EXAMPLE)


def test_a_session_says_its_warnings_then_what_it_is_then_draws(session: Session) -> None:
    shown = session._repr_html_()
    read = Reader(shown)
    facts = dict(zip(read.cells[::2], read.cells[1::2], strict=True))
    assert facts["session"] == session.name
    assert f"{len(session.runs):,} runs" in facts["prompts"]
    assert "n" in facts["plane"]
    assert read.text.startswith("⚠")
    assert read.tags.index("table") < read.tags.index("svg")
    assert len(shown) < 2 * LARGEST_SVG
    assert repr(session) == str(session)
    assert len(repr(session)) < 320
    assert repr(session).startswith(f"Session {session.name}: finished")
    stopped = session.changed(state="interrupted", runs=session.runs[:3])
    assert f"interrupted: 3 of {len(session.runs):,} runs · " in repr(stopped)
    assert repr(stopped).count(" runs") == 1


def test_hostile_texts_are_texts(session: Session) -> None:
    prompts = tuple(dataclasses.replace(prompt, set=HOSTILE) for prompt in session.prompts)
    hostile = session.changed(name=HOSTILE, notes=HOSTILE, prompts=prompts)
    for thing in (hostile, hostile.spec):
        read = Reader(thing._repr_html_())
        assert "script" not in read.tags
        assert repr(thing).isprintable()
    assert "<script>alert(1)</script>" in Reader(hostile._repr_html_()).text
    table = TableFigure("t", HOSTILE, (TableColumn("k", HOSTILE, "text"),), ((HOSTILE,),), (HOSTILE,))
    read = Reader(table._repr_html_())
    assert set(read.tags) == {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert read.cells == [read.cells[0]] * 2
    assert read.cells[0].isprintable()


def test_a_long_session_and_a_long_table_are_cut_and_say_so(session: Session) -> None:
    notes = session.changed(notes="word " * 100_000, planes=session.planes * 50)
    assert len(notes._repr_html_()) < 2 * LARGEST_SVG
    table = TableFigure("t", "numbers", (TableColumn("k", "k", "whole"),), tuple((n,) for n in range(1000)))
    read = Reader(table._repr_html_())
    assert read.tags.count("tr") == html.MOST_ROWS + 1
    assert f"{1000 - html.MOST_ROWS} further rows not shown" in read.text


def test_a_table_has_every_cell_as_the_screen_writes_it(session: Session) -> None:
    for table in tables_in(dose_study(session, {})):
        cells = [table.shown(row, column) for row in range(len(table.rows)) for column in range(len(table.columns))]
        shown = Reader(table._repr_html_()).cells[len(table.columns) :]
        assert [cell.split() for cell in shown] == [cell.split()[: len(cell)] for cell in cells]


def test_without_matplotlib_the_table_stands_alone_and_names_the_extra(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise html.ExplorerError("it is not installed", remedy="pip install 'srm-explorer[figures]'")

    monkeypatch.setattr(html, "picture_of", missing)
    read = Reader(session._repr_html_())
    assert "svg" not in read.tags
    assert "srm-explorer[figures]" in read.text


def test_a_large_chart_is_a_picture_of_dots_and_a_figure_can_be_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = draw(plane_figure(session, view="compass"))
    assert pickle.loads(pickle.dumps(made)).get_size_inches().tolist() == made.get_size_inches().tolist()
    monkeypatch.setattr(page, "LARGEST_SVG", 1000)
    kind, content = page.picture_of(made)
    assert (kind, base64.b64decode(content)[:4]) == ("image/png", b"\x89PNG")
    shown = session._repr_html_()
    assert Reader(shown).tags.count("img") == 1
    assert "<svg" not in shown
