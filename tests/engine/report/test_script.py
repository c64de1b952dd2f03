from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.figures import swept_groups
from srm_explorer.engine.report.script import literal, script
from srm_explorer.engine.session import Session, load_session
from srm_explorer.engine.session.export import condition_keys, vector_keys
from srm_explorer.engine.session.imported import session_from
from tests.engine.conftest import MLP, Lab
from tests.example import EXAMPLE

BELOW, HEADS, RESIDUAL = "blocks.0.mlp.hook_post", "blocks.0.attn.hook_z", "blocks.1.hook_resid_post"


def check(session: Session, folder: Path, *, controls: bool = False) -> None:
    """What a script wrote is what its session holds: keys, texts, vectors, and counts of every group."""
    keys = vector_keys(session)
    rows = [at for at, run in enumerate(session.runs) if controls or session.conditions[run.condition].control is None]
    texts = json.loads((folder / f"{session.name}.texts.json").read_text(encoding="utf-8"))
    assert texts == {keys[row]: session.runs[row].text for row in rows}
    for site, kept in session.vectors().items():
        with np.load(folder / f"{session.name}.{site}.npz") as written:
            assert set(written.files) == {keys[row] for row in rows}
            for row in rows:
                np.testing.assert_allclose(written[keys[row]], kept[row], atol=2e-5, rtol=2e-5)
    if not session.planes:
        return
    endings = dict(zip([c.label for c in session.conditions], condition_keys(session), strict=True))
    with np.load(folder / f"{session.name}.counts.npz") as counts:
        for number, plane in enumerate(session.planes, 1):
            for by in ((), ("condition",)):
                for group in swept_groups(session, plane, by):
                    name = {"baseline": "baseline"}.get(group.label) or endings.get(group.label, "pooled")
                    np.testing.assert_array_equal(counts[f"plane {number} {name}"], group.sweep.counts)


def write(session: Session, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    file = folder / "repeat.py"
    file.write_text(script(session, **options), encoding="utf-8")
    return file


CLAMP = {"site": MLP, "neurons": [3], "op": "clamp", "values": [-4, 4]}
EXPERIMENTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "values that vary together, at several places and positions": (
        [
            CLAMP,
            {"site": BELOW, "neurons": [5, 6], "op": "add", "values": [1, 2], "positions": "predicting"},
            {"site": HEADS, "heads": [1], "op": "scale", "values": [0, 2], "positions": "prompt"},
            {"site": RESIDUAL, "direction": "v.npz#v", "op": "steer", "values": [2, -2], "positions": [0, -1]},
        ],
        {},
    ),
    "sigma, a background, controls, the last position": (
        [
            {**CLAMP, "unit": "sigma", "values": [-2, 2]},
            {"site": HEADS, "heads": [0], "coordinates": [1], "op": "zero", "background": True, "positions": "all"},
        ],
        {"controls": {"neurons": 2}, "capture": {"reduce": "last", "positions": "predicting"}},
    ),
    "what takes no value, and the residual stream captured at positions": (
        [
            {"site": RESIDUAL, "direction": "v.npz#v", "op": "project_out"},
            {"site": MLP, "neurons": [3, 8], "op": "mean", "positions": "generated"},
        ],
        {
            "capture": {"sites": [RESIDUAL, HEADS], "positions": [0, -1]},
            "planes": [{"site": RESIDUAL, "a": 1, "b": "w_out(1.3)"}],
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_script_repeats_its_session(lab: Lab, name: str) -> None:
    interventions, changes = EXPERIMENTS[name]
    np.savez(lab.folder / "v.npz", v=np.random.default_rng(0).normal(size=32))
    session = lab.session(lab.experiment(*interventions, **changes))
    controls = "controls" in changes
    file = write(session, lab.folder / "repeat", controls=controls)
    runpy.run_path(str(file), run_name="__main__")
    check(session, file.parent, controls=controls)


@pytest.mark.process
def test_a_script_stands_by_itself_on_the_bundled_model(lab: Lab) -> None:
    """In a process of its own, which never meets this program."""
    site = "blocks.4.mlp.hook_post"
    session = lab.session(
        lab.experiment(
            {"site": site, "neurons": [488], "op": "clamp", "values": [-30, 30], "unit": "sigma"},
            model={"name": "demo", "dtype": "float32"},
            generation={"tokens": 12},
            capture={"sites": [site, "blocks.4.hook_resid_post"]},
            planes=[{"site": site, "a": 488, "b": 20}],
        )
    )
    file = write(session, lab.folder / "repeat")
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == {"json", "numpy", "torch"}
    environment = {**os.environ, "PYTHONPATH": str(file.parent)}
    done = subprocess.run(
        [sys.executable, str(file)], cwd=file.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "plane 1: most runs above" in done.stdout
    check(session, file.parent)


def test_what_no_script_repeats_is_refused_by_name() -> None:
    session = load_session(EXAMPLE)

    def changed(**tables: Any) -> Session:
        data = session.spec.to_dict()
        for name, table in tables.items():
            data[name] = {**data[name], **table} if isinstance(table, dict) else table
        return session.changed(spec=type(session.spec).from_dict(data))

    edit = session.spec.to_dict()["interventions"][0]
    patch = {"op": "patch", "values": [], "unit": "raw", "from": "baseline", "positions": "last"}
    imported = session_from(
        {MLP: np.eye(2, dtype=np.float32)}, [{"prompt": "p", "condition": label} for label in ("baseline", "+1")]
    )
    for refused, says in (
        (imported, "came from elsewhere"),
        (changed(generation={"mode": "sample", "temperature": 0.7}), "sampled"),
        (changed(capture={"sites": ["blocks.1.mlp.experts.2.hook_post"]}, planes=[]), "mixture of experts"),
        (changed(interventions=[{**edit, **patch}]), "patches"),
        (changed(interventions=[{**edit, "positions": {"token": " door"}}]), "text of a token"),
        (session.changed(resolved=()), "not known yet"),
    ):  # fmt: skip
        with pytest.raises(ExplorerError, match=says) as error:
            script(refused)
        assert "\n" not in str(error.value)


def test_a_model_over_several_gpus_is_loaded_over_as_many_and_one_from_the_disk_into_memory() -> None:
    session = load_session(EXAMPLE)
    for device, recorded, where, loads in (
        ("cuda:2-3", "cuda x 2 (NVIDIA H200)", "cuda:0", "n_devices=2"),
        ("auto", "cuda x 4 (NVIDIA H200)", "cuda:0", "n_devices=4"),
        ("auto", "cuda (NVIDIA H200)", "cuda", "device=DEVICE"),
        ("cpu+disk", "cpu+disk (AMD EPYC)", "cpu", "device=DEVICE"),
    ):
        spec = session.spec.model_copy(update={"model": session.spec.model.model_copy(update={"device": device})})
        text = script(session.changed(spec=spec, provenance={**session.provenance, "device": recorded}))
        assert f'DEVICE, DTYPE = "{where}", torch.' in text
        assert f"boot_transformers(MODEL, revision=REVISION, {loads}, dtype=DTYPE)" in text


def test_no_text_of_anybody_ends_a_literal_or_a_comment() -> None:
    hostile = ('"""\nimport os', "\\", "'\"\\'", "\u2028x\r\ny\x00\x85\ud800\u202e", "}} {% raw %} {{", "é…日")
    session = load_session(EXAMPLE)
    prompts = tuple(
        prompt.__class__(**{**vars(prompt), "text": hostile[at % len(hostile)], "set": hostile[at % 3]})
        for at, prompt in enumerate(session.prompts)
    )
    labelled = tuple(
        condition if condition.kind == "baseline" else condition.__class__(**{**vars(condition), "label": text})
        for condition, text in zip(session.conditions, hostile, strict=False)
    )
    made = session.changed(name=hostile[0], prompts=prompts, conditions=labelled)
    tree = ast.parse(script(made).encode("utf-8"))
    kinds = {type(node) for node in tree.body}
    assert kinds <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.If}
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert "os" not in names
    for text in hostile:
        assert ast.literal_eval(literal(text)) == text
