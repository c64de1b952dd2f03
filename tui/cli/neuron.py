"""`srm-explorer neuron`: how much neurons are used, and the card of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.analyses import tables_in
from srm_explorer.engine.experiment import ModelSpec
from srm_explorer.engine.figures import HistogramFigure
from srm_explorer.engine.launch.start import model_findings
from srm_explorer.engine.session import load_session
from srm_explorer.engine.worker import read_model
from srm_explorer.tui.charts.histogram import paint_histogram
from srm_explorer.tui.cli.figures import FigureFile
from srm_explorer.tui.cli.output import drawn, note, say, screen_size
from srm_explorer.tui.cli.tables import say_tables

SETS: str = "reasoning,watching"
"""Read where neither prompts nor a session are named."""

NONE = "none"


@dataclass(frozen=True)
class NeuronQuery:
    """What is asked, as it was typed.

    Attributes:
        model: name, folder or "demo".
        layer: None for all.
        neuron: None for all.
        prompts: sets parted by commas; "none" for no texts; None for the session's, else the shipped ones.
        text: "prompts" or "generated".
        skip: positions at the beginning of each text that don't count.
        session: its name or path; None for none.
        top: rows of a table.
        all_layers: look for neighbours in the whole model.
        text_column: of the sets, the column or key that holds the prompts.
        chat_template: whether each text is fed as a message, as the model's template has it.
        system: its system message.
        prepend_bos: how prompts get a BOS, as in the experiment.
        weights: tell what the weights of all neurons say, without a text.
        device: where the model runs; None as in the session, else auto.
    """

    model: str
    layer: int | None
    neuron: int | None
    prompts: str | None
    text: str
    skip: int
    session: str | None
    top: int
    all_layers: bool
    device: str | None
    text_column: str | None = None
    chat_template: bool = False
    system: str | None = None
    prepend_bos: str = "auto"
    weights: bool = False


def neuron_command(
    query: NeuronQuery,
    csv_file: Path | None,
    as_json: bool,
    width: int | None,
    height: int | None,
    file: FigureFile | None,
) -> None:
    """Print the card of a neuron, or how much the neurons of a layer, or of every layer, are used."""
    path = None if query.session is None else paths.session_path(query.session)
    model, sets = _model(query, path), _sets(query, path)
    if file is not None and (query.neuron is None or (not sets and path is None)):
        what = "a figure is of one neuron's activations on texts"
        raise ExplorerError(what, where="--figure", remedy="name a layer, a neuron, and texts to read")
    arguments: dict[str, Any] = {
        "layer": query.layer,
        "prompts": sets,
        "text": query.text,
        "skip": query.skip,
        "top": query.top,
    }
    given = {name: getattr(query, name) for name in ("text_column", "chat_template", "system")}
    arguments |= {name: value for name, value in given.items() if value}
    if query.prepend_bos != "auto":
        arguments["prepend_bos"] = query.prepend_bos
    if query.weights:
        asked = {"layer": query.layer, "top": query.top, "list": "top" if csv_file is None else "all"}
        _say_all(query, model_findings("weights", asked, session=path, model=model, quiet=as_json), csv_file, as_json)
        return
    if query.neuron is None:
        if not sets and path is None:
            raise ExplorerError("use is measured on texts", where="--prompts", remedy="name a prompt set")
        arguments["list"] = "top" if csv_file is None else "all"
        findings = model_findings("usage", arguments, session=path, model=model, quiet=as_json)
        _say_all(query, findings, csv_file, as_json)
        return
    arguments |= {"neuron": query.neuron, "neighbours": "model" if query.all_layers else "layer"}
    findings = model_findings("neuron", arguments, session=path, model=model, quiet=as_json)
    _say_card(query, findings, csv_file, as_json, *screen_size(width, height))
    if file is not None:
        what = f"the activations of {query.layer}.{query.neuron}"
        file.write(HistogramFigure.from_dict(findings["histogram"]), what, quiet=as_json)


def _model(query: NeuronQuery, path: Path | None) -> ModelSpec:
    spec = read_model({"name": query.model}) if path is None else load_session(path).spec.model
    changed: dict[str, Any] = {"name": query.model}
    if path is not None and spec.name != query.model:
        # A revision is one of the session's name for the model.
        changed["revision"] = None
    if query.device is not None:
        changed["device"] = query.device
    return read_model({**spec.model_dump(), **changed})


def _sets(query: NeuronQuery, path: Path | None) -> list[str]:
    if query.prompts == NONE:
        if path is not None:
            raise ExplorerError("a session's texts are read", where="--prompts none", remedy="leave --session out")
        return []
    if query.prompts is None:
        return [] if path is not None else SETS.split(",")
    return [part.strip() for part in query.prompts.split(",") if part.strip()]


def _say_all(query: NeuronQuery, findings: dict[str, Any], csv_file: Path | None, as_json: bool) -> None:
    tables = tables_in(findings)
    if csv_file is not None:
        say_tables([table for table in tables if table.name == "neurons"], form="csv", file=csv_file)
        if not as_json:
            note(f"every neuron written to {csv_file}")
    shown = [table for table in tables if table.name != "neurons"]
    say_tables(shown, form="json" if as_json else "text", further={"model": query.model, "layer": query.layer})


def _say_card(
    query: NeuronQuery, findings: dict[str, Any], csv_file: Path | None, as_json: bool, width: int, height: int
) -> None:
    tables, data = tables_in(findings), findings.get("histogram")
    if csv_file is not None:
        say_tables(tables, form="csv", file=csv_file)
        if not as_json:
            note(f"the card's tables written to {csv_file}")
    if as_json:
        further = {"model": query.model, "layer": query.layer, "neuron": query.neuron, "histogram": data}
        say_tables(tables, form="json", further=further)
        return
    say_tables(tables[:1])
    if data:
        figure = HistogramFigure.from_dict(data)
        say("", drawn(paint_histogram(figure, width, max(min(height, 24), 9))))
    say("")
    say_tables(tables[1:])
