"""What is left for a worker that starts is taken once, in order, and not after its time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from srm_explorer.engine.experiment import read_experiment
from srm_explorer.engine.worker.client import submission
from srm_explorer.engine.worker.endpoint import here
from srm_explorer.engine.worker.protocol import Status, Submit, encode
from srm_explorer.engine.worker.spool import drain_spool, spool_job


def wish(name: str) -> Submit:
    experiment, source = read_experiment("quick")
    return submission(experiment, source.base, Path(f"/sessions/{name}.json"))


def test_what_is_left_is_taken_once_and_in_order() -> None:
    posted = [spool_job(here(), wish(name)) for name in "abc"]
    assert posted[1].withdraw()
    assert [Path(one.session).stem for one in drain_spool(here())] == ["a", "c"]
    assert list(drain_spool(here())) == []
    assert [one.withdraw() for one in posted] == [False, False, False]


def test_what_is_stale_or_no_submission_is_removed_and_not_taken() -> None:
    stale, whole = spool_job(here(), wish("stale")), spool_job(here(), wish("whole"))
    long_ago = time.time() - 3600
    os.utime(stale.path, (long_ago, long_ago))
    (here().spool / "1-torn.json").write_bytes(encode(wish("torn"))[:-40])
    (here().spool / "2-other.json").write_bytes(encode(Status()))
    assert [Path(one.session).stem for one in drain_spool(here())] == ["whole"]
    assert not whole.path.exists()
    assert list(here().spool.iterdir()) == []
