from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import Curve, LegendEntry, Role, SweptGroup
from srm_explorer.engine.figures.dose import DoseStep, dose_figure
from srm_explorer.engine.figures.numbers import round_axis
from srm_explorer.engine.figures.polar import PolarFigure, Ring, polar_counts, polar_mean
from srm_explorer.engine.figures.thresholds import ThresholdFigure, threshold_figure
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.thresholds import paint_thresholds
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
SIZES = [(10, 4), (1, 1), (24, 9), (40, 12), (80, 24), (30, 60), (160, 48), (300, 100)]
VALUES = (-20, -10, -6, -3, -1, 0, 1, 3, 6, 10, 20)
THRESHOLDS = (0.7, 0.5, 0.3, 0.1)
BRAILLE = range(0x2801, 0x2900)

Painter = Callable[[int, int], str]


def swept(label: str, role: Role, xy: np.ndarray, norm: np.ndarray) -> SweptGroup:
    sweep = spotlight_sweep(unit_coordinates(xy, norm), THRESHOLDS, 360)
    return SweptGroup(label, role, sweep, min(50, len(xy)), len(xy))


def protocol() -> tuple[list[SweptGroup], list[DoseStep], DoseStep]:
    """Fifty prompts, eleven clamped values and the baseline, as vectors of norm 12 beside the clamped neuron."""
    rng = np.random.default_rng(7)
    rest = 12 * np.exp(0.1 * rng.normal(size=(12, 50)))
    b = rng.normal(0.3, 0.3, size=(12, 50))
    a = np.stack([rng.normal(-0.05, 0.1, size=50), *(np.full(50, float(value)) for value in VALUES)])
    norm = np.sqrt(rest**2 + a**2 + b**2)
    xy = np.stack([a, b], axis=2)
    baseline = swept("baseline", "baseline", xy[0], norm[0])
    pooled = swept("clamped", "pooled", xy[1:].reshape(-1, 2), norm[1:].ravel())
    steps = [
        DoseStep(value, swept(f"{value:+d}", "value", xy[i], norm[i]), float(norm[i].mean()))
        for i, value in enumerate(VALUES, start=1)
    ]
    return [baseline, pooled], steps, DoseStep(0, baseline, float(norm[0].mean()))


def painters() -> dict[str, Painter]:
    groups, steps, baseline = protocol()
    title = "gpt2 · L11 hook_post · 373 × 2202"
    counts = polar_counts(groups, "n373", "n2202", 0.5, title)
    mean = polar_mean(groups, "n373", "n2202", title)
    many = polar_counts(
        [groups[0], *(step.group for step in steps)], "direction/with a long name", "b" * 90, 0.1, title
    )
    thresholds = threshold_figure(groups, title)
    dose = dose_figure(steps, 0.5, baseline, title, "clamped value")
    return {
        "counts": lambda w, h: paint_polar(counts, w, h).text(),
        "mean": lambda w, h: paint_polar(mean, w, h).text(),
        "many": lambda w, h: paint_polar(many, w, h).text(),
        "thresholds": lambda w, h: paint_thresholds(thresholds, w, h).text(),
        "dose": lambda w, h: paint_dose(dose, w, h).text(),
    }


PAINTERS = painters()


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_text_has_its_rows_and_at_most_its_columns(name: str, width: int, height: int) -> None:
    lines = PAINTERS[name](width, height).split("\n")
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    drawn = any(ord(character) in BRAILLE for line in lines for character in line)
    assert drawn == (width >= 24 and height >= 9)


@pytest.mark.parametrize("name", ["counts", "mean", "thresholds"])
@pytest.mark.parametrize(("width", "height"), [(40, 12), (60, 16), (80, 24), (100, 50), (160, 48)])
def test_the_legend_stands_whole_and_clear_of_the_curves(name: str, width: int, height: int) -> None:
    text = PAINTERS[name](width, height)
    rows = [re.search(rf"{wanted}.*", line) for line in text.split("\n") for wanted in ("○ baseline", "● clamped")]
    assert [row[0].split()[:2] for row in rows if row] == [["○", "baseline"], ["●", "clamped"]]
    for row in filter(None, rows):
        assert not any(ord(character) in BRAILLE for character in row[0])
    if width * height < 60 * 16:
        return
    # Columns: a number stands where the same of the other group does.
    header = re.search(r"group +runs +A +φ.*", text)
    assert header, text
    cells = [re.match(r". \w+ +([\d,]+) +(\.\d+) +(\d+°)", row[0]) for row in rows if row]
    assert [cell[1] for cell in cells] == ["50", "550"]
    assert len({tuple(cell.end(column) for column in (1, 2, 3)) for cell in cells}) == 1
    assert cells[0].end(1) == header[0].index("runs") + 4
    assert cells[0].end(3) == header[0].index("φ") + 1


def test_axis_labels_stand_whole_and_apart_at_80_by_24() -> None:
    lines = PAINTERS["thresholds"](80, 24).split("\n")
    (axis,) = (line for line in lines if line.endswith("360°"))
    assert [int(label[:-1]) for label in axis.split()] == [0, 60, 120, 180, 240, 300, 360]
    body = "\n".join(lines)
    # A marker, then its threshold, then anything but more text.
    found = re.findall(r"([○●])(\.\d|mean)(?![\w.])", body)
    named = [("○", "mean"), *(("●", tag) for tag in (".7", ".5", ".3", ".1", "mean"))]
    assert sorted(found) == sorted(named)
    assert "0 throughout: ○ .7 .5 .3 .1" in lines
    for label in ("0°", "90° +n2202", "180°", "270° −n2202", "+n373", "−n373"):
        assert label in PAINTERS["counts"](80, 24)


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (160, 48), (300, 100), (50, 90)])
def test_a_circle_is_as_wide_as_it_is_high(width: int, height: int) -> None:
    turn = np.linspace(0, 360, 361)
    figure = PolarFigure(
        title="",
        radius_label="",
        low=0.0,
        high=1.0,
        curves=(Curve("c", turn, np.full(361, 1.0)),),
        rings=(Ring(1.0, ""),),
        spokes=PLANE_SPOKES,
        legend=(LegendEntry("c", "pooled", ()),),
        warnings=(),
    )
    dots = {
        (2 * col + bit % 2, 4 * row + bit // 2)
        for row, line in enumerate(paint_polar(figure, width, height).text().split("\n"))
        for col, character in enumerate(line)
        if ord(character) in BRAILLE
        for bit in range(8)
        if (ord(character) - 0x2800) & [0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80][bit]
    }
    x, y = np.array(sorted(dots)).T
    # Two dots are a cell's width; markers hide a few dots of the circle.
    assert abs(np.ptp(x) - np.ptp(y)) <= 4
    radius = np.ptp(y) / 2
    assert radius > 8


PLANE_SPOKES = polar_mean([], "a", "b").spokes


def test_the_largest_count_is_drawn_where_it_is() -> None:
    angles = np.arange(361.0)
    peak = np.exp(-(((angles - 90) / 12) ** 2))
    figure = ThresholdFigure(
        title="",
        left_label="runs above",
        right_label="mean cosine",
        counts=(Curve("clamped", angles, peak),),
        means=(),
        left=round_axis([0.0, 1.0]),
        right=round_axis([-1.0, 1.0]),
        legend=(LegendEntry("clamped", "pooled", ()),),
        warnings=(),
    )
    lines = paint_thresholds(figure, 80, 24).text().split("\n")
    left, right = (re.search(r"┤.*├", lines[2]).span()[0] + 1, lines[2].rindex("├") - 1)
    columns = [col for col in range(left, right + 1) if ord(lines[2][col]) in BRAILLE]
    assert columns
    assert abs(np.mean(columns) - (left + (right - left) * 90 / 360)) <= 1


def test_groups_differ_by_marker_without_colour_and_by_colour_with_it() -> None:
    groups, steps, _ = protocol()
    figure = polar_counts([groups[0], *(step.group for step in steps)], "n1", "n2", 0.1)
    plain = paint_polar(figure, 200, 60).text()
    markers = [re.search(rf"(\S) {re.escape(entry.label)}(?!\d)", plain).group(1) for entry in figure.legend]
    assert markers[0] == "○"
    # Nine markers in turn for the values, none of them the baseline's.
    assert len(set(markers)) == 1 + 9
    coloured = paint_polar(figure, 200, 60).ansi()
    assert len(set(re.findall(r"38;5;(\d+)", coloured))) >= 7


BATTERY = """
import itertools
import numpy as np
from srm_explorer.engine.figures.curves import Curve, LegendEntry
from srm_explorer.engine.figures.dose import DoseFigure, DosePanel, PHASE_AXIS
from srm_explorer.engine.figures.numbers import round_axis
from srm_explorer.engine.figures.polar import PolarFigure, polar_mean
from srm_explorer.engine.figures.thresholds import ThresholdFigure
from srm_explorer.tui.charts.dose import paint_dose
from srm_explorer.tui.charts.polar import paint_polar
from srm_explorer.tui.charts.thresholds import paint_thresholds

n = np.nan
SERIES = {
    "nan": np.full(361, n), "inf": np.array([np.inf, -np.inf, 0.5]), "empty": np.array([]), "single": np.array([0.5]),
    "constant": np.full(361, 0.25), "zero": np.zeros(361), "huge": np.array([1e300, -1e300, 1e308]),
    "mixed": np.array([0.1, n, 0.2, np.inf, 0.3, 1e300, n, n, -1e300, 0.5]), "far": np.array([0.0, 1e5, 0.0]),
    "tiny": np.array([1e-310, 5e-324, 0.0]),
}
SPOKES = polar_mean([], "a", "b").spokes
for (name, y), (w, h) in itertools.product(SERIES.items(), [(10, 4), (24, 9), (40, 12), (80, 24), (300, 100)]):
    for x in (np.linspace(0, 360, len(y)), y):
        legend = (LegendEntry("c", "pooled", ("A 1",)),)
        curve = Curve("c", x, y, tag=".5")
        for low, high in ((0.0, 1.0), (-1e300, 1e300)):
            polar = PolarFigure("t", "r", low, high, (curve,), (), SPOKES, legend, ("w",))
            texts = [paint_polar(polar, w, h).ansi()] if low == 0.0 else []
            axis = round_axis((low, high))
            mean = Curve("c", x, y, tag="mean", dotted=True)
            texts.append(paint_thresholds(
                ThresholdFigure("t", "l", "r", (curve,), (mean,), axis, axis, legend, ()), w, h).ansi())
            fitted = round_axis(y.tolist())
            panels = (DosePanel("q", curve, 1e300, fitted, True), DosePanel("p", curve, None, PHASE_AXIS, False))
            entries = (*legend, LegendEntry("b", "baseline", ()))
            texts.append(paint_dose(DoseFigure("t", "v", round_axis(x.tolist()), panels, entries, ()), w, h).ansi())
            for text in texts:
                assert text.count("\\n") == h - 1, (name, w, h)
print("survived")
"""


def test_no_series_at_any_size_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", BATTERY], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.strip() == "survived"


def test_painting_reaches_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from srm_explorer.tui.charts import dose, polar, thresholds;"
        "print([name for name in ('torch', 'transformers', 'transformer_lens', 'plotext') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.strip() == "[]", done.stderr
