"""One analysis in a process of its own, JSON on standard output.

`python -P -m srm_explorer.engine.analyses NAME SESSION ARGUMENTS`.

The screen stays smooth, and a study that is no longer wanted is ended with its process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from srm_explorer.engine.analyses.registry import run_study
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.session.codec import json_line


def main(arguments: list[str]) -> int:
    """Run one study; 1 and one line on standard error for what a user can do something about."""
    name, path, arguments_json = arguments
    try:
        findings = run_study(name, Path(path), json.loads(arguments_json))
    except ExplorerError as error:
        sys.stderr.write(f"{json.dumps([error.what, error.where, error.remedy])}\n")
        return 1
    sys.stdout.buffer.write(json_line(findings) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
