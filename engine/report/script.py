"""A session's experiment as a program of its own, by transformer_lens and numpy alone: for who trusts nobody."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import jinja2
import numpy as np

from srm_explorer.engine import paths
from srm_explorer.engine.analyses.captured import head_width
from srm_explorer.engine.analyses.directions import SiteRuns, direction_of_run, known_directions, plane_through
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import InterventionSpec, Site, conditions
from srm_explorer.engine.experiment.directions import needs_runs
from srm_explorer.engine.experiment.model_fit import is_centred
from srm_explorer.engine.experiment.positions import TokenChoice
from srm_explorer.engine.experiment.site import head_coordinates
from srm_explorer.engine.figures.captions import model_caption, plane_title
from srm_explorer.engine.figures.numbers import count_of
from srm_explorer.engine.report.report import program_version
from srm_explorer.engine.report.texts import plain
from srm_explorer.engine.report.words import question
from srm_explorer.engine.session import DamagedError, PlaneRecord, Session
from srm_explorer.engine.session.controls import Controls, controls_of
from srm_explorer.engine.session.export import condition_keys

Edited: TypeAlias = tuple[str, str, list[int] | str, list[float], str | list[int]]
"""Site, operation, coordinates or a direction's name, a value each, positions."""

_OPERATIONS = ("clamp", "add", "scale", "zero", "mean", "steer", "project_out")
_COLUMNS = 112


def script(session: Session, *, controls: bool = False) -> str:
    """A Python file that repeats a session's experiment: the same prompts, raw values, texts, vectors and counts.

    Args:
        controls: True to have it repeat the runs of controls too.

    Raises:
        ExplorerError: something of it that such a file cannot do, named.
    """
    _check(session, controls)
    spec = session.spec
    directions = _Directions(session)
    keys = condition_keys(session)
    listed = [condition for condition in session.conditions if controls or condition.control is None]
    chosen = _controls(session) if any(condition.control is not None for condition in listed) else None
    written = [
        {
            "key": keys[condition.index],
            "told": _comment(condition.label),
            "edits": [
                _edit(session, edit, values, condition.control, chosen, directions)
                for edit, values in zip(spec.interventions, session.resolved[condition.index], strict=True)
                if values is not None
            ],
        }
        for condition in listed
    ]
    planes, left_out = _planes(session)
    if len(listed) < len(session.conditions):
        left_out.insert(
            0, "The runs of controls are left out: `srm-explorer script SESSION --controls` repeats them too."
        )
    reduced = _reduced(session)
    device, gpus = _devices(session)
    told = [line for text in _told(session) for line in textwrap.wrap(_in_docstring(text), _COLUMNS)]
    return _template().render(
        told=told,
        stem=re.sub(r"[^A-Za-z0-9_.-]+", "_", session.name).strip(".") or "session",
        reduced=reduced,
        versions=textwrap.fill(f"Made with {_in_docstring(_versions(session))}.", _COLUMNS),
        version=program_version(),
        model=_model(session),
        model_told=_comment(_model_told(session)),
        revision=session.told("model").get("revision") or spec.model.revision,
        device=device,
        gpus=gpus,
        dtype=spec.model.dtype,
        tokens=spec.generation.tokens,
        stop=spec.generation.stop_at_eos,
        sites=list(spec.capture.sites),
        captured=_positions(spec.capture.positions),
        last_alone=spec.capture.reduce == "last",
        centred=[site for site in spec.capture.sites if is_centred(spec, site)],
        directions=directions.written(),
        conditions=written,
        planes=planes,
        thresholds=list(spec.spotlight.thresholds),
        angles=spec.spotlight.angles,
        pooled=[keys[condition.index] for condition in listed if condition.kind == "sweep"],
        kept_back=[number for number, is_seen in enumerate(session.prompts_seen) if not is_seen],
        left_out=[_comment(line) for line in left_out],
        prompts=[(list(prompt.token_ids), plain(prompt.text)) for prompt in session.prompts],
    )


def _check(session: Session, controls: bool) -> None:
    """Refuse, by one line that names it, what a plain file cannot repeat."""
    spec = session.spec
    replay = f"srm-explorer replay {session.name} repeats it"
    sites = [Site.parse(site) for site in (*spec.capture.sites, *(edit.site for edit in spec.interventions))]
    mixture = next((str(site) for site in sites if site.is_mixture), None)
    by_token = isinstance(spec.capture.positions, TokenChoice) or any(
        isinstance(edit.positions, TokenChoice) for edit in spec.interventions
    )
    refused: list[tuple[bool, str, str]] = [
        (
            session.is_imported,
            "its runs came from elsewhere, so there is no experiment to repeat",
            "run it here as an experiment of its own",
        ),
        (not spec.model.is_known, "its model is unknown", "give it a model, and run it"),
        (
            spec.generation.mode == "sample",
            "its texts are sampled, with noise that transformer_lens does not draw",
            replay,
        ),
        (mixture is not None, f"{mixture} lies in a mixture of experts, where transformer_lens has no hook", replay),
        (any(edit.op == "patch" for edit in spec.interventions), "it patches activations of other runs in", replay),
        (by_token, "its positions are named by the text of a token", "name them by number"),
        (
            controls and any(edit.direction is not None and not edit.background for edit in spec.interventions),
            "its controls are random directions",
            "leave --controls out",
        ),
        (
            len(session.resolved) != len(session.conditions) or len(session.conditions) != len(conditions(spec)),
            "its raw values are not known yet",
            "let it run on",
        ),
        (not all(prompt.token_ids for prompt in session.prompts), "the token ids of its prompts are unknown", replay),
    ]
    for is_so, what, remedy in refused:
        if is_so:
            raise ExplorerError(f"no script repeats it: {what}", where=session.name, remedy=remedy)
    unknown = next((edit.op for edit in spec.interventions if edit.op not in _OPERATIONS), None)
    assert unknown in (None, "patch"), unknown


class _Directions:
    """Vectors that interventions work along, by a short name."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[str, str] = {}
        self._vectors: dict[str, list[float]] = {}

    def name(self, text: str) -> str:
        """The name of a direction in the script, which holds its numbers.

        Raises:
            ExplorerError: as `direction_of_run`.
        """
        if text not in self._names:
            base = Path(str(self._session.provenance.get("base") or (self._session.path or Path()).parent))
            vector = direction_of_run(self._session, text, base)
            name = self._names[text] = f"direction {len(self._names) + 1}"
            self._vectors[name] = vector.tolist()
        return self._names[text]

    def written(self) -> list[tuple[str, str]]:
        return [(name, _numbers(vector)) for name, vector in self._vectors.items()]


def _edit(
    session: Session,
    edit: InterventionSpec,
    values: Sequence[float],
    control: int | None,
    chosen: Controls | None,
    directions: _Directions,
) -> Edited:
    positions = _positions(edit.positions)
    if edit.direction is not None:
        return edit.site, edit.op, directions.name(edit.direction), list(values), positions
    coordinates = list(edit.neurons)
    if edit.heads:
        coordinates = list(head_coordinates(edit.heads, edit.coordinates, _head_width(session, edit.site)))
    elif control is not None and chosen is not None and not edit.background:
        coordinates = [chosen.neuron(control, edit.site, neuron) for neuron in edit.neurons]
    each = list(values) * len(coordinates) if edit.heads and len(values) == 1 else list(values)
    return edit.site, edit.op, coordinates, each, positions


def _controls(session: Session) -> Controls:
    try:
        chosen = controls_of(session)
    except DamagedError as error:
        raise ExplorerError(str(error), where=session.name, remedy="leave --controls out") from None
    if chosen is None:
        raise ExplorerError("its controls are not chosen yet", where=session.name, remedy="let it run on")
    return chosen


def _head_width(session: Session, site: str) -> int:
    width = head_width(session, Site.parse(site).layer)
    if not width:
        raise ExplorerError("the width of its attention heads is unknown", where=session.name, remedy="run it again")
    return width


def _positions(choice: object) -> str | list[int]:
    return choice if isinstance(choice, str) else list(cast("tuple[int, ...]", choice))


def _planes(session: Session) -> tuple[list[dict[str, Any]], list[str]]:
    """The planes that no run decides, and what is said of the others."""
    planes: list[dict[str, Any]] = []
    left_out: list[str] = []
    for number, plane in enumerate(session.planes, 1):
        title = f"plane {number}"
        try:
            a, b = _sides(session, plane)
        except ExplorerError as error:
            left_out.append(f"{title} ({plane_title(plane)}) is not turned through: {error}")
            continue
        planes.append({"name": title, "site": plane.site, "a": a, "b": b})
    return planes, left_out


def _sides(session: Session, plane: PlaneRecord) -> tuple[str, str]:
    if isinstance(plane.a, int) and isinstance(plane.b, int) and plane.held_out is None:
        return str(plane.a), str(plane.b)
    if plane.held_out is not None or needs_runs(plane.a) or needs_runs(plane.b):
        raise ExplorerError("its directions are made of the runs")
    width = session.widths.get(plane.site)
    if width is None:
        raise ExplorerError("the width of its site is unknown without the vectors")
    runs = SiteRuns(
        site=plane.site,
        vectors=np.empty((0, width)),
        prompt=np.empty(0, np.int64),
        condition=np.empty(0, np.int64),
        prompts=(),
        conditions=session.conditions,
        known=known_directions(session.provenance),
        centred=is_centred(session.spec, plane.site),
    )
    first, second = plane_through(plane.a, plane.b, runs).basis.tolist()
    return _numbers(first), _numbers(second)


def _numbers(vector: Sequence[float]) -> str:
    """A vector as a list over lines that are no longer than others."""
    lines = textwrap.wrap(", ".join(repr(value) for value in vector), _COLUMNS - 8)
    return "[\n        " + "\n        ".join(lines) + "\n    ]"


def _told(session: Session) -> list[str]:
    return [f"Session {session.name}, of {session.created[:10]}.", *question(session)]


def _reduced(session: Session) -> str:
    spec = session.spec.capture
    at = {
        "all": "all positions",
        "prompt": "the prompt's positions",
        "last": "the prompt's last token",
        "predicting": "the prompt's last token and the generated ones",
        "generated": "the generated tokens",
    }.get(str(spec.positions), "these positions")
    return f"{'the last of' if spec.reduce == 'last' else 'the mean over'} {at}"


def _versions(session: Session) -> str:
    versions = session.told("versions")
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "versions that nobody noted"


def _model(session: Session) -> str:
    """Where the model lies: as it was loaded then, if that is still there."""
    source = str(session.told("model").get("source") or "")
    name = session.spec.model.name
    if source == "demo" or name == "demo":
        return str(paths.demo_model_folder())
    if source and (not Path(source).is_absolute() or Path(source).is_dir()):
        return source
    return name


def _model_told(session: Session) -> str:
    sha256 = session.told("model").get("weights_sha256")
    said = f"{model_caption(session)}, {count_of(len(session.prompts), 'prompt')}"
    where = (
        "; it comes with srm-explorer: change this to where it lies" if "demo model" in model_caption(session) else ""
    )
    return said + (f"; SHA-256 of the weights, as srm-explorer takes it, {sha256}" if sha256 else "") + where


def _devices(session: Session) -> tuple[str, int]:
    """Where tokens go in, and how many GPUs the model is spread over; blocks on the disk are read into memory here."""
    named = session.spec.model.device
    kind, *more = str(session.provenance.get("device") or "cpu").split()
    gpus = int(more[1]) if kind == "cuda" and more[:1] == ["x"] and more[1].isdigit() else 1
    if gpus > 1:
        return "cuda:0", gpus
    return (kind if named == "auto" else named).removesuffix("+disk"), 1


def literal(value: object) -> str:
    """A value as Python writes it, texts in double quotes where they hold none."""
    if isinstance(value, str):
        # With a quote of the other kind in it, Python takes double ones.
        quoted = repr(f"'{value}")
        return f'"{quoted[2:]}' if '"' not in value else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, cast('list[object]', value)))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, cast('tuple[object, ...]', value)))})"
    return repr(value)


def _comment(text: str) -> str:
    """A text as a comment's line: no text of anybody ends it."""
    return " ".join(plain(text).split())


def _in_docstring(text: str) -> str:
    return _comment(text).replace("\\", "\\\\").replace('"', "'")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.engine_folder() / "report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # What it makes is no page: texts are literals of Python, written by `repr`.
        autoescape=False,
    )
    cast("dict[str, Any]", environment.filters)["literal"] = literal  # pyright: ignore[reportUnknownMemberType]
    return environment.get_template("script.py.j2")
