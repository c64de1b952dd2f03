"""Write what the documentation says of keys, settings, files, commands and functions, from the code that they are in.

    python tools/write_reference.py            # the parts between the marks, and docs/glossary.md
    python tools/write_reference.py --check    # say which are not as they would be written, and fail

Text outside of the marks is written by hand, and stays.
"""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import typer

from srm_explorer.engine.experiment import Experiment
from srm_explorer.engine.experiment.intervention import UNITS
from srm_explorer.engine.figures.glossary import as_markdown
from srm_explorer.engine.session.session import HeldOut, PlaneRecord, PromptRecord, RunRecord, Session, Sidecar
from srm_explorer.tui.cli.app import app
from srm_explorer.tui.cli.json_fields import PRINTED
from srm_explorer.tui.keys import declared_bindings, shown_keys
from srm_explorer.tui.settings import CHOICES, NAMES, TEMPLATE, THEMES, Settings, variable

DOCS = Path(__file__).resolve().parents[1] / "docs"
STUB = DOCS.parent / "srm_explorer" / "__init__.pyi"
BEGIN, END = "<!-- written by tools/write_reference.py -->", "<!-- end -->"

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Everywhere", ("ExplorerScreen", "ExplorerApp")),
    ("Prompts", ("PromptsPane", "PathLine")),
    ("Intervention", ("FormLines", "RowInput", "InterventionPane")),
    ("Results", ("ResultsPane",)),
    ("Runs", ("RunsTab",)),
    ("Studies", ("StudyTab", "StudySettings")),
    ("Survey", ("SurveyTab",)),
    ("Log", ("LogTab",)),
    ("Tables", ("LineTable",)),
    ("One run", ("RunView",)),
    ("Queue", ("QueueScreen",)),
    ("Sessions", ("SessionsScreen",)),
    ("Import", ("ImportScreen", "FilesLine")),
    ("Trash", ("TrashScreen",)),
    ("Comparison", ("CompareScreen",)),
    ("Notes", ("NotesScreen",)),
    ("Boxes", ("Help", "Palette", "Presets", "Ask", "Confirm", "Choose", "TooSmall")),
)
"""Where keys work, and the classes that declare them there."""

RECORDS = (Session, PromptRecord, RunRecord, PlaneRecord, HeldOut, Sidecar)
"""What a session's file consists of."""


def keys() -> str:
    """A table for each part of the screen: the keys, what they do, and their name in the settings."""
    lines: list[str] = []
    known = declared_bindings()
    for where, names in PARTS:
        rows = [
            (
                " ".join(f"`{key}`" for key in shown_keys(binding.key).split(", ")),
                binding.tooltip or binding.description,
                f"`{binding.id}`" if binding.id else "",
            )
            for name in names
            for binding in known[name]
        ]
        lines += ["", f"## {where}", "", *table(("keys", "what they do", "name in settings"), rows)]
    return "\n".join(lines[1:])


def settings() -> str:
    """A row a setting, and the settings file as the program writes it."""
    told = attributes_of(Settings)
    rows = [
        (
            f"`{name}`",
            "a theme" if name == "theme" else ", ".join(f"`{choice}`" for choice in CHOICES.get(name, ())),
            "" if (default := getattr(Settings(), name)) in ("", {}) else f"`{default}`",
            f"`{variable(name)}`",
            told[name],
        )
        for name in NAMES
    ]
    lines = table(("setting", "takes", "default", "variable", "meaning"), rows)
    themes = ", ".join(f"`{theme}`" for theme in THEMES)
    return "\n".join([*lines, "", f"Themes: {themes}.", "", "## The file", "", "```toml", TEMPLATE.rstrip(), "```"])


def experiment() -> str:
    """A table for each table of an experiment file: its keys, what they take, what they are where they are left out."""
    schema = cast("dict[str, Any]", Experiment.model_json_schema())
    parts = cast("dict[str, dict[str, Any]]", schema["$defs"])
    top = {name: field for name, field in schema["properties"].items() if not refers_to(field)}
    lines = ["## At the top", "", prose(schema["description"]), "", *fields_of(top, schema.get("required", ()))]
    for name, field in schema["properties"].items():
        if not (kind := refers_to(field)):
            continue
        part = parts[kind]
        heading = f"[[{name}]]" if "items" in field else f"[{name}]"
        lines += ["", f"## `{heading}`", "", prose(part["description"]), ""]
        lines += fields_of(part["properties"], part.get("required", ()))
    lines += ["", "## Operations and their units", ""]
    lines += table(
        ("op", "unit"), [(f"`{op}`", " ".join(f"`{unit}`" for unit in units)) for op, units in UNITS.items()]
    )
    return "\n".join(lines)


def refers_to(field: Mapping[str, Any]) -> str:
    """The table that a field of the schema is, or is a list of; empty for a value."""
    return str(field.get("items", field).get("$ref", "")).rpartition("/")[2]


def fields_of(properties: Mapping[str, Any], required: Iterable[str]) -> list[str]:
    """A row a key."""
    rows = [
        (
            f"`{name}`",
            kind_of(field),
            "needed" if name in required else written(field["default"]) if "default" in field else "",
            field.get("description", ""),
        )
        for name, field in properties.items()
    ]
    return table(("key", "takes", "left out", "meaning"), rows)


def kind_of(field: Mapping[str, Any]) -> str:
    """What a field of a JSON schema takes, in words."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        kinds = [kind_of(choice) for choice in field["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    match field.get("type"):
        case "array":
            inner = kind_of(field["items"]) if isinstance(field.get("items"), Mapping) else ""
            return f"list of {inner}s" if inner in ("text", "number", "whole number") else "list"
        case "string":
            return "text"
        case "integer":
            return "whole number"
        case "object":
            return "table"
        case "boolean":
            return "`true`, `false`"
        case "number":
            return "number"
        case _:
            return ""


def written(default: object) -> str:
    """A default as a file would have it."""
    if default is None:
        return ""
    text = str(default).lower() if isinstance(default, bool) else repr(default).replace("'", '"')
    return f"`{text}`"


def command_line() -> str:
    """Every command with its arguments and options."""
    lines: list[str] = []
    root = cast("Any", typer.main.get_command(app))
    for path, command in commands(root, "srm-explorer"):
        context = command.make_context(path, [], resilient_parsing=True)
        pieces = " ".join(piece.strip("{}") for piece in command.collect_usage_pieces(context))
        lines += ["", f"{'##' if path.count(' ') < 2 else '###'} {path}", "", command.help or "", ""]
        lines += [f"`{path} {pieces}".rstrip() + "`", ""]
        records = [parameter.get_help_record(context) for parameter in command.params]
        rows = [(f"`{record[0]}`", record[1]) for record in records if record and "--help" not in record[0]]
        lines += table(("", "meaning"), rows) if rows else []
    return "\n".join(lines[1:])


def commands(command: Any, path: str) -> Iterable[tuple[str, Any]]:
    """A command and all below it, with the words that call them."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


def json_output() -> str:
    """A table for each object that `--json` prints."""
    lines: list[str] = []
    for name, printed in PRINTED.items():
        rows = [(f"`{field}`", told) for field, told in printed.fields.items()]
        rows += [(f"`{field}` *", told) for field, told in printed.at_times.items()]
        heading = f"{name[0].upper()}{name[1:]}"
        lines += ["", f"## {heading}", "", f"{printed.of}.", "", *table(("field", "what it holds"), rows)]
    return "\n".join(lines[1:])


def file_formats() -> str:
    """A table for each record of a session's file: its fields and what they hold."""
    lines: list[str] = []
    for kind in RECORDS:
        told = attributes_of(kind)
        rows = [
            (f"`{field.name}`", f"`{kind_name(field.type)}`", told.get(field.name, ""))
            for field in dataclasses.fields(kind)
            if field.compare or field.name == "path"
            if field.name not in ("path", "held", "confirms")
        ]
        first = (inspect.getdoc(kind) or "").partition("\n\n")[0]
        lines += ["", f"### {kind.__name__}", "", prose(first), "", *table(("field", "kind", "what it holds"), rows)]
    return "\n".join(lines[1:])


def kind_name(kind: object) -> str:
    """A field's type as a reader of JSON thinks of it."""
    text = str(kind)
    for pattern, plain in (
        (r"\bWhole\b", "int"),
        (r"\bText\b", "str"),
        (r"\bNumber\b", "float"),
        (r"\bMapping\b", "dict"),
        (r"\b(Sequence|tuple)\b", "list"),
        (r", \.\.\.", ""),
        (r"\bNone\b", "null"),
    ):
        text = re.sub(pattern, plain, text)
    return text


def attributes_of(kind: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    told: dict[str, str] = {}
    for entry in re.split(r"\n(?= {4}\w+:)", "\n" + section.partition("\n\n")[0]):
        name, _, text = entry.strip().partition(":")
        if name:
            told[name] = " ".join(text.split())
    return told


def api() -> str:
    """A block a public name, for mkdocstrings, under the folder that it is in."""
    lines: list[str] = []
    heading = ""
    for statement in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if not isinstance(statement, ast.ImportFrom) or statement.module is None:
            continue
        folder = statement.module.split(".")[1]
        if folder != heading:
            heading = folder
            lines += ["", f"## {heading}"]
        for name in statement.names:
            lines += ["", f"::: srm_explorer.{statement.module}.{name.name}"]
    return "\n".join(lines[1:])


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows)]


def cell(text: str) -> str:
    """Text of a cell: bars part cells, and within code nothing that Markdown has escapes one everywhere."""
    coded = re.sub(r"`([^`]*\|[^`]*)`", lambda code: f"<code>{html.escape(code[1], quote=False)}</code>", text)
    return coded.replace("|", "&#124;")


def prose(text: str) -> str:
    """A docstring as a paragraph a line."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/keys.md": keys,
    "reference/settings.md": settings,
    "reference/experiment.md": experiment,
    "reference/command-line.md": command_line,
    "reference/json.md": json_output,
    "reference/file-formats.md": file_formats,
    "reference/api.md": api,
}
"""What stands between the marks of each page."""


def pages() -> dict[Path, str]:
    """Every page as it should be."""
    whole = {DOCS / "glossary.md": as_markdown()}
    for name, part in PAGES.items():
        before, mark, rest = (DOCS / name).read_text(encoding="utf-8").partition(BEGIN)
        if not mark:
            raise SystemExit(f"docs/{name} lacks the line {BEGIN}")
        whole[DOCS / name] = f"{before}{BEGIN}\n\n{part()}\n\n{END}{rest.partition(END)[2]}"
    return whole


def main() -> int:
    """Write the pages, or compare them with the code."""
    stale = {page: text for page, text in pages().items() if page.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(DOCS.parent)} is not what tools/write_reference.py writes; run it")
        return 1 if stale else 0
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(DOCS.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
