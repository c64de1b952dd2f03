from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_explorer.engine.session.schema import schema
from srm_explorer.tui.settings import NAMES, TEMPLATE, load_settings, settings_path, settings_schema


def test_a_file_is_written_with_every_setting_and_one_that_is_there_is_kept(srm: Callable[..., Any]) -> None:
    settings_path().unlink(missing_ok=True)
    assert srm("config", "path").out == f"{settings_path()}\n"
    assert "(not there" in srm("config", "show").out
    assert srm("config", "init").status == 0
    assert settings_path().read_text() == TEMPLATE
    assert srm("config", "init").status == 0, "what is there is what would be written"
    settings_path().write_text('theme = "light"\n')
    ended = srm("config", "init")
    assert ended.status == 1
    assert ended.err == (
        f"srm-explorer: {settings_path()}: there is a settings file already;"
        " edit it, or write the defaults over it with --overwrite\n"
    )
    assert load_settings().theme == "light"
    assert srm("config", "init", "--overwrite").status == 0
    assert settings_path().read_text() == TEMPLATE


def test_every_setting_is_shown_with_where_it_comes_from(
    srm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_path().write_text('# mine\nglyphs = "ascii"\n[keys]\n"run.start" = "f5"\n')
    monkeypatch.setenv("SRM_EXPLORER_BELL", "osc9")
    told = json.loads(srm("config", "show", "--theme", "nord", "--json").out)
    rows = {row["name"]: (row["value"], row["origin"]) for row in told["settings"]}
    assert rows.pop("sessions")[1] == "SRM_EXPLORER_SESSIONS"
    assert rows == {
        "theme": ("nord", "--theme"),
        "markers": ("braille", "default"),
        "glyphs": ("ascii", "settings.toml, line 2"),
        "bell": ("osc9", "SRM_EXPLORER_BELL"),
        "pictures": ("auto", "default"),
        "hints_left": (3, "default"),
        "keys.run.start": ("f5", "settings.toml, line 4"),
    }
    assert {row["name"].partition(".")[0] for row in told["settings"]} == {*NAMES}
    assert srm("config").out.splitlines()[1].split() == ["theme", "dark", "default"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (
            ["config", "show"],
            1,
            "srm-explorer: settings.toml, line 1: theme = 'nrod' is not allowed; did you mean 'nord'?",
        ),
        (["config", "show"], 1, "srm-explorer: settings: there is no key named 'run.strat'; did you mean 'run.start'?"),
        (
            ["config", "show", "--theme", "x"],
            1,
            "srm-explorer: --theme: theme = 'x' is not allowed; choose dark, light,",
        ),
        (
            ["open", "--theme", "gruvbx"],
            1,
            "srm-explorer: --theme: theme = 'gruvbx' is not allowed; did you mean 'gruvbox'?",
        ),
        (["--setting", "bel=none"], 1, "srm-explorer: --setting bel: unknown key 'bel'; did you mean 'bell'?"),
        (["--setting", "bell"], 2, "'bell' sets nothing; write it as bell=bell"),
        (["--theme", "nord", "show", "x"], 2, "'show' is another command; try `srm-explorer open`"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(
    srm: Callable[..., Any], tmp_path: Path, arguments: list[str], status: int, told: str
) -> None:
    settings_path().write_text('theme = "nrod"\n[keys]\n"run.strat" = "f5"\n')
    ended = srm(*arguments)
    assert ended.status == status
    assert (
        told in ended.err.replace("\n", " ")
        if status == 2
        else any(line.startswith(told) for line in ended.err.splitlines())
    )


@pytest.mark.parametrize(("kind", "made"), [("session", schema), ("experiment", schema), ("settings", settings_schema)])
def test_a_schema_is_printed_as_it_is_made(srm: Callable[..., Any], kind: str, made: Callable[..., Any]) -> None:
    assert json.loads(srm("schema", kind).out) == (made(kind) if made is schema else made())
