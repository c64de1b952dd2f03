from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.analyses import effects_study, tables_in
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import energies_by_group, groups_table, swept_groups, telling_threshold
from srm_explorer.engine.figures.paper.style import matplotlib
from srm_explorer.engine.report.report import Report, report, report_of
from srm_explorer.engine.report.texts import MOST_CHARACTERS, plain, shown_texts
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.imported import session_from
from tests.engine.report.page import Page
from tests.example import EXAMPLE
from tests.surveyed import surveyed

# matplotlib asks for the fonts of the system once.
pytestmark = pytest.mark.process

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    "]]> --> <!-- {{ 7*7 }} {% raw %}",
    "\u202eturned\u2066",
    "nul\x00 and \x1b[31mred\x07",
    "\ud800 alone",
    "\"' onmouseover=alert(1) `&#60;script&#62; $\\frac{1}{2",
    "https://example.org/x.png url(https://example.org)",
)
LONG = "a" * 1_000_000


@pytest.fixture(scope="module")
def session() -> Session:
    return load_session(EXAMPLE)


def few(session: Session, first: int, /, **changes: Any) -> Session:
    """The first prompts of a session, without planes: what needs no chart is fast."""
    kept = tuple(run for run in session.runs if run.prompt < first)
    fields = {"prompts": session.prompts[:first], "runs": kept, "planes": (), "bands": {}, "effects": {}}
    return session.changed(**{**fields, **changes})


def test_a_page_stands_by_itself_and_tells_the_numbers_of_the_commands(session: Session) -> None:
    stages: list[tuple[str, float]] = []
    made = report_of(session, told=lambda what, share: stages.append((what, share)))
    planes = len(session.planes)
    assert [what for what, _ in stages[planes:]] == ["tables", f"charts of plane 1 of {planes}", "texts"]
    assert [share for _, share in stages] == [at / len(stages) for at in range(len(stages))]
    page = Page(made.html)
    assert made.left_out == ()
    assert "http" not in made.html.replace("http-equiv", "")
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'", made.html)
    assert page.tags["svg"] == 5
    told = (
        "neuron 488",
        "−30",
        f"The {len(session.prompts)} prompts",
        "clamped",
        "n488 × n20",
        "@software",
        "example.ledger",
    )
    for words in told:
        assert words in page.text, words
    assert page.text.index("Before you read it") < page.text.index("The question")
    # The ledger now holds every test, so a second look finds the same q.
    for table in tables_in(effects_study(session, {})):
        shown = [[table.shown(row, at) for at in range(len(table.columns))] for row in range(min(60, len(table.rows)))]
        for cells in shown:
            assert [plain(cell) for cell in cells] in page.rows, table.name
        assert [column.title for column in table.columns] in page.rows
    # Texts are whole, blanks at their ends included.
    for run in session.runs:
        assert any(plain(run.text) in cells for cells in page.rows) or run.condition, run.text
    plane = session.planes[0]
    for by in ((), ("condition",)):
        groups = swept_groups(session, plane, by)
        told = groups_table(
            groups, telling_threshold(swept_groups(session, plane)), energies_by_group(session, plane, by)
        )
        for row in range(len(told.rows)):
            cells = [told.shown(row, at) for at in range(len(told.columns))]
            assert any(cells == listed[: len(cells)] for listed in page.rows), cells


@pytest.fixture(scope="module")
def hostile(session: Session) -> Report:
    """Of texts that mean ill: names, notes, labels, factors, prompts and texts, also where a chart writes them."""
    texts = [*HOSTILE, LONG]
    prompts = [
        dataclasses.replace(
            prompt, text=texts[at % len(texts)] + prompt.text, set=HOSTILE[at % 3], factors={texts[1]: texts[0]}
        )
        for at, prompt in enumerate(session.prompts[:6])
    ]
    runs = [
        dataclasses.replace(run, text=texts[run.index % len(texts)] + run.text)
        for run in session.runs
        if run.prompt < 6
    ]
    conditions = [
        condition if condition.kind == "baseline" else dataclasses.replace(condition, label=HOSTILE[condition.index])
        for condition in session.conditions
    ]
    plane = session.planes[0]
    kept = [row for row, run in enumerate(session.runs) if run.prompt < 6]
    short = {name: tuple(np.array(getattr(plane, name))[kept].tolist()) for name in ("x", "y", "norm")}
    return report_of(few(
        session, 6, name="</h1><script>x</script>\x00\ud800$a_b$", prompts=tuple(prompts), runs=tuple(runs),
        conditions=tuple(conditions), planes=(dataclasses.replace(plane, **short, shorter=()),), predictions={},
        notes="\n".join(texts), path=None, sidecar=None,
        provenance={**session.provenance, texts[0]: {texts[1]: list(texts)}},
    ))  # fmt: skip


def test_no_text_of_anybody_is_more_than_text(hostile: Report) -> None:
    made, page = hostile, Page(hostile.html)
    assert made.content().decode() == made.html
    assert len(made.html) < 1_000_000
    assert not [
        character for character in set(made.html) if not character.isprintable() and character not in "\n\t\xa0"
    ]
    assert "tspan" not in page.tags
    assert page.tags["svg"] >= 3
    for text in HOSTILE:
        assert plain(text) in page.text
    assert "more characters" in page.text


def test_a_browser_asks_for_nothing_runs_nothing_and_prints_what_is_folded(hostile: Report, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    file = tmp_path / "report.html"
    file.write_bytes(hostile.content())
    asked: list[str] = []
    said: list[str] = []
    with playwright.sync_playwright() as started:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(file.as_uri())
        for width in (1200, 420):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate("[...document.querySelectorAll('figure svg')].every(s => s.clientHeight > 100)")
        folded = "[...document.querySelectorAll('details:not([open]) > :not(summary)')].map(e => e.checkVisibility())"
        assert not any(page.evaluate(folded))
        page.emulate_media(media="print")
        assert all(page.evaluate(folded))
        browser.close()
    assert asked == [file.as_uri()]
    assert said == []


def test_what_a_session_lacks_is_said_and_the_rest_is_shown(session: Session) -> None:
    imported = session_from(
        {"blocks.1.mlp.hook_post": np.eye(6, 8, dtype=np.float32)},
        [{"prompt": f"p{at % 3}", "condition": "baseline" if at < 3 else "+4"} for at in range(6)],
    )
    baseless = tuple(run for run in session.runs if run.prompt < 6 and run.condition)
    without = {
        "one prompt": (few(session, 1), "no interval"),
        "no baseline": (few(session, 6, runs=baseless), "no run stands beside"),
        "no vectors": (few(session, 6, sidecar=None), "What the texts are like"),
        "interrupted": (few(session, 6, state="interrupted"), "interrupted"),
        "imported": (imported, "unknown"),
    }  # fmt: skip
    for name, (lacking, says) in without.items():
        page = Page(report(lacking))
        assert says in page.text, name
        assert page.tags.get("svg", 0) <= 1
    again = few(session, 6)
    assert report(again) == report(again)
    with pytest.raises(ExplorerError, match="no run of it is finished"):
        report(session.changed(runs=()))


def test_texts_are_chosen_without_looking_and_what_is_left_out_is_said(session: Session) -> None:
    shown = shown_texts(session, 5)
    assert [prompt.number for prompt in shown.prompts] == [1, 3, 5, 6, 8]
    assert "5 of 8 prompts" in shown.told[0]
    other = session.changed(runs=tuple(dataclasses.replace(run, text=run.text[::-1]) for run in session.runs))
    assert [prompt.number for prompt in shown_texts(other, 5).prompts] == [prompt.number for prompt in shown.prompts]
    for prompt in shown.prompts:
        by_label = {
            session.conditions[run.condition].label: run for run in session.runs if run.prompt == prompt.number - 1
        }
        for pair in prompt.pairs:
            run, base = by_label[pair.label], by_label["baseline"]
            assert "".join(part.text for part in pair.text) == plain(run.text[:MOST_CHARACTERS])
            assert "".join(part.text for part in pair.baseline or ()) == plain(base.text[:MOST_CHARACTERS])
            assert pair.is_same == (run.token_ids == base.token_ids)
            assert any(part.kind == "different" for part in (*pair.text, *(pair.baseline or ()))) != pair.is_same
    assert shown_texts(session, 0).prompts == ()


def test_prompts_kept_for_confirmation_are_not_shown(session: Session) -> None:
    spec = session.spec.model_copy(
        update={"prompts": session.spec.prompts.model_copy(update={"confirm": (session.prompts[-1].set,)})}
    )
    kept = few(session, len(session.prompts), spec=spec)
    shown = shown_texts(kept, 100)
    assert {prompt.set for prompt in shown.prompts} == {prompt.set for prompt in session.prompts} - {
        session.prompts[-1].set
    }
    assert kept.kept_back


def test_without_matplotlib_one_line_names_the_extra(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        matplotlib.cache_clear()
        made = report_of(session, texts=0)
    matplotlib.cache_clear()
    page = Page(made.html)
    assert "svg" not in page.tags
    (line,) = made.left_out
    assert "srm-explorer[figures]" in line
    assert line in page.text


def test_a_survey_has_its_ranks_its_distribution_and_its_map() -> None:
    made = report_of(surveyed(None, planted={(1, 20): 30.0}, spec={"planes": []}))
    page = Page(made.html)
    assert made.left_out == ()
    assert page.tags["svg"] == 2
    assert "It stands for many, which took its place one after the other: all neurons of L1, forced." in page.text
    assert "Every neuron among all others" in page.text
    assert any(row[:3] == ["1", "1", "20"] for row in page.rows)
