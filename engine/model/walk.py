"""Reading given texts once: what a site holds at every position that counts, part by part, nothing kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ExplorerError
from engine.model.arrays import array_of
from engine.model.cache import LayerCache
from engine.model.hooks import HookNeverFired
from engine.model.load import LoadedModel
from engine.model.stream import Padded
from engine.spec.site import Site

TOKENS = 4096
"""Columns of a pass, pads included."""


@dataclass(frozen=True)
class ReadText:
    """A text and which of its positions count.

    Args:
        ids: token ids, at least one.
        first: the first position that counts; all after it do.
    """

    ids: tuple[int, ...]
    first: int = 0

    @property
    def counted(self) -> int:
        """Positions that count."""
        return max(len(self.ids) - self.first, 0)


Take = Callable[[str, NDArray[Any], NDArray[np.int64]], None]
"""Takes a site, [position, d] activations, and [position] their numbers among all that count, texts in order."""


def read_texts(
    model: LoadedModel,
    texts: Sequence[ReadText],
    sites: Sequence[str],
    take: Take,
    *,
    columns: Sequence[int] | None = None,
    tokens: int = TOKENS,
    on_pass: Callable[[int, int], None] | None = None,
) -> None:
    """Read texts with an untouched model and hand over what sites hold.

    Texts of similar length share a pass; a text does not feel the others beyond floating point. Blocks above the last
    site are not run.

    Args:
        model: what reads them.
        texts: in any order.
        sites: TransformerLens names.
        take: called for every site in every pass.
        columns: hand over these coordinates only; None for all.
        tokens: the most columns of a pass, pads included; a text that is longer goes alone.
        on_pass: called after each pass with the texts and the positions that went through; may raise to stop.

    Raises:
        ExplorerError: a site that does not exist, or a text longer than the model's context.
        HookNeverFired: the model never reached a site.
    """
    model.check_sites(sites)
    for text in texts:
        if len(text.ids) > model.shape.n_ctx:
            raise ExplorerError(
                f"a text has {len(text.ids):,} tokens and this model reads {model.shape.n_ctx:,}",
                where=model.tokenizer.decode(text.ids[:8]),
                remedy="shorten it or leave it out",
            )
    starts = np.concatenate([[0], np.cumsum([text.counted for text in texts])]).astype(np.int64)
    split = max(Site.parse(site).layer for site in sites) + 1
    for batch in _batches(texts, tokens):
        padded = Padded([texts[place].ids for place in batch], model.device)
        first = np.array([texts[place].first for place in batch], np.int64)
        where = array_of(padded.where)
        counts = where >= first[:, None]
        numbers = (starts[batch][:, None] + where - first[:, None])[counts]
        reached: set[str] = set()
        # Called before the next batch begins, so that what it closes over is its own.
        hooks = [(site, _hook(site, counts, numbers, columns, take, reached)) for site in sites]
        attached: AbstractContextManager[Any] = model.bridge.hooks(fwd_hooks=hooks)
        with torch.inference_mode(), attached:
            if split < len(model.blocks):
                model.blocks.head(padded.feed(), LayerCache(0), split)
            else:
                model.blocks.whole(padded.feed(), LayerCache(0))
        for site in sites:
            if site not in reached:
                raise HookNeverFired(site)
        if on_pass:
            on_pass(len(batch), len(numbers))


def _hook(
    site: str,
    counts: NDArray[np.bool_],
    numbers: NDArray[np.int64],
    columns: Sequence[int] | None,
    take: Take,
    reached: set[str],
) -> Callable[..., None]:
    def on_activation(activation: Float[Tensor, "row col d"], hook: object) -> None:
        reached.add(site)
        own = activation if columns is None else activation[..., list(columns)]
        take(site, array_of(own[torch.from_numpy(counts).to(own.device)]), numbers)  # pyright: ignore[reportUnknownMemberType]

    return on_activation


def _batches(texts: Sequence[ReadText], tokens: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for place in sorted(range(len(texts)), key=lambda place: len(texts[place].ids)):
        if not texts[place].counted:
            continue
        # Sorted by length: the one that comes is the longest, and sets the width.
        if batches and (len(batches[-1]) + 1) * len(texts[place].ids) <= tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
