"""The hooks of a batch: edits and captures attached to a model while it decodes, and receipts of what they did."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srm_explorer.engine.errors import ExplorerError
from srm_explorer.engine.model.capture import Accumulator
from srm_explorer.engine.model.edits import EditSlot
from srm_explorer.engine.model.experts import Routed
from srm_explorer.engine.model.load import LoadedModel


def by_coordinate(activation: Float[Tensor, "row col *parts"]) -> Float[Tensor, "row col d"]:
    """Lay what a site holds out as one vector a position: heads one after the other."""
    return activation.flatten(2) if activation.ndim > 3 else activation


class HookNeverFired(ExplorerError):
    """A site was named and the model never reached it."""

    def __init__(self, site: str) -> None:
        super().__init__(
            f"the hook at {site} never fired",
            remedy="this model has no such activation in its forward pass; choose another site",
        )


@dataclass
class Receipt:
    """What the hooks of one site did: how often they fired and how many row positions they edited."""

    site: str
    fired: int = 0
    edited: int = 0


@dataclass
class Feed:
    """The rows and columns that are going through the model now.

    Args:
        positions: absolute position of each column, -1 at pads.
        prompt_tokens: prompt length of each row.
        rows: which of the batch's original rows each row is.
        alive: rows that still count.
    """

    positions: Int[Tensor, "row col"]
    prompt_tokens: Int[Tensor, " row"]
    rows: Int[Tensor, " row"]
    alive: Bool[Tensor, " row"]


@dataclass
class HookState:
    """Everything that is attached to a model while a batch decodes.

    Args:
        slots: the edits, by site.
        accumulators: what is kept, in the order it was asked for.
        feed: what is going through now; the hooks read it, the loop sets it.
        receipts: what the hooks did, by site; how many positions they edited is known when `instrumented` ends.
        edited: by site, that number as the device counts it.
        listening: whether the hooks do anything.
    """

    slots: dict[str, list[EditSlot]]
    accumulators: list[Accumulator]
    feed: Feed
    receipts: dict[str, Receipt] = field(default_factory=dict[str, Receipt])
    edited: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    listening: bool = True

    @contextmanager
    def paused(self) -> Generator[None]:
        """Let a pass go through that is neither edited nor kept."""
        self.listening = False
        try:
            yield
        finally:
            self.listening = True

    def select(self, kept: Int[Tensor, " kept"]) -> None:
        """Keep only some of the rows that go through."""
        for slots in self.slots.values():
            for slot in slots:
                slot.select(kept)
        feed = self.feed
        self.feed = Feed(feed.positions[kept], feed.prompt_tokens[kept], feed.rows[kept], feed.alive[kept])


@contextmanager
def instrumented(model: LoadedModel, instruments: HookState) -> Generator[None]:
    """Attach edits and captures to a model while the block runs; a capture at an edited site sees the edit.

    Raises:
        HookNeverFired: the block ended and a site was not reached.
    """
    sites = list(dict.fromkeys([*instruments.slots, *(a.capture.site for a in instruments.accumulators)]))
    hooks: list[tuple[str, Callable[..., Tensor | None]]] = []
    for site in sites:
        receipt = instruments.receipts.setdefault(site, Receipt(site))
        if site in instruments.edited:
            instruments.edited[site].zero_()
        else:
            instruments.edited[site] = torch.zeros((), dtype=torch.long, device=instruments.feed.positions.device)
        hooks.append((site, _site_hook(instruments, site, receipt)))
    with model.hooks(hooks):
        yield
    for site, receipt in instruments.receipts.items():
        if not receipt.fired:
            raise HookNeverFired(receipt.site)
        receipt.edited += int(instruments.edited[site])


def _site_hook(instruments: HookState, site: str, receipt: Receipt) -> Callable[..., Tensor | None]:
    slots: Sequence[EditSlot] = instruments.slots.get(site, [])
    keeping = [a for a in instruments.accumulators if a.capture.site == site]
    edited = instruments.edited[site]

    # The bridge passes the hook point by keyword; its name may be an alias, so nothing is keyed on it.
    def on_activation(activation: Float[Tensor, "row col d"], hook: object) -> Tensor | None:
        if not instruments.listening:
            return None
        feed = instruments.feed
        receipt.fired += 1
        routed = hook.mask if isinstance(hook, Routed) else None
        result = by_coordinate(activation)
        for slot in slots:
            mask = slot.mask(feed.positions, feed.prompt_tokens)
            mask = mask if routed is None else mask & routed
            edited.add_((mask & feed.alive[:, None]).sum())
            result = slot.apply(result, mask, feed.positions)
        for accumulator in keeping:
            accumulator.take(result, feed.positions, feed.prompt_tokens, feed.rows, feed.alive, routed)
        return result.reshape(activation.shape) if slots else None

    return on_activation
