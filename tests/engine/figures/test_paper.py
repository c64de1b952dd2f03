from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses.charts import figure, study_figure
from srm_explorer.engine.analyses.compare_sessions import compare_sessions
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.controls import controls_figure
from srm_explorer.engine.figures.effects import effects_figure
from srm_explorer.engine.figures.finder import finder_figure
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.histogram import decade_figure, histogram_figure
from srm_explorer.engine.figures.paper import (
    FORMATS,
    Drawn,
    checked_form,
    draw,
    figure_bytes,
    plane_figure,
    unseen_characters,
)
from srm_explorer.engine.figures.paper.style import matplotlib
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.figures.survey_map import survey_map
from srm_explorer.engine.figures.table import TableColumn, TableFigure, table_columns
from srm_explorer.engine.session import Session, load_session
from tests.example import EXAMPLE

# matplotlib asks for the fonts of the system once.
pytestmark = pytest.mark.process

HOSTILE = r"$\frac{1}{0}$ a_b^2 100 % \textbf{x} 日本 $"
CONTROL = "line\none\x1b[31m \ud800"


@pytest.fixture(scope="module")
def session() -> Session:
    return load_session(EXAMPLE)


def of_effects(name: str = "+20") -> Drawn:
    """Effects whose values are names beside one another."""
    columns = table_columns("value::text; units::whole; changed::percent; kl; kl_low; kl_high; perplexity_ratio; "
                            "perplexity_ratio_low; perplexity_ratio_high")  # fmt: skip
    rows = [(f"{name} {at}", 12, 0.1 * at, 0.2, 0.1 + at / 100, 0.4, 1.5, None, 2.5) for at in range(5)]
    return effects_figure([TableFigure("effects", "t", columns, tuple(rows))], name, {}, label=name, warnings=[name])


def of_controls(name: str = "n3") -> Drawn:
    ranks = table_columns("where::text; group::text; measure::text; target; control_median; control_low; "
                          "control_high; p::p; q::p")  # fmt: skip
    numbers = np.random.default_rng(0).normal(-5, 1, 19).tolist()
    rows = (("plane 1", "clamped", name, -2.0, float(np.median(numbers)), min(numbers), max(numbers), 0.05, 0.1),)
    neurons = (*table_columns("control::text; measure_0:other"), TableColumn("measure_1", f"plane 1: {name}"))
    values = [("target", None, -2.0), *((str(at), None, number) for at, number in enumerate(numbers, 1))]
    tables = [TableFigure("controls", name, ranks, rows), TableFigure("control_neurons", name, neurons, tuple(values))]
    return controls_figure(tables, name, "matched neurons", [name, name])


def of_finder(name: str = "n3") -> Drawn:
    columns = table_columns("a::text; b::text; score:gain chosen on; statistic:gain tested; p::p; q::p; "
                            "difference_a:Δ 0°; difference_a_low; difference_a_high; "
                            "difference_b:Δ 90°; difference_b_low; difference_b_high")  # fmt: skip
    rows = [
        (name, f"n{at}", 9.0 - at, None if at == 3 else 4.0 - at, 0.2, 0.9, -1.0, -2.0, -0.5, 0.5, None, None)
        for at in range(25)
    ]
    return finder_figure(TableFigure("planes_found", name, columns, tuple(rows)), [name])


def compared(session: Session, names: tuple[str, ...]) -> Drawn:
    from srm_explorer.engine.analyses.charts import compare_figure
    from srm_explorer.engine.figures.comparison import compare, compared_groups

    comparison = compare(*(dataclasses.replace(session, name=name) for name in names))
    return compare_figure(comparison, compared_groups(comparison), "counts", 0.5, 0)


def every_kind(session: Session, name: str) -> dict[str, Drawn]:
    renamed = dataclasses.replace(session, name=name)
    numbers = np.random.default_rng(0).normal(size=200)
    return {
        "polar": plane_figure(renamed, "polar", by=("condition",), view="mean"),
        "compass": plane_figure(renamed, "compass"),
        "thresholds": plane_figure(renamed, "thresholds"),
        "dose": plane_figure(renamed, "dose"),
        "compare": compared(session, (name, f"{name} 2", f"{name} 3")),
        "effects": of_effects(name),
        "controls": of_controls(name),
        "finder": of_finder(name),
        "histogram": histogram_figure(numbers, [(0.5, name), (-1.0, "q")], title=name),
        "decades": decade_figure(np.exp(numbers), [(2.5, name)], title=name, value_label="KL", noun="neuron"),
        "map": survey_map(
            np.repeat([3, 11], 100),
            np.tile(range(100), 2),
            np.exp(numbers),
            title=name,
            value_label="KL",
            logarithmic=True,
            marks=[(3, 99, name)],
        ),
    }


KINDS = (
    "polar",
    "compass",
    "thresholds",
    "dose",
    "compare",
    "effects",
    "controls",
    "finder",
    "histogram",
    "decades",
    "map",
)


@pytest.fixture(scope="module")
def named(session: Session) -> dict[str, dict[str, Drawn]]:
    """Every kind of chart, of a session with a plain name, and of one whose name is anything but."""
    return {name: every_kind(session, name) for name in ("lighthouse", HOSTILE, CONTROL)}


def lines(made: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [tuple(np.asarray(part) for part in line.get_data()) for axes in made.axes for line in axes.lines]


def texts(made: Any) -> list[Any]:
    """Everything that is written on a figure."""
    found = made.findobj(lambda artist: hasattr(artist, "get_fontsize") and artist.get_visible())
    return [text for text in found if text.get_text().strip()]


@pytest.mark.parametrize("by", [(), ("condition",)])
def test_the_curves_are_those_of_the_frame(session: Session, by: tuple[str, ...]) -> None:
    curves = session.frame("curves")
    polar = lines(figure(session, "polar", by=by, view="counts", threshold=0.5))
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


def test_bands_are_those_that_were_saved(session: Session) -> None:
    bands = stored_bands(session, 0, ())
    assert bands is not None
    shown = plane_figure(session, "thresholds", threshold=0.5)
    (axes, _) = draw(shown).axes
    drawn = [np.asarray(path.vertices) for fill in axes.collections for path in fill.get_paths()]
    pooled = next(group for group in swept_groups(session, session.planes[0]) if group.role == "pooled")
    band, null = bands.of(pooled.label), bands.null_of(pooled.label)
    assert band is not None
    assert null is not None
    for ends in (band.counts[0.5], null.counts[0.5]):
        low, high = np.asarray(ends) / pooled.sweep.n
        # A filled band goes along one end and back along the other.
        assert any(
            {*zip(range(360), low.round(9), strict=True)}
            <= (corners := {(round(float(x)), round(float(y), 9)) for x, y in vertices})
            and {*zip(range(360), high.round(9), strict=True)} <= corners
            for vertices in drawn
        )


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_or_lies_over_anything_else(named: dict[str, dict[str, Drawn]], kind: str, column: Any) -> None:
    for name in ("lighthouse", HOSTILE):
        made = draw(named[name][kind], column)
        figure_bytes(made, "svg")
        page = made.bbox
        for text in texts(made):
            box = text.get_window_extent()
            assert page.x0 - 1 <= box.x0, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()
            assert page.y0 - 1 <= box.y0, text.get_text()
            assert box.y1 <= page.y1 + 1, text.get_text()
        parts = [*made.legends, *made.texts]
        boxes = [part.get_window_extent() for part in parts if part.get_window_extent().width]
        charts = [axes.get_window_extent().shrunk(0.999, 0.999) for axes in made.axes]
        for at, box in enumerate(boxes):
            assert not any(box.overlaps(chart) for chart in charts), parts[at]
            assert not any(box.shrunk(0.98, 0.98).overlaps(other) for other in boxes[:at]), parts[at]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_text_and_never_mathematics_or_markup(named: dict[str, dict[str, Drawn]], kind: str) -> None:
    made = draw(named[HOSTILE][kind], "double")
    # Drawn later too, outside of what was set while it was made, as a notebook does.
    written = " ".join(" ".join(text.get_text().split()) for text in texts(made))
    assert HOSTILE in written
    svg = figure_bytes(made, "svg").decode()
    spoken = " ".join("".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).split())
    assert r"\frac{1}{0}" in spoken
    assert r"\textbf{x}" in spoken
    made = draw(named[CONTROL][kind])
    assert figure_bytes(made, "pdf")
    assert not any(ord(c) < 32 and c != "\n" for text in texts(made) for c in text.get_text())


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_the_same_for_the_same_figure_and_its_text_is_text(session: Session, form: str) -> None:
    content = figure_bytes(figure(session), form)
    assert content == figure_bytes(figure(session), form)
    assert content.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form])
    if form == "svg":
        words = re.findall(r"<text[^>]*>([^<]*)</text>", content.decode())
        assert any("baseline" in text for text in words)
        assert any("+n488" in text for text in words)
    if form == "pdf":
        assert b"/CIDFontType2" in content
        assert b"/ToUnicode" in content
        assert b"/Type3" not in content


def test_characters_that_no_font_has_are_told(session: Session) -> None:
    assert unseen_characters(plane_figure(session)) == ""
    told = unseen_characters(plane_figure(dataclasses.replace(session, name="a \U000f1234 b")))
    assert told == "" or told.count("\n") == 0  # a private sign is escaped, so it is no sign to have
    rare = unseen_characters(plane_figure(dataclasses.replace(session, name="\U00012000")))
    assert rare == "" or "font" in rare


def test_what_cannot_be_drawn_is_refused_in_one_line(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    made = figure(session)
    without_planes = session.changed(planes=(), predictions={}, bands={})
    for ask, says in (
        (lambda: figure(session, "polr"), "polar"),  # pyright: ignore[reportArgumentType]
        (lambda: figure(session, plane=7), "no plane 7"),
        (lambda: figure(session, view="means"), "mean"),  # pyright: ignore[reportArgumentType]
        (lambda: figure(session, "compare"), "others="),
        (lambda: figure(session, "controls"), "controls"),
        (lambda: figure(session, "dose", others=[session]), "one session"),
        (lambda: figure(without_planes), "srm-explorer planes"),
        (lambda: figure(session, column="triple"), "single or double"),  # pyright: ignore[reportArgumentType]
        (lambda: study_figure(session, []), "nothing by the value"),
        (lambda: figure_bytes(made, "docx"), r"\.pdf, \.svg, \.png"),
        (lambda: checked_form(Path("a.docx")), r"\.pdf, \.svg, \.png"),
        (lambda: checked_form(Path("a")), r"\.pdf, \.svg, \.png"),
    ):
        with pytest.raises(ExplorerError, match=says) as refused:
            ask()
        assert "\n" not in str(refused.value)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        matplotlib.cache_clear()
        for ask in (lambda: figure(session), lambda: checked_form(Path("a.pdf"))):
            with pytest.raises(ExplorerError, match=r"srm-explorer\[figures\]"):
                ask()
    matplotlib.cache_clear()


def test_the_users_own_style_sheet_decides_fonts_and_colours_on_a_light_page(session: Session) -> None:
    import matplotlib as library  # a second that these tests alone wait for
    import matplotlib.style

    cycle = library.cycler(color=["#123456", "#654321", "#abcdef"])
    mine = {"font.family": "DejaVu Serif", "font.size": 11, "axes.prop_cycle": cycle}
    with library.rc_context(mine):
        content = figure_bytes(figure(session), "svg").decode()
    assert "DejaVu Serif" in content
    assert "11px" in content
    assert "#123456" in content
    assert "#654321" in content
    assert "#d55e00" not in content
    with library.style.context("dark_background"):
        made = figure(session)
    assert made.get_facecolor() == (1, 1, 1, 1)
    assert {text.get_color() for text in texts(made)} & {"black", "#000000"}
    assert library.rcParams["text.parse_math"]


def test_a_comparison_draws_what_its_table_has(session: Session) -> None:
    other = dataclasses.replace(session, name="other")
    tables = {table["name"]: table for table in compare_sessions([session, other], resamples=200)["tables"]}
    drawn = lines(figure(session, "compare", others=[other], view="amplitude"))
    for name in (session.name, "other"):
        values = [row["amplitude"] for row in tables["values"]["rows"] if row["session"] == name]
        assert any(len(y) == len(values) and np.allclose(y, values) for _, y in drawn)


NOWHERE = """
import tempfile
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.paper.style import matplotlib
tempfile.tempdir = "/dev/null"
try:
    matplotlib()
except ExplorerError as error:
    print(error)
tempfile.tempdir = None
matplotlib()
"""


def test_where_fonts_cannot_be_remembered_is_no_matter_and_without_any_folder_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "MPLCONFIGDIR": "/dev/null/none", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NOWHERE], env=environment, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr == ""
    assert "matplotlib cannot be loaded" in done.stdout
    assert done.stdout.endswith("set MPLCONFIGDIR to a folder that can be written\n")


UNKNOWN = """
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.paper.style import matplotlib
for _ in range(2):
    try:
        matplotlib()
    except ExplorerError as error:
        print(error)
"""


def test_a_backend_that_matplotlib_does_not_know_is_one_line_each_time(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNKNOWN],
        env={**os.environ, "MPLBACKEND": "nosuch"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith("MPLBACKEND: matplotlib cannot be loaded: ")
    assert first.endswith("unset it, or set it to agg")
