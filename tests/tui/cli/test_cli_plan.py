from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.session import save_session
from srm_explorer.engine.session.imported import session_from
from srm_explorer.engine.session.session import PlaneRecord, Session
from srm_explorer.engine.stats.equivalence import detectable_effect, units_needed
from srm_explorer.engine.stats.planes import coordinates, neuron_plane

Srm = Callable[..., Any]
VALUES = (-2.0, 0.0, 2.0)


def done(spec: Any, folder: Path, spread: float) -> Session:
    """A finished session of an experiment: 12 units, whose coordinate 1 changes by as much as units are spread."""
    rng = np.random.default_rng(1)
    site = spec.capture.sites[0]
    runs = [{"prompt": f"p {i}", "condition": value} for i in range(12) for value in ("baseline", *VALUES)]
    vectors = rng.normal(size=(len(runs), 8)).astype(np.float32)
    slopes = np.repeat(rng.normal(size=12), 4) * np.tile([0.0, *VALUES], 12)
    vectors[:, 1] = (spread * slopes / 4).astype(np.float32)
    clamp = {"site": site, "neurons": [0], "op": "clamp"}
    session = session_from({site: vectors}, runs, interventions=[clamp])
    xy, norm = coordinates(vectors, neuron_plane(8, 0, 1))
    planes = (PlaneRecord.of(site, 0, 1, xy, norm),)
    return save_session(session.changed(spec=spec, planes=planes), folder / "before.json").session


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    file = tmp_path / "spec.toml"
    file.write_text(
        'model = { name = "demo" }\nprompts = { sets = ["certainty"], limit = 100 }\n'
        'interventions = [{ site = "blocks.1.mlp.hook_post", neurons = [0], op = "clamp", values = [-2, 0, 2] }]\n'
        'capture = { sites = ["blocks.1.mlp.hook_post"] }\nplanes = [{ a = 0, b = 1 }]\n',
        encoding="utf-8",
    )
    return file


def test_a_plan_counts_units_and_says_that_their_spread_is_unknown(srm: Srm, spec_file: Path) -> None:
    told = json.loads(srm("run", spec_file, "--plan", "--json").out)
    assert (told["prompts"], told["units"], told["runs"]) == (100, 5, 400)
    assert told["detectable_sd"] == pytest.approx(detectable_effect(5))
    assert told["units_needed"] == {"0.2": 199, "0.5": 34, "0.8": 15}
    assert told["spread"] is None
    # The model was measured for it, once; what is not on this machine is not loaded for a plan.
    assert told["tokens_per_second"] > 0
    assert told["seconds"] == pytest.approx(told["tokens"] / told["tokens_per_second"])
    assert told["memory"] > 1e6
    planned = srm("run", spec_file, "--plan")
    assert "measuring" not in planned.err
    assert re.search(r"about \d+ (s|min) · \d[\d.]* [MG]B", planned.out), planned.out
    elsewhere = srm("run", spec_file, "--plan", "--set", "model.name=nobody/nothing")
    assert "time and memory of nobody/nothing are not known: it is not on this machine yet" in elsewhere.err
    assert "about" not in elsewhere.out.splitlines()[0]
    out = planned.out
    assert "5 units see 1.68 sd" in out
    assert "5 units (100 prompts) find a mean of 1.68 standard deviations of units" in out
    assert "spread is unknown" in out
    assert not list(Path(os.environ["SRM_EXPLORER_SESSIONS"]).glob("spec*"))


def test_the_spread_of_a_session_of_the_same_kind_is_used_and_named(srm: Srm, spec_file: Path) -> None:
    from srm_explorer.engine.experiment import read_experiment

    folder = Path(os.environ["SRM_EXPLORER_SESSIONS"])
    folder.mkdir(parents=True, exist_ok=True)
    done(read_experiment(str(spec_file))[0], folder, spread=0.3)
    told = json.loads(srm("run", spec_file, "--plan", "--interest", 0.15, "--json").out)
    spread = told["spread"]
    assert spread["session"] == "before"
    row = next(row for row in spread["quantities"] if row["quantity"] == "mean n1")
    assert row["spread"] == pytest.approx(0.3, rel=0.5)
    assert row["detectable"] == pytest.approx(row["spread"] * detectable_effect(5))
    assert row["units_needed"] == units_needed(0.15 / row["spread"])
    assert "session before, which differs in its prompts at most" in srm("run", spec_file, "--plan").out
    other = srm("run", spec_file, "--plan", "--set", "interventions.0.neurons=[3]", "--json")
    assert json.loads(other.out)["spread"] is None


def test_too_few_units_are_said_to_be_too_few(srm: Srm, spec_file: Path) -> None:
    out = srm("run", spec_file, "--plan", "--set", "prompts.limit=4").out
    assert "too few for a p" in out


def test_interest_needs_a_plan_and_a_number(srm: Srm, spec_file: Path) -> None:
    assert srm("run", spec_file, "--interest", 1).status == 2
    ended = srm("run", spec_file, "--plan", "--interest", -1)
    assert ended.status == 1
    assert "smallest change of interest" in ended.err
