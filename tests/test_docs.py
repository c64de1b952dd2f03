"""The documentation against the program: pages made of it, commands that it takes, and the tool that runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import TOOLS, load_module

ROOT = Path(__file__).parents[1]


def tool(name: str) -> ModuleType:
    return load_module(TOOLS / f"{name}.py")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return tool("write_reference")


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    return tool("run_docs")


def page_of(docs: ModuleType, folder: Path, text: str) -> object:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    (page,) = docs.pages_of([path])
    return page


def test_reference_pages_are_what_the_program_makes_them(reference: ModuleType) -> None:
    for page, text in reference.pages().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run tools/write_reference.py"


def test_no_class_that_declares_keys_is_left_out(reference: ModuleType) -> None:
    assert set(reference.declared_bindings()) == {name for _, names in reference.PARTS for name in names}


def test_what_every_command_prints_as_json_is_told(reference: ModuleType) -> None:
    root = reference.typer.main.get_command(reference.app)
    told = " ".join(printed.of for printed in reference.PRINTED.values())
    for path, command in reference.commands(root, "srm-explorer"):
        if any("--json" in parameter.opts for parameter in command.params):
            assert re.search(rf"`{path.removeprefix('srm-explorer ')}[` ]", told), path


def test_every_command_of_the_documentation_is_one(docs: ModuleType) -> None:
    pages = docs.pages_of(docs.default_paths())
    assert [problem for page in pages for problem in docs.parse(page)] == []
    reasons = [block.title for page in pages for block in page.blocks if block.is_exception]
    assert all(reasons)


def test_a_command_that_is_none_is_named_with_its_place(docs: ModuleType, tmp_path: Path) -> None:
    text = """# Page
```sh
srm-explorer show lighthouse --chart polar --by condition | head -3 > out.txt   # a comment
```
```console title="Needs a GPU"
HF_HUB_OFFLINE=1 srm-explorer run protocol --sett a=1
srm-explorer sweep v.npz --angles many
```
See `srm-explorer sessions frob` and `srm-explorer show NAME --figur F`, not `srm-explorer run ... --plan`.
"""
    problems = docs.parse(page_of(docs, tmp_path, text))
    assert [re.sub(r"^.*page.md:(\d+):.*", r"\1", problem) for problem in problems] == ["5", "5", "9", "9"]
    assert "--sett" in problems[0]
    assert "many" in problems[1]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("```console\nsrm-explorer demo\n```\n", "without a reason"),
        ("```\nsrm-explorer demo\n```\n", "without a language"),
        ("Do\n\n    srm-explorer demo\n", "indented"),
        ("```text\n12 runs\n```\n", "output of no command"),
        ("```sh\nls\n```\n\nand\n\n```text\n12 runs\n```\n", "output of no command"),
        ("```sh\nls\n", "no end"),
        ("```zsh\nls\n```\n", "'zsh'"),
    ],
)
def test_a_block_that_nobody_would_run_is_refused(docs: ModuleType, tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(docs.DocsError, match=what):
        page_of(docs, tmp_path, text)


def test_shown_output_is_compared_by_lines_and_numbers_by_their_last_place(docs: ModuleType) -> None:
    output = "head\nclamped   350  .02153  349°\nmiddle\nend   p .2034*\n"
    for shown in ("clamped 350 .0215 349°", "head\n...\nend p .203*", "clamped 350 .0216 349°\nmiddle"):
        docs.compare(output, shown)
    for shown in ("clamped 350 .0218 349°", "clamped 351.5 .0215 349°", "head\nmiddle", "end\n...\nhead", "clamped"):
        with pytest.raises(docs.DocsError, match="does not print"):
            docs.compare(output, shown)


@pytest.mark.process
def test_a_page_runs_in_an_empty_home_in_its_order_and_the_first_failure_is_named(
    docs: ModuleType, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    begin = "```sh\nsrm-explorer prompts > listed.txt\n```\n"
    good.write_text(
        f"""{begin}```csv title="doors.csv"
prompt,type
The door was open,plain
```
```sh
test ! -e other.txt; touch other.txt   # no page sees another's files
srm-explorer prompts check doors.csv --json > checked.json; ls "$HOME"
```
```python
import json
problems = json.load(open("checked.json"))
print(1 / 8, open("listed.txt").read() != "")
```
```text
0.125 True
```
```console title="Needs nothing, and is not run"
srm-explorer demo
```
""",
        encoding="utf-8",
    )
    bad.write_text(f"{begin}\n```sh\ntouch other.txt\nsrm-explorer show nowhere\n```\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "run_docs.py", "--cold", good, bad],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.findall(r"good.md:\d+", done.stdout) == ["good.md:20"], "the exception that is listed, and no failure"
    assert "bad.md:5: exit status 1" in done.stdout
    assert "nowhere" in done.stdout
    assert "Needs nothing" in done.stdout


def test_the_readme_is_short_and_says_how_to_begin() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert re.search(r"^make run\b", text, re.MULTILINE)
    assert re.search(r"^make test\b", text, re.MULTILINE)
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link


def test_every_extra_is_told_where_one_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in ("README.md", "docs/index.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert {extra for extra in project["optional-dependencies"] if f"`{extra}`" not in text} == {"dev"}, page


def test_what_the_readme_says_of_speed_was_measured() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    ratios = {row["name"]: row["ratio"] for row in rows}
    told = re.search(r"shape, ([\d.]+) times .* a value at a time, and (\d+)\s+times what hooks", text)
    assert told is not None
    measured = [ratios[f"decode: against one {way}"] for way in ("value at a time (ii)", "run at a time (i)")]
    assert [float(number) for number in told.groups()] == pytest.approx(measured, rel=0.2)


def test_every_page_is_in_the_navigation_and_no_link_of_a_page_is_dead() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert listed == pages
    for name in pages:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / "docs" / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (ROOT / "docs" / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_the_citation_names_the_version_and_what_its_schema_asks_for() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    keys = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(keys)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert keys["version"] == version
    assert f"version = {{{version}}}" in (ROOT / "docs" / "howto" / "citing.md").read_text(encoding="utf-8")
    assert f"## {version} - {json.loads(keys['date-released'])}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
