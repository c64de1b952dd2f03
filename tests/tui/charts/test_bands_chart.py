from __future__ import annotations

import re

import numpy as np
import pytest

from srm_explorer.engine.figures.curves import Curve, CurveBand, LegendEntry
from srm_explorer.engine.figures.dose import DoseFigure, DosePanel, DoseSeries
from srm_explorer.engine.figures.numbers import round_axis
from srm_explorer.engine.figures.polar import PolarFigure, Ring, spokes_of
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.tui.charts.canvas import Pane
from srm_explorer.tui.charts.disc import disc_of
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.palette import DASH
from srm_explorer.tui.charts.picture import BITS, CHANCE, FIRST, glyph
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.thresholds import paint_thresholds, threshold_pane

TURN = np.linspace(0.0, 360.0, 361)
LEGEND = (
    LegendEntry("baseline", "baseline", ("A .0110 [.00600, .0140]", "φ 303° (288, 318)", "50 prompts · 50 runs")),
    LegendEntry(
        "clamped",
        "pooled",
        (
            "A .00800 [.00600, .0110]",
            "φ 259° (251, 267)",
            "beyond arithmetic p .0431",
            "q .600 of 12",
            "50 prompts · 550 runs",
            "┆ 95 % band of 50 units",
        ),
    ),
    LegendEntry("arithmetic", "arithmetic", ("A .00750  φ 261°",), of="clamped"),
    LegendEntry("chance", "chance", ("95 % of 200 (n373, random) planes",)),
)


def flat(value: float) -> np.ndarray:
    return np.full(TURN.size, value)


def thresholds(*bands: CurveBand, counts: tuple[Curve, ...] = ()) -> ThresholdFigure:
    axis = Curve("clamped", TURN, flat(0.0))
    return ThresholdFigure(
        "t", "share", "", (axis, *counts), (), round_axis((0.0, 1.0)), None, LEGEND, (), bands
    )  # fmt: skip


def polar(*bands: CurveBand, curves: tuple[Curve, ...] = ()) -> PolarFigure:
    spokes = spokes_of("n373", "n2202")
    return PolarFigure("t", "r", 0.0, 1.0, curves, (Ring(1.0, "1"),), spokes, LEGEND, (), bands)


def dots_of(text: str, pane: Pane) -> set[tuple[int, int]]:
    """Braille dots in a pane, from its left and bottom."""
    found: set[tuple[int, int]] = set()
    lines = text.split("\n")
    for row in range(pane.height):
        line = lines[pane.row + row].ljust(pane.col + pane.width)
        for col in range(pane.width):
            bits = ord(line[pane.col + col]) - FIRST
            if not 0 < bits < 256:
                continue
            for x in (0, 1):
                for y in range(4):
                    if bits & BITS[x][y]:
                        found.add((2 * col + x, pane.dots_high - 1 - (4 * row + y)))
    return found


def above_axis(dots: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Without the curve that is 0 throughout, which keeps the chart from saying that it is empty."""
    return {(x, y) for x, y in dots if y}


def test_a_band_over_the_angle_is_the_outline_of_its_ends_and_nothing_between() -> None:
    low, high = 0.3 + 0.1 * np.sin(np.deg2rad(TURN)), 0.7 + 0.2 * np.cos(np.deg2rad(TURN))
    figure = thresholds(CurveBand("clamped", TURN, low, high))
    pane = threshold_pane(figure, 100, 30)
    assert pane is not None
    drawn = above_axis(dots_of(paint_thresholds(figure, 100, 30).text(), pane))
    angles = np.arange(pane.dots_wide) / (pane.dots_wide - 1) * 360
    ends = [np.interp(angles, TURN, end) * (pane.dots_high - 1) for end in (low, high)]
    for x, y in drawn:
        assert min(abs(y - end[x]) for end in ends) <= 1.5, (x, y)
    for end in ends:
        near = {x for x, y in drawn if abs(y - end[x]) <= 1.5}
        # Fainter than a curve, and as long.
        assert 0.25 * pane.dots_wide < len(near) < 0.6 * pane.dots_wide
        assert max(np.diff(sorted(near))) <= 4


def test_chance_fills_what_lies_between_its_ends_and_no_more() -> None:
    low, high = flat(0.2), 0.5 + 0.3 * np.cos(np.deg2rad(TURN))
    figure = thresholds(CurveBand("chance", TURN, low, high, chance=True))
    pane = threshold_pane(figure, 100, 30)
    assert pane is not None
    drawn = above_axis(dots_of(paint_thresholds(figure, 100, 30).text(), pane))
    x, y = np.array(sorted(drawn)).T
    angle, value = x / (pane.dots_wide - 1) * 360, y / (pane.dots_high - 1)
    slack = 1.01 / (pane.dots_high - 1)
    assert (value >= np.interp(angle, TURN, low) - slack).all()
    steep = 0.3 * np.deg2rad(360) / (pane.dots_wide - 1)
    assert (value <= np.interp(angle, TURN, high) + slack + steep).all()
    # A quarter of the dots of whole cells, and both ends.
    whole = (np.interp(np.arange(pane.dots_wide) / (pane.dots_wide - 1) * 360, TURN, high - low)).sum() * pane.dots_high
    assert 0.22 * whole < len(drawn) < 0.36 * whole


def test_a_curve_through_chance_shows_alone_in_its_cells() -> None:
    band = CurveBand("chance", TURN, flat(0.0), flat(1.0), chance=True)
    curve = Curve("baseline", TURN, flat(0.5))
    figure = thresholds(band, counts=(curve,))
    pane = threshold_pane(figure, 80, 24)
    assert pane is not None
    lines = paint_thresholds(figure, 80, 24).text().split("\n")
    row = pane.cell(0.0, 0.5)[1]
    inside = lines[row][pane.col : pane.col + pane.width]
    dots = {bits for bits in map(ord, inside) if FIRST < bits < FIRST + 256}
    assert len(dots) == 1
    (only,) = dots
    assert (only - FIRST).bit_count() == 2


def test_dashes_lie_on_their_curve_with_gaps_between() -> None:
    curve = Curve("arithmetic", TURN, flat(0.5), dashed=True)
    figure = thresholds(counts=(curve,))
    pane = threshold_pane(figure, 100, 30)
    assert pane is not None
    drawn = above_axis(dots_of(paint_thresholds(figure, 100, 30).text(), pane))
    assert {y for _, y in drawn} == {round(0.5 * (pane.dots_high - 1))}
    xs = sorted(x for x, _ in drawn)
    gaps = np.diff(xs).tolist()
    on, off = DASH
    assert set(gaps) == {1, 1 + off}
    assert gaps[:on] == [*[1] * (on - 1), 1 + off]


def test_a_band_of_the_disc_is_an_outline_and_chance_fills_a_ring() -> None:
    figure = polar(CurveBand("clamped", TURN, flat(0.4), flat(0.8)))
    disc = disc_of(figure, 120, 40)
    assert disc is not None
    bare = dots_of(paint_polar(polar(), 120, 40).text(), disc.pane)
    drawn = dots_of(paint_polar(figure, 120, 40).text(), disc.pane) - bare
    middle = (np.array([disc.pane.dots_wide, disc.pane.dots_high]) - 1) / 2
    radius = np.hypot(*(np.array(sorted(drawn)) - middle).T) / disc.reach
    # Two circles, and no spoke between them.
    off = np.minimum(abs(radius - 0.4), abs(radius - 0.8))
    assert off.max() <= 1.5 / disc.reach
    assert (radius < 0.6).any()
    assert (radius > 0.6).any()
    ring = polar(CurveBand("chance", TURN, flat(0.4), flat(0.8), chance=True))
    filled = dots_of(paint_polar(ring, 120, 40).text(), disc.pane) - bare
    radius = np.hypot(*(np.array(sorted(filled)) - middle).T) / disc.reach
    assert radius.min() >= 0.4 - 1 / disc.reach
    assert radius.max() <= 0.8 + 1 / disc.reach
    assert len(filled) > 0.2 * np.pi * (0.8**2 - 0.4**2) * disc.reach**2


def test_bands_go_from_value_to_value_of_a_dose_and_bars_go_round_with_phases() -> None:
    values = np.array([-2.0, 0.0, 2.0])
    size = DosePanel(
        "A", Curve("clamped", values, np.array([0.5, 0.5, 0.5])), None, round_axis((0.0, 1.0)), True,
        (DoseSeries(Curve("arithmetic", values, np.array([0.4, 0.4, 0.4]), dashed=True), None, ""),),
        (CurveBand("clamped", values, np.array([0.1, np.nan, 0.3]), np.array([0.9, np.nan, 0.8])),),
    )  # fmt: skip
    figure = DoseFigure("t", "v", round_axis(values.tolist()), (size,), LEGEND, ())
    lines = paint_dose(figure, 60, 24).text().split("\n")
    marked = next(row for row, line in enumerate(lines) if line.count("●") == 3)
    columns = [at for at, sign_ in enumerate(lines[marked]) if sign_ == "●"]
    # A band begins and ends where it is known: nothing goes through the value that has none.
    above = [sum(FIRST < ord(line.ljust(60)[col]) < FIRST + 256 for line in lines[:marked]) for col in columns]
    assert above[0] == 1
    assert above[2] == 1
    assert above[1] == 0
    turned = DosePanel(
        "φ", Curve("clamped", values[:1], np.array([350.0])), None, round_axis((0.0, 360.0)), False, (),
        (CurveBand("clamped", values[:1], np.array([330.0]), np.array([380.0])),),
    )  # fmt: skip
    text = paint_dose(DoseFigure("t", "v", round_axis((-2.0, 2.0)), (turned,), LEGEND, ()), 60, 40).text()
    rows = [row for row, line in enumerate(text.split("\n")) if any(FIRST < ord(one) < FIRST + 256 for one in line)]
    assert max(np.diff(rows)) > 10


@pytest.mark.parametrize(("width", "height"), [(80, 18), (80, 24), (116, 34), (160, 48)])
@pytest.mark.parametrize("kind", ["polar", "thresholds"])
def test_nothing_of_the_legend_is_cut_or_covered(kind: str, width: int, height: int) -> None:
    curve = Curve("clamped", TURN, 0.5 + 0.4 * np.cos(np.deg2rad(TURN)))
    dashed = Curve("arithmetic", TURN, 0.4 + 0.4 * np.cos(np.deg2rad(TURN)), dashed=True)
    bands = (
        CurveBand("chance", TURN, flat(0.0), flat(0.3), chance=True),
        CurveBand("clamped", TURN, curve.y - 0.1, curve.y + 0.1),
    )
    if kind == "polar":
        text = paint_polar(polar(*bands, curves=(curve, dashed)), width, height).text()
    else:
        text = paint_thresholds(thresholds(*bands, counts=(curve, dashed)), width, height).text()
    assert "…" not in text
    shown = " ".join(re.sub(f"[{chr(FIRST)}-{chr(FIRST + 255)}]", " ", text).split())
    for wanted in ("A .00800 [.00600, .0110]", "φ 259° (251, 267)", "95 % of 200 (n373, random) planes"):
        assert wanted in text, wanted
    assert "╌ arithmetic" in shown
    for line in text.split("\n"):
        told = re.search(r"(A \.0|φ 2|φ 3|beyond|50 prompts|95 %|[░╌●○] [a-z]).*", line)
        if told:
            assert not any(FIRST < ord(one) < FIRST + 256 for one in told[0]), line


def test_chance_looks_like_nothing_else_where_there_is_no_colour_or_no_braille() -> None:
    filled = chr(FIRST + CHANCE)
    assert glyph(filled, "block") == "░"
    assert glyph(filled, "ascii") == ","
    for mode in ("block", "ascii"):
        others = {glyph(chr(FIRST + bits), mode) for bits in range(256) if bits != CHANCE}
        assert glyph(filled, mode) not in others
    assert glyph("░", "ascii") == ","
    band = CurveBand("chance", TURN, flat(0.0), flat(1.0), chance=True)
    text = paint_thresholds(thresholds(band), 80, 24).text()
    assert text.count(filled) > 300
