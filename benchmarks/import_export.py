"""Time what comes in and goes out: vectors of a key each beside plain numpy, runs beside nothing but a clock.

python benchmarks/import_export.py [--vectors 10000] [--runs 100000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srm_explorer.engine.session import load_session, save_session
from srm_explorer.engine.session.export import export
from srm_explorer.engine.session.imported import session_from
from srm_explorer.engine.session.source_files import import_session

WIDTH = 3072
VALUES = ("baseline", "-20.0", "-10.0", "-6.0", "-3.0", "-1.0", "1.0", "3.0", "10.0", "20.0")


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the processor, and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


def told(name: str, seconds: tuple[float, float], more: str = "") -> None:
    print(f"{name:<42} {seconds[0]:7.2f} s processor {seconds[1]:7.2f} s clock  {more}")


def captured(path: Path, count: int) -> float:
    """Write vectors as scripts do that save one a run; their megabytes."""
    rows = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    keys = [f"core_id=07_x_{i // 10}_type=declarative_certain_level=2_sweep={VALUES[i % 10]}" for i in range(count)]
    np.savez(path, **dict(zip(keys, rows, strict=True)))
    path.read_bytes()
    return rows.nbytes / 1e6


def plain(path: Path) -> np.ndarray:
    """What a script does that reads them: every key into one matrix."""
    with np.load(path) as archive:
        return np.stack([archive[key] for key in archive.files])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=100_000)
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = captured(folder / "in.npz", sizes.vectors)
        print(f"{sizes.vectors:,} vectors of {WIDTH:,} ({size:.0f} MB), one to a key of an uncompressed .npz")
        saved = folder / "vectors.json"
        told("numpy.load of every key", timed(lambda: plain(folder / "in.npz")))
        told(
            "import, and save the session",
            timed(lambda: save_session(import_session([folder / "in.npz"]).session, saved)),
            f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB",
        )
        vectors = dict(zip(map(str, range(sizes.vectors)), plain(folder / "in.npz"), strict=True))
        ours = timed(lambda: export(load_session(saved), npz=folder / "out.npz"))
        theirs = timed(lambda: np.savez(folder / "plain.npz", **vectors))
        told("numpy.savez", theirs, f"{size / theirs[0]:.0f} MB a processor second")
        told("export --npz, loading counted", ours, f"{size / ours[0]:.0f} MB a processor second")
        with np.load(folder / "in.npz") as there, np.load(folder / "out.npz") as back:
            equal = there.files == back.files and all(
                there[key].tobytes() == back[key].tobytes() for key in there.files
            )
        print(f"keys and bytes are {'equal' if equal else 'NOT equal'}")
        many = range(sizes.runs)
        runs = {
            "core_id": [i // 20 for i in many],
            "sweep": [VALUES[i % 10] for i in many],
            "prompt": [f"The man of door {i // 10} looked" for i in many],
            "output": [f"and he saw, {i}, that it rained\nall day; nobody cared, and the dogs slept" for i in many],
        }
        texts = save_session(session_from(None, runs), folder / "texts.json").path
        print(f"{sizes.runs:,} runs without vectors, loading counted")
        told("export --csv", timed(lambda: export(load_session(texts), csv=folder / "runs.csv")))
        told("export --parquet", timed(lambda: export(load_session(texts), parquet=folder / "runs.parquet")))
        told("frame", timed(lambda: load_session(texts).frame()))


if __name__ == "__main__":
    main()
