"""Planes that are added to the session in view: made in a thread, saved, and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srm_explorer.engine.analyses.captured import check_captured
from srm_explorer.engine.analyses.directions import Vector, file_vectors, missing_weights, weights_in
from srm_explorer.engine.analyses.planes import find_plane, with_plane
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.experiment.directions import canonical
from srm_explorer.engine.figures.captions import plane_title
from srm_explorer.engine.figures.table import PlaneChoice
from srm_explorer.engine.io.vectors import read_vectors
from srm_explorer.engine.session import Saved, Session, save_session
from srm_explorer.tui.widgets.dialogs import Ask

if TYPE_CHECKING:
    from pathlib import Path

    from srm_explorer.tui.explorer.controller import ExplorerController
    from srm_explorer.tui.explorer.screen import ExplorerScreen


DIRECTIONS_TOLD = (
    "a neuron's number, mean(type=declarative), difference(type=x | type=y), pc1, random(0), w_out(11.373), "
    "w_in(11.373), file.npz#key; another site's plane: blocks.11.hook_resid_post : pc1 ; pc2"
)


@dataclass(frozen=True)
class _Wanted:
    """A plane that is to be made, of which session, and as a person typed it."""

    session: Session
    path: Path
    choice: PlaneChoice
    typed: str


@dataclass(frozen=True)
class _Added:
    """The session a plane was added to, what became of the save, and the plane's place."""

    before: Session
    saved: Saved
    place: int


class PlaneController:
    """Adds planes to the session in view.

    Args:
        screen: where lines are said.
        desk: has the session in view.
    """

    def __init__(self, screen: ExplorerScreen, desk: ExplorerController) -> None:
        self._screen, self._desk = screen, desk
        self._busy = False

    def add(self, choice: PlaneChoice, typed: str = "") -> None:
        """Show a plane of the session in view; one that it has not got yet is made of its vectors and saved first.

        Args:
            choice: the plane.
            typed: as a person typed it, who is asked again where it means nothing.
        """
        session = self._desk.session
        if session is None:
            self._screen.say("there is no session in view; o opens one")
            return
        try:
            there = find_plane(session, choice)
        except ExplorerError as error:
            self._screen.refuse(error)
            return
        if there is not None:
            self._show(there)
            self._screen.say(f"plane {there + 1}: {plane_title(session.planes[there])}")
        elif session.path is None:
            self._screen.say("planes are added to saved sessions; this one still runs")
        elif self._busy:
            self._screen.say("the plane before is still being made; try again")
        else:
            self._make(_Wanted(session, session.path, choice, typed))

    def heard(self, tag: object, answer: Mapping[str, Any] | ExplorerError, *, waits: bool = False) -> None:
        """Go on with a plane whose weights the worker has read, if that is what it answered."""
        if not isinstance(tag, _Wanted):
            return
        if waits:
            self._screen.say(f"the plane waits: {answer}")
        elif isinstance(answer, ExplorerError):
            self._take(answer, tag.typed)
        else:
            self._begin(tag, weights_in(answer))

    def _make(self, wanted: _Wanted) -> None:
        choice = wanted.choice
        try:
            missing = missing_weights(wanted.session, choice.site, [choice.a, choice.b])
        except ExplorerError as error:
            self._take(error, wanted.typed)
            return
        self._busy = True
        if missing:
            self._screen.say("the worker reads the model's weights for the plane …")
            base = self._desk.drafting.base
            link = self._desk.runs.link
            link.study("directions", str(wanted.path), {}, {"directions": missing}, base, wanted)
        else:
            self._begin(wanted, {})

    def _begin(self, wanted: _Wanted, weights: Mapping[str, Vector]) -> None:
        base = self._desk.drafting.base
        self._screen.say("making the plane of the session's vectors …")
        self._screen.background.run(
            lambda: _added(wanted, base, weights), lambda found: self._take(found, wanted.typed)
        )

    def ask(self, typed_before: str = "", problem_before: str = "") -> None:
        """Have two directions typed, and make their plane; what meant nothing is asked for again with its reason."""
        session = self._desk.session
        if session is None or not session.spec.capture.sites:
            self._screen.say("there is no session in view; o opens one")
            return
        record = self._desk.results.state.record()
        site = record.site if record is not None else session.spec.capture.sites[0]
        value = typed_before or (" ; ".join(str(one) for one in (record.a, record.b)) if record is not None else "")

        def problem(line: str) -> str:
            try:
                typed_plane(line, site)
            except ExplorerError as error:
                return str(error)
            return ""

        def typed(line: str | None) -> None:
            if line is not None:
                self.add(typed_plane(line, site), line)

        detail = f"{problem_before}\n\n{DIRECTIONS_TOLD}" if problem_before else DIRECTIONS_TOLD
        ask = Ask("a plane of two directions, with ; between them", value, detail=detail, check=problem)
        self._screen.app.push_screen(ask, typed)

    def _take(self, found: _Added | ExplorerError, typed: str) -> None:
        self._busy = False
        if isinstance(found, ExplorerError):
            self._screen.refuse(found)
            if typed and self._screen.in_view:
                self.ask(typed, str(found))
            return
        saved = found.saved
        told = (
            saved.told or f"plane {found.place + 1} added and saved: {plane_title(saved.session.planes[found.place])}"
        )
        if self._desk.session is found.before:
            self._desk.take_session(saved.session, saved.path)
            self._show(found.place)
        self._screen.say(told, "good")

    def _show(self, place: int) -> None:
        results = self._desk.results
        results.state.go_to_plane(place)
        results.open_tab("Polar")


def typed_plane(line: str, site: str) -> PlaneChoice:
    """Read a plane as a person types it: `488 ; pc1`, or `blocks.4.hook_resid_post : pc1 ; pc2` for another site's.

    Raises:
        ExplorerError: there are not two directions, or one means nothing.
    """
    told, colon, rest = line.partition(" : ")
    if colon:
        site, line = told.strip(), rest
    parts = [part.strip() for part in line.split(";")]
    if len(parts) != 2 or not all(parts):
        raise ExplorerError("a plane has two directions", remedy="write 488 ; mean(type=declarative)")
    a, b = (canonical(part) for part in parts)
    return PlaneChoice(str(Site.parse(site)), a, b)


def _added(wanted: _Wanted, base: Path, weights: Mapping[str, Vector]) -> _Added:
    session, choice = wanted.session, wanted.choice
    vectors = read_vectors(session.vectors_path(), runs=len(session.runs), sites=[choice.site])
    check_captured(session, choice.site)
    outside = {**file_vectors([choice.a, choice.b], base), **weights}
    changed = with_plane(session, vectors[choice.site], choice, outside)
    return _Added(session, save_session(changed, wanted.path), len(changed.planes) - 1)
