from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.io.vectors import Vectors
from srm_explorer.engine.runs.trash import trash_session
from srm_explorer.engine.session import (
    PlaneRecord,
    PromptRecord,
    RunRecord,
    Session,
    changed_texts,
    changed_units,
    load_session,
    save_session,
    sessions_in,
)
from srm_explorer.engine.session.serialization import migrated, read_session, session_bytes
from tests.killing import die_at, in_a_child

SITE = "blocks.1.mlp.hook_post"
SPEC = Experiment.from_dict(
    {
        "model": {"name": "demo"},
        "prompts": {"sets": ["reasoning"]},
        "interventions": [{"site": SITE, "neurons": [7], "op": "clamp", "values": [-1, 2]}],
        "capture": {"sites": [SITE, "blocks.1.hook_resid_post"]},
        "planes": [{"site": SITE, "a": 0, "b": 1}],
    }
)
WIDTHS = {SITE: 6, "blocks.1.hook_resid_post": 4}


def a_session(count: int = 6, **fields: Any) -> Session:
    prompts = tuple(
        PromptRecord("reasoning", f"If it rains, « é » {i}", {"type": "if"}, (5, i), 0, f"{i:064x}") for i in range(2)
    )
    records = tuple(
        RunRecord(i, i % 2, i % 3, 0, (1, 2, i), f" wet\n\u2028{i}", 2, "length", 0.1 * i, {"perplexity": 3.5})
        for i in range(count)
    )
    xy, norm = np.random.default_rng(0).normal(size=(count, 2)), np.full(count, 3.0)
    return Session(
        name="storm",
        state="finished",
        spec=SPEC,
        conditions=conditions(SPEC),
        resolved=((None,), ((-1.0,),), ((2.0,),)),
        prompts=prompts,
        runs=records,
        planes=(PlaneRecord.of(SITE, 0, 1, xy, norm),),
        provenance={"device": "cpu", "versions": {"torch": "2.13"}},
        layout={"batches": [[0, 1], [2, 3]]},
        receipts=({"site": SITE, "fired": 3},),
        events=({"event": "out of memory", "rows": 8},),
    ).changed(**fields)


def written(*texts: tuple[int, int, tuple[int, ...]]) -> Session:
    """Runs of (prompt, condition, tokens)."""
    runs = [
        RunRecord(i, prompt, at, 0, tokens, "", 2, "length", 0.1, {}) for i, (prompt, at, tokens) in enumerate(texts)
    ]
    return a_session(runs=tuple(runs))


def test_only_units_that_wrote_other_tokens_than_their_baseline_count_as_changed() -> None:
    session = written((0, 0, (1, 2)), (0, 1, (1, 2)), (0, 2, (1, 3)), (1, 0, (4, 4)), (1, 1, (4, 4)), (1, 2, (4, 4)))
    assert changed_units(session).caption == "text changed in 1 of 2 units"
    assert changed_units(session, [1, 4, 5]).caption == "text changed in 0 of 2 units"
    assert changed_units(session, np.array([False, False, True, False, False, False])).caption.endswith("1 of 1 unit")
    differs, known = changed_texts(session)
    assert differs.tolist() == [False, False, True, False, False, False]
    assert known.tolist() == [False, True, True, False, True, True]


def test_texts_that_cannot_be_compared_are_not_called_unchanged() -> None:
    # A baseline that was not reached, and runs whose texts nobody knows.
    assert changed_units(written((0, 1, (1, 2)), (1, 0, ()), (1, 1, ()))).caption == ""
    assert changed_units(a_session(0)).units == 0


def test_prompts_of_one_core_are_one_unit() -> None:
    session = written((0, 0, (1,)), (0, 1, (1,)), (1, 0, (2,)), (1, 1, (3,)))
    prompts = tuple(p.__class__(p.set, p.text, {"core_id": "7"}, p.token_ids, 0, p.sha256) for p in session.prompts)
    assert changed_units(session.changed(prompts=prompts)).caption == "text changed in 1 of 1 unit"


def some_vectors(runs: int = 6, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {site: rng.normal(size=(runs, width)).astype(np.float32) for site, width in WIDTHS.items()}


def same_vectors(one: Vectors, other: Vectors) -> bool:
    return set(one) == set(other) and all(
        len(one[site]) == len(other[site])
        and all(np.array_equal(a, b) for a, b in zip(one[site], other[site], strict=True))
        for site in one
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".srm-explorer.lock"}


floats = st.floats(allow_nan=False) | st.sampled_from([0.1 + 0.2, 5e-324, float("inf"), float("-inf")])


@settings(max_examples=50)
@given(
    texts=st.lists(st.text(st.characters()), min_size=3, max_size=3),
    numbers=st.lists(floats, min_size=3, max_size=3),
    factors=st.dictionaries(st.text(), st.text(), max_size=3),
    notes=st.text(),
)
def test_a_session_reads_back_exactly(
    texts: list[str], numbers: list[float], factors: dict[str, str], notes: str
) -> None:
    prompt = PromptRecord("watching", texts[0], factors, (1, 2), 1, "ab")
    runs = tuple(
        RunRecord(i * 5, 0, 0, i, (i,), texts[i], 2, "eos", numbers[i], {texts[0]: numbers[0]}) for i in range(3)
    )
    plane = PlaneRecord(SITE, 1, 2, tuple(numbers), tuple(numbers[::-1]), tuple(numbers))
    session = a_session(prompts=(prompt,), runs=runs, planes=(plane,), notes=notes, state="interrupted")
    content = session_bytes(session)
    assert read_session(json.loads(content), "storm.json") == session
    assert session_bytes(read_session(json.loads(content), "storm.json")) == content


def test_what_is_not_finite_is_still_json_and_reads_back() -> None:
    plane = PlaneRecord(SITE, 1, 2, (float("nan"),) * 6, (float("inf"),) * 6, (1.0,) * 6)
    content = session_bytes(a_session(planes=(plane,), bands={"polar": np.array([np.nan, 1.5])}))
    document = json.loads(content, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    read = read_session(document, "storm.json")
    assert np.isnan(read.planes[0].x).all()
    assert np.isposinf(read.planes[0].y).all()
    assert read.bands == {"polar": ["nan", 1.5]}


def test_a_file_has_one_run_a_line_and_changes_by_lines() -> None:
    before = session_bytes(a_session(created="x")).splitlines()
    after = session_bytes(a_session(created="x", notes="seen")).splitlines()
    assert sum(b'"prompt_tokens"' in line for line in before) == 6
    assert len([1 for old, new in zip(before, after, strict=True) if old != new]) == 1


@pytest.mark.parametrize("reduce", ["mean", "tokens"])
def test_vectors_read_back_in_the_order_of_the_runs(tmp_path: Path, reduce: str) -> None:
    vectors = some_vectors()
    if reduce == "tokens":
        vectors = {site: [own[: i % 4] for i in range(6)] for site, own in vectors.items()}
    saved = save_session(a_session(), tmp_path / "out" / "storm.json", vectors=vectors)
    assert names(tmp_path / "out") == {"storm.json", "storm.safetensors"}
    read = load_session(saved.path)
    assert read == saved.session
    assert (read.name, read.revision, saved.note) == ("storm", 1, "")
    assert read.sidecar is not None
    assert read.sidecar.sites == WIDTHS
    assert same_vectors(read.vectors(), vectors)


def test_a_session_without_runs_is_saved_and_opens(tmp_path: Path) -> None:
    empty = a_session(0, planes=(), state="interrupted")
    save_session(empty, tmp_path / "s.json", vectors={SITE: np.empty((0, 6), np.float32)})
    assert load_session(tmp_path / "s.json").vectors()[SITE].shape == (0, 6)
    save_session(empty, tmp_path / "t.json", vectors={SITE: []})
    assert load_session(tmp_path / "t.json").vectors() == {SITE: []}


def test_a_later_save_replaces_what_it_was_read_from(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(), path, vectors=some_vectors())
    saved = save_session(load_session(path).changed(notes="seen"), path)
    assert (saved.path, saved.note, saved.session.revision) == (path, "", 2)
    assert load_session(path).notes == "seen"
    assert same_vectors(load_session(path).vectors(), some_vectors())
    save_session(saved.session, path, vectors=some_vectors(seed=1))
    assert same_vectors(load_session(path).vectors(), some_vectors(seed=1))
    assert names(tmp_path) == {"storm.json", "storm.safetensors"}


def test_a_conflict_is_saved_beside_and_told(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(), path, vectors=some_vectors())
    mine, yours = load_session(path), load_session(path)
    save_session(yours.changed(notes="yours"), path)
    saved = save_session(mine.changed(notes="mine"), path)
    assert saved.path == tmp_path / "storm-2.json"
    assert saved.note == "'storm' was changed elsewhere meanwhile; saved as 'storm-2'"
    assert load_session(path).notes == "yours"
    assert load_session(saved.path).notes == "mine"
    assert same_vectors(load_session(saved.path).vectors(), some_vectors())
    assert names(tmp_path) == {"storm.json", "storm.safetensors", "storm-2.json", "storm-2.safetensors"}


def test_a_new_session_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(notes="first"), path)
    assert save_session(a_session(notes="second"), path).path.name == "storm-2.json"
    assert save_session(a_session(notes="third"), path).path.name == "storm-3.json"
    assert [load_session(p).notes for p in (path, tmp_path / "storm-2.json")] == ["first", "second"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"name": "package"}', b"\xff", b'{"schema_version": 99}'])
def test_a_file_that_is_something_else_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "storm.json"
    path.write_bytes(content)
    saved = save_session(a_session(), path)
    assert saved.path.name == "storm-2.json"
    assert "saved as 'storm-2'" in saved.note
    assert path.read_bytes() == content


def test_vectors_of_someone_else_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "storm.safetensors").write_bytes(b"mine")
    saved = save_session(a_session(), tmp_path / "storm.json", vectors=some_vectors())
    assert saved.path.name == "storm-2.json"
    assert (tmp_path / "storm.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("has_vectors", [True, False])
def test_killed_at_any_instant_the_old_or_the_new_session_is_there_whole(tmp_path: Path, has_vectors: bool) -> None:
    old = some_vectors()
    new = some_vectors(seed=1) if has_vectors else None
    outcomes: list[str] = []
    for step in range(60):
        path = tmp_path / str(step) / "storm.json"
        save_session(a_session(notes="old"), path, vectors=old)
        changed = load_session(path).changed(notes="new")

        def save(step: int = step, path: Path = path, changed: Session = changed) -> None:
            die_at(step)
            save_session(changed, path, vectors=new)

        status = in_a_child(save)
        read = load_session(path)
        outcomes.append(read.notes)
        expected = new if read.notes == "new" and new is not None else old
        assert same_vectors(read.vectors(), expected)
        again = save_session(read, path, vectors=some_vectors(seed=2))
        assert (again.path, again.note) == (path, "")
        assert same_vectors(load_session(path).vectors(), some_vectors(seed=2))
        waiting = {name for name in names(path.parent) if name.endswith(".safetensors")}
        assert waiting == {"storm.safetensors"}
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert outcomes == sorted(outcomes, reverse=True)
    assert {"old", "new"} == set(outcomes)
    assert len(outcomes) < 60


def test_a_full_disk_leaves_the_old_session_with_its_vectors(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(notes="old"), path, vectors=some_vectors())
    changed = load_session(path).changed(notes="x" * 100_000)

    def save(limit: int, vectors: dict[str, Any] | None) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(ExplorerError, match="save to another disk"):
            save_session(changed, path, vectors=vectors)

    large = {site: np.zeros((6, 100_000), np.float32) for site in WIDTHS}
    before = names(tmp_path)
    for limit, vectors in [(1000, large), (50_000, large), (50_000, some_vectors(seed=1)), (50_000, None)]:
        assert in_a_child(lambda limit=limit, vectors=vectors: save(limit, vectors)) == 0
        assert load_session(path).notes == "old"
        assert same_vectors(load_session(path).vectors(), some_vectors())
        assert names(tmp_path) == before


def test_of_many_who_save_at_once_nobody_s_work_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(), path, vectors=some_vectors())
    read = load_session(path)
    children: list[int] = []
    for writer in range(6):
        child = os.fork()
        if child == 0:
            try:
                save_session(read.changed(notes=f"writer {writer}"), path, vectors=some_vectors(seed=writer))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    saved = [load_session(found) for found in sessions_in(tmp_path)]
    assert sorted(session.notes for session in saved) == [f"writer {writer}" for writer in range(6)]
    for session in saved:
        assert same_vectors(session.vectors(), some_vectors(seed=int(session.notes[-1])))


def test_without_its_vectors_a_session_opens_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    save_session(a_session(), path, vectors=some_vectors())
    (tmp_path / "storm.safetensors").unlink()
    read = load_session(path)
    assert len(read.runs) == 6
    with pytest.raises(ExplorerError, match=r"storm.safetensors: the file with the vectors is missing; put it back"):
        read.vectors()


def test_altered_vectors_are_refused_and_the_session_opens(tmp_path: Path) -> None:
    path, sidecar = tmp_path / "storm.json", tmp_path / "storm.safetensors"
    save_session(a_session(), path, vectors=some_vectors())
    content = bytearray(sidecar.read_bytes())
    content[-1] ^= 1
    for altered in (bytes(content), b"", sidecar.read_bytes()[:-1]):
        sidecar.write_bytes(altered)
        with pytest.raises(ExplorerError, match="altered"):
            load_session(path).vectors()


def test_a_session_saved_without_vectors_says_so(tmp_path: Path) -> None:
    save_session(a_session(), tmp_path / "storm.json")
    with pytest.raises(ExplorerError, match="saved without its vectors"):
        load_session(tmp_path / "storm.json").vectors()


def test_a_session_renamed_with_its_vectors_keeps_them(tmp_path: Path) -> None:
    save_session(a_session(), tmp_path / "storm.json", vectors=some_vectors())
    (tmp_path / "storm.json").rename(tmp_path / "calm.json")
    assert same_vectors(load_session(tmp_path / "calm.json").vectors(), some_vectors())
    (tmp_path / "storm.safetensors").rename(tmp_path / "calm.safetensors")
    read = load_session(tmp_path / "calm.json")
    assert read.name == "calm"
    assert same_vectors(read.vectors(), some_vectors())


def test_a_copy_under_another_name_has_its_own_vectors(tmp_path: Path) -> None:
    save_session(a_session(), tmp_path / "storm.json", vectors=some_vectors())
    save_session(load_session(tmp_path / "storm.json"), tmp_path / "else" / "calm.json")
    trash = tmp_path / "storm.safetensors"
    trash.unlink()
    assert same_vectors(load_session(tmp_path / "else" / "calm.json").vectors(), some_vectors())


def test_a_session_cannot_point_to_a_file_elsewhere(tmp_path: Path) -> None:
    saved = save_session(a_session(), tmp_path / "storm.json", vectors=some_vectors())
    for name in ("../secret.safetensors", "/etc/passwd", "storm.json", ""):
        document = json.loads(saved.path.read_bytes())
        document["vectors"]["file"] = name
        with pytest.raises(ExplorerError, match=r"vectors\.file"):
            read_session(document, "storm.json")


def test_a_newer_version_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "storm.json"
    document = json.loads(session_bytes(a_session())) | {"schema_version": 9}
    path.write_text(json.dumps(document))
    with pytest.raises(ExplorerError, match=r"newer version \(schema 9, this one reads up to 2\); upgrade"):
        load_session(path)


def test_older_documents_pass_through_every_step_between() -> None:
    steps = {1: lambda d: d | {"schema_version": 2, "a": 1}, 2: lambda d: d | {"schema_version": 3, "b": d["a"] + 1}}
    document = {"schema_version": 1, "runs": []}
    assert migrated(document, "", current=3, migrations=steps) == {"schema_version": 3, "runs": [], "a": 1, "b": 2}
    assert document == {"schema_version": 1, "runs": []}


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"{}", b'{"schema_version": true, "runs": []}', b"\xff\xfe"])
def test_what_is_no_session_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "storm.json"
    path.write_bytes(content)
    with pytest.raises(ExplorerError) as caught:
        load_session(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert path.read_bytes() == content


@settings(max_examples=60)
@given(st.data())
def test_a_session_cut_short_anywhere_is_one_clear_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = session_bytes(a_session())
    path = tmp_path_factory.mktemp("cut") / "storm.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 3))])
    with pytest.raises(ExplorerError):
        load_session(path)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, item in inside for place in places(item, (*path, key))]


def test_any_field_of_a_wrong_type_is_refused_or_read_never_a_crash() -> None:
    whole = session_bytes(a_session())
    refused = 0
    for place in places(json.loads(whole)):
        for wrong in (None, True, -7, 1.5, "text", [], [[None]], {}, {"a": {}}):
            document = json.loads(whole)
            here = document
            for key in place[:-1]:
                here = here[key]
            here[place[-1]] = wrong
            try:
                session_bytes(read_session(document, "storm.json"))
            except ExplorerError as error:
                refused += 1
                assert str(error).startswith("storm.json")  # noqa: PT017
    assert refused > 1000


def test_a_missing_session_is_answered_with_the_nearest(tmp_path: Path) -> None:
    save_session(a_session(), tmp_path / "lighthouse.json")
    with pytest.raises(ExplorerError, match="did you mean 'lighthouse'"):
        load_session(tmp_path / "lighthose.json")
    with pytest.raises(ExplorerError, match="no such file"):
        load_session(tmp_path / "nowhere" / "s.json")


def test_only_sessions_are_listed_the_last_saved_first(tmp_path: Path) -> None:
    for age, name in enumerate(("old", "new")):
        save_session(a_session(), tmp_path / f"{name}.json")
        os.utime(tmp_path / f"{name}.json", (age, age))
    (tmp_path / "package.json").write_text('{"name": "other"}')
    assert [path.stem for path in sessions_in(tmp_path)] == ["new", "old"]
    assert sessions_in(tmp_path / "nowhere") == []


def test_what_is_thrown_away_can_be_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "out" / "storm.json"
    save_session(a_session(), path, vectors=some_vectors())
    save_session(a_session(), path.with_name("storm-2.json"), vectors=some_vectors())
    path.with_name("storm.run").mkdir()
    folder = trash_session(path)
    assert names(path.parent) == {"storm-2.json", "storm-2.safetensors"}
    assert names(folder) == {".origin.json", "storm.json", "storm.safetensors", "storm.run"}
    assert same_vectors(load_session(folder / "storm.json").vectors(), some_vectors())
