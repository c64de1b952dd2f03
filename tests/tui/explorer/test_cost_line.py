"""What a run will cost stands under the form before `r` is pressed, in the words of `run --plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.experiment import ModelShape, read_experiment
from srm_explorer.engine.runs.pace import keep_pace
from srm_explorer.engine.worker.protocol import Description
from srm_explorer.tui.cli import main
from srm_explorer.tui.experiment.cost import estimate_here

SHAPE = ModelShape("demo", n_layers=6, d_model=128, d_mlp=512, n_ctx=256)
SIZES = Description(
    shape=SHAPE,
    device="cpu",
    is_demo=True,
    sites=(),
    weight_bytes=12_000_000,
    kv_width=128,
    n_vocab=4096,
    free_bytes=10**10,
)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_the_cost_line_tells_time_and_memory_before_the_first_run_as_the_plan_does(
    drive: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: tuple[int, int]
) -> None:
    experiment, _ = read_experiment("demo")
    keep_pace(experiment.model, tmp_path, rate=2000.0, sizes=SIZES.model_dump(mode="json"))
    async with drive(size=size) as (app, pilot, until):
        await pilot.press("2")
        await until(lambda: "about 10 s" in app.text(), "the time")
        cost, pace = estimate_here(experiment, tmp_path, 50, units=50)
        assert not pace.is_learned
        for fact, unit in zip(cost.facts()[2:4], (" s", " MB"), strict=True):
            assert fact in app.text()
            assert fact.endswith(unit)
        keep_pace(experiment.model, tmp_path, rate=4000.0, is_learned=True)
        app.explorer.controller.model_info.count()
        await until(lambda: "about 5 s" in app.text(), "what a run told")
    cost, pace = estimate_here(experiment, tmp_path, 50, units=50)
    assert pace.is_learned
    capsys.readouterr()
    assert main(["run", "demo", "--plan"]) == 0
    assert " · ".join(cost.facts()) in capsys.readouterr().out.splitlines()[0]
