"""A run read while it grows is what its folder would be collected to, whatever the batches and whenever one looks."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.runs import live as live_module
from srm_explorer.engine.runs.collect import assemble_session
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.runs.plan import Layout
from srm_explorer.engine.runs.resume import remove_run_folder
from srm_explorer.engine.session import PromptRecord, RunRecord, Session

MLP, RESID = "blocks.0.mlp.hook_post", "blocks.0.hook_resid_post"
D = {MLP: 24, RESID: 7}
VALUES = 2


def experiment(samples: int, reduce: str) -> Experiment:
    return Experiment.from_dict(
        {
            "model": {"name": "demo"},
            "prompts": {"sets": ["texts"]},
            "interventions": [{"site": MLP, "neurons": [1], "op": "clamp", "unit": "sigma", "values": [-1, 1]}],
            "generation": {"tokens": 2, "mode": "sample", "samples": samples},
            "capture": {"sites": [MLP, RESID], "reduce": reduce},
            "planes": [{"site": MLP, "a": 1, "b": 0}, {"site": RESID, "a": 5, "b": 2}],
        }
    )


@dataclasses.dataclass(frozen=True)
class Bench:
    """A run of random numbers, to be journalled in batches."""

    folder: Path
    spec: Experiment
    grid: Grid
    seed: int = 0

    def begin(self, created: str = "2026-01-01T00:00:00+00:00") -> JournalWriter:
        prompts = [PromptRecord("texts", str(n), {}, (1, 2), 0, f"{n:03}") for n in range(self.grid.prompts)]
        extra = {
            "prompts": prompts,
            "provenance": {"model": {"name": "demo"}},
            "created": created,
        }
        layout = Layout(len(self.grid), 0, (tuple(range(len(self.grid))),))
        return JournalWriter.create(self.folder, self.spec, layout=layout, extra=extra)

    def append(self, journal: JournalWriter, indices: Sequence[int]) -> None:
        vectors: dict[str, Any] = {}
        for site, width in D.items():
            rows = [self._random(index, site, width) for index in indices]
            vectors[site] = (
                rows if self.spec.capture.reduce == "tokens" else np.stack([row.mean(axis=0) for row in rows])
            )
        vectors["units/0"] = [self._random(index, "units", 1) for index in indices]
        journal.append_batch(0, [self._run(i) for i in indices], vectors, receipt={"rows": len(indices)})

    def collected(self, journal: JournalWriter) -> Session:
        return assemble_session(journal.reader, self.path, None)[0]

    @property
    def path(self) -> Path:
        return self.folder.with_name("a.json")

    def _random(self, index: int, site: str, width: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, index, len(site)])
        return random.normal(size=(1 + index % 3, width)).astype(np.float32)

    def _run(self, index: int) -> RunRecord:
        place = (self.grid.prompt(index), self.grid.condition(index), self.grid.sample(index))
        tokens = np.random.default_rng([self.seed, index]).integers(0, 2, size=3)
        return RunRecord(index, *place, tuple(tokens.tolist()), "ab", 2, "length", 0.5, {})


@st.composite
def orders(draw: st.DrawFn) -> tuple[Grid, list[list[int]], list[bool]]:
    grid = Grid(draw(st.integers(1, 4)), draw(st.integers(1, 2)), 1 + VALUES)
    order = draw(st.permutations(range(len(grid))))
    cuts = sorted(draw(st.sets(st.integers(1, len(grid) - 1), max_size=6)))
    batches = [list(order[a:b]) for a, b in zip([0, *cuts], [*cuts, len(grid)], strict=True)]
    return grid, batches, draw(st.lists(st.booleans(), min_size=len(batches), max_size=len(batches)))


@settings(max_examples=60)
@given(orders(), st.sampled_from(["mean", "tokens"]), st.integers(0, 9))
def test_a_run_read_as_it_grows_equals_the_run_collected(
    order: tuple[Grid, list[list[int]], list[bool]], reduce: str, seed: int
) -> None:
    grid, batches, looks = order
    with TemporaryDirectory() as place:
        bench = Bench(Path(place) / "a.run", experiment(grid.samples, reduce), grid, seed)
        with bench.begin() as journal:
            live = LiveRun(bench.folder)
            assert live.poll()
            assert (live.session, live.life, live.runs) == (None, "written", len(grid))
            for number, (batch, look) in enumerate(zip(batches, looks, strict=True)):
                bench.append(journal, batch)
                if number == 1:
                    journal.event({"event": "resolved", "values": [[None], [[-1.5]], [[2.5]]]})
                if look:
                    assert live.poll()
                    assert without_units(live.session) == without_units(bench.collected(journal))
            live.poll()
            assert live.session == bench.collected(journal)
            assert live.done == live.runs
            same = live.session
            assert not live.poll()
            assert live.session is same


def without_units(session: Session | None) -> Session:
    assert session is not None
    return session.changed(provenance={**session.provenance, "units": None})


GRID = Grid(3, 1, 3)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "a.run", experiment(1, "mean"), GRID)


def test_the_vectors_of_a_batch_are_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read = live_module.read_vectors
    asked: list[str] = []

    def counted(path: Path, **how: Any) -> Any:
        asked.append(path.name)
        return read(path, **how)

    monkeypatch.setattr(live_module, "read_vectors", counted)
    with bench.begin() as journal:
        live = LiveRun(bench.folder)
        for number in range(3):
            bench.append(journal, [3 * number, 3 * number + 1, 3 * number + 2])
            live.poll()
            live.poll()
    assert asked == [f"shard-0000{number}.safetensors" for number in (1, 2, 3)]


def test_a_run_that_was_saved_and_removed_is_gone_and_what_was_seen_stays(bench: Bench) -> None:
    with bench.begin() as journal:
        bench.append(journal, [0, 1, 2])
        live = LiveRun(bench.folder)
        live.poll()
        seen = live.session
        assert seen is not None
        bench.append(journal, [3, 4])
    remove_run_folder(bench.folder)
    assert live.poll()
    assert live.life == "gone"
    assert live.session is seen
    assert not live.poll()


def test_a_folder_that_vanishes_between_a_line_and_its_shard_is_gone_and_one_that_lost_a_shard_is_damaged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench.begin() as journal:
        bench.append(journal, [0, 1, 2])
    shard = bench.folder / "shard-00001.safetensors"
    aside = shard.rename(bench.folder / "aside")
    live = LiveRun(bench.folder)
    with pytest.raises(ExplorerError, match="shard-00001"):
        live.poll()
    aside.rename(shard)
    assert live.poll(), "it is read once it is there"
    assert live.done == 3
    late = LiveRun(bench.folder)
    read = live_module.read_vectors

    def vanishing(path: Path, **how: Any) -> Any:
        shutil.rmtree(bench.folder)
        return read(path, **how)

    monkeypatch.setattr(live_module, "read_vectors", vanishing)
    assert late.poll()
    assert (late.life, late.session) == ("gone", None)


def test_a_restarted_run_under_the_same_name_is_another_one(bench: Bench) -> None:
    with bench.begin() as journal:
        bench.append(journal, [0, 1, 2])
        live = LiveRun(bench.folder)
        live.poll()
    shutil.move(bench.folder, bench.folder.with_name("old"))
    with dataclasses.replace(bench, seed=1).begin("2026-02-02T00:00:00+00:00") as journal:
        bench.append(journal, [0, 1, 2])
        bench.append(journal, [3, 4, 5])
        assert live.poll()
        assert (live.life, live.done) == ("gone", 3)


def test_a_writer_that_is_gone_leaves_the_run_and_one_that_comes_back_writes_it(bench: Bench) -> None:
    with bench.begin() as journal:
        live = LiveRun(bench.folder)
        live.poll()
        assert live.life == "written"
        bench.append(journal, [0, 1, 2])
        journal.progress({"stage": "running", "runs_done": 0, "runs": 9, "rows": 3, "step": 1, "steps": 2})
    assert live.poll()
    assert live.life == "left"
    assert live.progress is not None
    assert (live.progress.runs_done, live.progress.rows) == (3, 0), "the batch it tells of is finished"
    with JournalWriter.open_existing(bench.folder):
        assert live.poll()
        assert live.life == "written"


def test_notes_and_revision_of_an_earlier_save_are_kept(bench: Bench) -> None:
    with bench.begin() as journal:
        bench.append(journal, [0, 1, 2])
        before = bench.collected(journal).changed(notes="mine", revision=4)
        live = LiveRun(bench.folder, before)
        live.poll()
        assert live.session is not None
        assert (live.session.notes, live.session.revision) == ("mine", 4)


@pytest.mark.parametrize("name", ["spec.json", "layout.json", "events.jsonl"])
def test_a_damaged_folder_is_one_line(bench: Bench, name: str) -> None:
    with bench.begin() as journal:
        bench.append(journal, [0, 1, 2])
    text = (bench.folder / name).read_text()
    (bench.folder / name).write_text(text.replace('"prompts"', '"p"').replace("{", "[", 2) + "{}\n{}\n")
    with pytest.raises(ExplorerError) as told:
        LiveRun(bench.folder).poll()
    assert "\n" not in str(told.value)


def test_a_growth_costs_what_has_come_not_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = live_module.read_vectors
    vectors_read: list[int] = []

    def counted(path: Path, *, runs: int, **how: Any) -> Any:
        vectors_read.append(runs)
        return read(path, runs=runs, **how)

    monkeypatch.setattr(live_module, "read_vectors", counted)
    grid = Grid(500, 1, 1 + VALUES)
    bench = Bench(tmp_path / "a.run", experiment(1, "mean"), grid)
    lines_read: list[int] = []
    with bench.begin() as journal:
        live = LiveRun(bench.folder)
        for number in range(15):
            bench.append(journal, range(100 * number, 100 * number + 100))
            before = len(live._journal.batches)
            live.poll()
            lines_read.append(len(live._journal.batches) - before)
    assert live.done == 1500
    assert vectors_read == [100] * 15
    assert lines_read == [1] * 15
