"""What lies between the panes and the engine: the draft, the session in view, and the ways from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.experiment import Site
from srm_explorer.engine.figures.captions import DEMO, coordinate_caption, site_caption
from srm_explorer.engine.session import Session, load_session
from srm_explorer.tui.explorer.draft import DraftFile, Drafting, as_draft, begin, draft_at
from srm_explorer.tui.explorer.model_info import Sizing
from srm_explorer.tui.explorer.naming import ask_and_copy
from srm_explorer.tui.explorer.palette_choices import commands_of
from srm_explorer.tui.explorer.planes import PlaneController
from srm_explorer.tui.explorer.runs import RunController
from srm_explorer.tui.explorer.startup import LaunchOptions
from srm_explorer.tui.explorer.studies import StudyController
from srm_explorer.tui.results.state import VIEWS
from srm_explorer.tui.widgets.status import Facts

if TYPE_CHECKING:
    from srm_explorer.engine.worker.protocol import Description
    from srm_explorer.tui.experiment.pane import InterventionPane
    from srm_explorer.tui.explorer.screen import ExplorerScreen
    from srm_explorer.tui.palette import Command
    from srm_explorer.tui.prompts.pane import PromptsPane
    from srm_explorer.tui.results.pane import ResultsPane
    from srm_explorer.tui.sessions.actions import Chosen


_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def facts_of(
    data: dict[str, Any], shape: Description | None, session: Session | None, path: Path | None, worker: str
) -> Facts:
    """Gather the facts.

    Args:
        data: the draft's experiment.
        shape: of its model; None where it is not known.
        session: in view; None where nothing of it is there yet.
        path: its file; None for no session.
        worker: words for how it is.
    """
    mark = ""
    if path is not None and (session is None or session.path is None):
        mark = "unsaved"
    elif session is not None and session.spec.to_dict() != data:
        mark = "edited"
    return Facts(_model_facts(data, shape), path.stem if path is not None else "", mark, worker)


def _model_facts(data: dict[str, Any], shape: Description | None) -> tuple[str, ...]:
    model = data["model"]
    facts = ["demo model" if model["name"] == DEMO else Path(model["name"]).name]
    sites: list[str] = data["capture"]["sites"]
    site = next((one["site"] for one in data["interventions"]), sites[0])
    width = f" ({shape.width(Site.parse(site)):,})" if shape is not None else ""  # pyright: ignore[reportArgumentType]
    facts.append(site_caption(site) + width)
    if data["planes"]:
        plane = data["planes"][0]
        at = plane["site"] or sites[0]
        facts.append(f"{coordinate_caption(at, plane['a'])} × {coordinate_caption(at, plane['b'])}")
    facts.append(str(shape.device if shape is not None else model["device"]))
    dtype: str = model["dtype"]
    facts.append(_DTYPES.get(dtype, dtype))
    return tuple(facts)


class ExplorerController:
    """Everything that the explorer does with an experiment and a session; made in a thread, opened on the screen's.

    Args:
        screen: the panes.
        start: what the program was started with.
    """

    def __init__(self, screen: ExplorerScreen, start: LaunchOptions) -> None:
        self._screen = screen
        file = DraftFile()
        draft, self._problems = begin(start, file)
        self.drafting = Drafting(draft, file, screen.cannot_keep)
        self.runs = RunController(screen, self)
        self.studies = StudyController(screen, self)
        self.planes = PlaneController(screen, self)
        self.sizing = Sizing(screen, self.drafting, self.runs.link, self.show_header)
        self.session: Session | None = None
        self._path: Path | None = None
        self._shown: Path | None = None

    @property
    def prompts(self) -> PromptsPane:
        """The pane of the prompts."""
        return self._screen.prompts

    @property
    def intervention(self) -> InterventionPane:
        """The pane of everything else of the experiment."""
        return self._screen.intervention

    @property
    def results(self) -> ResultsPane:
        """The pane of the session."""
        return self._screen.results

    def open(self) -> None:
        """Show the draft, open the session that was in view, and begin to watch runs."""
        draft = self.drafting.draft
        view = draft.view if draft.view in VIEWS else VIEWS[0]
        self.results.restore(
            theta=draft.theta, threshold=draft.threshold, view=view, by=draft.by, plane=draft.plane, tab=draft.tab
        )
        self.studies.furnish()
        self.results.study(self.studies.subject)
        self.show_draft(dict(draft.typed))
        self.drafting.keep()
        for problem in self._problems:
            self._screen.refuse(problem)
        self.runs.link.open()
        if draft.session is not None and Path(draft.session).exists():
            self.open_session(Path(draft.session))

    def close(self) -> str:
        """Keep the draft and leave the worker alone; return why the draft could not be kept."""
        self._screen.background.close()
        self.runs.link.close()
        return self.drafting.close()

    def show_draft(self, typed: dict[str, str] | None = None) -> None:
        """Show the experiment in the panes, count its prompts, and name it in the header."""
        data = self.drafting.data
        self.prompts.show(data["prompts"], data["model"], self.drafting.base)
        self.intervention.show(data, typed, self.drafting.base)
        self.sizing.show()
        self.show_header()

    def edit(self, data: dict[str, Any]) -> None:
        """Take an edited experiment."""
        if self.drafting.edit(data):
            self._screen.say("")
            self.show_draft()

    def edit_prompts(self, prompts: dict[str, Any]) -> None:
        """Take an edited table of prompts."""
        self.edit({**self.drafting.data, "prompts": prompts})

    def replace(self, data: dict[str, Any], name: str, base: Path) -> None:
        """Begin with another experiment."""
        self.drafting.replace(data, name, base)
        self.show_draft({})
        self._screen.say(f"the experiment is now '{name}'; u goes back to the one before")

    def undo(self) -> None:
        """Take the last edit back."""
        if self.drafting.undo():
            self.show_draft()
            self._screen.say("one edit back; U makes it again")
        else:
            self._screen.say("there is no edit to take back")

    def redo(self) -> None:
        """Make the edit again that was taken back."""
        if self.drafting.redo():
            self.show_draft()
            self._screen.say("one edit forward")
        else:
            self._screen.say("there is no edit to make again")

    def look_at(self, path: Path) -> None:
        """From now on this session is in view; its runs are shown as they come."""
        if path != self._path:
            self._path = path
            self.drafting.draft.session = str(path)
            self.drafting.keep()
            self.show_header()

    def look_away(self, path: Path) -> None:
        """A run that came to nothing is in view no more, but the session whose chart is there."""
        if path == self._path and path != self._shown:
            self._path = self._shown
            self.drafting.draft.session = str(self._shown) if self._shown is not None else None
            self.drafting.keep()
            self.show_header()

    def looks_at(self, path: Path | None) -> bool:
        """Whether this session is in view."""
        return path is not None and path == self._path

    def take_session(self, session: Session | None, path: Path | None = None) -> None:
        """Show a session, saved or growing."""
        self.session = session
        if session is not None and path is not None:
            self._shown = path
            self.look_at(path)
        self.results.take_session(session)
        self.show_header()

    def open_session(self, path: Path) -> None:
        """Open a saved session."""

        def opened(found: Session | ExplorerError) -> None:
            if isinstance(found, ExplorerError):
                self._screen.refuse(found)
            else:
                self.take_session(found, path)

        self._screen.background.run(lambda: load_session(path), opened)

    def duplicate(self, path: Path | None = None) -> None:
        """Make the experiment of the session in view, or of a saved one, the draft."""
        if path is None and self.session is None:
            self._screen.say("there is no session in view; o opens one")
        elif path is None and self.session is not None:
            self.replace(*as_draft(self.session))
        elif path is not None:
            self._screen.background.run(lambda: draft_at(path), self._take_experiment)

    def save_as(self) -> None:
        """Ask for another name, and copy the session in view to it."""
        session = self.session
        if session is None or session.path is None:
            self._screen.say("there is no saved session in view" + ("; this one still runs" if session else ""))
        else:
            ask_and_copy(self._screen, session, self.take_session)

    def chosen(self, chosen: Chosen | None) -> None:
        """Do what was chosen in the list of sessions."""
        if chosen is None:
            return
        match chosen.action:
            case "open":
                self.open_session(chosen.path)
            case "duplicate":
                self.duplicate(chosen.path)
            case "resume":
                self.runs.go_on(chosen.path)
            case "follow":
                self.runs.follow(chosen.path)

    def palette_commands(self) -> list[Command]:
        """Presets and sessions as commands of the palette."""
        return commands_of(self.replace, self.open_session)

    def turned(self) -> None:
        """Keep where the spotlight stands."""
        state, draft = self.results.state, self.drafting.draft
        draft.plane, draft.theta, draft.threshold = state.plane, state.theta, state.threshold
        draft.view, draft.by, draft.tab = state.view, tuple(state.by), self.results.tab
        self.drafting.keep()

    def log(self, line: str) -> None:
        """Add a line to the log."""
        self.results.log_line(line)

    def show_header(self) -> None:
        """Tell in the top line what the draft, the session and the worker are."""
        data = self.drafting.data
        session = self.session if self._shown == self._path else None
        self._screen.header.facts = facts_of(data, self.sizing.shape, session, self._path, self.runs.state.worker)

    def _take_experiment(self, found: tuple[dict[str, Any], str, Path] | ExplorerError) -> None:
        if isinstance(found, ExplorerError):
            self._screen.refuse(found)
        else:
            self.replace(*found)
