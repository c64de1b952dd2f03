from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from transformer_lens import ActivationCache

from srm_explorer import session_from
from srm_explorer.engine.analyses import collapse_study, effects_study, finder_study, pair_tables, tables_in
from srm_explorer.engine.analyses.compare import compare_groups
from srm_explorer.engine.analyses.planes import plane_of, with_plane
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.execution.provenance import model_of
from srm_explorer.engine.figures import session_warnings, state_caption, swept_groups
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import Session, load_session, save_session, unit_warnings, units_of
from srm_explorer.engine.session.export import run_vectors, runs_csv
from srm_explorer.tui.explorer.draft import as_draft

MLP = "blocks.1.mlp.hook_post"
LEVELS: tuple[str | float, ...] = ("baseline", -2, 0.5, 3)


def saved(session: Session, folder: Path) -> Session:
    """The session as it is after a save, read by somebody else."""
    return load_session(save_session(session, folder / "other.json").path)


def swept(prompts: int = 12, width: int = 6, **fields: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    rng = np.random.default_rng(3)
    runs = [
        {"prompt": f"prompt {i}", "type": "ab"[i % 2], "sweep": level, "output": f"text {i} at {level}", **fields}
        for i in range(prompts)
        for level in LEVELS
    ]
    return rng.normal(size=(len(runs), width)).astype(np.float32), runs


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
texts = st.text(max_size=40) | st.sampled_from(["", " ", "\x1b[31m", "\ud800", "a\tb\r\nc", "\0", "「語」"])


@settings(max_examples=60)
@given(
    data=st.data(),
    vectors=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
)
def test_whatever_came_is_there_after_a_save_bit_for_bit(
    data: st.DataObject, vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count = len(vectors)
    runs = data.draw(
        st.lists(
            st.fixed_dictionaries({"prompt": texts, "output": texts, "set": texts, "id": texts}, optional={"x": cells}),
            min_size=count,
            max_size=count,
        )
    )
    session = session_from({"layer/5 [odd]": vectors}, runs)
    again = saved(session, tmp_path_factory.mktemp("s"))
    assert again.changed(name="", saved="", revision=0, sidecar=None) == session.changed(name="", saved="", revision=0)
    assert again.vectors()["unknown.layer/5 [odd]"].tobytes() == vectors.tobytes()  # type: ignore[union-attr]
    assert [run.text for run in again.runs] == [run["output"] for run in runs]
    assert [again.prompts[run.prompt].text for run in again.runs] == [run["prompt"] for run in runs]
    assert [again.prompts[run.prompt].set for run in again.runs] == [run["set"] for run in runs]
    assert again.provenance["imported"]["ids"] == [run["id"] for run in runs]


def test_what_is_not_said_is_unknown_and_is_shown_so(tmp_path: Path) -> None:
    vectors, _ = swept()
    session = saved(session_from(vectors, [{} for _ in vectors]), tmp_path)
    told = "imported: model, tokens, conditions, prompts, sites, texts unknown"
    assert state_caption(session) == told
    assert session.spec.capture.sites == ("unknown",)
    assert len(session.prompts) == len(units_of(session)) == len(vectors)
    assert session.planned_runs == len(vectors)
    lines = runs_csv(session).decode().splitlines()
    named = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert [named[name] for name in ("tokens", "finish")] == ["", "unknown"]
    assert not {"prompt_text", "text"} & set(named)


def test_prompts_of_unknown_text_are_like_none() -> None:
    vectors, _ = swept()
    session = session_from(vectors, [{"prompt_id": i} for i in range(len(vectors))])
    assert len(units_of(session)) == len(vectors)
    assert unit_warnings(session) == ()


def test_texts_alone_tell_what_collapsed() -> None:
    ways = {"baseline": "the door opened slowly", -2: "", 0.5: "aaaa" * 20, 3: "a quiet evening by the sea"}
    runs = [{"prompt": f"p{i}", "sweep": level, "output": text} for i in range(6) for level, text in ways.items()]
    table = tables_in(collapse_study(session_from(None, runs), {"rule": "published", "resamples": 50}))[0]
    keys = [column.key for column in table.columns]
    told = {row[keys.index("value")]: row[keys.index("collapsed")] for row in table.rows}
    assert told == {"baseline": 0, "-2": 6, "+0.5": 6, "+3": 0}


def test_texts_without_tokens_are_told_by_their_words() -> None:
    texts = {"baseline": "the sea and the shore", 2: "on on on on"}
    runs = [{"prompt": f"p{i}", "sweep": level, "output": text} for i in range(3) for level, text in texts.items()]
    (table,) = (t for t in tables_in(effects_study(session_from(None, runs), {})) if t.name == "texts")
    keys = [column.key for column in table.columns]
    assert [row[keys.index("distinct_1")] for row in table.rows] == pytest.approx([4 / 5, 1 / 4])
    assert [row[keys.index("distinct_2")] for row in table.rows] == pytest.approx([1.0, 1 / 3])
    assert [row[keys.index("tokens")] for row in table.rows] == [None, None]
    assert "of words" in table.notes[0]


def test_what_came_from_elsewhere_is_no_experiment_to_be_run_again() -> None:
    session = session_from(None, swept()[1])
    with pytest.raises(ExplorerError, match="came from elsewhere"):
        as_draft(session)
    with pytest.raises(ExplorerError, match="is unknown"):
        model_of(session)


def test_an_empty_text_is_a_text_and_no_unknown_one(tmp_path: Path) -> None:
    runs = [{"prompt": "p", "sweep": level, "output": "" if level == 3 else "word"} for level in LEVELS]
    session = saved(session_from(None, runs), tmp_path)
    assert not session.is_unknown("texts")
    by_label = {session.conditions[run.condition].label: run for run in session.runs}
    assert by_label["+3"].text == ""
    assert not session.same_text(by_label["+3"], by_label["baseline"])
    assert session.same_text(by_label["-2"], by_label["baseline"])


def test_rows_and_columns_and_frames_say_the_same() -> None:
    vectors, runs = swept()
    columns = {name: [run[name] for run in runs] for name in runs[0]}

    class Frame:
        def to_dict(self, orient: str) -> dict[str, Any]:
            assert orient == "list"
            return columns

    first = session_from(vectors, runs)
    for other in (columns, {**columns, "sweep": np.array(columns["sweep"], np.object_)}, Frame()):
        assert session_from(vectors, other).changed(created=first.created) == first  # type: ignore[arg-type]


def test_values_are_conditions_in_their_order_and_the_baseline_is_first() -> None:
    vectors, runs = swept()
    session = session_from(vectors, runs[::-1])
    told = [(condition.kind, condition.label, condition.value) for condition in session.conditions]
    assert told == [
        ("baseline", "baseline", None),
        ("sweep", "-2", -2.0),
        ("sweep", "+0.5", 0.5),
        ("sweep", "+3", 3.0),
    ]
    assert [session.conditions[run.condition].value for run in session.runs[:3]] == [3.0, 0.5, -2.0]
    assert len(session.prompts) == 12
    assert {prompt.factors["type"] for prompt in session.prompts} == {"a", "b"}


def test_values_are_raw_numbers_where_all_of_them_are_known() -> None:
    vectors, runs = np.ones((2, 3)), [{"condition": "baseline"}, {"condition": 2.0}]
    clamps = [{"site": MLP, "neurons": [neuron], "op": "clamp"} for neuron in (0, 1)]
    known = session_from({MLP: vectors}, runs, interventions=clamps)
    assert known.resolved == ((None, None), ((2.0,), (2.0,)))
    assert session_from({MLP: vectors}, runs, interventions=[clamps[0], {**clamps[1], "unit": "sigma"}]).resolved == ()


def test_repeats_of_a_prompt_under_a_condition_are_samples_of_one_unit() -> None:
    vectors, runs = swept(prompts=3)
    session = session_from(np.concatenate([vectors, vectors]), [*runs, *runs])
    assert len(units_of(session)) == 3
    assert sorted({run.sample for run in session.runs}) == [0, 1]
    assert len({key for key, _ in run_vectors(session, "unknown")}) == len(session.runs)


def test_prompts_without_a_text_are_told_apart_by_number_or_core() -> None:
    vectors, runs = swept(prompts=4)
    bare = [{"sweep": run["sweep"], "core_id": run["prompt"], "type": run["type"]} for run in runs]
    assert len(session_from(vectors, bare).prompts) == 4
    unnamed = [{"sweep": run["sweep"], "type": run["type"]} for run in runs]
    assert len(session_from(vectors, unnamed).prompts) == len(runs)


def test_unknown_tokens_make_no_prompts_alike_and_no_texts_equal() -> None:
    vectors, runs = swept()
    session = session_from(vectors, runs)
    assert len(units_of(session)) == 12
    findings = effects_study(session, {"resamples": 50})
    table = next(table for table in tables_in(findings) if table.name == "effects")
    changed = [column.key for column in table.columns].index("changed")
    assert {row[changed] for row in table.rows} == {1.0}


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "saved"])
def test_planes_pairs_the_finder_and_charts_work_on_it(tmp_path: Path, held: bool) -> None:
    vectors, runs = swept()
    session = session_from({MLP: vectors}, runs)
    session = session if held else saved(session, tmp_path)
    session = with_plane(session, session.vectors([MLP])[MLP], PlaneChoice(MLP, 0, 1))
    reference = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = {group.label: group for group in swept_groups(session, session.planes[0])}
    baseline = reference[[run["sweep"] == "baseline" for run in runs]].mean(axis=0)
    assert groups["baseline"].sweep.a == pytest.approx(float(baseline[0]), abs=1e-6)
    assert groups["baseline"].sweep.b == pytest.approx(float(baseline[1]), abs=1e-6)
    assert session_warnings(session, session.planes[0], tuple(groups.values())) is not None
    assert len(tables_in(pair_tables(session, {"neuron": 0, "permutations": 20}))[0].rows) > 0
    assert tables_in(finder_study(session, {"neuron": 0}))[0].rows
    comparison = compare_groups(session, session, session.planes[0], [("baseline", "+3")], (0.5,), resamples=50)
    assert comparison[0].estimate.units == 12


def test_a_clamp_that_is_told_is_no_finding() -> None:
    vectors, runs = swept()
    rng = np.random.default_rng(0)
    vectors[:, 2] = [0.1 if run["sweep"] == "baseline" else run["sweep"] for run in runs]
    clamp = {"site": MLP, "neurons": [2], "op": "clamp"}
    session = session_from({MLP: vectors}, runs, interventions=[clamp])
    assert session.spec.interventions[0].values == (-2.0, 0.5, 3.0)
    assert session.resolved[1] == ((-2.0,),)
    assert not session.is_unknown("interventions")
    notes = [
        " ".join(note for table in tables_in(pair_tables(asked, {"neuron": 2})) for note in table.notes)
        for asked in (session, session_from({MLP: vectors + np.float32(0.1) * rng.normal(size=vectors.shape)}, runs))
    ]
    assert "n2 is set by design" in notes[0]
    assert "set by design" not in notes[1]


def test_float64_stays_where_it_is_needed_and_rounding_is_noted(tmp_path: Path) -> None:
    kept = session_from(np.full((2, 3), 0.1), [{}, {}])
    again = load_session(save_session(kept, tmp_path / "s.json").path)
    assert again.vectors()["unknown"].tobytes() == np.full((2, 3), 0.1).tobytes()
    assert session_from(np.ones((2, 3)), [{}, {}]).vectors()["unknown"].dtype == np.float32
    assert "rounded" not in again.provenance["imported"]
    rounded = session_from(np.full((2, 3), 2**53 + 1), [{}, {}])
    assert rounded.provenance["imported"]["rounded"] == ["unknown"]


TWO = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("vectors", "runs", "told"),
    [
        (TWO, [], "there is no run"),
        (TWO, [{}], "2 vectors for 1 runs"),
        (TWO, ["prompt", "prompt"], "is no mapping"),
        (TWO, "ab", "these are no runs"),
        (TWO, {"prompt": ["a", "b"], "output": ["c"]}, "'output' has 1 cells"),
        (TWO, [{"output": "a"}, {"output": None}], "has no output"),
        (TWO, [{"sweep": "baseline"}, {}], "neither the baseline nor a condition"),
        (TWO, [{"sweep": "baseline"}, {"sweep": "control"}], "is what groups of runs are called"),
        (TWO, [{"sweep": "x", "value": 1}, {"sweep": "x", "value": 2}], "has the values 1.0 and 2.0"),
        (TWO, [{"value": float("inf")}, {"value": 1}], "no finite number"),
        (TWO, [{"baseline": True, "value": 3}, {"baseline": True, "sweep": "x"}], "the baseline and the condition"),
        (TWO, [{"prompt": "a", "sample": 0}, {"prompt": "a", "sample": 0}], "stands there twice"),
        (TWO, [{"factors": 3}, {}], "factors are no mapping"),
        (TWO[0], [{}, {}], "no array of numbers"),
        (np.array([["a"], ["b"]]), [{}, {}], "no array of numbers"),
        ([[1.0], [1.0, 2.0]], [{}, {}], "no array of numbers"),
        (np.array([[1e300], [0.0]]), [{}, {}], "beyond float32"),
        ({"a\nb": TWO}, [{}, {}], "no name of a site"),
        ({"": TWO}, [{}, {}], "no name of a site"),
        ({"x": TWO, "unknown.x": TWO}, [{}, {}], "two arrays are called"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(vectors: Any, runs: Any, told: str) -> None:
    with pytest.raises(ExplorerError, match=told) as refused:
        session_from(vectors, runs)
    assert "\n" not in str(refused.value)
    assert refused.value.remedy


def test_texts_alone_say_what_is_missing(tmp_path: Path) -> None:
    _, runs = swept()
    session = saved(session_from(None, runs), tmp_path)
    for ask in (
        lambda: pair_tables(session, {}),
        lambda: finder_study(session, {"neuron": 3}),
        session.vectors,
        lambda: plane_of(session, np.empty((0, 0), np.float32), PlaneChoice("unknown", 0, 1)),
    ):
        with pytest.raises(ExplorerError, match="texts alone"):
            ask()


def test_a_cache_of_transformer_lens_is_read_as_it_is() -> None:
    post = torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4).requires_grad_()
    cache = ActivationCache({MLP: post, "blocks.1.hook_q_input": post[..., :2]}, model=None)
    runs = [{"prompt": "a"}, {"prompt": "b"}]
    with pytest.raises(ExplorerError, match=r"\[2, 3, 4\] is no array of numbers .*reduce="):
        session_from(cache, runs)
    last = session_from(cache, runs, reduce="last").vectors()
    assert {site: held.tolist() for site, held in last.items()} == {
        MLP: [[8, 9, 10, 11], [20, 21, 22, 23]],
        "unknown.blocks.1.hook_q_input": [[8, 9], [20, 21]],
    }
    mean = session_from(cache, runs, reduce="mean").vectors()
    assert mean[MLP].tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]
