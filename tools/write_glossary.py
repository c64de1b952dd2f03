"""Write docs/glossary.md, made of the glossary that `?` and `srm-explorer explain` show.

python tools/write_glossary.py
"""

from __future__ import annotations

from pathlib import Path

from srm_explorer.engine.figures.glossary import as_markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "glossary.md"

if __name__ == "__main__":
    PAGE.write_text(as_markdown(), encoding="utf-8")
