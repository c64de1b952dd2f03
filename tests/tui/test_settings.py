from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES

from srm_explorer.engine import paths
from srm_explorer.engine.errors import ExplorerError
from srm_explorer.tui.settings import (
    NAMES,
    TEMPLATE,
    THEMES,
    Settings,
    count_use,
    keep_theme,
    load_settings,
    settings_path,
    unknown_keys,
    variable,
)


def settings_from(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return load_settings(path, environment={})


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "settings.toml", environment={}) == Settings()


def test_the_users_file_lies_in_the_configuration_folder(own_folders: Path) -> None:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_text('theme = "light"\n')
    assert own_folders in settings_path().parents
    assert load_settings().theme == "light"


def test_the_template_is_valid_means_the_defaults_and_has_every_setting(tmp_path: Path) -> None:
    assert settings_from(tmp_path, TEMPLATE) == Settings()
    assert all(re.search(rf"(?m)^(# )?\[?{name}\b", TEMPLATE) for name in NAMES)


def test_everything_that_can_be_set_is_taken(tmp_path: Path) -> None:
    told = settings_from(
        tmp_path,
        'theme = "terminal"\nmarkers = "ascii"\nglyphs = "ascii"\nbell = "osc9"\nsessions = "~/runs"\n'
        '[keys]\n"run.start" = "f5, r"\n',
    )
    assert told == Settings("terminal", "ascii", "ascii", "osc9", sessions="~/runs", keys={"run.start": "f5,r"})


ORDER = {
    "theme": ("light", "nord", "gruvbox"),
    "markers": ("block", "ascii", "braille"),
    "glyphs": ("ascii", "unicode", "ascii"),
    "bell": ("bell", "osc9", "none"),
    "pictures": ("on", "off", "auto"),
    "hints_left": (2, 1, 0),
    "sessions": ("/in/file", "/in/variable", "/on/line"),
    "keys": ({"run.start": "f5"}, {"run.start": "f6"}, {"run.start": "f7"}),
}
"""By its name, what a setting is in the file, in its variable and on the command line."""


def as_typed(value: object) -> str:
    return "; ".join(f"{name}={keys}" for name, keys in value.items()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_goes_before_a_variable_before_the_file_before_the_default(tmp_path: Path, name: str) -> None:
    in_file, in_variable, on_line = ORDER[name]
    path = tmp_path / "settings.toml"
    lines = {"keys": '[keys]\n"run.start" = "f5"', "hints_left": "hints_left = 2"}
    path.write_text("# mine\n" + lines.get(name, f'{name} = "{in_file}"'))
    environment, typed = {f"SRM_EXPLORER_{name.upper()}": as_typed(in_variable)}, {name: as_typed(on_line)}
    option = "--theme" if name == "theme" else f"--setting {name}"
    line = "settings.toml, line 3" if name == "keys" else "settings.toml, line 2"
    for file, variables, command_line, value, origin in (
        (path, environment, typed, on_line, option),
        (path, environment, {}, in_variable, f"SRM_EXPLORER_{name.upper()}"),
        (path, {f"SRM_EXPLORER_{name.upper()}": " "}, {}, in_file, line),
        (tmp_path / "none", environment, {}, in_variable, f"SRM_EXPLORER_{name.upper()}"),
        (tmp_path / "none", {}, typed, on_line, option),
        (tmp_path / "none", {}, {}, getattr(Settings(), name), None),
    ):
        settings = load_settings(file, environment=variables, command_line=command_line)
        assert (getattr(settings, name), settings.origins.get(name), settings.problems) == (value, origin, ())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_names_its_line_its_variable_or_its_option_and_what_to_write(tmp_path: Path, name: str) -> None:
    wrong = {"hints_left": "many", "keys": "run.start=", "sessions": "\x1b"}.get(name, "nrod")
    none = tmp_path / "none.toml"
    (problem,) = load_settings(none, environment={variable(name): wrong}).problems
    assert problem.startswith(f"SRM_EXPLORER_{name.upper()}: {name}")
    assert any(word in problem for word in ("choose", "write", "did you mean"))
    with pytest.raises(ExplorerError, match=f"^--.*{name}") as refused:
        load_settings(none, environment={variable(name): wrong}, command_line={name: wrong})
    assert "\n" not in str(refused.value)
    line = {"hints_left": 'hints_left = "many"', "keys": '[keys]\n"run.start" = ""', "sessions": "sessions = 3"}
    told = settings_from(tmp_path, f"\n\n{line.get(name, f'{name} = 3')}\n")
    assert told.problems[0].startswith(f"settings.toml, line {4 if name == 'keys' else 3}: ")
    assert getattr(told, name) == getattr(Settings(), name)


def test_every_theme_of_textual_is_known_by_its_name_and_another_has_a_near_one() -> None:
    assert {*THEMES} == {*BUILTIN_THEMES, "dark", "light", "terminal"}
    with pytest.raises(ExplorerError, match=r"--theme: theme = .nrod. is not allowed; did you mean .nord.\?"):
        load_settings(environment={}, command_line={"theme": "nrod"})
    with pytest.raises(ExplorerError, match=r"unknown key .them.; did you mean .theme.\?"):
        load_settings(environment={}, command_line={"them": "nord"})


def test_a_variable_that_is_no_setting_is_told_with_the_nearest(tmp_path: Path) -> None:
    told = load_settings(tmp_path / "none", environment={"SRM_EXPLORER_THEMES": "nord", "SRM_EXPLORER_DATA": "/x"})
    assert told.problems == ("SRM_EXPLORER_THEMES: there is no such setting; did you mean 'SRM_EXPLORER_THEME'?",)


def test_the_sessions_folder_is_the_one_that_is_set(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_text(f'sessions = "{own_folders}/in file"\n')
    assert paths.sessions_folder() == own_folders / "sessions"
    monkeypatch.delenv("SRM_EXPLORER_SESSIONS")
    assert paths.sessions_folder() == own_folders / "in file"
    settings_path().write_text("sessions = 3 # it is told elsewhere\n")
    assert paths.sessions_folder() == paths.default_sessions_folder()


MULTILINE = 'theme = """light"""\n'


@pytest.mark.parametrize("before", [None, "", 'theme = "light"  # mine\n', "[keys]\n", MULTILINE, "x = [\n"])
def test_a_theme_is_kept_in_the_users_file_and_the_rest_of_it_stays(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "settings.toml"
    if before is not None:
        path.write_text(before)
    if keep_theme("nord", path):
        assert load_settings(path, environment={}) == replace(Settings(), theme="nord")
        rest = [line for line in (TEMPLATE if before is None else before).splitlines() if not line.startswith("theme")]
        assert [line for line in path.read_text().splitlines() if not line.startswith("theme")] == rest
        assert keep_theme("nord", path)
    else:
        assert before in (MULTILINE, "x = [\n")
        assert path.read_text() == before


@pytest.mark.parametrize(
    "before",
    [
        None,
        "",
        'theme = "light"  # mine',
        '# nothing but keys\n[keys]\n"run.start" = "f5"\n',
        'hints_left=3 # as it came\ntheme = "light"\n\n[keys]\n"hints_left" = "f5"\n',
    ],
)
def test_uses_are_counted_down_in_the_users_file_and_the_rest_of_it_stays(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "settings.toml"
    if before is not None:
        path.write_text(before)
    first = load_settings(path)
    for left in (2, 1, 0, 0):
        count_use(path)
        now = load_settings(path)
        assert now == replace(first, hints_left=left)
    kept = [line for line in (TEMPLATE if before is None else before).splitlines() if not line.startswith("hints_left")]
    assert [line for line in path.read_text().splitlines() if not line.startswith("hints_left")] == kept
    assert {file.name for file in tmp_path.iterdir()} == {"settings.toml"}


def test_a_file_that_is_no_settings_is_left_alone_and_a_link_stays_a_link(tmp_path: Path) -> None:
    broken, kept, link = tmp_path / "broken.toml", tmp_path / "kept.toml", tmp_path / "settings.toml"
    broken.write_text("theme = [\n")
    count_use(broken)
    assert broken.read_text() == "theme = [\n"
    kept.write_text("hints_left = 2\n")
    link.symlink_to(kept)
    count_use(link)
    assert link.is_symlink()
    assert load_settings(link).hints_left == 1


@pytest.mark.parametrize(
    ("text", "told", "taken"),
    [
        (
            'theme = "drak"\nbell = "bell"',
            "settings.toml, line 1: theme = 'drak' is not allowed; did you mean 'dark'?",
            "bell",
        ),
        ('themes = "dark"\nbell = "bell"', "unknown key 'themes'; did you mean 'theme'?", "bell"),
        ('bell = "bell"\nglyphs = 3', "glyphs = 3 is not allowed", "bell"),
        ('bell = "bell"\nkeys = 3', "keys is not a table", "bell"),
        ('bell = "bell"\n[keys]\n"run.start" = 5', 'keys."run.start" is not a list of keys', "bell"),
        ('bell = "bell"\n[keys]\n"run.start" = "a,,b"', 'keys."run.start" is not a list of keys', "bell"),
        ('bell = "bell"\nhints_left = -1', "hints_left = -1 is not allowed", "bell"),
        ('bell = "bell"\nhints_left = "no"', "hints_left = 'no' is not allowed", "bell"),
        ("theme = [\n", "settings.toml is no TOML", "none"),
    ],
)
def test_what_is_wrong_is_told_and_the_rest_is_taken(tmp_path: Path, text: str, told: str, taken: str) -> None:
    settings = settings_from(tmp_path, text)
    (problem,) = settings.problems
    assert told in problem
    assert (settings.theme, settings.glyphs, dict(settings.keys)) == ("dark", "unicode", {})
    assert settings.bell == taken


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"theme = \xff\xfe")
    assert "is no TOML" in load_settings(path).problems[0]


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in load_settings(tmp_path).problems[0]


def test_a_key_for_an_action_that_does_not_exist_is_told_with_the_nearest() -> None:
    settings = Settings(keys={"run.strat": "f5", "run.cancel": "x"})
    (line,) = unknown_keys(settings, frozenset(("run.start", "run.cancel")))
    assert line == "settings: there is no key named 'run.strat'; did you mean 'run.start'?"


@pytest.mark.parametrize(
    "text",
    [
        "theme = " + "9" * 5_000,
        "theme = " + "[" * 20_000,
        "theme = " + "{a=" * 1_000 + "1" + "}" * 1_000,
        ".".join(["a"] * 20_000) + " = 1",
        "[keys]\n" + ".".join(["a"] * 20_000) + " = 1",
        "\n".join(f"a{number} = 1" for number in range(20_000)),
        "theme = '" + "x" * 1_000_000 + "'",
    ],
)
def test_what_no_settings_are_is_one_line_and_the_defaults_hold(tmp_path: Path, text: str) -> None:
    told = settings_from(tmp_path, text)
    (line,) = told.problems
    assert told == Settings(problems=(line,))
    assert "the defaults hold" in line
    assert len(line) < 200


def test_of_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    told = settings_from(tmp_path, "\n".join(f"a{number} = 1" for number in range(900)) + '\nbell = "bell"')
    assert told.bell == "bell"
    assert len(told.problems) == 6
    assert "895 more lines" in told.problems[-1]
    many = settings_from(tmp_path, "[keys]\n" + "\n".join(f"a{number} = 'x'" for number in range(900)))
    assert len(unknown_keys(many, frozenset({"run.start"}))) == 6


def test_a_long_comment_is_no_nesting(tmp_path: Path) -> None:
    assert settings_from(tmp_path, f"# {'.' * 300}\n") == Settings()
