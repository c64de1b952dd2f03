from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import text

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SRM_EXPLORER_SESSIONS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for kind in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    return tmp_path


def test_sessions_live_where_the_environment_says_then_here_then_in_xdg_data(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home / "data" in paths.sessions_folder().parents or "home" in paths.sessions_folder().parts
    (home / "saved_sessions").mkdir()
    assert paths.sessions_folder() == home / "saved_sessions"
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", "shelf")
    assert paths.sessions_folder() == home / "shelf"
    monkeypatch.setenv("SRM_EXPLORER_SESSIONS", "~/shelf")
    assert paths.sessions_folder() == home / "home" / "shelf"


def test_the_user_s_own_prompts_come_before_those_that_ship(home: Path) -> None:
    assert paths.prompt_folders() == [paths.shipped_prompts()]
    (home / "prompts").mkdir()
    assert paths.prompt_folders() == [home / "prompts", paths.shipped_prompts()]
    paths.user_prompts_folder().mkdir(parents=True)
    assert paths.prompt_folders() == [home / "prompts", paths.user_prompts_folder(), paths.shipped_prompts()]


def test_shipped_prompts_seen_from_the_repository_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.shipped_prompts().parent)
    assert paths.prompt_folders() == [paths.shipped_prompts()]


def test_what_ships_is_there() -> None:
    assert {path.stem for path in paths.presets_folder().glob("*.toml")} >= {"protocol", "quick", "demo"}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("out/s", "out/s.json"),
        ("out/s.json", "out/s.json"),
        ("./s", "s.json"),
        ("s.json", "s.json"),
        ("missing/../s", "s.json"),
        ("~/s", "home/s.json"),
        ("s", "saved_sessions/s.json"),
        ("gpt2-v1.5", "saved_sessions/gpt2-v1.5.json"),
        ("étude 2", "saved_sessions/étude 2.json"),
    ],
)
def test_a_session_s_name_is_a_path_or_lives_among_the_sessions(home: Path, typed: str, expected: str) -> None:
    (home / "saved_sessions").mkdir()
    assert paths.session_path(typed) == home / expected


def test_a_path_to_a_session_is_absolute(home: Path) -> None:
    assert paths.session_path("/srv/s") == Path("/srv/s.json")
    assert paths.session_path("s.json").is_absolute()


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ".",
        "..",
        "-s",
        "out/",
        "out/..",
        "out/.json",
        "out/-s",
        "a\nb",
        "a\x00b",
        "a\x1b[2Jb",
        "x" * 201,
        " s",
        "s ",
    ],
)
def test_a_name_that_would_hurt_is_refused_with_a_remedy(typed: str) -> None:
    with pytest.raises(ExplorerError) as caught:
        paths.session_path(typed)
    assert caught.value.remedy
    assert str(caught.value).isprintable()


@given(text())
def test_a_bare_name_never_leaves_the_folder_of_sessions(typed: str) -> None:
    try:
        path = paths.session_path(typed)
    except ExplorerError:
        return
    assert "/" in typed or typed.endswith(".json") or path.parent == paths.sessions_folder()
    assert path.suffix == ".json"


def test_a_name_beside_the_working_folder_has_no_dots_in_its_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "deep").mkdir()
    monkeypatch.chdir(home / "deep")
    assert paths.session_path("../s") == home.resolve() / "s.json"


def test_every_way_to_ask_for_the_working_folder_says_that_it_is_gone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "gone").mkdir()
    monkeypatch.chdir(home / "gone")
    (home / "gone").rmdir()
    for ask in (paths.sessions_folder, paths.prompt_folders, lambda: paths.session_path("x/y"), paths.working_folder):
        with pytest.raises(ExplorerError, match="the working folder is gone"):
            ask()
    assert paths.absolute(home / "x") == home / "x"


def test_a_user_that_is_none_is_one_clear_error() -> None:
    with pytest.raises(ExplorerError, match="no such user"):
        paths.expanded("~no-such-user-here/spec.toml")


def test_nothing_is_there_where_nothing_can_be(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / ("y" * 300), tmp_path / ("y" * 300) / "a", loop / "a"):
        assert [look(path) for look in (paths.is_there, paths.is_file, paths.is_folder)] == [False] * 3
    assert paths.is_there(tmp_path)
    assert paths.is_folder(tmp_path)
