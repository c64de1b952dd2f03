"""Published vectors of GPT-2 as a test; skipped where they are not at hand, see CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from srm_explorer.engine.analyses import finder_study, pair_tables, tables_in
from srm_explorer.engine.analyses.planes import with_plane
from srm_explorer.engine.figures import session_warnings, swept_groups
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.session.imported import session_from
from srm_explorer.engine.stats.spotlight import Sweep
from tests.conftest import TOOLS, load_module

PAGE = TOOLS.parent / "docs" / "neuron-373.md"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_module(TOOLS / "neuron_373.py")


@pytest.fixture(scope="module")
def vectors(tool: ModuleType) -> np.ndarray:
    file: Path | None = tool.data_file()
    if file is None:
        pytest.skip(f"{tool.FILE} is not at hand: name its folder in SRM_EXPLORER_DATA")
    return tool.directions(file)


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def short(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}".replace("0.", ".", 1).replace("-", "−")


def test_both_planes_are_as_published(tool: ModuleType, vectors: np.ndarray, page: str) -> None:
    assert vectors.shape == (97, 3072)
    quiet: Sweep = tool.swept(tool.captured(vectors))
    assert (quiet.a, quiet.b) == (pytest.approx(0.0157, abs=5e-5), pytest.approx(-0.0089, abs=5e-5))
    assert quiet.amplitude == pytest.approx(0.0180, abs=5e-5)
    assert round(quiet.phase_deg or 0.0) == 330
    assert f"A = {short(quiet.a)}, B = {short(quiet.b)}: an amplitude of {short(quiet.amplitude)}" in page
    loud: Sweep = tool.swept(tool.captured(vectors), tool.LOUDEST)
    assert loud.amplitude == pytest.approx(0.356, abs=1e-3)
    assert loud.phase_deg == pytest.approx(87.5, abs=0.05)
    assert f"the amplitude is {short(loud.amplitude, 3)} at {loud.phase_deg:.1f}°" in page


def test_clamps_turn_the_mean_to_270_whatever_the_lengths(tool: ModuleType, vectors: np.ndarray, page: str) -> None:
    lengths = (1.0, tool.lit_below(3, 0.3), tool.lit_below(10, 0.5), 100.0)
    sweeps: list[Sweep] = [tool.arithmetic(vectors, length) for length in lengths]
    assert [sweep.phase_deg for sweep in sweeps] == pytest.approx([270.0] * 4, abs=0.05)
    assert f"{short(sweeps[1].amplitude)} to {short(sweeps[2].amplitude)} for vectors" in page
    alike: Sweep = tool.arithmetic(vectors, 12.0, 0.02)
    reference: Sweep = tool.swept(tool.clamped(vectors, 12.0, 0.02))
    assert (alike.a, alike.b) == pytest.approx((reference.a, reference.b), abs=1e-7)
    # Lengths need not be alike either.
    mixed = vectors * np.geomspace(5, 30, len(vectors), dtype=np.float32)[:, None]
    assert tool.swept(tool.clamped(mixed, 1.0)).phase_deg == pytest.approx(270.0, abs=0.05)


def test_the_published_counts_are_those_of_arithmetic(tool: ModuleType, vectors: np.ndarray, page: str) -> None:
    limits = {(v, level): tool.lit_below(v, level) for v, level in ((10, 0.7), (6, 0.5), (3, 0.3), (1, 0.1))}
    shown = [f"{limit:.1f}" for limit in limits.values()]
    assert all(f"r < {text}" in page for text in shown)
    # So many of the 50 are shorter than that, by the published counts; both must rise together.
    fewest = {(10, 0.7): 57 - 50, (6, 0.5): 111 - 100, (3, 0.3): 150 - 150, (1, 0.1): 205 - 200}
    by_length = sorted(limits, key=limits.__getitem__)
    assert [fewest[key] for key in by_length] == sorted(fewest.values())
    # Lengths drawn to fit that give counts within the published ones.
    rest = np.concatenate([np.full(2, 9.3), np.full(4, 9.7), [10.1], np.full(6, 10.3), np.full(37, 14.0)])
    some = np.array(vectors[: len(rest)], np.float64)
    some[:, tool.NEURON] = 0.0
    some *= (rest / np.linalg.norm(some, axis=1))[:, None]
    counts = tool.swept(tool.clamped(some.astype(np.float32), 1.0)).counts.max(axis=1)
    for count, (least, largest) in zip(counts.tolist(), tool.COUNTS.values(), strict=True):
        assert least - 2 <= count <= largest + 2


def test_a_little_more_length_turns_it_to_259(tool: ModuleType, vectors: np.ndarray, page: str) -> None:
    ends = [tool.longer_for(vectors, tool.lit_below(*clamp)) for clamp in ((3, 0.3), (10, 0.5))]
    assert f"{ends[0]:.1%} to {ends[1]:.1%}".replace("%", " %") in page
    turned: Sweep = tool.arithmetic(vectors, tool.lit_below(3, 0.3), ends[0])
    assert turned.phase_deg == pytest.approx(tool.PHASE, abs=0.01)
    assert f"{short(tool.AMPLITUDE * float(np.cos(np.radians(tool.PHASE))))} along 373" in page


def test_373_is_one_of_many(tool: ModuleType, vectors: np.ndarray, page: str) -> None:
    means = tool.Means.of(vectors)
    assert f"{means.louder} of the 3,072 neurons" in page
    assert f"{100 * means.wider:.1f} % of pairs" in page
    assert f"median pair: {short(means.median)}" in page


def test_the_picture_is_that_of_the_page(tool: ModuleType, vectors: np.ndarray) -> None:
    drawn = tool.draw(vectors)
    for text in ("captured,", "arithmetic", "published", "330°", "270°", "259°"):
        assert text in drawn
        assert text in tool.PICTURE.read_text(encoding="utf-8")


def test_every_study_works_on_the_vectors(tool: ModuleType, vectors: np.ndarray, tmp_path: Path) -> None:
    session = load_session(save_session(tool.captured(vectors), tmp_path / "published.json").path)
    assert np.array_equal(session.vectors()[tool.SITE], vectors)
    plane = PlaneChoice(tool.SITE, tool.NEURON, tool.PARTNER)
    session = with_plane(session, session.vectors()[tool.SITE], plane)
    (group,) = swept_groups(session, session.planes[0])
    assert round(group.sweep.phase_deg or 0.0) == 330
    assert isinstance(session_warnings(session, session.planes[0], (group,)), tuple)
    pairs = tables_in(pair_tables(session, {"neuron": tool.NEURON, "permutations": 100, "top": 3}))
    assert [table.name for table in pairs] == ["co_activators", "antagonists"]
    assert all(len(table.rows) == 3 for table in pairs)
    halves = session_from({tool.SITE: vectors}, [{"prompt_id": i, "half": "ab"[i % 2]} for i in range(len(vectors))])
    assert tables_in(
        finder_study(halves, {"neuron": tool.NEURON, "groups": ["baseline · half=a", "baseline · half=b"]})
    )[0].rows
