"""Study "survey": every neuron that was surveyed among all others, and what is told of one that was named before."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from srm_explorer.engine.analyses.registry import Arguments, Findings, StudyArguments, findings_of
from srm_explorer.engine.analyses.surveyed import MEASURES, Floats, Numbers, Survey, survey_of, surveyed_cell
from srm_explorer.engine.errors import ExplorerError, did_you_mean
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.survey import Cell, Depth, for_cell
from srm_explorer.engine.figures.captions import pooled_caption, site_caption, token_caption
from srm_explorer.engine.figures.histogram import HistogramFigure, decade_figure, histogram_figure
from srm_explorer.engine.figures.numbers import count_of, three_digits
from srm_explorer.engine.figures.survey_map import SurveyMapFigure, survey_map
from srm_explorer.engine.figures.table import CellValue, TableColumn, TableFigure, table_columns
from srm_explorer.engine.session import (
    ComputedTest,
    ForcedScores,
    Session,
    check_family,
    prompt_units,
    record_tests,
)
from srm_explorer.engine.session.export import columns_csv
from srm_explorer.engine.session.units import nan_logits
from srm_explorer.engine.stats.survey import FamilyRanks

FAMILY = "survey"
"""That the tests belong to where none is named."""


def survey_study(session: Session, arguments: Arguments, survey: Survey | None = None) -> Findings:
    """Rank every neuron of a survey among all others.

    Args:
        arguments: "depth", forced or free; without it that which has the measure, forced where both have, or none is
            given, and what was written beside it; "measure", one of `MEASURES` of the depth; "value", the label of one
            value, all together by default; "neuron", as `surveyed_cell` reads it, the one that was named before, that
            of the experiment by default; "texts", as `survey_of` takes it; "family", of the tests.
        survey: of the session and these texts, where it is at hand: what was ranked in it is not ranked again.

    Returns:
        Tables "survey", a row a neuron, those that move texts most first; "written", the same of those that a survey
        went on with; "named", the one that was named before; and, of texts that were scored, "tokens", those that it
        promotes and demotes. "histogram" and "map" as `HistogramFigure.to_dict` and
        `SurveyMapFigure.to_dict`; "depth" and "depths".

    Raises:
        ExplorerError: no survey, nothing finished, a measure or a neuron that there is not.
    """
    chosen_settings = _Settings.of(session, arguments, survey)
    survey, numbers, ranks = chosen_settings.survey, chosen_settings.numbers, chosen_settings.ranks
    of = {"depth": numbers.depth, "by": chosen_settings.measure, "values": chosen_settings.value or "all"}
    of |= {"neurons": ranks.family, "units": ranks.units}
    counted = record_tests(session, [ComputedTest("rank in a survey", of, ranks.p)], chosen_settings.family)
    so_far = f"{counted.total:,} tests computed on this session so far: srm-explorer sessions ledger {session.name}"
    notes = (*_notes(chosen_settings), so_far, *([counted.problem] if counted.problem else []))
    tables = [_ranking(chosen_settings, notes)]
    if "free" in survey.depths and numbers.depth != "free" and not arguments.get("depth"):
        further = _Settings.of(session, {**arguments, "depth": "free", "measure": None}, survey)
        tables.append(replace(_ranking(further, _notes(further)), name="written"))
    return findings_of(
        *tables,
        _named(chosen_settings),
        *_tokens(chosen_settings),
        histogram=_histogram(chosen_settings).to_dict(),
        map=_map(chosen_settings).to_dict(),
        depth=numbers.depth,
        depths=list(survey.depths),
    )


def survey_figure(
    session: Session, chart: Literal["map", "distribution"], settings: Mapping[str, Any] | None = None
) -> SurveyMapFigure | HistogramFigure:
    """The map of a survey, or how its neurons' effects are spread; settings and errors as `survey_study` has them."""
    chosen_settings = _Settings.of(session, settings or {})
    return _map(chosen_settings) if chart == "map" else _histogram(chosen_settings)


def survey_table(
    session: Session, settings: Mapping[str, Any] | None = None, survey: Survey | None = None
) -> dict[str, list[CellValue]]:
    """A survey as columns, a row a layer, neuron and value in that order; nothing in it depends on when or where.

    The neuron's own numbers, then what scoring found, then what was written, as far as there is either; ranks are those
    of the neuron over all values, repeated on each. Promoted and demoted tokens are their texts, quoted, with a space
    between them, the farthest first; as "#198" where one is none, or was not kept; and by number under "..._ids".

    Args:
        settings: "texts", as `survey_of` takes it; "forced" and "free", measures that ranks are by.
        survey: as `survey_study` takes it.

    Raises:
        ExplorerError: as `survey_study`.
    """
    given = StudyArguments(settings or {}, ("texts", "forced", "free"), "the survey's table")
    texts: Any = given.choice("texts", ("reported", "all"))
    survey = survey or survey_of(session, texts)
    tables, n_values = survey.tables, len(survey.settings)
    known = sorted({cell for depth in survey.depths for cell in survey.numbers(depth).row})
    rows = [(cell, value) for cell in known for value in range(n_values)]
    at_cell = [cell for cell, _ in rows]
    columns: dict[str, list[CellValue]] = {
        "layer": [int(tables.layer[cell]) for cell in at_cell],
        "neuron": [int(tables.neuron[cell]) for cell in at_cell],
        "value": [survey.settings[value].value for _, value in rows],
        "raw": [_number(tables.values[cell, value]) for cell, value in rows],
        "mean": [_number(tables.mean[cell]) for cell in at_cell],
        "std": [_number(tables.std[cell]) for cell in at_cell],
    }
    for depth in survey.depths:
        numbers = survey.numbers(depth)
        ranks = survey.ranks(numbers, given.choice(depth, tuple(MEASURES[depth])), range(n_values))
        row = numbers.row
        for name, cells in _told(survey, numbers, ranks).items():
            columns[f"{depth}_{name}"] = [cells[row[cell]][value] if cell in row else None for cell, value in rows]
    return columns


def survey_csv(
    session: Session, settings: Mapping[str, Any] | None = None, mark: str = ",", survey: Survey | None = None
) -> bytes:
    """What `survey_table` has, as CSV: one heading, and no line that is none of its rows."""
    return columns_csv(survey_table(session, settings, survey), mark)


def values_on_prompts(session: Session, layer: int, neuron: int) -> tuple[float, ...]:
    """Raw values that a survey gave a neuron, where it measured them on prompts, as no run of one does; else none."""
    spec = session.spec
    template, tables = spec.interventions[0], session.survey()
    if spec.survey.score != "prompts" or tables is None or (template.op != "mean" and template.unit == "raw"):
        return ()
    place = tables.place(layer, neuron)
    return tuple(tables.values[place].tolist()) if place >= 0 else ()


def cell_experiment(experiment: Experiment, layer: int, neuron: int, values: Sequence[float] = ()) -> Experiment:
    """The experiment of one neuron of a survey: the survey's template with this neuron, and no survey.

    Captures and planes of the template's own site and neuron are those of the neuron's; a plane between the two has
    them in turn.

    Args:
        values: raw ones that stand in place of the template's; none for those.

    Raises:
        ExplorerError: the neuron is no place for it.
    """
    template = experiment.interventions[0]
    one = for_cell(template, (layer, neuron))
    data = experiment.to_dict()
    data.pop("survey", None)
    old, new = template.neurons[0], neuron
    turned = {old: new, new: old}
    data["interventions"][0] |= {"site": one.site, "neurons": [neuron]}
    if values:
        op = "clamp" if template.op == "mean" else template.op
        data["interventions"][0] |= {"op": op, "unit": "raw", "values": list(dict.fromkeys(values))}
    capture = data.get("capture", {})
    if "sites" in capture:
        moved = [one.site if site == template.site else site for site in capture["sites"]]
        capture["sites"] = list(dict.fromkeys(moved))
    for written, plane in zip(data.get("planes", ()), experiment.planes, strict=True):
        if plane.site == template.site:
            written["site"] = one.site
            written |= {side: turned.get(written[side], written[side]) for side in ("a", "b")}
    return Experiment.from_dict(data)


@dataclass(frozen=True, eq=False)
class _Settings:
    """What was asked for, and what it is asked of."""

    survey: Survey
    numbers: Numbers
    measure: str
    value: str
    places: Sequence[int]
    """The values that are looked at."""
    ranks: FamilyRanks
    cell: Cell
    family: str

    @classmethod
    def of(cls, session: Session, arguments: Arguments, survey: Survey | None = None) -> _Settings:
        known = ("depth", "measure", "value", "neuron", "texts", "family")
        given = StudyArguments(arguments, known, "survey")
        texts: Any = given.choice("texts", ("reported", "all"))
        survey = survey or survey_of(session, texts)
        depth: Any = given.word("depth", get_args(Depth))
        if depth is None:
            having = (each for each in survey.depths if arguments.get("measure") in MEASURES[each])
            depth = next(having, survey.depths[0])
        numbers = survey.numbers(depth)
        measure = given.choice("measure", tuple(name for name in MEASURES[depth] if name in numbers.by_measure))
        labels = [setting.label for setting in survey.settings]
        value = given.text("value") or ""
        if value and value not in labels:
            raise ExplorerError(f"there is no value {value!r}", remedy=did_you_mean(value, labels))
        places = [labels.index(value)] if value else range(len(labels))
        family = given.text("family") or FAMILY
        check_family(family)
        cell = _asked_cell(survey, arguments.get("neuron"))
        return cls(survey, numbers, measure, value, places, survey.ranks(numbers, measure, places), cell, family)

    @property
    def where(self) -> int:
        """Row of the named neuron among the finished ones; -1 where it is none of them."""
        return self.numbers.row.get(self.survey.tables.place(*self.cell), -1)

    @property
    def label(self) -> str:
        """What is ranked by, in words: "KL, nats a token, at +20"."""
        return f"{_words(self.survey, self.numbers, self.measure)}{f', {self.value} alone' if self.value else ''}"


def _words(survey: Survey, numbers: Numbers, measure: str) -> str:
    site = f" at {site_caption(survey.site)}" if measure == "change" else ""
    return f"{MEASURES[numbers.depth][measure]}{site}"


def _asked_cell(survey: Survey, asked: object) -> Cell:
    if asked is None or asked == "":
        return survey.named
    return surveyed_cell(survey.session, str(asked))


def _number(value: float | np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


_MOST_TOKENS = 20
"""Rows of the table of the named neuron's tokens, which its values share; one of each at least."""

_NAMES = {"logp": "dlogp", "parted": "first_change_from_1"}


def _told(survey: Survey, numbers: Numbers, ranks: FamilyRanks) -> dict[str, list[list[CellValue]]]:
    """By column, [k][value] of what is told of every finished cell."""
    told: dict[str, list[list[CellValue]]] = {}
    n_values = len(survey.settings)
    for name, values in numbers.by_measure.items():
        if name != "change":
            told[_NAMES.get(name, name)] = _cells(_over_texts(name, values, numbers.weight))
    for site, values in numbers.changes.items():
        told[f"change_{site}"] = _cells(_mean(values, numbers.weight))
    if numbers.depth == "forced":
        forced = survey.tables.forced
        assert forced is not None
        lists = (("promoted", forced.promoted), ("demoted", forced.demoted))
        for name, ids in lists:
            told[name] = [[" ".join(_texts(forced, row)) for row in of_cell] for of_cell in ids]
        for name, ids in lists:
            told[f"{name}_ids"] = [[" ".join(map(str, _known(row))) for row in of_cell] for of_cell in ids]
    else:
        told |= _coordinates(survey, numbers)
    wholes: list[list[CellValue]] = [[int(rank)] * n_values for rank in ranks.rank.tolist()]
    told["rank"] = wholes
    for name, each in (("score", ranks.score), ("p", ranks.p), ("q", ranks.q)):
        told[name] = [[_number(number)] * n_values for number in each]
    return told


def _coordinates(survey: Survey, numbers: Numbers) -> dict[str, list[list[CellValue]]]:
    """Mean coordinates in each plane of the session, as [k][value]."""
    free = survey.tables.free
    assert free is not None
    told: dict[str, list[list[CellValue]]] = {}
    for number in range(min(len(free.x), len(survey.session.planes))):
        for name, values in (("x", free.x), ("y", free.y)):
            told[f"plane_{number + 1}_{name}"] = _cells(
                _mean(values[number][:, :, numbers.at].astype(np.float64), numbers.weight)
            )
    return told


def _over_texts(measure: str, values: Floats, weight: Floats) -> Floats:
    """[k, value] of a measure over texts, as it is told: the token that changed as a median, a fall as a change."""
    if measure == "parted":
        # Where no text changed there is no token.
        known = np.asarray(np.isfinite(values).any(axis=2), np.bool_)
        return np.where(known, np.nanmedian(np.where(known[:, :, None], values, 0.0), axis=2), np.nan)
    return -_mean(values, weight) if measure == "logp" else _mean(values, weight)


def _mean(values: Floats, weight: Floats) -> Floats:
    """[k, value] over texts [m], weighed; of those that are known, NaN where none is."""
    known = np.isfinite(values)
    weights = np.where(known, weight, 0.0).sum(axis=2)
    total = np.where(known, values * weight, 0.0).sum(axis=2)
    return np.where(weights > 0, total / np.where(weights > 0, weights, 1.0), np.nan)


def _cells(means: Floats) -> list[list[CellValue]]:
    return [[_number(value) for value in row] for row in means]


def _known(ids: NDArray[np.int32]) -> list[int]:
    """Those of a list that there are."""
    return [token for token in ids.tolist() if token >= 0]


def _texts(forced: ForcedScores, ids: NDArray[np.int32]) -> list[str]:
    return [token_caption(token, forced.token_texts.get(token)) for token in _known(ids)]


_TOLD: Mapping[str, Sequence[TableColumn]] = {
    "forced": table_columns("kl:KL; dlogp:Δ log p; flips:flips:percent; change::number:2"),
    "free": table_columns(
        "changed::percent; first_change_from_1:first change:number:1; tokens::number:2; change::number:2"
    ),
}


def _ranking(asked: _Settings, notes: Sequence[str]) -> TableFigure:
    survey, numbers, ranks = asked.survey, asked.numbers, asked.ranks
    places = list(asked.places)
    weight = np.tile(numbers.weight, len(places))
    columns = {
        _NAMES.get(name, name): _over_texts(name, values[:, places].reshape(len(values), 1, -1), weight)[:, 0]
        for name, values in numbers.by_measure.items()
    }
    told = [column for column in _TOLD[numbers.depth] if column.key in columns]
    extra: list[TableColumn] = []
    if numbers.depth == "free" and survey.tables.forced is not None:
        scored = survey.numbers("forced")
        of_scored = scored.by_measure["kl"][:, places].reshape(len(scored.cells), 1, -1)
        means = _mean(of_scored, np.tile(scored.weight, len(places)))[:, 0]
        columns["kl"] = np.array([means[scored.row[cell]] if cell in scored.row else np.nan for cell in numbers.row])
        extra = list(table_columns("kl:KL:number:1"))
    order = np.lexsort((numbers.cells, -np.nan_to_num(ranks.mean, nan=-np.inf)))
    rows: list[tuple[CellValue, ...]] = []
    for row in order.tolist():
        cell = int(numbers.cells[row])
        rows.append(
            (
                int(ranks.rank[row]) or None,
                int(survey.tables.layer[cell]),
                int(survey.tables.neuron[cell]),
                *(_number(float(columns[column.key][row])) for column in (*told, *extra)),
                *(_number(float(each[row])) for each in (ranks.score, ranks.p, ranks.q)),
                _number(float(survey.tables.mean[cell])),
                _number(float(survey.tables.std[cell])),
            )
        )
    return TableFigure(
        name="survey",
        title=f"{survey.session.name} · {count_of(len(numbers.cells), 'neuron')} {_done(survey)}, {_how(asked)}",
        columns=(
            *table_columns("rank::index; layer::index:1; neuron::index"),
            *told,
            *extra,
            *table_columns("score; p::p:1; q::p; mean::number:4; std:σ:number:4"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _named(asked: _Settings) -> TableFigure:
    """The neuron that was named before, by every measure of the depth."""
    survey, numbers = asked.survey, asked.numbers
    layer, neuron = asked.cell
    columns = table_columns("measure::text; value; median; largest; rank::index; of::whole; p:p if before:p")
    name = f"L{layer} n{neuron}"
    title = f"{name} among the others"
    if asked.where < 0:
        was = "is not finished yet" if survey.tables.place(layer, neuron) >= 0 else "was not surveyed"
        if numbers.depth == "free" and survey.session.spec.survey.goes_on and "forced" in survey.depths:
            was = "is none of those that the survey went on with"
        who = f"{name}, which the experiment names," if asked.cell == survey.named else name
        return TableFigure("named", title, columns, (), (f"{who} {was}",))
    rows: list[tuple[CellValue, ...]] = []
    for measure in MEASURES[numbers.depth]:
        if measure not in numbers.by_measure:
            continue
        ranks = asked.ranks if measure == asked.measure else survey.ranks(numbers, measure, asked.places)
        rank = int(ranks.rank[asked.where])
        if not rank:
            continue
        known = ranks.mean[np.isfinite(ranks.mean)]
        rows.append(
            (
                _words(survey, numbers, measure),
                float(ranks.mean[asked.where]),
                float(np.median(known)),
                float(known.max()),
                rank,
                ranks.family,
                _number(ranks.p_before(asked.where)),
            )
        )
    note = "p if before: of a neuron that was named before anybody looked, every other its control; rank / all of them"
    return TableFigure("named", title, columns, tuple(rows), (note,))


def _tokens(asked: _Settings) -> list[TableFigure]:
    """Tokens that the named neuron promotes and demotes under every value; none where it was not scored, or of none."""
    forced, survey = asked.survey.tables.forced, asked.survey
    if asked.numbers.depth != "forced" or forced is None or asked.where < 0:
        return []
    rows: list[tuple[CellValue, ...]] = []
    most = max(1, _MOST_TOKENS // len(asked.places))
    for value in asked.places:
        both = [_texts(forced, ids[asked.where, value])[:most] for ids in (forced.promoted, forced.demoted)]
        label = survey.settings[value].label
        rows += [(label, *pair) for pair in itertools.zip_longest(*both, fillvalue="")]
    if not rows:
        return []
    layer, neuron = asked.cell
    note = (
        "tokens whose log-probability, summed over all tokens of texts that are not kept back and that nothing was"
        " chosen on, rose or fell the most, the farthest first;"
        " survey --csv has ten of every neuron"
    )
    title = f"Tokens that L{layer} n{neuron} promotes and demotes"
    return [
        TableFigure("tokens", title, table_columns("value::text; promoted::text; demoted::text"), tuple(rows), (note,))
    ]


def _done(survey: Survey) -> str:
    """What was done to each: "clamped alike to +5, +20"."""
    labels = [setting.label for setting in survey.settings]
    listed = ", ".join(labels) if len(labels) <= 4 else f"{labels[0]} … {labels[-1]} ({len(labels)} values)"
    verb = pooled_caption(survey.session.spec)
    return f"{verb} alike: {listed}" if listed != verb else f"{verb} alike"


def _how(asked: _Settings) -> str:
    if asked.numbers.depth == "free":
        return "texts written"
    of = "prompts" if asked.survey.session.spec.survey.score == "prompts" else "baseline's texts"
    return f"the {of} scored"


def _notes(asked: _Settings) -> list[str]:
    survey, numbers, ranks = asked.survey, asked.numbers, asked.ranks
    tables = survey.tables
    planned = tables.planned_forced if numbers.depth == "forced" else tables.planned_free
    notes: list[str] = []
    if len(numbers.cells) < planned:
        notes.append(f"incomplete: {len(numbers.cells):,} of {count_of(planned, 'neuron')} are finished")
    texts, units = count_of(len(numbers.texts), "text"), count_of(ranks.units, "unit")
    notes.append(f"{units}, {texts}, {count_of(len(survey.settings), 'value')}; ranked by {asked.label}")
    if survey.held:
        units_of, prompts = (
            prompt_units(survey.session.prompts),
            cast("list[int]", tables.prompt[tables.chose].tolist()),
        )
        on = len({units_of[prompt] for prompt in prompts})
        goes_on = tables.planned_free or survey.session.spec.survey.goes_on
        notes.append(
            f"chosen and reported apart: {count_of(goes_on, 'neuron')} went on by their KL in {count_of(on, 'unit')};"
            f" all that stands here is of the other {ranks.units}"
        )
    elif bool(tables.chose.any()):
        notes.append("on all texts, those among them on which it was chosen who went on: ranks of these flatter")
    whole = numbers.by_measure["kl" if numbers.depth == "forced" else "changed"]
    if broken := int(np.isnan(whole).sum()):
        notes.append(nan_logits(broken, whole.size, "texts"))
    if ranks.family < len(numbers.cells):
        notes.append(f"{count_of(len(numbers.cells) - ranks.family, 'neuron')} without a finite number have no rank")
    notes.append(
        "score: mean over units of the normal score of the neuron's rank in the unit, 0 the middle of all; p: how often"
        f" chance ranks so high; q: Benjamini-Hochberg over {count_of(ranks.family, 'neuron')}"
    )
    if ranks.units == 1:
        notes.append(f"{units}: no q can be small")
    elif ranks.units < 5:
        notes.append(f"{units} alone: what holds of them may hold of no other prompts")
    return notes


def _mark(asked: _Settings) -> str:
    layer, neuron = asked.cell
    return f"n{neuron}" if len({int(each) for each in asked.survey.tables.layer}) == 1 else f"L{layer} n{neuron}"


def _histogram(asked: _Settings) -> HistogramFigure:
    values = asked.ranks.mean[np.isfinite(asked.ranks.mean)]
    if not values.size:
        raise ExplorerError("no number of the survey is finite", where=asked.survey.session.name)
    marked = asked.where >= 0 and bool(np.isfinite(asked.ranks.mean[asked.where]))
    marks = [(float(asked.ranks.mean[asked.where]), _mark(asked))] if marked else []
    title = f"{asked.survey.session.name} · how far neurons move the texts"
    if asked.measure in ("changed", "flips", "logp") or not (values > 0).any():
        made = histogram_figure(values, marks, title=title, value_label=asked.label, bins=40, noun="neuron")
        above = int((values > marks[0][0]).sum()) if marks else 0
        return made.told(f"{three_digits(marks[0][0])}: {above:,} of {len(values):,} lie above") if marks else made
    return decade_figure(values, marks, title=title, value_label=asked.label, noun="neuron")


def _map(asked: _Settings) -> SurveyMapFigure:
    tables, cells = asked.survey.tables, asked.numbers.cells
    marks = [(*asked.cell, _mark(asked))] if asked.where >= 0 else []
    layers = sorted({int(layer) for layer in tables.layer[cells]})
    of = f"L{layers[0]}" if len(layers) == 1 else f"{count_of(len(layers), 'layer')}"
    return survey_map(
        tables.layer[cells],
        tables.neuron[cells],
        np.maximum(asked.ranks.mean, 0.0),
        title=f"{asked.survey.session.name} · {count_of(len(cells), 'neuron')} of {of}",
        value_label=asked.label,
        logarithmic=asked.measure in ("kl", "change"),
        marks=marks,
    )
