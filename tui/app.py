"""The full-screen app: which screen is shown, how it looks, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import sys
from collections.abc import Generator, Sequence
from typing import Any, ClassVar

from textual import events, messages
from textual._compositor import CompositorUpdate
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input

from srm_explorer.engine import ExplorerError, paths
from srm_explorer.tui.explorer.screen import ExplorerScreen
from srm_explorer.tui.explorer.startup import ExitSummary, LaunchOptions
from srm_explorer.tui.glyphs import glyphs
from srm_explorer.tui.keys import known_ids
from srm_explorer.tui.palette import Commands, Palette
from srm_explorer.tui.settings import (
    TEMPLATE,
    Settings,
    count_use,
    keep_theme,
    load_settings,
    settings_path,
    unknown_keys,
)
from srm_explorer.tui.terminal import replies, selecting, textual_patches, wide_text
from srm_explorer.tui.terminal.clipboard import copy_sequence, copy_to_file, wrapped
from srm_explorer.tui.terminal.driver import TerminalDriver
from srm_explorer.tui.terminal.editor import edit_file
from srm_explorer.tui.terminal.jobs import JobControl
from srm_explorer.tui.terminal.replies import TerminalReply
from srm_explorer.tui.terminal.shown_cells import CellsUpdate, ShownCells
from srm_explorer.tui.terminal.textual_patches import KeyOrder, LastingWriter
from srm_explorer.tui.themes import NAMES, READABLE, readable
from srm_explorer.tui.widgets.dialogs import TooSmall, has_room
from srm_explorer.tui.widgets.plain_lines import draw_lines
from srm_explorer.tui.widgets.status import StatusLine
from srm_explorer.tui.widgets.still import Stills


class ExplorerApp(KeyOrder[ExitSummary]):
    """The explorer over one terminal, with the settings of the user's file by default."""

    TITLE = "srm-explorer"
    COMMANDS: ClassVar[set[Any]] = {Commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon,ctrl+p", "command_palette", "commands", id="palette", tooltip="Find anything by what it does"),
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, id="app.quit", tooltip="Leave; a run goes on"),
        Binding(
            "ctrl+z",
            "suspend_process",
            "Suspend",
            show=False,
            priority=True,
            id="app.suspend",
            tooltip="Go back to the shell, a run goes on; fg there brings the screen back",
        ),
        Binding(
            "ctrl+l",
            "redraw",
            "Redraw",
            show=False,
            id="app.redraw",
            tooltip="Draw the whole screen again, where another program wrote into it",
        ),
        Binding(
            "I",
            "pictures",
            "Pictures",
            show=False,
            id="app.pictures",
            tooltip="Draw charts as pictures where the terminal shows them, or as characters again",
        ),
    ]

    def __init__(self, start: LaunchOptions | None = None, settings: Settings | None = None) -> None:
        super().__init__()
        textual_patches.install_lasting_writer()
        textual_patches.install_quiet_focus()
        textual_patches.install_skipped_frames()
        textual_patches.install_whole_paste()
        textual_patches.install_steady_cursor()
        replies.install(self.driver_class)
        wide_text.install()
        selecting.install()
        self._jobs = JobControl(self)
        self.stills = Stills(self, self._forget_shown)
        self.shown = ShownCells()
        self._writer: object = None
        # Over SSH every frame of an animation is a burst of bytes.
        self.animation_level = "none"
        self._start = start or LaunchOptions()
        self._use(self._read_settings() if settings is None else settings)
        self.explorer = ExplorerScreen(self._start, hints=self.settings.hints_left > 0)
        self.status = 0
        self._is_used = False
        self._is_left = False

    def get_driver_class(self) -> type[Driver]:
        driver = super().get_driver_class()
        return TerminalDriver if driver is LinuxDriver else driver

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Textual's, in colours that can be read; asked for before anything could be registered."""
        return {**super().available_themes, **READABLE, **getattr(self, "_theme_in_use", {})}

    def get_theme(self, theme_name: str) -> Theme | None:
        """As Textual does, without joining all of them first: styles ask for each widget whether the theme is dark."""
        for themes in (getattr(self, "_theme_in_use", {}), READABLE):
            if theme_name in themes:
                return themes[theme_name]
        return super().get_theme(theme_name)

    @property
    def user_keys(self) -> dict[str, str]:
        return dict(self.settings.keys)

    def get_default_screen(self) -> ExplorerScreen:
        return self.explorer

    def on_mount(self) -> None:
        """End well also where the terminal goes away or the system asks for it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._end, 128 + number)
        self._jobs.watch()

    def on_explorer_screen_loaded(self) -> None:
        self.tell_settings()
        self.stills.begin(self.settings.pictures)

    def on_terminal_reply(self, reply: TerminalReply) -> None:
        self.stills.take(reply.sequence)

    def on_terminal_gone(self) -> None:
        """End as by a hangup, whose signal may be ignored or not meant for this process."""
        self._end(128 + signal.SIGHUP)

    def _display(self, screen: Screen[object], renderable: Any) -> None:
        writer = getattr(self._driver, "_writer_thread", None)
        if writer is not self._writer:
            # The terminal was left to others meanwhile.
            self._writer = writer
            self.shown.forget()
        update: Any = CellsUpdate(renderable, self.shown) if isinstance(renderable, CompositorUpdate) else renderable
        super()._display(screen, update)
        if screen is self.screen:
            self.stills.painted(renderable)

    async def on_event(self, event: events.Event) -> None:
        """Who presses a key, or a button of the mouse, has seen what was said before."""
        if isinstance(event, events.Key | events.MouseDown) and not event.is_forwarded and self.screen_stack:
            self._is_used = True
            for line in self.screen.query(StatusLine):
                line.make_way()
        await super().on_event(event)

    def on_resize(self, event: events.Resize) -> None:
        # A terminal that became smaller, and larger again, has lost what was beyond.
        self._forget_shown()
        if has_room(event.size) == isinstance(self.screen, TooSmall):
            if isinstance(self.screen, TooSmall):
                self.pop_screen()
            else:
                self.push_screen(TooSmall())

    def tell_settings(self) -> None:
        self._warn(self.settings.problems)
        if self.settings.keys:
            self.explorer.background.run(self._check_keys)

    def edit_settings(self) -> None:
        """Open the settings file in the user's editor, then read it again."""
        path = settings_path()
        try:
            if not path.exists():
                # The first frame waits for what is imported with this module.
                from srm_explorer.engine.io.files import write_atomic

                write_atomic(path, TEMPLATE.encode())
            failed = edit_file(self, path)
        except ExplorerError as error:
            self.explorer.refuse(error)
            return
        self._use(self._read_settings())
        self._look_again()
        self.tell_settings()
        if failed:
            self.explorer.say(f"{failed}; the settings were read again as they are", "error")

    def choose_theme(self, theme: str) -> None:
        """Draw everything in another theme, and keep it in the settings file."""
        self._use(dataclasses.replace(self.settings, theme=theme))
        self._look_again()
        try:
            is_kept = keep_theme(theme)
        except ExplorerError as error:
            self.explorer.refuse(error)
            return
        origin = self.settings.origins.get("theme", "")
        if not is_kept:
            self.explorer.say(f"theme {theme}, for this time: {settings_path()} is no TOML, and left alone", "warning")
        elif origin.startswith(("SRM_EXPLORER", "--")):
            self.explorer.say(f"theme {theme}, kept; where {origin} is given, that goes before it")
        else:
            self.explorer.say(f"theme {theme}, kept in the settings")

    def copy_to_clipboard(self, text: str) -> None:
        """Have the terminal keep a text; one that it would not take goes to a file."""
        sequence = copy_sequence(text)
        self._clipboard = text
        if sequence is not None and self._driver is not None:
            self._driver.write(sequence)
            self._driver.flush()
            lines = text.count("\n") + 1
            self.explorer.say(f"copied {lines:,} line{'s' if lines > 1 else ''} to the clipboard", "good")
            return
        try:
            written = copy_to_file(text, paths.state_folder())
        except ExplorerError as error:
            self.explorer.refuse(error)
        else:
            self.explorer.say(f"this terminal does not take it; it is in {written}", "warning")

    def ring(self, line: str) -> None:
        """Draw attention to the end of a run, as the settings wish."""
        if self._driver is None or self.settings.bell == "none":
            return
        sequence = "\x07" if self.settings.bell == "bell" else wrapped(f"\x1b]9;{line}\x07")
        self._driver.write(sequence)
        self._driver.flush()

    def take_paste(self, event: events.Paste) -> bool:
        """Give pasted lines to whom they are for, else refuse them aloud: a line of text would keep the first alone."""
        is_line = isinstance(self.focused, Input)
        if hasattr(self.focused, "_on_paste") and not is_line:
            # A text of several lines.
            return False
        lines = [line for line in event.text.splitlines() if line.strip()]
        if is_line and len(lines) <= 1:
            event.text = lines[0] if lines else ""
            return False
        inside: Sequence[DOMNode] = [] if self.focused is None else [self.focused, *self.focused.ancestors]
        takers = [take for node in inside if (take := getattr(node, "take_lines", None)) is not None]
        if lines and not any(take(lines) for take in takers):
            what = f"{len(lines):,} lines were pasted" if len(lines) > 1 else "a line was pasted"
            why = "there is room for one" if is_line else "nothing in focus takes text"
            say = getattr(self.screen, "say", self.explorer.say)
            say(f"{what}, and {why}: nothing is taken", "warning")
        return True

    @contextlib.contextmanager
    def suspend(self) -> Generator[None]:
        """Leave the terminal to others, and job control with it."""
        with self._jobs.left_to_the_system(), super().suspend():
            yield

    def action_suspend_process(self) -> None:
        if not self._jobs.stop():
            self.explorer.say("there is no shell to go back to; q quits", "warning")

    def action_redraw(self) -> None:
        self._forget_shown()
        self.screen.refresh()

    def action_pictures(self) -> None:
        try:
            self.stills.toggle()
        except ExplorerError as error:
            getattr(self.screen, "refuse", self.explorer.refuse)(error)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette | TooSmall):
            self.push_screen(Palette())

    def action_leave(self) -> None:
        self._end(0)

    async def action_quit(self) -> None:
        self._end(0)

    def action_help_quit(self) -> None:
        self.explorer.say("q quits; a run goes on without the screen")

    def on_exit_app(self, message: messages.ExitApp) -> None:
        """Leave well also where the page of a browser was closed."""
        if not self.leaving:
            message.prevent_default()
            self._end(0)

    def _end(self, status: int) -> None:
        if self.leaving:
            return
        self.leaving = True
        self.status = status
        # Where a signal came while an editor had the terminal, what was edited is on its way into the draft.
        self.call_behind_messages(self._leave)

    async def _leave(self) -> None:
        if self._is_left:
            return
        self._is_left = True
        self._jobs.leave()
        self.stills.end()
        if self._is_used and self.explorer.has_hints:
            # A file that cannot be written is told when something is set in it, and the hints stay.
            with contextlib.suppress(ExplorerError):
                count_use()
        self.exit(self.explorer.leave())

    def _forget_shown(self) -> None:
        """Take the terminal for one that shows something else than what was written."""
        self.shown.forget()
        writer = getattr(self._driver, "_writer_thread", None)
        if isinstance(writer, LastingWriter):
            writer.forget()

    def _check_keys(self) -> None:
        self.call_later(self._warn, unknown_keys(self.settings, known_ids()))

    def _warn(self, problems: Sequence[str]) -> None:
        if problems:
            self.notify("\n".join(problems), title="settings", severity="warning", timeout=15, markup=False)

    def _read_settings(self) -> Settings:
        settings = load_settings(command_line=self._start.settings)
        if "utf" in (getattr(sys.__stderr__, "encoding", None) or "utf").lower():
            return settings
        # In what else a terminal is written in, each sign would be one question mark.
        return dataclasses.replace(settings, glyphs="ascii", markers="ascii")

    def _look_again(self) -> None:
        self.refresh(layout=True)
        self.explorer.refresh_look()

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        self.glyphs = glyphs(settings.glyphs)
        draw_lines(plain=settings.glyphs == "ascii")
        name = NAMES.get(settings.theme, settings.theme)
        self._theme_in_use = {name: readable(name)}
        self.theme = name
        self.set_keymap(dict(settings.keys))


def run_app(start: LaunchOptions | None = None) -> int:
    """Show the full screen until it is left, say what there is to say then, and return the exit status."""
    app = ExplorerApp(start)
    summary = app.run()
    # A page's server takes what is on standard output for the screen, and passes on what is not.
    output = sys.stderr if app.is_web else sys.stdout
    for line in summary.lines() if summary is not None else ():
        # Nobody is left to be told where the terminal is gone.
        with contextlib.suppress(OSError):
            print(line, flush=True, file=output)
    return app.status or app.return_code or 0
