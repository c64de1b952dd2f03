"""Every heading of a table, every word of a legend and every fact of a run has its meaning, in one place."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from srm_explorer.engine.analyses.bands import plane_bands
from srm_explorer.engine.analyses.registry import run_study, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import swept_groups
from srm_explorer.engine.figures.curves import LegendEntry
from srm_explorer.engine.figures.glossary import as_markdown, column_term, explain, glossary, term_of
from srm_explorer.engine.figures.table import TableColumn, table_columns
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.charts.subject import (
    TRANSFORMS,
    Subject,
    compass_figure,
    dose_figure,
    polar_figure,
    threshold_figure,
)
from srm_explorer.tui.cli import main
from srm_explorer.tui.results.run_detail import run_page
from srm_explorer.tui.results.runs_rows import RunRows
from srm_explorer.tui.results.state import ResultsState

ROOT = Path(__file__).parents[2]
ADD = "give it a meaning in engine/figures/glossary.txt, then run tools/write_reference.py"
EXAMPLE = ROOT / "saved_sessions" / "example.json"


def text_of(node: ast.expr) -> str | None:
    """A text as it stands in the code; what is put into it stands as _1."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "_1" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def headings() -> Iterator[tuple[str, TableColumn]]:
    """Every column that is declared in the code with a text, and where."""
    for path in sorted(itertools.chain((ROOT / "engine").rglob("*.py"), (ROOT / "tui").rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first, *rest = [text_of(argument) for argument in node.args[:2]]
            if called == "table_columns" and first is not None:
                # What a title is made of at run time is looked at by the studies below.
                known = [layout for layout in first.split("; ") if "_1" not in layout]
                for column in table_columns("; ".join(known)) if known else ():
                    yield path.name, column
            elif called in ("TableColumn", "Column") and first is not None and not first.startswith("_1__1"):
                yield path.name, TableColumn(first, (rest and rest[0]) or first)


def test_every_heading_has_a_meaning() -> None:
    declared = list(headings())
    assert len(declared) > 150
    missing = sorted({f"{file}: {column.key} ({column.title})" for file, column in declared if not column_term(column)})
    assert not missing, f"{missing}: {ADD}"


@pytest.fixture(scope="module")
def example() -> Session:
    return load_session(EXAMPLE)


@pytest.mark.parametrize("study", ["compare", "dose", "effects", "pairs", "planes", "finder", "ensemble"])
def test_every_heading_of_a_study_has_a_meaning(study: str, example: Session) -> None:
    site = example.planes[0].site
    basis = {"basis": ["mean(set=*)", str(example.planes[0].a)], "ensemble": "comb", "site": site}
    few = {"pairs": {"permutations": 20}, "finder": {"permutations": 100}, "compare": {"resamples": 100}}
    arguments = basis if study == "ensemble" else few.get(study, {})
    for table in tables_in(run_study(study, EXAMPLE, arguments)):
        assert [f"{table.name}.{c.key}" for c in table.columns if not column_term(c, table.name)] == [], ADD


def details(legend: tuple[LegendEntry, ...]) -> Iterator[str]:
    """The words of a legend; labels of groups are names, those of what stands beside them are words."""
    for entry in legend:
        if entry.role in ("arithmetic", "chance"):
            yield entry.role
        for detail in entry.details:
            yield from (part for part in detail.split("  ") if part)


def test_every_word_of_a_legend_has_a_meaning(example: Session) -> None:
    words: set[str] = set()
    vectors = example.vectors()
    computed = {by: plane_bands(example, 0, by, vectors, resamples=200) for by in ((), ("condition",))}
    plane = example.planes[0]
    for (by, bands), transform in itertools.product(computed.items(), TRANSFORMS):
        subject = Subject(
            example,
            plane,
            by,
            True,
            lambda by=by: swept_groups(example, plane, by),
            transform,
            bands=bands,
        )
        shown = subject.view()
        threshold = example.spec.spotlight.thresholds[0]
        figures = [polar_figure(subject, shown, view, threshold) for view in ("counts", "mean")]
        figures += [compass_figure(subject, shown), threshold_figure(subject, shown, threshold)]
        figures.append(dose_figure(subject, threshold))
        words.update(word for figure in figures for word in details(figure.legend))
        words.update(panel.label for panel in figures[-1].panels)
    assert any(word.startswith("A ") and "[" in word for word in words), "there are intervals"
    assert any(word.startswith("beyond arithmetic p") for word in words)
    missing = sorted(word for word in words if not term_of(word))
    assert not missing, f"{missing}: {ADD}"


def test_every_fact_of_a_run_has_a_meaning(example: Session) -> None:
    state = ResultsState()
    state.take_session(example)
    page = run_page(state, RunRows(example, state.record()), len(example.runs) - 1)
    own = {*example.prompts[0].factors, *(f"n{example.planes[0].a}", f"n{example.planes[0].b}")}
    assert [name for line in page.facts for name, _ in line if name not in own and not term_of(name)] == [], ADD


ASKED = "p; q; q of n; in plane; [ ]; ( ); margin; distinct-1; repeated; longest run; A; phase; KL; net; p of best"


@pytest.mark.parametrize("word", ASKED.split("; "))
def test_what_people_ask_for_is_explained(word: str) -> None:
    (term,) = explain([word.upper()] if word.islower() else [word])
    assert len(term.meaning) > 10


def test_no_word_has_two_meanings_and_the_page_is_the_glossarys() -> None:
    words = [word for term in glossary() for word in term.words]
    assert len(words) == len(set(words))
    assert (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8") == as_markdown(), "run tools/write_reference.py"


def test_the_command_explains_words_and_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "first change", "q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("first change: the first token that differs")
    assert "from 1" in out
    assert main(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["terms"]) == len(glossary())
    assert main(["explain", "synergi"]) == 1
    assert "did you mean 'synergy'" in capsys.readouterr().err
    with pytest.raises(ExplorerError, match="there is no word") as error:
        explain(["qqqqqqqq"])
    assert len(str(error.value)) < 100
    # What the screen calls a page and what the command is called are the same word.
    assert explain(["ledger"]) == explain(["tests so far"])
