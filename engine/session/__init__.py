"""What a finished or interrupted experiment is as saved, and the files it is saved in."""

from __future__ import annotations

from srm_explorer.engine.session.codec import DamagedError, Number, Table, Text, Whole, plain, read_record
from srm_explorer.engine.session.ledger import ComputedTest, Counted, Entry, Ledger, check_family, record_tests
from srm_explorer.engine.session.session import (
    SCHEMA_VERSION,
    UNIT_FACTOR,
    Finish,
    PlaneRecord,
    PromptRecord,
    Resolved,
    RunRecord,
    Session,
    Sidecar,
    State,
    Units,
    units_of,
)
from srm_explorer.engine.session.store import (
    Saved,
    is_listed,
    load_session,
    rename_session,
    save_session,
    sessions_in,
    trash_session,
)

__all__ = [
    "SCHEMA_VERSION",
    "UNIT_FACTOR",
    "ComputedTest",
    "Counted",
    "DamagedError",
    "Entry",
    "Finish",
    "Ledger",
    "Number",
    "PlaneRecord",
    "PromptRecord",
    "Resolved",
    "RunRecord",
    "Saved",
    "Session",
    "Sidecar",
    "State",
    "Table",
    "Text",
    "Units",
    "Whole",
    "check_family",
    "is_listed",
    "load_session",
    "plain",
    "read_record",
    "record_tests",
    "rename_session",
    "save_session",
    "sessions_in",
    "trash_session",
    "units_of",
]
