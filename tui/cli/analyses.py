"""`srm-explorer effects`, `patching`, `pairs`, `dose`, `planes` and `controls`: what asks a session for its meaning."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.engine.analyses import (
    basis_names,
    collapse_study,
    controls_study,
    cost_of,
    dose_study,
    effects_study,
    ensemble_tables,
    find_plane,
    finder_study,
    frozen_study,
    least_p,
    marked,
    pair_tables,
    planes_table,
    tables_in,
    with_plane,
)
from srm_explorer.engine.experiment import read_experiment
from srm_explorer.engine.figures import PlaneChoice, count_of
from srm_explorer.engine.figures.captions import exploratory_line
from srm_explorer.engine.figures.paper import plane_figure
from srm_explorer.engine.io.files import check_writable, read_text
from srm_explorer.engine.io.vectors import Matrix
from srm_explorer.engine.launch.start import model_findings, outside_vectors
from srm_explorer.engine.runs import read_inputs
from srm_explorer.engine.session import Session, load_session, save_session
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.tui.cli.output import note, say, say_json, visible
from srm_explorer.tui.cli.run import price, spec_of
from srm_explorer.tui.cli.tables import Output, say_tables
from srm_explorer.tui.experiment.cost import estimate_here

MOST, MOST_PLANES = 24, 20
"""Rows of a table that are printed: of effects, and of planes that were searched."""


def effects_command(
    session: str,
    score: bool | None,
    texts: str,
    text: Path | None,
    sites: str | None,
    controls: bool,
    npz: Path | None,
    rule: str | None,
    family: str | None,
    out: Output,
) -> None:
    """Print what is known of the effects on a session's texts, scoring them first where they are not.

    Where a rule is all that is asked for, its findings alone, which need no model.
    """
    path = paths.session_path(session)
    opened = load_session(path)
    if rule is not None and score is None and text is None and npz is None and not controls and sites is None:
        findings = collapse_study(opened, {"rule": rule, "family": family})
        # First, as elsewhere: who reads the first lines alone has the file all the same.
        if out.csv is not None:
            say_tables(tables_in(findings)[:1], form="csv", file=out.csv)
        replace(out, csv=None).tell(opened, findings, "", most=MOST, rule=rule)
        if out.csv is not None and not out.as_json:
            note(f"the counts of every value written to {visible(str(out.csv))}")
        out.draw(opened, findings, "the effects")
        return
    arguments = {
        "rule": rule,
        "family": family,
        "texts": [name.strip() for name in texts.split(",")],
        "given": _continuation(text) if text is not None else None,
        "sites": None if sites is None else [name.strip() for name in sites.split(",")],
        "controls": controls or None,
        "npz": None if npz is None else str(paths.absolute(npz)),
    }
    if score is None:
        asked = text is not None or npz is not None or controls or sites is not None
        score = asked or not (opened.effects or opened.is_imported)
    if score:
        findings = _scored(opened, path, arguments, quiet=out.as_json)
        if findings["told"]:
            note(findings["told"])
    else:
        findings = marked(effects_study(opened, {"rule": rule, "family": family}), opened)
    out.tell(opened, findings, "every row", most=MOST, scored=findings["scored"])
    if npz is not None and not out.as_json:
        note(f"the vectors written to {visible(str(npz))}")
    out.draw(opened, findings, "the effects")


def _scored(session: Session, path: Path, arguments: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    check_writable(path.parent)
    tokens = cost_of(session, arguments["texts"], given=bool(arguments["given"]), controls=bool(arguments["controls"]))
    if sys.stderr.isatty() and not quiet:
        note(f"scoring: {tokens:,} tokens through the model, in batches; a run writes them one by one")
    return model_findings("score", arguments, session=path, quiet=quiet)


def tokens_command(session: str, settings: dict[str, Any], out: Output) -> None:
    """Print what a session's conditions did to the logits of chosen tokens."""
    path = paths.session_path(session)
    opened = load_session(path)
    findings = model_findings("tokens", settings, session=path, quiet=out.as_json)
    out.tell(opened, findings, "every row", most=MOST, tokens=findings["tokens"], over=findings["over"])
    out.draw(opened, findings, "the effects on these tokens")


def patching_command(session: str, settings: dict[str, Any], out: Output) -> None:
    """Print whether what a session patches is enough for a difference of logits, and needed."""
    path = paths.session_path(session)
    opened = load_session(path)
    findings = model_findings("patching", settings, session=path, quiet=out.as_json)
    out.tell(opened, findings, "every row", most=MOST, difference=findings["difference"])
    out.draw(opened, findings, "the patches")


def _continuation(file: Path) -> str:
    text = read_text(file).rstrip("\n")
    if not text:
        raise ExplorerError("there is no text", where=str(file), remedy="write what is to follow every prompt into it")
    return text


def pairs_command(session: str, settings: dict[str, Any], top: int, weights: bool, out: Output) -> None:
    """Correlate a neuron of a session with all others of its site, and with the residual stream.

    Args:
        top: rows that are printed; a file has all.
        weights: whether the session's model is loaded for cosines of rows of W_out.
    """
    path = paths.session_path(session)
    opened = load_session(path)
    arguments = {**settings, "top": None if out.csv is not None else top}
    if weights:
        findings = model_findings("weighted-pairs", arguments, session=path, quiet=out.as_json)
    else:
        findings = marked(pair_tables(opened, arguments), opened)
    further = {name: findings[name] for name in ("neuron", "site", "family")}
    out.tell(opened, findings, "every partner", most=top, **further)


def dose_command(session: str, settings: dict[str, Any], out: Output) -> None:
    """Print how a plane's quantities follow the value, over units."""
    opened = load_session(paths.session_path(session))
    findings = dose_study(opened, settings)
    out.tell(opened, findings, "every unit", most=MOST, plane=findings["plane"], interest=findings["interest"])
    if out.figure is not None:
        chart = plane_figure(opened, "dose", findings["plane"])
        out.figure.write(chart, f"the dose chart of {opened.name}", quiet=out.as_json)


def controls_command(session: str, settings: dict[str, Any], out: Output) -> None:
    """Print how the target of a session ranks among its controls, and which those are."""
    opened = load_session(paths.session_path(session))
    findings = marked(controls_study(opened, settings), opened)
    further = {name: findings[name] for name in ("chosen", "candidates", "looked_at")}
    out.tell(opened, findings, "both tables", by=settings["by"], **further)
    out.draw(opened, findings, "the controls")


def plan_command(named: str, neurons: int | None, overrides: Sequence[str], as_json: bool) -> None:
    """Print what an experiment with controls would cost, and run nothing."""
    spec = spec_of(named)
    changes = [*overrides, *([] if neurons is None else [f"controls.neurons={neurons}"])]
    experiment, source = read_experiment(spec, overrides=changes)
    if source.note and not as_json:
        note(source.note)
    inputs = read_inputs(experiment, source.base)
    prompts, warnings = len(inputs.prompts), inputs.warnings(experiment)
    cost, pace = estimate_here(experiment, source.base, prompts)
    count = experiment.controls.neurons
    compared = experiment.controls.candidates or 1
    if as_json:
        say_json(
            {
                "prompts": prompts,
                "controls": count,
                "runs": cost.runs - cost.control_runs,
                "control_runs": cost.control_runs,
                "tokens": cost.tokens,
                "seconds": cost.seconds,
                "tokens_per_second": pace.rate or None,
                "least_p": compared / (count + compared) if count else None,
                "warnings": list(warnings),
            },
            "controls plan",
        )
        return
    say(price(cost, pace), *(visible(f"⚠ {warning}") for warning in warnings))
    if count:
        of_best = f" of the best of {compared:,}" if compared > 1 else ""
        say(f"with {count_of(count, 'control')} no p-value{of_best} is below {least_p(count, compared)}")
        settings = " ".join(f"--set {override}" for override in changes)
        say(f"run it: srm-explorer run {spec} {settings} --session NAME".strip())
    else:
        say(f"it has no controls; --neurons {19 * compared} plans the fewest that can give p = .05")


def list_planes(session: str, by: Sequence[str], csv_file: Path | None, as_json: bool) -> None:
    _say_planes(load_session(paths.session_path(session)), by, csv_file, as_json)


def add_plane(
    session: str,
    a: str,
    b: str,
    site: str | None,
    split: int | None,
    by: Sequence[str],
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Make a plane of a session's vectors, save it in the session, and print all of its planes."""
    opened = load_session(paths.session_path(session))
    choice = PlaneChoice(_site(opened, site), a, b, split)
    there = find_plane(opened, choice)
    if there is not None:
        note(f"it is plane {there + 1} of {opened.name} already")
    else:
        check_writable(paths.session_path(session).parent)
        vectors = vectors_at(opened, choice.site)
        changed = with_plane(opened, vectors, choice, outside_vectors(opened, choice.site, [a, b]))
        saved = save_session(changed, paths.session_path(session))
        opened = saved.session
        note(f"plane {len(opened.planes)} of {opened.name} is saved" + (f": {saved.note}" if saved.note else ""))
    _say_planes(opened, by, csv_file, as_json)


def ensemble_planes(
    session: str,
    basis: Sequence[str],
    ensemble: str,
    site: str | None,
    by: Sequence[str],
    thresholds: str | None,
    angles: int | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Sweep a session's runs through the planes that directions span in pairs."""
    opened = load_session(paths.session_path(session))
    chosen = _site(opened, site)
    arguments: dict[str, Any] = {
        "basis": list(basis),
        "ensemble": ensemble,
        "site": chosen,
        "by": list(by),
        "thresholds": thresholds,
        "angles": angles,
    }
    weights = outside_vectors(opened, chosen, [str(name) for name in basis_names(opened, basis)])
    computed = ensemble_tables(opened, vectors_at(opened, chosen), arguments, weights)
    summary, curves = (table.noted(exploratory_line(opened)) for table in computed)
    if csv_file is not None:
        say_tables([curves], form="csv", file=csv_file)
        note(f"the curves of every group written to {visible(str(csv_file))}")
    tables = [summary, curves] if as_json else [summary]
    say_tables(tables, form="json" if as_json else "text", further={"session": opened.name, "site": chosen})


def vectors_at(session: Session, site: str) -> Matrix | list[Matrix]:
    """The vectors of a session at one site; ExplorerError where they were not kept, or the site not captured."""
    chosen_site(session, site)
    return session.vectors([site])[site]


def _site(session: Session, site: str | None) -> str:
    if site is None and len(session.spec.capture.sites) > 1:
        raise ExplorerError(
            f"it captured {len(session.spec.capture.sites)} sites",
            where=session.name,
            remedy=f"choose one: --site {' or '.join(session.spec.capture.sites)}",
        )
    return chosen_site(session, site)


def _say_planes(session: Session, by: Sequence[str], csv_file: Path | None, as_json: bool) -> None:
    form = "json" if as_json else "text"
    say_tables(
        [planes_table(session, list(by)).noted(exploratory_line(session))],
        form=form,
        file=csv_file,
        further={"session": session.name},
    )
    if csv_file is not None and not as_json:
        note(f"the planes written to {visible(str(csv_file))}")


def find_planes(session: str, settings: dict[str, Any], out: Output) -> None:
    """Search planes and print the best."""
    opened = load_session(paths.session_path(session))
    findings = marked(finder_study(opened, settings), opened)
    out.tell(opened, findings, "every plane that was tested", most=MOST_PLANES, site=findings["site"])
    out.draw(opened, findings, "the planes found")


def frozen_command(session: str, settings: dict[str, Any], out: Output) -> None:
    """Print the analysis that was frozen before a run; or confirm it, or a test named now, on prompts kept for that."""
    opened = load_session(paths.session_path(session))
    findings = frozen_study(opened, settings)
    further = {name: findings[name] for name in ("family", "confirm", "analysis", "sha256", "prompts")}
    out.tell(opened, findings, "every test", **further)
