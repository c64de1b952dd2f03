"""Install the wheel without constraints in an empty environment, as anybody would, and run the demo.

    python tools/try_wheel.py [FOLDER]

It is done twice: with the newest packages that pyproject.toml lets in, and with the oldest. torch alone is borrowed
from the environment that runs this, by links, since it is gigabytes from most indexes. What was installed is printed.
It needs a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BORROWED = ("torch", "torchgen", "functorch")
HOSTILE = "raise SystemExit('a module of the user is imported in place of ours')\n"


PIP = [sys.executable, "-m", "pip", "--quiet"]


def main() -> None:
    """Build, install, run; the exit status is that of the first step that fails."""
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
        subprocess.run(build, check=True)
        (wheel,) = folder.glob("*.whl")
        sys.exit(try_in(folder / "newest", wheel, []) or try_in(folder / "oldest", wheel, oldest()))


def oldest() -> list[str]:
    """Name the oldest release of every package that we ask for ourselves, but of torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(said) for said in project["dependencies"]]
    return [
        f"{package.name}=={bound.version}"
        for package in asked
        if package.name not in BORROWED
        for bound in package.specifier
        if bound.operator == ">="
    ]


def try_in(folder: Path, wheel: Path, pinned: list[str]) -> int:
    """Do it all below a folder, with some packages as they are named and the newest of all others."""
    home = folder / "env"
    venv.create(home, with_pip=False)
    lend_torch(next(home.glob("lib/python3*/site-packages")))
    subprocess.run([*PIP, "--python", str(home), "install", str(wheel), *pinned], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    environment |= {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "SRM_EXPLORER_SESSIONS": str(folder / "sessions")}
    # Modules of the user that are called like ours lie where they are looked for first.
    environment["PYTHONPATH"] = "."
    for name in ("engine.py", "tui.py"):
        (folder / name).write_text(HOSTILE)
    where = subprocess.run(
        [home / "bin" / "python", "-P", "-c", "import srm_explorer; print(srm_explorer.__file__)"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if not where.startswith(str(home)):
        print(f"what is imported is not what was installed: {where}")
        return 1
    # Keys are looked for in every screen, none of which may need an extra.
    commands = [["doctor", "--json"], ["keys"], ["demo", "--no-open"]]
    # What is made of templates, which the wheel must hold.
    commands += [["report", "SESSION", "-o", "report.html"], ["script", "SESSION", "-o", "script.py"]]
    for command in commands:
        session = next((folder / "sessions").glob("demo-*.json"), None)
        done = subprocess.run(
            [home / "bin" / "srm-explorer", *(str(session) if word == "SESSION" else word for word in command)],
            cwd=folder,
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            print(done.stdout)
            return done.returncode
        if command[0] == "doctor":
            findings = json.loads(done.stdout)["findings"]
            print(next(finding["told"] for finding in findings if finding["name"] == "packages"))
    print(f"the wheel runs the demo with the {folder.name} packages that it lets in")
    return 0


def lend_torch(site: Path) -> None:
    """Link what torch consists of into another environment, where pip finds it installed."""
    torch = metadata.distribution("torch")
    home = Path(str(torch.locate_file("")))
    for entry in (*(home / name for name in BORROWED), *home.glob("torch-*.dist-info")):
        if entry.exists():
            (site / entry.name).symlink_to(entry)


if __name__ == "__main__":
    main()
