"""One analysis in a process of its own, JSON on standard output.

`python -P -m srm_explorer.engine.launch.study NAME SESSION ARGUMENTS`; SESSION is the .json file of a session, or the
folder of a run that is not saved yet.

The screen stays smooth, and a study that is no longer wanted is ended with its process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from srm_explorer.engine.analyses.registry import Findings, run_study, study_session
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.runs.live import LiveRun
from srm_explorer.engine.session.codec import json_line


def main(arguments: list[str]) -> int:
    """Run one study; 1 and one line on standard error for what a user can do something about."""
    name, path, arguments_json = arguments
    try:
        findings = _findings(name, Path(path), json.loads(arguments_json))
    except ExplorerError as error:
        sys.stderr.write(f"{json.dumps([error.what, error.where, error.remedy])}\n")
        return 1
    sys.stdout.buffer.write(json_line(findings) + b"\n")
    return 0


def _findings(name: str, path: Path, arguments: dict[str, Any]) -> Findings:
    if path.suffix == ".json":
        return run_study(name, path, arguments)
    run = LiveRun(path)
    run.poll()
    if run.session is None:
        raise ExplorerError("nothing of this run is finished yet", where=path.stem)
    return study_session(name, run.session, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
