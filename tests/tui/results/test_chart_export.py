from __future__ import annotations

import csv
import os
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.session_overlays import overlays_from_session
from srm_explorer.engine.session import Session
from srm_explorer.tui.charts.picture import Picture
from srm_explorer.tui.charts.scene import Scene
from srm_explorer.tui.charts.scenes import dose_scene, polar_scene, thresholds_scene
from srm_explorer.tui.charts.subject import Subject, View
from srm_explorer.tui.results.export import ExportKind, write_chart, write_new
from srm_explorer.tui.results.state import ResultsState


def shown(session: Session, view: View, theta: int = 30, threshold: float = 0.3) -> tuple[Scene, Picture, ResultsState]:
    state = ResultsState(theta, threshold, view)
    state.take_session(session)
    record = state.record()
    assert record is not None
    scene = polar_scene(Subject(session, record, (), True, state.groups), view, threshold, 100, 30)
    return scene, scene.shown(theta, threshold), state


@pytest.mark.parametrize("kind", ["svg", "text", "ansi", "csv"])
def test_an_export_never_replaces_a_file(
    spread_session: Callable[..., Session], tmp_path: Path, kind: ExportKind
) -> None:
    scene, picture, _ = shown(spread_session(), "compass")
    target = tmp_path / "new folder" / "chart.v2.out"
    written = [write_chart(kind, target, scene, picture, "spotlight θ 30°", 30, 0.3) for _ in range(3)]
    assert [one.name for one in written] == ["chart.v2.out", "chart.v2-2.out", "chart.v2-3.out"]
    contents = {one.read_bytes() for one in written}
    assert len(contents) == 1
    assert len(list(target.parent.iterdir())) == 3
    assert stat.S_IMODE(written[0].stat().st_mode) & 0o600 == 0o600


def test_text_and_colours_say_the_same(spread_session: Callable[..., Session], tmp_path: Path) -> None:
    scene, picture, _ = shown(spread_session(), "compass")
    plain = write_chart("text", tmp_path / "a.txt", scene, picture, "spotlight", 30, 0.3).read_text()
    coloured = write_chart("ansi", tmp_path / "a.ans", scene, picture, "spotlight", 30, 0.3).read_text()
    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    stripped = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).split("\n"))
    assert stripped == plain
    assert plain.endswith("\nspotlight\n")
    assert coloured == picture.ansi().rstrip("\n") + "\nspotlight\n"


def test_the_picture_is_svg_with_every_dot_and_every_word(
    spread_session: Callable[..., Session], tmp_path: Path
) -> None:
    scene, picture, _ = shown(spread_session(name="a <b> & c"), "mean")
    text = write_chart("svg", tmp_path / "a.svg", scene, picture, "", 30, 0.3).read_text()
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    words = "".join("".join(one.itertext()) for one in root.iter(f"{space}text"))
    dots = sum((one.get("d") or "").count("M") for one in root.iter(f"{space}path"))
    wanted = sum((ord(c) - 0x2800).bit_count() for row in picture.rows for c, _ in row if "⠀" < c <= "⣿")
    assert dots == wanted > 200
    assert "a<b>&c" in words.replace(" ", "")
    assert "⠁" not in text


def test_the_numbers_of_the_compass_are_those_of_the_session(
    spread_session: Callable[..., Session], tmp_path: Path
) -> None:
    session = spread_session(broken=(2,))
    scene, picture, state = shown(session, "compass", theta=77, threshold=-0.2)
    written = write_chart("csv", tmp_path / "a.csv", scene, picture, "", 77, -0.2)
    rows = list(csv.DictReader(written.open(encoding="utf-8")))
    assert len(rows) == len(session.runs) - 1
    lit, cosines = state.lit(), state.cosines()
    for row in rows:
        run = int(row["run"])
        assert bool(int(row["lit"])) == lit[run]
        assert float(row["cosine"]) == pytest.approx(cosines[run], abs=1e-15)
        assert row["group"] == ("baseline" if session.runs[run].condition == 0 else "clamped")


def test_the_numbers_of_the_other_charts_stand_in_their_tables(spread_session: Callable[..., Session]) -> None:
    session = spread_session()
    state = ResultsState()
    state.take_session(session)
    subject = Subject(session, session.planes[0], (), True, state.groups)
    header, *rows = polar_scene(subject, "counts", 0.7, 80, 24).table(0, 0.7)
    assert header == ["group", "n", "angle_deg", "mean_cosine", *(f"count_above_{t}" for t in (0.7, 0.5, 0.3, -0.2))]
    assert len(rows) == 2 * 360
    pooled = state.groups()[1]
    assert [int(row[5]) for row in rows if row[0] == "clamped"] == pooled.sweep.counts[1].tolist()
    difference = thresholds_scene(subject, True, 0.7, 80, 24).table(0, 0.7)[1:]
    share = pooled.sweep.fraction[0] - state.groups()[0].sweep.fraction[0]
    np.testing.assert_allclose([float(row[3]) for row in difference if row[1] == ".7"][:-1], share)
    dose = dose_scene(subject, 0.5, 80, 24).table(0, 0.5)
    assert [row[0] for row in dose[1:]] == ["baseline", "-20.0", "-5.0", "5.0", "20.0"]


def test_bands_and_predictions_have_columns_of_their_own(spread_session: Callable[..., Session]) -> None:
    made = spread_session(prompts=6, values=(-5, 20), thresholds=(0.5, 0.1))
    resolved = tuple(tuple(None if v is None else (v,) for v in one.values) for one in made.conditions)
    session = made.changed(resolved=resolved)
    state = ResultsState()
    state.take_session(session)
    (plane,) = session.planes
    bands = plane_bands(session, 0)
    subject = Subject(session, plane, (), True, state.groups, bands=bands)
    header, *rows = polar_scene(subject, "mean", 0.5, 80, 24).table(0, 0.5)
    names = ["mean_cosine", "count_above_0.5", "count_above_0.1"]
    ends = [f"{name}{end}" for end in ("_arithmetic", "_low", "_high") for name in names]
    assert header == ["group", "n", "angle_deg", *names, *ends]
    table = [dict(zip(header, row, strict=True)) for row in rows]
    base, swept = ([row for row in table if row["group"] == label] for label in ("baseline", "clamped"))
    assert {row["mean_cosine_arithmetic"] for row in base} == {""}
    own, known = bands.of("clamped"), bands.of("baseline")
    assert own is not None
    assert known is not None
    np.testing.assert_allclose([float(row["mean_cosine_low"]) for row in swept], own.mean_band(360)[0])
    np.testing.assert_allclose([float(row["count_above_0.1_high"]) for row in base], known.counts[0.1][1])
    predicted = overlays_from_session(session, plane, state.groups()).predicted["clamped"].sweep
    assert [int(row["count_above_0.5_arithmetic"]) for row in swept] == predicted.counts[0].tolist()
    beyond = Subject(session, plane, (), True, state.groups, "minus arithmetic")
    difference = polar_scene(beyond, "mean", 0.5, 80, 24).table(0, 0.5)[1:]
    np.testing.assert_allclose(
        [float(row[3]) for row in difference][:-1], state.groups()[1].sweep.mean - predicted.mean, atol=1e-12
    )
    dose, *values = dose_scene(subject, 0.5, 80, 24).table(0, 0.5)
    assert "amplitude A arithmetic" in dose
    assert len(values) == 3


def test_a_folder_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExplorerError) as refused:
        write_new(tmp_path / "file" / "chart.svg", b"x")
    assert "\n" not in str(refused.value)
    assert "chart.svg" in str(refused.value)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_without_links_a_file_is_still_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    names = [write_new(tmp_path / "a.txt", text) for text in (b"one", b"two")]
    assert [one.read_bytes() for one in names] == [b"one", b"two"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a-2.txt", "a.txt"]
