"""Sessions, experiments and tables as a notebook shows them: a short HTML table, and a chart where one can be drawn."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.positions import positions_text
from srm_explorer.engine.figures.captions import (
    exploratory_line,
    intervention_captions,
    model_caption,
    plane_title,
    site_caption,
    source_caption,
    state_caption,
    survey_caption,
    unseen_caption,
)
from srm_explorer.engine.figures.curves import warnings_of
from srm_explorer.engine.figures.groups import swept_groups
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.figures.paper import draw, picture_of, plane_figure
from srm_explorer.engine.figures.table import TableFigure, cell_text
from srm_explorer.engine.figures.warnings import session_warnings
from srm_explorer.engine.lines import visible
from srm_explorer.engine.session import Session

Facts: TypeAlias = Sequence[tuple[str, str]]
"""Names and texts, a fact a row; a name that is empty goes on with the one above."""

MOST_VALUES = 5
"""Values that an intervention's line lists one by one."""

MOST_LISTED, MOST_ROWS, LONGEST = 6, 60, 300
"""Warnings, planes and interventions of a session, rows of a table, and characters of a text that are shown."""

_BESIDE = "display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start"
"""Chart and facts beside each other where there is room."""


def session_facts(session: Session, *, is_running: bool = False) -> Facts:
    """What a session is: name, state, model, interventions, prompts and runs.

    Args:
        is_running: whether a process is going on with it.
    """
    sets = dict.fromkeys(prompt.set for prompt in session.prompts)
    listed = ", ".join(sets) if len(sets) <= MOST_LISTED else f"{len(sets)} sets"
    unknown = session.is_unknown("interventions") or session.is_unknown("conditions")
    interventions = intervention_captions(session.spec) or ("unknown" if unknown else "none",)
    of_prompt = Counter((run.prompt, run.condition) for run in session.runs).values() if session.is_imported else ()
    samples = session.spec.generation.samples
    each = f"{min(of_prompt)} to {samples}" if of_prompt and min(of_prompt) < samples else str(samples)
    runs = f"{count_of(len(session.prompts), 'prompt')} ({listed}) · {count_of(len(session.runs), 'run')}"
    if session.kept_back:
        runs += f" · {session.kept_back:,} kept for confirmation ({', '.join(session.spec.prompts.confirm)})"
    state = state_caption(session, is_running=is_running)
    return [
        ("session", session.name),
        ("state", state + (f" · saved {cell_text(session.saved, 'time')}" if session.saved else "")),
        ("model", model_caption(session)),
        *((("source", source),) if (source := source_caption(session)) else ()),
        *(("intervention" if not at else "", text) for at, text in enumerate(interventions)),
        *((("survey", surveyed),) if (surveyed := survey_caption(session.spec)) else ()),
        ("prompts", runs + (f" · {each} samples each" if samples > 1 else "")),
    ]


def session_line(session: Session) -> str:
    """A session in a line: name, state, runs, model and what was done."""
    done = "; ".join(intervention_captions(session.spec)[:MOST_LISTED])
    # How far it got says how many runs there are.
    runs = "" if session.state == "interrupted" else count_of(len(session.runs), "run")
    parts = [state_caption(session), runs, model_caption(session), done]
    return _short(f"Session {session.name}: {' · '.join(filter(None, parts))}")


def session_html(session: Session) -> str:
    """A session as a notebook shows it: warnings first, then what it is, then the chart of its first plane."""
    facts = [*session_facts(session), *_values(session), *_captured(session)]
    facts += [("plane" if not at else "", plane_title(plane)) for at, plane in enumerate(session.planes[:MOST_LISTED])]
    if session.notes:
        facts.append(("notes", session.notes))
    beside = f'<div style="{_BESIDE}">{_facts_html(facts)}{_chart(session)}</div>'
    return _block(*_warnings(session), beside)


def experiment_line(experiment: Experiment) -> str:
    """An experiment in a line: model, what is done, prompts; `to_toml` has all of it."""
    done = "; ".join(intervention_captions(experiment)[:MOST_LISTED])
    parts = [experiment.model.name, done, ", ".join(experiment.prompts.sets)]
    return _short(f"Experiment {experiment.digest()}: {' · '.join(filter(None, parts))}")


def experiment_html(experiment: Experiment) -> str:
    """An experiment as a notebook shows it."""
    limit = experiment.prompts.limit
    planes = [f"{p.a} × {p.b} · {site_caption(experiment.plane_site(p))}" for p in experiment.planes[:MOST_LISTED]]
    facts = [
        ("model", experiment.model.name),
        *(("intervention" if not at else "", text) for at, text in enumerate(intervention_captions(experiment))),
        ("prompts", ", ".join(experiment.prompts.sets) + (f" · at most {limit:,}" if limit is not None else "")),
        ("text", f"{count_of(experiment.generation.tokens, 'token')}, {experiment.generation.mode}"),
        *_measured(experiment),
        *(("plane" if not at else "", text) for at, text in enumerate(planes)),
    ]
    return _block(*_warning_lines([unseen_caption(experiment)]), _facts_html(facts))


def table_html(table: TableFigure) -> str:
    """A table as a notebook shows it: title, rows with numbers written as on the screen, and its notes."""
    numbers = [column.shown not in ("text", "time") for column in table.columns]
    head = "".join(_cell("th", column.title, number) for column, number in zip(table.columns, numbers, strict=True))
    rows = [
        "".join(_cell("td", table.shown(row, column), number) for column, number in enumerate(numbers))
        for row in range(min(len(table.rows), MOST_ROWS))
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    left = len(table.rows) - len(rows)
    notes = [*([f"{count_of(left, 'further row')} not shown"] if left else []), *table.notes]
    return _block(
        f"<div><b>{_text(table.title)}</b></div>",
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        *(f'<div style="opacity:.75">{_text(note)}</div>' for note in notes),
    )


def tables_html(tables: Iterable[TableFigure]) -> str:
    """Tables one below the other."""
    return "".join(map(table_html, tables))


def _values(session: Session) -> Facts:
    """All values of a sweep of which the intervention's line has the ends alone."""
    labels = [condition.label for condition in session.conditions if condition.kind == "sweep"]
    return [("values", ", ".join(labels))] if len(labels) > MOST_VALUES else []


def _captured(session: Session) -> Facts:
    """What was captured; of which positions, nobody said where it came from elsewhere."""
    if not session.is_imported:
        return _measured(session.spec)
    sites = session.spec.capture.sites
    return [("captured", ", ".join(map(site_caption, sites)))] if sites else []


def _measured(experiment: Experiment) -> Facts:
    sites = [site_caption(site) for site in experiment.capture.sites]
    positions = experiment.capture.positions
    where = positions if isinstance(positions, str) else positions_text(positions)
    return [("captured", f"{', '.join(sites)} · {experiment.capture.reduce} of {where} positions")] if sites else []


def _warnings(session: Session) -> list[str]:
    found = [exploratory_line(session)]
    try:
        for plane in session.planes[:MOST_LISTED]:
            groups = swept_groups(session, plane)
            found += [*warnings_of(group.sweep for group in groups), *session_warnings(session, plane, groups)]
    except ExplorerError as error:
        found.append(str(error))
    return _warning_lines(found)


def _warning_lines(warnings: Iterable[str]) -> list[str]:
    listed = list(dict.fromkeys(filter(None, warnings)))
    more = len(listed) - MOST_LISTED
    lines = [f"⚠ {warning}" for warning in listed[:MOST_LISTED]]
    lines += [f"⚠ and {more} more: srm-explorer show prints all"] if more > 0 else []
    return [f"<div>{_text(line)}</div>" for line in lines]


def _chart(session: Session) -> str:
    if not session.planes:
        return ""
    try:
        kind, content = picture_of(draw(plane_figure(session)))
    except ExplorerError as error:
        return f"<div>no chart: {_text(str(error))}</div>"
    if kind == "image/png":
        content = f'<img alt="chart" style="max-width:420px" src="data:{kind};base64,{content}">'
    return f"<div>{content}</div>"


def _facts_html(facts: Facts) -> str:
    rows = "".join(f"<tr>{_cell('th', name, False)}{_cell('td', text, False)}</tr>" for name, text in facts)
    return f"<table><tbody>{rows}</tbody></table>"


def _cell(kind: str, text: str, is_number: bool) -> str:
    return f'<{kind} style="text-align:{"right" if is_number else "left"}">{_text(text)}</{kind}>'


def _block(*parts: str) -> str:
    return f"<div>{''.join(parts)}</div>"


def _text(text: str) -> str:
    return html.escape(_short(text))


def _short(text: str) -> str:
    whole = visible(text)
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"
