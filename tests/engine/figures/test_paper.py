from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.paper import FORMATS, Chart, View, figure, figure_bytes
from srm_explorer.engine.session import Session, load_session
from tests.example import EXAMPLE

# matplotlib asks for the fonts of the system once.
pytestmark = pytest.mark.process

CHARTS: list[tuple[Chart, View]] = [
    ("polar", "counts"), ("polar", "mean"), ("polar", "compass"), ("thresholds", "counts"), ("dose", "counts"),
]  # fmt: skip


@pytest.fixture(scope="module")
def session() -> Session:
    return load_session(EXAMPLE)


def lines(made: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [tuple(np.asarray(part) for part in line.get_data()) for axes in made.axes for line in axes.lines]


@pytest.mark.parametrize("by", [(), ("condition",)])
def test_the_curves_are_those_of_the_frame(session: Session, by: tuple[str, ...]) -> None:
    curves = session.frame("curves")
    polar = lines(figure(session, "polar", by=by, view="counts", threshold=0.5))
    high = max(float(np.hypot(*line).max()) for line in polar)
    assert high == pytest.approx(1, abs=0.06)
    flat = lines(figure(session, "thresholds", by=by, threshold=0.5))
    for group in swept_groups(session, session.planes[0], by):
        own = curves[curves["group"] == group.label]
        # Of many groups, the chosen threshold alone is drawn.
        for level in (0.5,) if by else session.spec.spotlight.thresholds:
            # Groups of one size are counted, others are shares.
            counted = own[f"count_thresh_{level!r}"].to_numpy() / (1 if by else own["n"].to_numpy())
            assert any(len(x) == 361 and np.allclose(y[:-1], counted) for x, y in flat), (group.label, level)
        assert by or any(len(x) == 361 and np.allclose(y[:-1], own["mean_similarity"]) for x, y in flat)
        share = own["count_thresh_0.5"].to_numpy() / own["n"].to_numpy()
        shapes = [np.hypot(x, y)[:-1] for x, y in polar if len(x) == 361]
        assert any(np.allclose(radius * share.max(), share * radius.max()) for radius in shapes)


@pytest.mark.parametrize(("chart", "view"), CHARTS)
@pytest.mark.parametrize("column", ["single", "double"])
def test_nothing_lies_over_anything_else_or_outside(session: Session, chart: Chart, view: View, column: Any) -> None:
    made = figure(session, chart, view=view, column=column, by=() if chart == "dose" else ("condition",))
    figure_bytes(made, "svg")
    page = made.bbox
    (legend,) = made.legends
    boxes = [legend.get_window_extent(), made._suptitle.get_window_extent()]
    boxes += [axes.get_tightbbox() for axes in made.axes if axes.axison or len(made.axes) == 1]
    for box in boxes:
        assert page.x0 - 1 <= box.x0
        assert box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0
        assert box.y1 <= page.y1 + 1
    charts = boxes[2:]
    assert not any(boxes[0].overlaps(box) or boxes[1].overlaps(box) for box in charts)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_the_same_for_the_same_figure_and_its_text_is_text(session: Session, form: str) -> None:
    content = figure_bytes(figure(session), form)
    assert content == figure_bytes(figure(session), form)
    assert content.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form])
    if form == "svg":
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", content.decode())
        assert any("baseline" in text for text in texts)
        assert any("+n488" in text for text in texts)
    if form == "pdf":
        assert b"/FontType 42" in content or b"/CIDFontType2" in content or b"/TrueType" in content


def test_what_cannot_be_drawn_is_refused_in_one_line(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    made = figure(session)
    for ask, says in (
        (lambda: figure(session, "polr"), "polar"),  # pyright: ignore[reportArgumentType]
        (lambda: figure(session, plane=7), "no plane 7"),
        (lambda: figure_bytes(made, "docx"), r"\.pdf, \.svg, \.png"),
    ):
        with pytest.raises(ExplorerError, match=says) as refused:
            ask()
        assert "\n" not in str(refused.value)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        sys.modules[figure.__module__]._matplotlib.cache_clear()
        with pytest.raises(ExplorerError, match=r"srm-explorer\[figures\]"):
            figure(session)
    sys.modules[figure.__module__]._matplotlib.cache_clear()


def test_the_users_own_style_sheet_decides_the_font(session: Session, tmp_path: Path) -> None:
    import matplotlib  # a second that these tests alone wait for

    with matplotlib.rc_context({"font.family": "DejaVu Serif", "font.size": 11}):
        content = figure_bytes(figure(session), "svg").decode()
    assert "DejaVu Serif" in content
    assert "11px" in content
