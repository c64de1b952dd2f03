"""The session that ships, copied for this process: what is recorded of it in tests stays out of the source tree."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_SHIPPED = Path(__file__).parents[1] / "saved_sessions"
_FOLDER = Path(tempfile.mkdtemp(prefix="srm-example-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

EXAMPLE = _FOLDER / "example.json"
for _ending in ("json", "safetensors"):
    shutil.copy(_SHIPPED / f"example.{_ending}", _FOLDER)
