"""Work out what docs/neuron-373.md says, from the vectors of GPT-2 that were published, and draw its picture.

    python tools/neuron_373.py [FILE.npz]

The vectors are no part of this repository: `SRM_EXPLORER_DATA` names their folder, else it is `shared/data` in or
beside the repository. Without them nothing is done.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srm_explorer import session_from, spotlight_sweep, unit_coordinates
from srm_explorer.engine.figures.curves import SweptGroup
from srm_explorer.engine.figures.polar import polar_mean
from srm_explorer.engine.session import Session
from srm_explorer.engine.stats.spotlight import Sweep
from srm_explorer.tui.charts.picture import svg_of
from srm_explorer.tui.charts.polar import paint_polar

ROOT = Path(__file__).resolve().parents[1]
FILE = "gpt2_prompt_directions.npz"
PICTURE = ROOT / "docs" / "screenshots" / "neuron-373.svg"
SITE = "blocks.11.mlp.hook_post"
NEURON, PARTNER, LOUDEST = 373, 2202, 2910
VALUES = (-20.0, -10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 20.0)
"""The protocol's clamps."""
PHASE, AMPLITUDE, PROMPTS = 259.0, 0.0080, 50
COUNTS = {0.7: (57, 57), 0.5: (111, 115), 0.3: (150, 153), 0.1: (205, 207)}
"""As published: of 50 prompts under 11 values, the most that any angle lights above a threshold, least and largest."""

Floats = NDArray[np.float64]


def data_file() -> Path | None:
    """The published vectors, where they are at hand."""
    named = os.environ.get("SRM_EXPLORER_DATA")
    folders = [Path(named)] if named else [ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def directions(file: Path) -> NDArray[np.float32]:
    """[prompt, 3072] unit vectors."""
    with np.load(file, allow_pickle=False) as archive:
        return np.stack([archive[f"prompt_{index}"] for index in range(len(archive.files))])


def captured(vectors: NDArray[np.float32]) -> Session:
    """The prompts as they were captured, nothing done to them."""
    runs = [{"prompt_id": index, "condition": "baseline"} for index in range(len(vectors))]
    return session_from({SITE: vectors}, runs, name="published")


def clamped(vectors: NDArray[np.float32], length: float, longer: float = 0.0) -> Session:
    """What arithmetic makes of them: neuron 373 of every vector set to each value, and nothing else changed.

    Args:
        length: of a vector before that; the lengths themselves were not published.
        longer: how much longer vectors are under a positive value than under a negative one, as a share.
    """
    scale = length * (1 + np.sign(VALUES) * longer / 2)
    written = vectors[:, None, :] * scale[None, :, None]
    written[:, :, NEURON] = VALUES
    runs = [{"prompt_id": index, "condition": value} for index in range(len(vectors)) for value in VALUES]
    clamp = {"site": SITE, "neurons": [NEURON], "op": "clamp"}
    return session_from({SITE: written.reshape(-1, vectors.shape[1])}, runs, name="clamped", interventions=[clamp])


def swept(session: Session, b: int = PARTNER) -> Sweep:
    """The spotlight over the plane of neuron 373 and another, all runs together."""
    vectors = np.asarray(session.vectors()[SITE], np.float64)
    norm = np.sqrt((vectors**2).sum(axis=1))
    return spotlight_sweep(unit_coordinates(vectors[:, [NEURON, b]], norm), list(COUNTS))


def arithmetic(vectors: NDArray[np.float32], length: float, longer: float = 0.0) -> Sweep:
    """What `swept` makes of `clamped`, from the two coordinates and the length of the rest alone."""
    unit = np.asarray(vectors, np.float64)
    rest = np.sqrt((unit**2).sum(axis=1) - unit[:, NEURON] ** 2)
    values, scale = np.array(VALUES), length * (1 + np.sign(VALUES) * longer / 2)
    norm = np.sqrt(values**2 + np.multiply.outer(rest, scale) ** 2)
    x, y = np.broadcast_to(values, norm.shape), np.multiply.outer(unit[:, PARTNER], scale)
    return spotlight_sweep(unit_coordinates(np.stack([x, y], axis=-1).reshape(-1, 2), norm.ravel()), list(COUNTS))


def longer_for(vectors: NDArray[np.float32], length: float, phase: float = PHASE) -> float:
    """How much longer, as a share, vectors under positive values must be for the mean to turn to a phase."""
    low, high = 0.0, 0.2
    for _ in range(30):
        middle = (low + high) / 2
        turned = arithmetic(vectors, length, middle).phase_deg or 0.0
        low, high = (middle, high) if turned > phase else (low, middle)
    return (low + high) / 2


def lit_below(value: float, threshold: float) -> float:
    """Length of the rest of a vector up to which a clamp alone lights it: ``v / sqrt(v^2 + r^2) > T``."""
    return value * float(np.sqrt(1 / threshold**2 - 1))


class Means(NamedTuple):
    """How the mean vector's entry at neuron 373 stands among the others.

    Attributes:
        louder: neurons whose mean entry is larger in size.
        wider: share of random pairs of neurons whose plane shows a larger amplitude.
        median: amplitude of such a pair.
    """

    louder: int
    wider: float
    median: float

    @classmethod
    def of(cls, vectors: NDArray[np.float32], pairs: int = 100_000, seed: int = 0) -> Means:
        mean = np.asarray(vectors, np.float64).mean(axis=0)
        drawn = np.random.default_rng(seed).integers(0, len(mean), size=(2, pairs))
        drawn = drawn[:, drawn[0] != drawn[1]]
        amplitudes = np.hypot(mean[drawn[0]], mean[drawn[1]])
        own = np.hypot(mean[NEURON], mean[PARTNER])
        louder = int((np.abs(mean) > abs(mean[NEURON])).sum())
        return cls(louder, float((amplitudes > own).mean()), float(np.median(amplitudes)))


def draw(vectors: NDArray[np.float32]) -> str:
    """The picture: mean curves as captured, as arithmetic has them under the clamps, and as published."""
    x, y = AMPLITUDE * np.cos(np.radians(PHASE)), AMPLITUDE * np.sin(np.radians(PHASE))
    published = spotlight_sweep(unit_coordinates(np.array([[x, y]]), np.ones(1)), list(COUNTS))
    length = lit_below(10, 0.5)
    groups = (
        SweptGroup("captured, nothing done", "baseline", swept(captured(vectors)), len(vectors), len(vectors)),
        SweptGroup(
            "clamped, by arithmetic",
            "pooled",
            swept(clamped(vectors, length)),
            len(vectors),
            len(vectors) * len(VALUES),
        ),
        SweptGroup("clamped, published", "level", published, PROMPTS, PROMPTS * len(VALUES)),
    )
    title = f"GPT-2 Small · n{NEURON} × n{PARTNER} · L11 hook_post"
    figure = polar_mean(groups, f"n{NEURON}", f"n{PARTNER}", title)
    return svg_of(paint_polar(figure, 92, 40))


def main() -> int:
    """Print the numbers of the page and write its picture."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else data_file()
    if file is None:
        print(f"{FILE} is not here: name it, or its folder in SRM_EXPLORER_DATA", file=sys.stderr)
        return 1
    vectors = directions(file)
    for b in (PARTNER, LOUDEST):
        sweep = swept(captured(vectors), b)
        print(f"373 x {b}: A {sweep.a:.4f}, B {sweep.b:.4f}, amplitude {sweep.amplitude:.4f}, {sweep.phase_deg:.1f}")
    print(Means.of(vectors))
    shortest, longest = lit_below(3, 0.3), lit_below(10, 0.5)
    for length in (shortest, longest):
        sweep = swept(clamped(vectors, length))
        longer = longer_for(vectors, length)
        print(
            f"length {length:.1f}: amplitude {sweep.amplitude:.4f}, {sweep.phase_deg:.1f}; {PHASE:.0f} at {longer:.2%}"
        )
    PICTURE.write_text(draw(vectors), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
