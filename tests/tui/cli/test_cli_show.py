from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.bands import with_bands
from srm_explorer.engine.session import Session, save_session
from srm_explorer.engine.stats.spotlight import spotlight_sweep, unit_coordinates
from srm_explorer.tui.cli import show
from srm_explorer.tui.cli.show import known_bands
from tests.example import EXAMPLE

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"


def test_show_tells_what_was_done(srm: Callable[..., Any], save: Callable[..., Session]) -> None:
    save(provenance={"model": {"is_demo": True}}, finished=13)
    out = srm("show", "storm", "--width", 80, "--height", 24).out
    for fact in (
        "gpt2 (demo model)",
        "interrupted: 13 of 20 runs",
        "L1 hook_post · n3 · clamp −3, 0, .5, 20",
        "4 prompts (reasoning)",
        "n3 × n5 · L1 hook_post",
        "○ baseline",
        "● clamped",
        "90° +n5",
        "mean cosine (dotted)",
        "⚠ incomplete: some prompts lack some of their conditions",
        "⚠ a clamp to 0 is not the baseline: it holds the neuron at 0",
    ):
        assert fact in out
    assert "\x1b" not in out


def test_numbers_of_show_are_those_of_the_spotlight(srm: Callable[..., Any], save: Callable[..., Session]) -> None:
    session = save(prompts=5)
    (plane,) = session.planes
    told = json.loads(srm("show", "storm", "--by", "condition,type", "--threshold", "0.05", "--json").out)
    groups = told["planes"][0]["groups"]
    assert len(groups) == 10
    rows = [
        i
        for i, run in enumerate(session.runs)
        if session.conditions[run.condition].value == 20
        and session.prompts[run.prompt].factors["type"] == "declarative"
    ]
    expected = spotlight_sweep(unit_coordinates(plane.xy, plane.norm), (0.7, 0.5, 0.3, 0.1, 0.05), 360, rows)
    group = groups["+20 · type=declarative"]
    assert (group["prompts"], group["runs"]) == (3, 3)
    assert [one["counts"] for one in group["thresholds"]] == expected.counts.tolist()
    assert group["mean_similarity"] == expected.mean.tolist()


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        (["--chart", "polar", "--threshold", "0.2"], "cosine > .2"),
        (["--chart", "polar", "--view", "mean"], "radius: mean cosine"),
        (["--chart", "dose"], "clamp value"),
        (["--chart", "thresholds", "--by", "condition"], "+20"),
        (["--by", "set"], "clamped · set=reasoning"),
        (["--by", "type"], "baseline · type=declarative"),
    ],
)
def test_what_is_asked_for_is_drawn(
    srm: Callable[..., Any], save: Callable[..., Session], arguments: list[str], drawn: str
) -> None:
    save()
    ended = srm("show", "storm", *arguments)
    assert (ended.status, ended.err) == (0, "")
    assert drawn in ended.out
    chart = [line for line in ended.out.splitlines() if "\u2801" <= max(line, default="") <= "\u28ff"]
    assert 0 < max(map(len, chart)) <= 80


def test_every_plane_is_shown_unless_one_is_named(srm: Callable[..., Any], save: Callable[..., Session]) -> None:
    save(planes=[{"site": SITE, "a": 3, "b": 5}, {"site": RESIDUAL, "a": 3, "b": 5}])
    both = srm("show", "storm", "--chart", "polar").out
    assert both.index("plane  n3 × n5 · L1 hook_post") < both.index("plane  d3 × d5 · L1 resid_post")
    second = srm("show", "storm", "--chart", "polar", "--plane", 2).out
    assert "n3 × n5" not in second
    assert "+d3" in second


def test_a_session_without_a_plane_still_tells_what_was_done(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    save(planes=[])
    ended = srm("show", "storm")
    assert (ended.status, ended.err) == (0, "")
    assert "L1 hook_post · n3 · clamp −3, 0, .5, 20" in ended.out
    assert "no plane, so no chart: srm-explorer planes storm --add A B" in ended.out
    assert json.loads(srm("show", "storm", "--json").out)["planes"] == []
    assert srm("show", "storm", "--plane", 1).status == 1


BAD: dict[str, list[str]] = {
    "no such file": ["elsewhere"],
    "did you mean 'storm'": ["strom"],
    "its prompts have no factor 'tpye'; did you mean 'type'": ["storm", "--by", "tpye"],
    "it has no plane 2; choose --plane 1 to 1": ["storm", "--plane", "2"],
    "threshold 2 is not a cosine": ["storm", "--threshold", "2"],
    "the session has no name": [""],
}


@pytest.mark.parametrize("told", BAD)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_shown_is_one_line(
    srm: Callable[..., Any], save: Callable[..., Session], told: str, as_json: bool
) -> None:
    if BAD[told] != ["elsewhere"]:
        save()
    ended = srm("show", *BAD[told], *(["--json"] if as_json else []))
    assert (ended.status, ended.out if as_json else "") == (1, "")
    assert ended.err.count("\n") == 1
    assert told in ended.err


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"interventions": [{"site": SITE, "neurons": [3], "op": "zero"}]}, "it has no swept value"),
        ({"interventions": []}, "it has no swept value"),
        ({"planes": []}, "this session has no plane"),
        ({"finished": 0}, "no run of it is finished"),
    ],
)
def test_a_dose_chart_that_cannot_be_is_refused(
    srm: Callable[..., Any], save: Callable[..., Session], told: dict[str, Any], line: str
) -> None:
    save(**told)
    ended = srm("show", "storm", "--chart", "dose")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert line in ended.err


def test_certainty_and_arithmetic_are_told_by_default_and_left_out_when_asked(
    srm: Callable[..., Any], save: Callable[..., Session]
) -> None:
    save(prompts=6)
    usual = srm("show", "storm", "--chart", "polar", "--width", 110, "--height", 34).out
    for fact in ("╌ arithmetic", "░ chance"):
        assert fact in usual
    # The legend is a table of few columns; everything else is told where it is asked for.
    assert re.search(r"group +runs +A .*φ +p", usual)
    told = ("┆ 95 % band of 6 units", "(n3, random) planes", "beyond arithmetic p")
    assert "beyond arithmetic p" not in usual
    detailed = srm("show", "storm", "--chart", "polar", "--width", 110, "--height", 34, "--details").out
    assert all(fact in detailed for fact in told)
    plain = srm("show", "storm", "--chart", "polar", "--plain").out
    for fact in ("arithmetic", "95 %", "░"):
        assert fact not in plain.partition("storm · n3 × n5")[2].partition("\n\n")[0]
    beyond = srm("show", "storm", "--minus-arithmetic").out
    assert "share of runs with cosine > .3 − predicted" in beyond
    assert "share of runs − predicted, cosine >" in beyond
    assert "storm · n3 × n5 · L1 hook_post · without n3" in srm("show", "storm", "--axis-out").out
    assert "amplitude A − predicted" in srm("show", "storm", "--chart", "dose", "--minus-arithmetic").out
    both = srm("show", "storm", "--minus-arithmetic", "--axis-out")
    assert both.status == 2


def test_json_holds_bands_predictions_and_tests(srm: Callable[..., Any], save: Callable[..., Session]) -> None:
    session = save(prompts=6)
    told = json.loads(srm("show", "storm", "--json").out)["planes"][0]
    base, swept = told["groups"]["baseline"], told["groups"]["clamped"]
    assert base["arithmetic"] is None
    (plane,) = session.planes
    rows = [at for at, run in enumerate(session.runs) if run.condition]
    # The clamped coordinate beside what the baseline had of the rest.
    expected = []
    for at in rows:
        run = session.runs[at]
        value = session.conditions[run.condition].value
        (of,) = (i for i, other in enumerate(session.runs) if other.prompt == run.prompt and other.condition == 0)
        rest = plane.norm[of] ** 2 - plane.x[of] ** 2
        expected.append((value / (value**2 + rest) ** 0.5, plane.y[of] / (value**2 + rest) ** 0.5))
    a, b = (sum(one) / len(expected) for one in zip(*expected, strict=True))
    assert (swept["arithmetic"]["a"], swept["arithmetic"]["b"]) == pytest.approx((a, b), rel=1e-5)
    certainty = swept["certainty"]
    assert certainty["units"] == 6
    assert certainty["amplitude"][0] <= swept["amplitude"] <= certainty["amplitude"][1]
    assert 0 < certainty["p_arithmetic"] <= 1
    assert 0 < certainty["p_mean"] <= 1
    length, least, most = certainty["beyond_arithmetic"]
    assert 0 <= least <= length <= most
    assert 0 <= certainty["units_changed"] <= 6
    low, high = certainty["mean_band"]
    assert all(one <= mean <= other for one, mean, other in zip(low, swept["mean_similarity"], high, strict=True))
    assert told["bands"]["by"] == []
    assert {null["kind"] for null in told["bands"]["nulls"]} == {"partners", "isotropic", "second moment"}


def test_of_many_vectors_chance_is_drawn_where_it_is_asked_for_and_said_to_be_left_out_elsewhere(
    srm: Callable[..., Any], save: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = save(prompts=6)
    bare = save_session(
        session.changed(bands={}, revision=0), paths.session_path("bare"), vectors=session.vectors()
    ).session
    told = "what chance draws is left out"
    (plane,) = session.planes
    whole = known_bands(bare, plane, ())
    assert told not in srm("show", "bare").out
    monkeypatch.setattr(show, "MOST_VECTORS", bare.vectors_bytes - 1)
    out = " ".join(srm("show", "bare").out.split())
    assert f"{told}: 0 MB of vectors would be read; --chance partners draws it" in out
    without = known_bands(bare, plane, ())
    assert whole is not None
    assert without is not None
    assert not without.nulls
    assert without.to_dict()["groups"] == whole.to_dict()["groups"]
    asked_for = known_bands(bare, plane, (), "partners")
    assert asked_for is not None
    assert asked_for.to_dict() == whole.to_dict()
    for asked in (["--chance", "partners"], ["--plain"], ["--json"]):
        assert told not in srm("show", "bare", *asked).out
    with_all = with_bands(bare, bare.vectors()).changed(revision=0)
    save_session(with_all, paths.session_path("banded"), vectors=bare.vectors())
    assert told not in srm("show", "banded").out, "it was saved with its bands"


def test_charts_compute_the_chance_they_draw_and_it_is_that_of_all_kinds(save: Callable[..., Session]) -> None:
    session = save(prompts=6).changed(bands={})
    (plane,) = session.planes
    drawn = known_bands(session, plane, ())
    whole = known_bands(session, plane, (), every_kind=True)
    assert drawn is not None
    assert whole is not None
    assert {null.kind for null in drawn.nulls} < {null.kind for null in whole.nulls}
    told, expected = drawn.to_dict(), whole.to_dict()
    assert told["groups"] == expected["groups"]
    assert told["nulls"] == [null for null in expected["nulls"] if null["kind"] in ("partners", "controls")]
    for group in drawn.groups:
        of_drawn, of_whole = drawn.null_of(group.label), whole.null_of(group.label)
        assert of_drawn is not None
        assert of_whole is not None
        assert (of_drawn.kind, of_drawn.legend) == (of_whole.kind, of_whole.legend)
        assert (of_drawn.mean == of_whole.mean).all()


@pytest.mark.process  # matplotlib asks for the fonts of the system
def test_a_figure_for_a_paper_is_of_one_plane(tmp_path: Path, srm: Callable[..., Any]) -> None:
    done = srm("show", EXAMPLE, "--figure", tmp_path / "f.svg", "--view", "compass", "--column", "double")
    assert (done.status, done.err) == (0, "")
    assert "written to" in done.out
    assert "baseline" in (tmp_path / "f.svg").read_text()
    refused = srm("show", EXAMPLE, "--figure", tmp_path / "f.doc")
    assert (refused.status, refused.err.count("\n")) == (1, 1)
