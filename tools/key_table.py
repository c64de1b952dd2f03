"""Write the table of all keys into README.md, made from the bindings that the screen itself works with.

python tools/key_table.py
"""

from __future__ import annotations

from pathlib import Path

from srm_explorer.tui.keys import declared_bindings, shown_keys

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- keys: tools/key_table.py -->", "<!-- end of keys -->"

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Everywhere", ("ExplorerScreen", "ExplorerApp")),
    ("Prompts", ("PromptsPane", "PathLine")),
    ("Intervention", ("FormLines", "RowInput", "InterventionPane")),
    ("Results", ("ResultsPane",)),
    ("Runs", ("RunsTab",)),
    ("Studies", ("StudyTab", "StudySettings")),
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


def key_table() -> str:
    """The table in Markdown: where, the keys, what they do, and their name in the settings."""
    lines = ["| where | keys | what they do | name in settings |", "|---|---|---|---|"]
    known = declared_bindings()
    for where, names in PARTS:
        for binding in (binding for name in names for binding in known[name]):
            told = binding.tooltip or binding.description
            keys = " ".join(f"`{key}`" for key in shown_keys(binding.key).split(", "))
            lines.append(f"| {where} | {keys} | {told} | {f'`{binding.id}`' if binding.id else ''} |")
    return "\n".join(lines)


def table_in(text: str) -> str:
    """The table as a README has it."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    """Replace the table between the marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n\n{key_table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
