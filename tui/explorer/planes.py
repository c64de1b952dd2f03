"""Planes that are added to the session in view: made in a thread, saved, and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_explorer.engine.analyses.directions import Vector, file_vectors, missing_weights, weights_in
from srm_explorer.engine.analyses.planes import find_plane, with_plane
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.experiment.directions import canonical
from srm_explorer.engine.figures.captions import plane_title
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.session import Saved, Session, save_session
from srm_explorer.engine.session.export import chosen_site
from srm_explorer.tui.backend.link import WorkerLink
from srm_explorer.tui.explorer.draft import DraftEditor
from srm_explorer.tui.explorer.session_in_view import SessionInView
from srm_explorer.tui.explorer.view import ExplorerView
from srm_explorer.tui.widgets.dialogs import Ask, refusal

DIRECTIONS_HELP = (
    "a neuron's number, mean(type=declarative), difference(type=x | type=y), pc1, random(0), w_out(11.373), "
    "w_in(11.373), file.npz#key; another site's plane: blocks.11.hook_resid_post : pc1 ; pc2"
)


@dataclass(frozen=True)
class _PlaneRequest:
    """A plane that is to be made, of which session, and as a person typed it."""

    session: Session
    path: Path
    choice: PlaneChoice
    typed: str


@dataclass(frozen=True)
class _AddedPlane:
    """The session a plane was added to, what became of the save, and the plane's index."""

    before: Session
    saved: Saved
    index: int


class PlaneController:
    """Adds planes to the session in view.

    Args:
        view: where lines are said.
        editor: has the folder that paths in a direction start from.
        sessions: has the session in view.
        link: leads to the worker, which reads weights.
    """

    def __init__(self, view: ExplorerView, editor: DraftEditor, sessions: SessionInView, link: WorkerLink) -> None:
        self._view, self._editor, self._sessions, self._link = view, editor, sessions, link
        self._busy = False

    def add(self, choice: PlaneChoice, typed: str = "") -> None:
        """Show a plane of the session in view; one that it has not got yet is made of its vectors and saved first.

        Args:
            choice: the plane.
            typed: as a person typed it, who is asked again where it means nothing.
        """
        session = self._sessions.session
        if session is None:
            self._view.say("there is no session in view; o opens one")
            return
        try:
            index = find_plane(session, choice)
        except ExplorerError as error:
            self._view.refuse(error)
            return
        if index is not None:
            self._show(index)
            self._view.say(f"plane {index + 1}: {plane_title(session.planes[index])}")
        elif session.path is None:
            self._view.say("planes are added to saved sessions; this one still runs")
        elif self._busy:
            self._view.say("the plane before is still being made; try again")
        else:
            self._make(_PlaneRequest(session, session.path, choice, typed))

    def take_answer(self, tag: object, answer: Mapping[str, Any] | ExplorerError, *, waits: bool = False) -> None:
        """Go on with a plane whose weights the worker has read, if that is what it answered."""
        if not isinstance(tag, _PlaneRequest):
            return
        if waits:
            self._view.say(f"the plane waits: {answer}")
        elif isinstance(answer, ExplorerError):
            self._take(answer, tag.typed)
        else:
            self._begin(tag, weights_in(answer))

    def _make(self, request: _PlaneRequest) -> None:
        choice = request.choice
        try:
            missing = missing_weights(request.session, choice.site, [choice.a, choice.b])
        except ExplorerError as error:
            self._take(error, request.typed)
            return
        self._busy = True
        if missing:
            self._view.say("the worker reads the model's weights for the plane …")
            base = self._editor.base
            self._link.study("directions", str(request.path), {}, {"directions": missing}, base, request)
        else:
            self._begin(request, {})

    def _begin(self, request: _PlaneRequest, weights: Mapping[str, Vector]) -> None:
        base = self._editor.base
        self._view.say("making the plane of the session's vectors …")
        self._view.background.run(
            lambda: _added(request, base, weights), lambda added: self._take(added, request.typed)
        )

    def ask(self, typed_before: str = "", problem_before: str = "") -> None:
        """Have two directions typed, and make their plane; what meant nothing is asked for again with its reason."""
        session = self._sessions.session
        if session is None:
            self._view.say("there is no session in view; o opens one")
            return
        if not session.spec.capture.sites:
            self._view.say("this session holds texts alone, no vectors that a plane could show")
            return
        record = self._view.results.state.record()
        site = record.site if record is not None else session.spec.capture.sites[0]
        value = typed_before or (f"{record.a} ; {record.b}" if record is not None else "")

        def problem(line: str) -> str:
            return refusal(lambda: typed_plane(line, site))

        def typed(line: str | None) -> None:
            if line is not None:
                self.add(typed_plane(line, site), line)

        detail = f"{problem_before}\n\n{DIRECTIONS_HELP}" if problem_before else DIRECTIONS_HELP
        ask = Ask("a plane of two directions, with ; between them", value, detail=detail, check=problem)
        self._view.ask(ask, typed)

    def _take(self, added: _AddedPlane | ExplorerError, typed: str) -> None:
        self._busy = False
        if isinstance(added, ExplorerError):
            self._view.refuse(added)
            if typed and self._view.in_view:
                self.ask(typed, str(added))
            return
        saved = added.saved
        title = plane_title(saved.session.planes[added.index])
        if self._sessions.session is added.before:
            self._sessions.take(saved.session, saved.path)
            self._show(added.index)
        self._view.say(saved.note or f"plane {added.index + 1} added and saved: {title}", "good")

    def _show(self, index: int) -> None:
        results = self._view.results
        results.state.go_to_plane(index)
        results.open_tab("Polar")


def typed_plane(line: str, site: str) -> PlaneChoice:
    """Read a plane as a person types it: `488 ; pc1`, or `blocks.4.hook_resid_post : pc1 ; pc2` for another site's.

    Raises:
        ExplorerError: there are not two directions, or one means nothing.
    """
    first, colon, rest = line.partition(" : ")
    if colon:
        site, line = first.strip(), rest
    parts = [part.strip() for part in line.split(";")]
    if len(parts) != 2 or not all(parts):
        raise ExplorerError("a plane has two directions", remedy="write 488 ; mean(type=declarative)")
    a, b = (canonical(part) for part in parts)
    return PlaneChoice(str(Site.parse(site)), a, b)


def _added(request: _PlaneRequest, base: Path, weights: Mapping[str, Vector]) -> _AddedPlane:
    session, choice = request.session, request.choice
    vectors = session.vectors([choice.site])
    chosen_site(session, choice.site)
    outside = {**file_vectors([choice.a, choice.b], base), **weights}
    changed = with_plane(session, vectors[choice.site], choice, outside)
    return _AddedPlane(session, save_session(changed, request.path), len(changed.planes) - 1)
