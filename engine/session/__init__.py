"""What a finished or interrupted experiment is as saved, and the files it is saved in."""

from engine.session.records import Finish, PlaneRecord, PromptRecord, RunRecord
from engine.session.rename import rename_session
from engine.session.session import SCHEMA_VERSION, Resolved, Session, Sidecar, State
from engine.session.store import Saved, load_session, save_session, sessions_in, trash_session

__all__ = [
    "SCHEMA_VERSION",
    "Finish",
    "PlaneRecord",
    "PromptRecord",
    "Resolved",
    "RunRecord",
    "Saved",
    "Session",
    "Sidecar",
    "State",
    "load_session",
    "rename_session",
    "save_session",
    "sessions_in",
    "trash_session",
]
