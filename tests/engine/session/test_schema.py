"""Every file that is written is what its schema says, and what is not of that kind is refused by schema and reader."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import srm_explorer
from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.session import Session, plain
from srm_explorer.engine.session.controls import CONTROLS, ControlMatch, Controls
from srm_explorer.engine.session.effects import Effects, MeanParts, MovedToken, Moves, RunEffects, SiteParts, TextScores
from srm_explorer.engine.session.schema import schema
from srm_explorer.engine.session.serialization import read_session, session_bytes
from srm_explorer.tui.settings import TEMPLATE, settings_schema
from tests.engine.session.test_session_rename import a_session
from tests.example import EXAMPLE

OLDER = Path(__file__).parents[2] / "data" / "from_0.1.0"
SESSIONS = Draft202012Validator(schema("session"))
EXPERIMENTS = Draft202012Validator(schema("experiment"))


def imported() -> Session:
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    return srm_explorer.session_from({"blocks.1.mlp.hook_post": rows}, [{"prompt": f"text {at}"} for at in range(3)])


def controlled() -> Session:
    match = ControlMatch("blocks.1.mlp.hook_post", 7, (3, 4), (0.5,) * 2, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    return a_session(provenance={CONTROLS: plain(Controls(2, 0, 99, (match,), {}))})


def scored() -> Session:
    scores = TextScores((0.5, float("inf")), (-0.5, 0.5), (1, 4), 2.0, 1.0, 1.5, (3,), ())
    parts = SiteParts({"total": 1.0}, {}, None, ({"direct": (0.5, 1.5)},), 3, None)
    found = {
        0: RunEffects(0, None, None, {}, {}),
        1: RunEffects(1, 9.5, 0.25, {"baseline": scores}, {"blocks.1.mlp.hook_post": parts}),
    }
    site = "blocks.1.mlp.hook_post"
    moves = (Moves("baseline", 1, 2, {"promoted": (MovedToken(7, " door", 1.5, 0.3, 0.1),)}),)
    means = (MeanParts(site, 1, 1, {"total": 1.0}, {}),)
    planes = ((site, "3", "mean(type=x)"),)
    effects = Effects("now", ("baseline",), "", (site,), planes, {}, {site: 1e-7}, moves, means, found)
    return a_session(effects=effects.to_dict())


DOCUMENTS: dict[str, dict[str, Any]] = {
    "the example": json.loads(EXAMPLE.read_bytes()),
    "of 0.1.0, scored": json.loads((OLDER / "small.json").read_bytes()),
    "imported": json.loads(session_bytes(imported())),
    "scored": json.loads(session_bytes(scored())),
    "with controls": json.loads(session_bytes(controlled())),
    "interrupted": json.loads(session_bytes(a_session(state="interrupted", notes="ü\n"))),
}
DOCUMENTS["of the first version"] = {
    name: value for name, value in DOCUMENTS["the example"].items() if name != "effects"
} | {"schema_version": 1}


def problems(validator: Draft202012Validator, document: object) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in validator.iter_errors(document)]


def test_the_schemas_are_schemas() -> None:
    for made in (schema("session"), schema("experiment"), settings_schema()):
        Draft202012Validator.check_schema(made)
        assert made["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert srm_explorer.schema("session") == schema("session")
    with pytest.raises(ExplorerError, match="there is no schema of 'sesion'; did you mean 'session'"):
        schema("sesion")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_session_is_what_its_schema_says(kind: str) -> None:
    assert problems(SESSIONS, DOCUMENTS[kind]) == []
    assert read_session(copy.deepcopy(DOCUMENTS[kind]), kind).runs


@pytest.mark.parametrize(
    "file", [*paths.presets_folder().glob("*.toml"), OLDER / "long.toml"], ids=lambda file: file.stem
)
def test_an_experiment_is_what_its_schema_says_as_a_file_and_as_data(file: Path) -> None:
    data = tomllib.loads(file.read_text())
    assert problems(EXPERIMENTS, data) == []
    assert problems(EXPERIMENTS, Experiment.from_dict(data).to_dict()) == []
    assert problems(EXPERIMENTS, tomllib.loads(Experiment.from_dict(data).to_toml())) == []


SITE = "blocks.1.mlp.hook_post"
SPEC: dict[str, Any] = {
    "model": {"name": "demo"},
    "prompts": {"sets": ["reasoning"]},
    "interventions": [{"site": SITE, "neurons": [3], "op": "clamp", "values": [1.5]}],
    "capture": {"sites": [SITE]},
    "planes": [{"a": 3, "b": 5}],
}
CHANGES: dict[str, tuple[str, Any]] = {
    "experts": ("interventions.0.site", "blocks.1.mlp.experts.7.hook_post"),
    "one number": ("interventions.0.neurons", 3),
    "a text of numbers": ("interventions.0.neurons", "3, 5..7 step 1"),
    "a range": ("interventions.0.values", "-20..20 step 5"),
    "one value": ("interventions.0.values", 3),
    "a token": ("interventions.0.positions", {"token": " door"}),
    "positions": ("interventions.0.positions", [3, -1]),
    "after": ("capture.positions", {"after": "x"}),
    "a patch": (
        "interventions.0",
        {"site": SITE, "neurons": [3], "op": "patch", "from": {"condition": "baseline"}, "positions": "prompt"},
    ),
    "a patch of a pair": ("interventions.0", {"site": SITE, "neurons": 3, "op": "patch", "from": {"prompt": "pair"}}),
    "heads": (
        "interventions.0",
        {"site": "blocks.1.attn.hook_z", "heads": 3, "coordinates": "0..3 step 1", "op": "scale", "values": [0.5]},
    ),
    "sets as text": ("prompts.sets", "reasoning, watching"),
    "where": ("prompts.where", {"type": "plain", "level": [4, "5"], "reasoning": {"x": True}}),
    "omit": ("prompts.omit", {"reasoning": "1..3 step 1"}),
    "a limit": ("prompts.limit", 3),
    "a policy": ("prompts.prepend_bos", "once"),
    "a direction": ("planes.0.a", "mean(type=x)"),
    "controls": ("controls", {"neurons": 2, "chosen": "after", "candidates": 9}),
    "an analysis": ("analysis", {"tests": "difference", "groups": ["clamped against baseline"], "planes": 1}),
}


def with_change(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    node: Any = data
    *steps, last = (int(step) if step.isdecimal() else step for step in key.split("."))
    for step in steps:
        node = node[step]
    node[last] = value
    return data


@pytest.mark.parametrize("kind", CHANGES)
def test_whatever_an_experiment_may_say_is_in_its_schema(kind: str) -> None:
    changed = with_change(SPEC, *CHANGES[kind])
    assert problems(EXPERIMENTS, changed) == []
    assert problems(EXPERIMENTS, Experiment.from_dict(changed).to_dict()) == []


WRONG: dict[str, Any] = {
    "interventions.0.neuron": [3],
    "interventions.0.op": "clam",
    "interventions.0.neurons": [-1],
    "interventions.0.values": {"from": 1},
    "interventions.0.unit": 3,
    "interventions.0.positions": {"tokens": "x"},
    "interventions": {"site": SITE},
    "generation": {"tokens": -1},
    "generation.tokens": "many",
    "prompts.sets": 3,
    "prompts.prepend_bos": "never",
    "prompts.where": {"x": None},
    "model.dtype": "int8",
    "model": "demo",
    "capture.sites": None,
    "planes.0.a": -1,
    "planes.0": {"a": 3},
    "spotlight": {"angles": 0},
    "controls": {"neurons": 1000},
    "sweep": {},
}


@pytest.mark.parametrize("key", WRONG)
def test_an_experiment_that_is_refused_by_its_kind_is_refused_by_its_schema(key: str) -> None:
    changed = with_change({**SPEC, "generation": {}}, key, WRONG[key])
    assert problems(EXPERIMENTS, changed)
    with pytest.raises(ExplorerError):
        Experiment.from_dict(changed)
    assert problems(SESSIONS, {**DOCUMENTS["with controls"], "spec": changed})


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a session whose kind its reader checks: all but in the tables that analyses read."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, item in items:
        free = (
            "spec",
            "provenance",
            "bands",
            "predictions",
            "effects",
            "receipts",
            "events",
            "layout",
            "schema_version",
        )
        if path or name not in free:
            yield (*path, name)
            yield from places(item, (*path, name))


SMALL = json.loads(session_bytes(a_session()))
PLACES = sorted(places(SMALL), key=str)


@settings(max_examples=80)
@given(
    place=st.sampled_from(PLACES),
    value=st.sampled_from(["remove", None, True, "text", [], {}, [[]], -1, 2.5]),
)
def test_a_changed_session_is_refused_by_the_schema_wherever_its_reader_refuses_the_kind(
    place: Any, value: Any
) -> None:
    changed: Any = copy.deepcopy(SMALL)
    node = changed
    for step in place[:-1]:
        node = node[step]
    if value == "remove":
        del node[place[-1]]
    else:
        node[place[-1]] = value
    try:
        read_session(copy.deepcopy(changed), "it")
    except ExplorerError as error:
        told = str(error)
        if any(word in told for word in (" is missing", " is no ", " is none of ")):
            assert problems(SESSIONS, changed), told
    else:
        assert not problems(SESSIONS, changed)


def test_effects_that_are_no_effects_are_refused() -> None:
    for key, value in (("runs.1.texts.baseline.kl", "x"), ("moves", {}), ("texts", None)):
        document = DOCUMENTS["scored"]
        assert problems(SESSIONS, with_change(document, f"effects.{key}", value))


def test_settings_are_what_their_schema_says() -> None:
    validator = Draft202012Validator(settings_schema())
    for text in (
        TEMPLATE,
        'theme = "nord"\nsessions = "~/x"\n[keys]\n"run.start" = "f5, r"\n',
        (OLDER / "settings.toml").read_text(),
    ):
        assert problems(validator, tomllib.loads(text)) == []
    for text in (
        'theme = "nrod"',
        "hints_left = -1",
        'keys = "x"',
        '[keys]\n"run.start" = "a,,b"',
        "x = 1",
        "bell = true",
    ):
        assert problems(validator, tomllib.loads(text))
