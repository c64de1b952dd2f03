"""What was chosen in the list of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Action = Literal["open", "duplicate", "resume", "follow"]


@dataclass(frozen=True)
class Chosen:
    """What the explorer is asked to do with a session.

    Attributes:
        action: "open" a saved one, take its spec as a new draft ("duplicate"), go on with an interrupted one
            ("resume"), or attach to one that is not saved yet ("follow").
        path: its .json file, which need not exist for "follow", "resume" and "duplicate".
    """

    action: Action
    path: Path
