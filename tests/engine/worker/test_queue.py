"""The worker's queue: what a job goes on with is found under any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from srm_explorer.engine.runs import Outcome, rename_session
from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.worker.__main__ import Worker
from srm_explorer.engine.worker.client import submission
from srm_explorer.engine.worker.queue import JobQueue
from tests.example import EXAMPLE


def test_a_job_goes_on_with_what_was_renamed_while_it_waited(tmp_path: Path) -> None:
    saved = save_session(load_session(EXAMPLE), tmp_path / "before.json").session
    new = tmp_path / "new.json"
    queue, ran = JobQueue(), list[Path]()

    def run(experiment: Any, base: Path, path: Path, **_: Any) -> Outcome:
        ran.append(path)
        return Outcome(None, path, "interrupted")

    for path in (tmp_path / "before.json", new):
        queue.submit(submission(saved.spec, tmp_path, path))
    after = rename_session(tmp_path / "before.json", "after")
    assert [job.session for job in queue.states()] == [str(after), str(new)]
    again = rename_session(after, "again")
    assert queue.submit(submission(saved.spec, tmp_path, again))[1], "it is on its way"
    after = rename_session(again, "after")
    Worker(queue, run, lambda: False, lambda line: None).work(idle_exit=0)
    assert ran == [after, new]
