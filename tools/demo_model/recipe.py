"""What decides the demo model's weights, apart from its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Shape, data preparation and training.

    `seed` decides text, split, weights and order alike. The learning rate follows a schedule of `steps` steps, of which
    the first `stop` are taken.
    """

    seed: int = 2202
    generated: int = 31_000
    vocabulary: int = 4096
    context: int = 256
    layers: int = 6
    width: int = 128
    heads: int = 4
    steps: int = 3700
    stop: int = 3200
    batch: int = 8
    peak_rate: float = 3e-3
    decay: float = 0.5
    final_share: float = 0.03
    warmup: int = 200
    weight_decay: float = 0.1
    dropout: float = 0.0
    clip: float = 1.0
    threads: int = 1
    bf16: bool = True

    @property
    def decay_start(self) -> int:
        """The step from which the learning rate falls."""
        return round(self.steps * (1 - self.decay))
