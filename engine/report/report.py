"""A session as one HTML file that stands by itself: what was asked, what came of it, how sure that is, and how it was
made."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath
from typing import Any, Literal, TypeAlias, cast

import jinja2
from markupsafe import Markup

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.bands import bands_study, counted_bands
from srm_explorer.engine.analyses.charts import study_figure
from srm_explorer.engine.analyses.controls import controls_study
from srm_explorer.engine.analyses.effects import effects_study
from srm_explorer.engine.analyses.frozen import frozen_study
from srm_explorer.engine.analyses.ledger import ledger_study
from srm_explorer.engine.analyses.registry import Findings, marked, tables_in
from srm_explorer.engine.analyses.survey import survey_figure, survey_study
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures.bands import PlaneBands
from srm_explorer.engine.figures.captions import exploratory_line, model_caption, plane_title, state_caption
from srm_explorer.engine.figures.curves import SweptGroup, warnings_of
from srm_explorer.engine.figures.glossary import column_term, column_words
from srm_explorer.engine.figures.groups import (
    CONDITION,
    energies_by_group,
    swept_groups,
    telling_threshold,
    telling_view,
)
from srm_explorer.engine.figures.histogram import HistogramFigure
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.paper import Drawn, PlaneChart, View, draw, plane_figure
from srm_explorer.engine.figures.peaks import groups_table
from srm_explorer.engine.figures.session_overlays import stored_bands
from srm_explorer.engine.figures.table import TableFigure
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.report.charts import inline_svg
from srm_explorer.engine.report.texts import MOST_CHARACTERS, MOST_PROMPTS, clipped, plain, shown_texts
from srm_explorer.engine.report.words import bibtex, methods, question
from srm_explorer.engine.session import Ledger, PlaneRecord, PromptRecord, Session
from srm_explorer.engine.session.standing import STANDING

MOST_PLANES = 6
"""Planes whose charts are drawn."""
MOST_ROWS = 60
"""Of a table."""
MOST_LISTED = 300
"""Prompts that are listed."""
MOST_POINTS = 3_000
"""Runs beyond which no chart draws a point for each."""
MOST_VECTORS = 100_000_000
"""Bytes of vectors beyond which what chance draws is left out, unless the session was saved with it."""
LONGEST_PROMPT = 300
"""Characters of a listed prompt."""
LONGEST_WORD = 20
"""Characters of a word that no table breaks."""
MOST_CELLS = 2000
"""Neurons of a survey whose map is drawn."""
SHORT_TABLE = 24
"""Rows of a table that stays on one sheet of paper."""


@dataclass(frozen=True)
class Report:
    """A report and what is not in it.

    Attributes:
        html: the whole file.
        left_out: what could not be shown, a line each.
    """

    html: str
    left_out: tuple[str, ...]

    def content(self) -> bytes:
        """Of its file."""
        return self.html.encode("utf-8", "backslashreplace")


Told: TypeAlias = Callable[[str, float], object]


class _Steps:
    """Tells what is made, of so many stages."""

    def __init__(self, told: Told | None, total: int) -> None:
        self._told, self._total, self._done = told, total, 0

    def begin(self, what: str) -> None:
        if self._told is not None:
            self._told(what, self._done / self._total)
        self._done += 1


@dataclass(frozen=True)
class _Cell:
    """What a cell holds, and how it is laid out: "text", "text long" where a word may have to be broken, or ""."""

    text: str
    look: str


@dataclass(frozen=True)
class _Table:
    """A table as the page has it.

    Attributes:
        headings: (title, meaning, whether texts stand below it) a column.
        words: headings and what they mean.
        is_short: whether it stays on one sheet of paper.
        more: rows that are left out.
        how: the command that shows all of them.
    """

    title: str
    headings: tuple[tuple[str, str, bool], ...]
    rows: tuple[tuple[_Cell, ...], ...]
    notes: tuple[str, ...]
    words: tuple[tuple[str, str], ...]
    is_short: bool
    more: int = 0
    how: str = ""


@dataclass(frozen=True)
class _Drawing:
    svg: Markup
    caption: str


@dataclass(frozen=True)
class _Plane:
    title: str
    charts: tuple[_Drawing, ...]
    table: _Table


@dataclass(frozen=True)
class _Section:
    """Tables under a heading.

    Attributes:
        told: what is said instead of them, or before them.
    """

    title: str
    tables: tuple[_Table, ...] = ()
    told: tuple[str, ...] = ()
    charts: tuple[_Drawing, ...] = ()

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """What the headings of its tables mean, each once."""
        return tuple(dict.fromkeys(word for table in self.tables for word in table.words))


def report(session: Session, *, texts: int = MOST_PROMPTS) -> str:
    """A session as a page that needs no other file and no network: HTML.

    Args:
        texts: prompts whose texts are shown side by side.

    Raises:
        ExplorerError: no run of it is finished.
    """
    return report_of(session, texts=texts).html


def report_of(session: Session, *, texts: int = MOST_PROMPTS, told: Told | None = None) -> Report:
    """The same, with what had to be left out; the tests that it shows go into the session's ledger, as elsewhere.

    Args:
        told: is told, before each stage, what is made, and the share that is done, 0 to 1.
    """
    if not session.runs:
        raise ExplorerError("no run of it is finished", where=session.name, remedy="run the experiment again")
    left_out: list[str] = []
    shown = session.planes[:MOST_PLANES]
    if len(shown) < len(session.planes):
        left_out.append(f"{len(shown)} of {len(session.planes)} planes are drawn, the first ones")
    steps = _Steps(told, 2 * len(shown) + 2)
    known = _with_bands(session, shown, steps)
    drawn = _Drawer(known.session, left_out)
    steps.begin("tables")
    sections = _sections(session, drawn)
    # Once all tests of the report are in the ledger: q and totals are over them.
    known = known.counted()
    planes: list[_Plane] = []
    for number in range(1, len(shown) + 1):
        steps.begin(f"charts of plane {number} of {len(shown)}")
        planes.append(drawn.plane(number, known))
    steps.begin("texts")
    chosen = shown_texts(session, texts)
    ledger = tables_in(ledger_study(session, {}))
    entries = Ledger(session).entries()
    template = _template()
    html = template.render(
        name=session.name,
        facts=_facts(session),
        question=question(session),
        notes=clipped(session.notes, 2 * MOST_CHARACTERS),
        warnings=_warnings(known.session, planes_of=shown),
        left_out=left_out,
        planes=planes,
        charted=_Section("", tuple(plane.table for plane in planes)),
        sections=sections,
        texts=chosen,
        prompts=_listed(session),
        methods=methods(known.session, entries),
        bibtex=bibtex(program_version(), session.created[:4]),
        provenance=_provenance(session),
        versions={name: str(version) for name, version in session.told("versions").items()},
        # Of an import nobody knows what a field that stands at its default was.
        spec="" if session.is_imported else session.spec.to_toml(),
        ledger=_Section("", tuple(_table(table, f"srm-explorer sessions ledger {session.name}") for table in ledger)),
        ledger_file=None if session.path is None else paths.ledger_file(session.path).name,
        version=program_version(),
    )
    return Report(html, tuple(left_out))


@dataclass(frozen=True)
class _Known:
    """A session with bands for its charts, and the same bands with q over what its ledger holds.

    Attributes:
        bands: by plane, from 0, and grouping.
    """

    session: Session
    bands: Mapping[tuple[int, tuple[str, ...]], PlaneBands]

    def counted(self) -> _Known:
        """The same, q over what the ledger holds now."""
        counted = {at: counted_bands(self.session, there) for at, there in self.bands.items()}
        return dataclasses.replace(self, bands=counted)


_GROUPINGS: tuple[tuple[str, ...], ...] = ((), (CONDITION,))


def _with_bands(session: Session, planes: Sequence[PlaneRecord], steps: _Steps) -> _Known:
    """The bands that the session was saved with; those that it lacks are computed, as `show` does."""
    bands: dict[tuple[int, tuple[str, ...]], PlaneBands] = {}
    computed: list[Any] = []
    for index in range(len(planes)):
        steps.begin(f"intervals of plane {index + 1} of {len(planes)}")
        for by in _GROUPINGS:
            there = stored_bands(session, index, by)
            if there is None:
                chance = session.vectors_bytes <= MOST_VECTORS
                arguments = {"plane": index, "by": list(by), "chance": chance, "nulls": ["partners"]}
                try:
                    found = bands_study(session, arguments)["bands"]
                except ExplorerError:
                    continue
                computed.append(found)
                there = PlaneBands.from_dict(found)
            bands[index, by] = there
    if computed:
        listed: object = session.bands.get("planes")
        before = cast("list[Any]", listed) if isinstance(listed, list) else []
        # `stored_bands` takes the first that fits.
        session = session.changed(bands={**session.bands, "planes": [*computed, *before]})
    return _Known(session, bands).counted()


class _Drawer:
    """Draws planes; says once what keeps it from it."""

    def __init__(self, session: Session, left_out: list[str]) -> None:
        self._session, self._left_out = session, left_out

    def plane(self, number: int, known: _Known) -> _Plane:
        plane = self._session.planes[number - 1]
        pooled, by_value = (swept_groups(self._session, plane, by) for by in _GROUPINGS)
        level = telling_threshold(pooled)
        labels = {group.label for group in pooled}
        groups = [*pooled, *(group for group in by_value if group.label not in labels)]
        energies = energies_by_group(self._session, plane, ()) | energies_by_group(self._session, plane, (CONDITION,))
        bands: dict[str, PlaneBands | None] = {group.label: known.bands.get((number - 1, ())) for group in pooled}
        for group in groups[len(pooled) :]:
            bands[group.label] = known.bands.get((number - 1, (CONDITION,)))
        table = groups_table(groups, level, energies, bands)
        counted = [there.counted for at, there in known.bands.items() if at[0] == number - 1 and there.counted]
        table = dataclasses.replace(table, notes=(exploratory_line(self._session), *dict.fromkeys(counted)))
        charts = tuple(self._charts(number, pooled, by_value))
        shown = _table(table, f"srm-explorer show {self._session.name} --plane {number} --by condition")
        return _Plane(plane_title(plane), charts, shown)

    def _charts(self, number: int, pooled: Sequence[SweptGroup], by_value: Sequence[SweptGroup]) -> Iterator[_Drawing]:
        several = len(by_value) > len(pooled) or len(by_value) > 2
        asked: list[tuple[PlaneChart, tuple[str, ...], View | None, str]] = [
            ("polar", (), self._view(pooled), "All values together"),
            ("thresholds", (), None, "All values together, over the angle"),
        ]
        if several:
            asked.append(("polar", (CONDITION,), self._view(by_value), "Value by value"))
        if any(condition.value is not None for condition in self._session.conditions if condition.kind == "sweep"):
            asked.append(("dose", (), None, "Over the value"))
        for at, (chart, by, view, caption) in enumerate(asked):
            told = f"{caption}: {_SHOWS[chart, view if chart == 'polar' else None]}"
            make = functools.partial(plane_figure, self._session, chart, number, by, view)
            yield from self.drawing(make, f"p{number}c{at}", told)

    def drawing(self, make: Callable[[], Drawn], prefix: str, caption: str) -> Iterator[_Drawing]:
        """A chart, without its warnings, which stand before everything; none where it cannot be drawn."""
        try:
            shown = make()
            if not isinstance(shown, HistogramFigure):
                shown = dataclasses.replace(shown, warnings=())
            yield _Drawing(Markup(inline_svg(draw(shown, "double"), prefix)), caption)
        except ExplorerError as error:
            line = f"a chart is left out: {error}" if error.where else f"charts are left out: {error}"
            if line not in self._left_out:
                self._left_out.append(line)

    def _view(self, groups: Sequence[SweptGroup]) -> View:
        view = telling_view(groups)
        return "mean" if view == "compass" and sum(group.n_runs for group in groups) > MOST_POINTS else view


_SHOWS: dict[tuple[PlaneChart, View | None], str] = {
    ("polar", "counts"): "runs lit at each angle of the spotlight, above the threshold that the title names.",
    ("polar", "mean"): "the mean cosine at each angle of the spotlight.",
    ("polar", "compass"): "every run in the plane, vectors of length 1; arrows are means.",
    ("thresholds", None): "runs lit above each threshold, and the mean cosine.",
    ("dose", None): "what changes with the value.",
}


def _sections(session: Session, drawer: _Drawer) -> list[_Section]:
    """The tables of the studies that a session has something for."""
    frozen: list[_Section] = []
    if session.spec.analysis.tests:
        frozen.append(_studied("The analysis named before the run", session, frozen_study, "analysis"))
    if session.spec.survey:
        return [*frozen, _surveyed(session, drawer)]
    controls: list[_Section] = []
    if session.spec.controls.neurons:
        controls.append(_studied("The target among its controls", session, controls_study, "controls", drawer))
    return [*frozen, _studied("Effects on the texts", session, effects_study, "effects", drawer), *controls]


_STUDIES = {
    "effects": "Over the value, with 95 % intervals: the numbers are those of the tables below.",
    "controls": "The target among its controls, measure by measure.",
}
"""What is said of a study's chart."""


def _surveyed(session: Session, drawer: _Drawer) -> _Section:
    """What a survey found: its tables, the distribution of what neurons did, and the map of it."""
    section = _studied("Every neuron among all others", session, survey_study, "survey")
    charts: list[_Drawing] = []
    if section.tables:
        asked: tuple[tuple[Literal["distribution", "map"], str], ...]
        asked = ("distribution", "how far neurons move the texts"), ("map", "where they lie")
        for chart, caption in asked:
            # Of more cells the map is a picture of dots, which a page that stands by itself does not show.
            if chart == "map" and (tables := session.survey()) is not None and tables.n_cells > MOST_CELLS:
                continue
            make = functools.partial(survey_figure, session, chart)
            charts += drawer.drawing(make, f"survey-{chart}", f"Every neuron: {caption}.")
    return dataclasses.replace(section, charts=tuple(charts))


def _studied(
    title: str,
    session: Session,
    study: Callable[[Session, Mapping[str, Any]], Findings],
    command: str,
    drawer: _Drawer | None = None,
) -> _Section:
    """What a study tells; with a drawer it is drawn too, and exploratory where an analysis was frozen."""
    try:
        findings = study(session, {})
        tables = tables_in(findings if drawer is None else marked(findings, session))
    except ExplorerError as error:
        return _Section(title, told=(f"not shown: {error}",))
    charts: list[_Drawing] = []
    if drawer is not None:
        try:
            figure = study_figure(session, tables)
            charts += drawer.drawing(lambda: figure, command, _STUDIES[command])
        except ExplorerError:
            charts = []  # These tables have no chart: they are all there is.
    how = f"srm-explorer {command} {session.name}"
    said: set[str] = set()
    shown: list[_Table] = []
    for table in tables:
        shown.append(_table(table, how, said))
        said.update(table.notes)
    return _Section(title, tuple(shown), charts=tuple(charts))


def _table(figure_: TableFigure, how: str, said: Iterable[str] = ()) -> _Table:
    columns = figure_.columns
    terms = [column_term(column, figure_.name) for column in columns]
    return _Table(
        title=plain(figure_.title),
        headings=tuple(
            (plain(column.title), "" if term is None else term.meaning, column.shown == "text")
            for column, term in zip(columns, terms, strict=True)
        ),
        rows=tuple(
            tuple(
                _cell(_short(figure_.shown(row, at)), is_text=column.shown == "text")
                for at, column in enumerate(columns)
            )
            for row in range(min(MOST_ROWS, len(figure_.rows)))
        ),
        notes=tuple(plain(note) for note in figure_.notes if note and note not in said),
        words=tuple((plain(words), meaning) for words, meaning in column_words(columns, figure_.name)),
        is_short=len(figure_.rows) <= SHORT_TABLE,
        more=max(0, len(figure_.rows) - MOST_ROWS),
        how=plain(how),
    )


def _cell(text: str, *, is_text: bool) -> _Cell:
    is_long = any(len(word) > LONGEST_WORD for word in text.split())
    return _Cell(text, ("text long" if is_long else "text") if is_text else "")


def _short(text: str) -> str:
    return " ".join(filter(None, clipped(text, LONGEST_PROMPT)))


def _warnings(session: Session, planes_of: Sequence[PlaneRecord]) -> list[str]:
    """What must be known before anything is read: of all planes once, of one with its name."""
    state = state_caption(session)
    warnings = [] if state == "finished" else [state]
    if model_caption(session) != session.spec.model.name and not session.is_unknown("model"):
        warnings.append("the demo model is a small one, made for demonstrations: its results say nothing of others")
    if not planes_of:
        return [plain(line) for line in (*warnings, *session_warnings(session, None))]
    of_plane: dict[str, list[str]] = {}
    for plane in planes_of:
        groups = swept_groups(session, plane)
        for line in (*warnings_of(group.sweep for group in groups), *session_warnings(session, plane, groups)):
            of_plane.setdefault(line, []).append(plane_title(plane))
    for line, titles in of_plane.items():
        everywhere = len(titles) == len(planes_of)
        warnings.append(line if everywhere else f"{'; '.join(titles)}: {line}")
    return [plain(line) for line in warnings]


def _facts(session: Session) -> list[tuple[str, str]]:
    sets = Counter(prompt.set for prompt in session.prompts)
    facts = [
        ("state", state_caption(session)),
        ("model", model_caption(session)),
        (
            "prompts",
            f"{count_of(len(session.prompts), 'prompt')} ({', '.join(list(sets)[:6])}{' …' * (len(sets) > 6)})",
        ),
        ("runs", f"{len(session.runs):,}"),
        ("saved", session.saved[:16].replace("T", " ") + " UTC" if session.saved else "not saved"),
    ]
    return [(name, plain(value)) for name, value in facts]


def _listed(session: Session) -> dict[str, Any]:
    """The prompts, each with its set, factors and the hash of its token ids."""
    rows = [
        {
            "number": number,
            "set": plain(prompt.set),
            "text": " ".join(clipped(prompt.text, LONGEST_PROMPT)).strip(),
            "factors": _factors(prompt),
            "tokens": len(prompt.token_ids) or "",
            "sha256": prompt.sha256[:12],
        }
        for number, prompt in enumerate(() if session.is_unknown("prompts") else session.prompts[:MOST_LISTED], 1)
    ]
    return {"rows": rows, "more": max(0, len(session.prompts) - MOST_LISTED)}


def _factors(prompt: PromptRecord) -> str:
    return ", ".join(f"{plain(name)}={plain(level)}" for name, level in prompt.factors.items())


_LONG = ("units", "w_out", "directions", "versions", "controls", "captured_at", STANDING)
"""Of the provenance, what is numbers by the thousand, or stands elsewhere in the report."""
_OF_HOST = ("base",)
"""What is true of one machine alone."""


def _provenance(session: Session) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("session", session.name), ("created", session.created), ("saved", session.saved)]
    rows.append(("revision", str(session.revision)))
    for name, value in session.provenance.items():
        if name not in (*_LONG, *_OF_HOST):
            rows += _leaves(name, value)
    if session.sidecar is not None:
        rows.append(("vectors", f"{session.sidecar.file} (SHA-256 {session.sidecar.sha256})"))
    touched: Counter[str] = Counter()
    for batch in session.receipts:
        for receipt in cast("Sequence[Mapping[str, Any]]", batch.get("sites", ())):
            touched[str(receipt.get("site"))] += int(receipt.get("edited", 0))
    rows += [(f"edited positions at {site}", f"{number:,}") for site, number in touched.items()]
    batches = session.layout.get("batches")
    if isinstance(batches, list):
        rows.append(("batches", f"{len(cast('list[Any]', batches)):,} of at most {session.layout.get('rows')} rows"))
    return [(plain(name), _short(plain(value))) for name, value in rows if value]


def _leaves(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[str, object]", value).items():
            yield from _leaves(f"{name} · {key}", part)
    elif isinstance(value, list | tuple):
        yield name, _short(json.dumps(value, ensure_ascii=False, default=str))
    elif isinstance(value, str) and PurePath(value).is_absolute():
        # The folder is true of one machine; what it is called may help.
        yield name, PurePath(value).name
    elif value is not None:
        yield name, str(value)


def program_version() -> str:
    """That of this program, as it is installed."""
    try:
        return metadata.version("srm-explorer")
    except metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.engine_folder() / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cast("dict[str, Any]", environment.filters)["plain"] = plain  # pyright: ignore[reportUnknownMemberType]
    return environment.get_template("report.html.j2")
