from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from srm_explorer.engine.figures.curves import LegendEntry, Role
from srm_explorer.engine.figures.polar import PolarFigure, polar_mean
from srm_explorer.tui.charts.labels import legend_lines, warning_lines
from srm_explorer.tui.charts.palette import styles_of
from srm_explorer.tui.charts.polar import paint_polar

WARNING = "clamps symmetric around 0: the phase of their pooled mean turns to ±90° by arithmetic"


def entries(count: int, name: str = "group", role: Role = "level") -> tuple[LegendEntry, ...]:
    return tuple(LegendEntry(f"{name} {i}", role, (f"A .{i:02d}", f"{i} runs")) for i in range(count))


def lines_of(legend: tuple[LegendEntry, ...], width: int, most: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in legend_lines(legend, styles_of(legend), width, most)]


@given(count=st.integers(0, 20), width=st.integers(8, 120), most=st.integers(0, 30))
@settings(max_examples=150)
def test_a_legend_fits_names_all_or_says_how_many_not_and_treats_entries_alike(
    count: int, width: int, most: int
) -> None:
    lines = lines_of(entries(count), width, most)
    text = "\n".join(lines)
    assert len(lines) <= most
    assert max(map(cell_len, lines), default=0) <= width
    if not lines:
        assert count == 0 or most == 0
        return
    # Eleven columns hold any name: from there on every one is whole.
    named = re.findall(r"group \d+", text)
    left_out = re.search(r"\+ (\d+) more", text)
    if width >= 11:
        assert len(named) + (int(left_out[1]) if left_out else 0) == count
        for detail in (r"A \.\d\d", r"\d runs"):
            assert len(re.findall(detail, text)) in (0, count)


@given(levels=st.integers(1, 7))
def test_every_baseline_has_the_baselines_colour_and_leaving_them_out_changes_no_other_style(levels: int) -> None:
    done, bases = entries(levels, "clamped"), entries(levels, "baseline", "baseline of")
    both = styles_of([entry for pair in zip(bases, done, strict=True) for entry in pair])
    alone = styles_of(done)
    assert all(both[entry.label] == alone[entry.label] for entry in done)
    plain = styles_of(entries(1, "baseline", "baseline"))["baseline 0"]
    assert {both[entry.label].style for entry in bases} == {plain.style}
    assert plain.style not in {alone[entry.label].style for entry in done}
    # No baseline shares a marker, and the two markers of a level are one shape while there are few levels.
    markers = [both[entry.label].marker for entry in bases]
    assert len(set(markers)) == levels
    assert not set(markers) & {style.marker for style in alone.values()}
    for base, one in list(zip(bases, done, strict=True))[:5]:
        assert (both[base.label].marker, both[one.label].marker) in {*zip("△□▽◇○", "▲■▼◆●", strict=True)}


def test_many_names_share_lines() -> None:
    assert lines_of(entries(4), 40, 2) == ["▲ group 0   ■ group 1   ▼ group 2", "◆ group 3"]
    assert lines_of(entries(9), 40, 2)[1].endswith("+ 4 more")


@given(width=st.integers(20, 90), most=st.integers(1, 4))
def test_a_warning_that_is_cut_still_says_how_many_more_there_are(width: int, most: int) -> None:
    lines = warning_lines((f"trap: {WARNING}", "another", "a third"), width, most)
    assert len(lines) <= most
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith("⚠")
    assert " ".join(" ".join(lines).split()).endswith("(+ 2 more)")


@given(width=st.integers(24, 90))
def test_a_detail_longer_than_its_line_goes_on_below_in_full(width: int) -> None:
    detail = "beyond arithmetic p .203 of symmetry, common length (48 of 50 units)"
    legend = (LegendEntry("baseline", "baseline", ("A .1",)), LegendEntry("clamped", "pooled", ("A .2", detail)))
    lines = lines_of(legend, width, 20)
    assert max(map(cell_len, lines)) <= width
    assert detail in " ".join(" ".join(lines).split())


@given(count=st.integers(1, 12), size=st.sampled_from([(40, 23), (60, 24), (80, 23), (80, 24), (100, 29), (160, 48)]))
@settings(max_examples=30, deadline=None)
def test_the_warning_of_a_polar_chart_stands_whole_beside_any_legend(count: int, size: tuple[int, int]) -> None:
    empty = polar_mean([], "n7", "n11")
    figure = PolarFigure(
        "t", "r", empty.low, empty.high, (), empty.rings, empty.spokes, entries(count), (WARNING, "another")
    )
    text = paint_polar(figure, *size).text()
    # Right of the circle, or below it: the words in their order.
    words = re.findall(r"[\w±°:()+⚠]+", "\n".join(re.sub(r"[\u2800-\u28ff]", " ", text).split("\n")))
    remaining = iter(words)
    assert all(word in remaining for word in f"⚠ {WARNING} (+ 1 more)".split())
