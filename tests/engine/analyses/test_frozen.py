"""What was named before a run is told from what was found later; prompts kept to confirm on are looked at last."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.analyses.compare import compare_study
from srm_explorer.engine.analyses.dose import dose_study
from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.ensembles import ensemble_tables
from srm_explorer.engine.analyses.frozen import frozen_study
from srm_explorer.engine.analyses.pairs import pairs_study
from srm_explorer.engine.analyses.plane_finder import finder_study
from srm_explorer.engine.analyses.planes import held_out, planes_table, with_plane
from srm_explorer.engine.analyses.registry import run_study, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.figures.captions import exploratory_line
from srm_explorer.engine.figures.dose import dose_from_session
from srm_explorer.engine.figures.groups import run_groups, session_warnings, swept_groups
from srm_explorer.engine.figures.table import PlaneChoice, TableFigure
from srm_explorer.engine.runs.inputs import read_inputs
from srm_explorer.engine.session import Ledger, Session, changed_units, load_session, save_session, seen_prompts
from srm_explorer.engine.session.session import FROZEN
from srm_explorer.tui.compare.state import CompareState
from srm_explorer.tui.results.export import write_page
from srm_explorer.tui.results.study_model import TOPICS, StudyPage, StudySubject
from tests.tables import column_index

SITE, NEURON = "blocks.1.mlp.hook_post", 3
KEPT = {"prompts": {"sets": ["a", "b"], "confirm": ["b"]}}
PRIMARY = {"family": "primary", "tests": ["difference"], "groups": ["clamped against baseline"]}
Planted = Callable[..., Session]


def frozen(session: Session) -> Session:
    """As a run leaves it: with the hash of what was named before."""
    changed = session.changed(provenance={**session.provenance, FROZEN: session.spec.analysis.sha256})
    assert session.path is not None
    return save_session(changed, session.path).session


def told(session: Session) -> str:
    """Everything that looks at a session's runs together."""
    assert session.path is not None
    # What was tested before counts, and is another matter.
    paths.ledger_file(session.path).unlink(missing_ok=True)
    vectors = session.vectors()
    tables = [planes_table(session, [])]
    for study, arguments in (
        (finder_study, {"permutations": 100, "among": "all"}),
        (pairs_study, {"permutations": 50}),
        (effects_study, {"resamples": 200}),
        (compare_study, {"resamples": 200}),
        (dose_study, {"resamples": 200}),
    ):
        tables += tables_in(study(session, arguments))
    basis = {"basis": ["mean(set=a)", "pc1"], "ensemble": "perm", "site": SITE}
    tables += ensemble_tables(session, vectors[SITE], basis, {})
    bands = plane_bands(session, 0, (), vectors, resamples=200)
    extended = with_plane(session, vectors[SITE], PlaneChoice(SITE, "pc1", "mean()"), {})
    drawn: list[Any] = [changed_units(session).caption]
    for plane in (session.planes[0], extended.planes[-1], held_out(extended, extended.planes[-1], seed=2)):
        groups = swept_groups(extended, plane)
        drawn += [[(x, y) for x, y, is_seen in zip(plane.x, plane.y, session.seen, strict=True) if is_seen]]
        drawn += [(group.label, group.n_runs, group.sweep.counts.tolist()) for group in groups]
        drawn += [session_warnings(extended, plane, groups), plane.held_out]
        figure = dose_from_session(extended, plane, plain=True)
        drawn += [[(panel.label, panel.curve.y.tolist(), str(panel.units)) for panel in figure.panels], figure.legend]
    return json.dumps([[table.to_dict() for table in tables], bands.to_dict(), drawn], default=str)


def other_kept(session: Session) -> Session:
    """The same session, but for all that the prompts kept for confirmation hold."""
    vectors = {site: np.array(own) for site, own in session.vectors().items()}
    hidden = np.flatnonzero(~session.seen)
    rng = np.random.default_rng(1)
    for own in vectors.values():
        own[hidden] = 50.0 * rng.normal(size=own[hidden].shape)
    runs = [
        run
        if is_seen
        else dataclasses.replace(
            run,
            token_ids=(7,) * (1 + row % 3),
            text="other",
            finish="eos",
            min_margin=1e-6,
            metrics={"first_change": 0.0},
        )
        for row, (run, is_seen) in enumerate(zip(session.runs, session.seen, strict=True))
    ]
    (plane,) = session.planes
    x, y, norm = (
        np.where(session.seen, column, 9.0 + np.arange(len(runs))) for column in (plane.x, plane.y, plane.norm)
    )
    planes = (dataclasses.replace(plane, x=tuple(x.tolist()), y=tuple(y.tolist()), norm=tuple(norm.tolist())),)
    assert session.path is not None
    changed = session.changed(runs=tuple(runs), planes=planes, revision=0, predictions={})
    return save_session(changed, session.path.with_name("other.json"), vectors=vectors).session.changed(
        name=session.name, path=session.path
    )


def test_what_kept_prompts_hold_changes_nothing_that_is_told(planted: Planted, tmp_path: Any) -> None:
    session = planted(units=32, **KEPT)
    other = other_kept(session)
    path = tmp_path / "other.json"
    whole = told(session)
    vectors = load_session(path).vectors()
    other = other.changed(held=vectors, sidecar=None)
    assert told(other.changed(revision=session.revision, saved=session.saved)) == whole
    assert told(other.changed(spec=planted(units=32, seed=9).spec)) != whole, "without `confirm` they are seen"


def test_counts_are_shown_and_groups_hold_the_others_alone(planted: Planted) -> None:
    session = planted(units=30, **KEPT)
    assert (session.kept_back, int(session.seen.sum())) == (15, 15 * 4)
    assert {label: len(group.runs) for label, group in run_groups(session, ()).items()} == {
        "baseline": 15,
        "clamped": 45,
    }
    confirming = session.confirming()
    assert {len(group.runs) for group in run_groups(confirming, ()).values()} == {15, 45}
    prompts = {session.runs[int(row)].prompt for group in run_groups(confirming, ()).values() for row in group.runs}
    assert prompts == set(range(1, 30, 2))
    warning = session_warnings(session, session.planes[0], ())[0]
    assert warning.startswith("15 prompts of 30 are kept for confirmation")
    few = planted(units=16, **KEPT)
    assert any(line.startswith("only 8 units") for line in session_warnings(few, few.planes[0], ()))
    with pytest.raises(ExplorerError, match="no prompts of it were kept"):
        planted(seed=1).confirming()
    assert load_session(session.path).spec.prompts.confirm == ("b",)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompts": {"sets": ["a", "b"], "confirm": ["c"]}}, "'c' is not among the sets"),
        ({"prompts": {"sets": ["a", "b"], "confirm": ["a", "b"]}}, "none is left to look at"),
        ({"analysis": {"tests": ["diference"]}}, "did you mean 'difference'"),
        ({"analysis": {"tests": ["difference"]}}, "no groups are named"),
        ({"analysis": {"groups": ["+2 against baseline"]}}, "no test compares them"),
        ({"analysis": {**PRIMARY, "groups": ["clamped"]}}, "names no two groups"),
        ({"analysis": {**PRIMARY, "planes": [2]}}, "there is no plane 2"),
        ({"analysis": {"tests": ["controls"]}}, "no controls to rank among"),
        ({"analysis": {"test": ["controls"]}}, "did you mean 'tests'"),
    ],
)
def test_a_wrong_word_is_refused_with_its_field(planted: Planted, wrong: dict[str, Any], words: str) -> None:
    good = planted().spec.to_dict()
    with pytest.raises(ExplorerError, match=words):
        Experiment.from_dict({**good, **wrong})


def test_a_frozen_analysis_survives_the_file_and_is_part_of_the_experiment(planted: Planted) -> None:
    plain = planted().spec
    spec = Experiment.from_dict({**plain.to_dict(), "analysis": {**PRIMARY, "planes": [1]}})
    assert Experiment.from_toml(spec.to_toml()) == spec
    assert spec.digest(12) != plain.digest(12)
    assert "analysis" not in plain.to_toml()
    assert spec.analysis.sha256 != Experiment.from_dict({**plain.to_dict(), "analysis": PRIMARY}).analysis.sha256


def test_only_what_was_frozen_is_not_exploratory(planted: Planted) -> None:
    session = frozen(planted(units=24, analysis=PRIMARY))
    assert session.path is not None
    found = run_study("analysis", session.path, {"resamples": 200})
    (table,) = tables_in(found)
    assert not table.is_exploratory
    assert found["sha256"] == session.spec.analysis.sha256
    assert any("as it was named before the run: difference of clamped against baseline" in n for n in table.notes)
    assert {entry.family for entry in Ledger(session).entries()} == {"primary"}
    for study, arguments in (("planes", {}), ("compare", {"resamples": 200}), ("pairs", {"permutations": 50})):
        assert all(table.is_exploratory for table in tables_in(run_study(study, session.path, arguments))), study
    assert exploratory_line(session) in session_warnings(session, session.planes[0], ())
    assert TableFigure.from_dict(table.to_dict()).notes == table.notes
    # The same difference, asked for by hand, has the same p; nothing else was computed for the analysis.
    by_hand = tables_in(compare_study(session, {"groups": ["clamped", "baseline"], "resamples": 200}))[0]
    assert by_hand.rows[0][column_index(by_hand, "p")] == table.rows[0][column_index(table, "p")]


def test_without_a_frozen_analysis_nothing_is_marked_and_none_is_computed(planted: Planted) -> None:
    session = planted()
    assert session.path is not None
    assert not any(table.is_exploratory for table in tables_in(run_study("planes", session.path, {})))
    with pytest.raises(ExplorerError, match="no analysis was frozen"):
        frozen_study(session, {})


def test_an_analysis_that_was_changed_after_the_run_is_refused(planted: Planted) -> None:
    session = frozen(planted(analysis=PRIMARY))
    changed = session.spec.analysis.model_copy(update={"groups": ("+9 against baseline",)})
    with pytest.raises(ExplorerError, match="not the one that was frozen"):
        frozen_study(session.changed(spec=session.spec.model_copy(update={"analysis": changed})), {})
    with pytest.raises(ExplorerError, match="not the one that was frozen"):
        frozen_study(session.changed(provenance={}), {})
    with pytest.raises(ExplorerError, match="names its own groups"):
        frozen_study(session, {"groups": ["+9", "baseline"]})


def with_texts(session: Session) -> Session:
    """The same, every run with a text of its own: what wrote its baseline's text moved by nothing but arithmetic."""
    runs = tuple(dataclasses.replace(run, token_ids=(row,)) for row, run in enumerate(session.runs))
    assert session.path is not None
    return save_session(session.changed(runs=runs), session.path).session


def swept(session: Session) -> np.ndarray:
    return np.array([session.conditions[run.condition].kind == "sweep" for run in session.runs])


def p_confirmed(session: Session) -> float:
    """The best of the planes that the finder offers, made, and confirmed on the prompts that it never saw."""
    session = with_texts(session)
    table = tables_in(finder_study(session, {"among": "all", "permutations": 100}))[0]
    choice = table.planes[0]
    assert choice is not None
    made = with_plane(session, session.vectors()[SITE], choice, {})
    arguments = {"confirm": True, "plane": len(made.planes), "groups": ["clamped", "baseline"], "resamples": 100}
    found = tables_in(frozen_study(made, arguments))[-1]
    assert found.name == "separation"
    return float(found.rows[0][column_index(found, "p")])  # type: ignore[arg-type]


def test_a_plane_found_on_noise_is_not_confirmed(planted: Planted) -> None:
    number = 24
    p = np.array([p_confirmed(planted(units=32, seed=seed, **KEPT)) for seed in range(number)])
    assert np.mean(p <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert p.min() > 1e-4
    assert np.median(p) > 0.2


def test_a_planted_plane_is_confirmed_and_the_tries_are_counted(planted: Planted) -> None:
    def apart(session: Session, vectors: dict[str, np.ndarray]) -> None:
        """n7 and n9 share their noise, and the clamp moves them apart: the plane tells what neither does alone."""
        common = 3 * np.random.default_rng(9).normal(size=len(session.runs))
        for column, sign in ((7, 1), (9, -1)):
            vectors[SITE][:, column] = 0.4 * vectors[SITE][:, column] + common + sign * 0.9 * swept(session)

    session = planted(apart, units=48, **KEPT)
    assert p_confirmed(session) < 0.01
    (entry,) = [entry for entry in Ledger(session).entries() if entry.family == "confirmation"]
    assert (entry.test, entry.of["seen"]) == ("separation", "kept for confirmation")


def test_the_frozen_analysis_is_confirmed_on_kept_prompts_alone(planted: Planted) -> None:
    def only_kept(session: Session, vectors: dict[str, np.ndarray]) -> None:
        held = np.array([session.prompts[run.prompt].set == "b" for run in session.runs])
        vectors[SITE][:, 5] += 3.0 * (swept(session) & held)

    session = frozen(with_texts(planted(only_kept, units=40, analysis=PRIMARY, **KEPT)))
    explored, confirmed = (frozen_study(session, {"confirm": confirm, "resamples": 500}) for confirm in (False, True))
    assert (explored["prompts"], confirmed["prompts"]) == (20, 20)
    tables = (*tables_in(explored), *tables_in(confirmed))
    p = [float(table.rows[0][column_index(table, "p_mean")]) for table in tables]  # type: ignore[arg-type]
    assert p[0] > 0.05
    assert p[1] < 0.01
    assert {entry.family for entry in Ledger(session).entries()} == {"primary", "primary confirmed"}


def test_the_screen_marks_what_is_exploratory_in_its_notes_and_beside_its_files(
    planted: Planted, tmp_path: Path
) -> None:
    session = frozen(planted(analysis=PRIMARY, **KEPT))
    assert session.path is not None
    line = exploratory_line(session)
    compared = CompareState.of(session.path, session.path)
    assert compared.notes[0] == line
    compared.write(tmp_path / "curves.csv", (100, 40))
    subject = StudySubject(session)
    topics = {topic.study: topic for topic in TOPICS["Planes"]}
    pages: dict[str, StudyPage] = {}
    for study in ("planes", "analysis", "confirm"):
        found = run_study(study, session.path, {**topics[study].settings(subject)} | LIGHT.get(study, {}))
        pages[study] = StudyPage(study, tables_in(found)[0])
        write_page("csv", tmp_path / f"{study}.csv", pages[study], "")
        write_page("csv", tmp_path / f"{study}.csv", pages[study], "")
    marked = {path.name for path in tmp_path.glob("*.csv.json")}
    assert marked == {"curves.csv.json", "planes.csv.json", "planes-2.csv.json"}
    for name in marked:
        beside = json.loads((tmp_path / name).read_text())
        assert beside["exploratory"]
        assert line in next(iter(beside["notes"].values()))
    assert "on the 12 prompts kept for confirmation alone" in pages["confirm"].table.notes[0]  # type: ignore[union-attr]
    with pytest.raises(ExplorerError, match="no prompts of it were kept"):
        run_study("confirm", frozen(planted(seed=3, analysis=PRIMARY)).path, {})  # type: ignore[arg-type]


LIGHT = {"analysis": {"resamples": 200}, "confirm": {"resamples": 200}}


def test_a_file_is_kept_by_its_path_unless_another_set_has_its_name(planted: Planted, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.txt").write_text(f"in {folder}\n")
    (tmp_path / "kept.txt").write_text("in none\n")
    base = planted(analysis={}).spec.to_dict()

    def kept(*sets: str) -> list[bool]:
        spec = Experiment.from_dict({**base, "prompts": {"sets": list(sets), "confirm": [sets[-1]]}})
        return seen_prompts(spec, [one.set.name for one in read_inputs(spec, tmp_path).prompts])

    assert kept("a/same.txt", "kept.txt") == [True, False]
    with pytest.raises(ExplorerError, match=r"a/same\.txt has the name of a set that is kept"):
        kept("a/same.txt", "b/same.txt")
