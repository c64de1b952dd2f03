"""Sessions made by hand, and the program called as a shell calls it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_explorer.engine import paths
from srm_explorer.engine.experiment import Experiment, conditions
from srm_explorer.engine.session import PlaneRecord, PromptRecord, RunRecord, Session, save_session
from srm_explorer.engine.stats.planes import coordinates, neuron_plane
from srm_explorer.tui.cli import main
from srm_explorer.tui.cli.json_fields import Printed

SITE, RESIDUAL = "blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"
WIDTH = 24


@dataclass(frozen=True)
class Ended:
    """What a call left behind."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def told_as_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test prints with `--json` has the fields that the reference tells, and no others."""
    as_text = Printed.text

    def text(self: Printed, data: Mapping[str, Any]) -> str:
        other = set(self.fields) ^ (set(data) - set(self.at_times))
        assert not other, f"{self.of}: say in json_fields.py what became of {', '.join(sorted(other))}"
        return as_text(self, data)

    monkeypatch.setattr(Printed, "text", text)


@pytest.fixture
def srm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Call the program in this process, on a pipe of 80 columns."""
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        # A command that was interrupted stays deaf to a further ctrl+c until its process ends; this one goes on.
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        status = main([str(argument) for argument in arguments])
        for number, handler in before.items():
            signal.signal(number, handler)
        told = capsys.readouterr()
        return Ended(status, told.out, told.err)

    return call


@pytest.fixture
def srm_process() -> Callable[..., subprocess.Popen[str]]:
    """Start the program in a process of its own."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        program = "import sys; from srm_explorer.tui.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.Popen(
            command,
            text=True,
            cwd=Path(__file__).parents[3],
            stdin=subprocess.DEVNULL,
            **{"stderr": subprocess.PIPE, **options},
        )

    return start


@pytest.fixture
def save() -> Callable[..., Session]:
    """Save a session under a name; see `a_session` for what it may be told."""

    def save_as(name: str = "storm", **told: Any) -> Session:
        session, vectors = a_session(**told)
        return save_session(session, paths.session_path(name), vectors=vectors).session

    return save_as


def a_session(
    interventions: Sequence[dict[str, Any]] | None = None,
    *,
    prompts: int = 4,
    reduce: str = "mean",
    samples: int = 1,
    finished: int | None = None,
    seed: int = 0,
    model: str = "gpt2",
    provenance: dict[str, Any] | None = None,
    factors: Sequence[str] = ("declarative", "observational"),
    planes: Sequence[dict[str, Any]] = ({"site": SITE, "a": 3, "b": 5},),
    zero_run: int | None = None,
) -> tuple[Session, dict[str, Any]]:
    """An experiment with random vectors, and those vectors by site."""
    default = [{"site": SITE, "neurons": [3], "op": "clamp", "values": [-3, 0, 0.5, 20]}]
    spec = Experiment.from_dict(
        {
            "model": {"name": model},
            "prompts": {"sets": ["reasoning"]},
            "interventions": default if interventions is None else list(interventions),
            "generation": {"mode": "sample", "samples": samples} if samples > 1 else {},
            "capture": {"sites": [SITE, RESIDUAL], "reduce": reduce},
            "planes": list(planes),
        }
    )
    listed = conditions(spec)
    grid = [(p, c, k) for p in range(prompts) for c in range(len(listed)) for k in range(samples)]
    runs = tuple(
        RunRecord(i, p, c, k, (7, i), f' said "{i}",\nthen more', 3, "length", 0.25 * i, {})
        for i, (p, c, k) in enumerate(grid[:finished])
    )
    rng = np.random.default_rng(seed)
    vectors: dict[str, Any] = {}
    for site in (SITE, RESIDUAL):
        rows = [rng.normal(size=(5 if reduce == "tokens" else 1, WIDTH)).astype(np.float32) for _ in runs]
        if zero_run is not None:
            rows[zero_run][:] = 0
        vectors[site] = rows if reduce == "tokens" else np.concatenate([np.empty((0, WIDTH), np.float32), *rows])
    records: list[PlaneRecord] = []
    for plane in spec.planes:
        site = spec.plane_site(plane)
        one = vectors[site]
        means = np.stack([row.mean(axis=0, dtype=np.float64) for row in one]) if reduce == "tokens" else one
        xy, norm = coordinates(means, neuron_plane(WIDTH, plane.a, plane.b))
        records.append(PlaneRecord.of(site, plane.a, plane.b, xy, norm))
    session = Session(
        name="storm",
        state="finished" if finished is None else "interrupted",
        spec=spec,
        conditions=listed,
        resolved=tuple(
            tuple(
                None if value is None else (value,) * max(1, len(one.neurons))
                for one, value in zip(spec.interventions, condition.values, strict=True)
            )
            for condition in listed
        ),
        prompts=tuple(
            PromptRecord("reasoning", f"If it rains, {i}", {"type": factors[i % len(factors)]}, (5, i), 0, f"{i:064x}")
            for i in range(prompts)
        ),
        runs=runs,
        planes=tuple(records),
        provenance=provenance or {},
    )
    return session, vectors
