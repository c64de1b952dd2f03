"""Files of prompts that the screen makes are there whole or not at all, and the same again makes them."""

from __future__ import annotations

import contextlib
import resource
import signal
from pathlib import Path

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.prompts.catalogue import ListedSet, copy_of_shipped
from srm_explorer.tui.prompts.opening import make_of_lines
from tests.engine.session.test_session_rename import die_at, in_a_child

LINES = ["The door opened", "The rain stopped"]


def shipped() -> ListedSet:
    return ListedSet("reasoning", paths.shipped_prompts() / "reasoning.txt", "shipped")


def made() -> list[Path]:
    folder = paths.user_prompts_folder()
    return [file for file in folder.iterdir() if not file.name.startswith(".tmp-")] if folder.is_dir() else []


def test_on_a_full_disk_no_part_of_a_set_is_left() -> None:
    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        for act in (lambda: copy_of_shipped(shipped(), {}), lambda: make_of_lines("mine", LINES, [])):
            with contextlib.suppress(ExplorerError):
                act()
                raise AssertionError("it was written")

    assert in_a_child(fill) == 0
    assert made() == []
    copy = copy_of_shipped(shipped(), {})
    assert copy.name == "my-reasoning"
    assert copy.path is not None
    assert copy.path.read_bytes() == (paths.shipped_prompts() / "reasoning.txt").read_bytes()
    assert copy_of_shipped(shipped(), {}).path == copy.path
    copy.path.write_text("changed\n")
    assert copy_of_shipped(shipped(), {}).name == "my-reasoning-2"


def test_killed_at_any_instant_a_new_set_is_whole_or_can_be_made() -> None:
    ends: set[bool] = set()
    for step in range(20):

        def kill(step: int = step) -> None:
            die_at(step)
            make_of_lines(f"mine{step}", LINES, [])

        status = in_a_child(kill)
        path = paths.user_prompts_folder() / f"mine{step}.txt"
        ends.add(path in made())
        if path not in made():
            make_of_lines(f"mine{step}", LINES, [])
        assert path.read_text().splitlines() == LINES
        if status == 0:
            break
    assert ends == {True, False}
