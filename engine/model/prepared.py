"""Batches that the host makes ready, the next one while a device works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from srm_explorer.engine.model.capture import Capture
from srm_explorer.engine.model.decoding import Decoded, Generation, Row
from srm_explorer.engine.model.decoding import decode as decode_plainly
from srm_explorer.engine.model.layout import LaidOut, suits
from srm_explorer.engine.model.load import LoadedModel
from srm_explorer.engine.model.static import AsksTheHost, decode_laid_out

K = TypeVar("K")


def decode(
    model: LoadedModel,
    rows: Sequence[Row],
    generation: Generation,
    captures: Sequence[Capture],
    *,
    share: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Let the model write every row, the fastest way that was found to agree with the plain one.

    Arguments, result and errors as `decoding.decode` has them; `on_step` may be called for some steps only.
    """
    if not share:
        return decode_plainly(model, rows, generation, captures, share=False, on_step=on_step)
    return Prepared.of(model, rows, generation, captures).decode(model, on_step)


@dataclass(frozen=True)
class Prepared:
    """A batch that needs nothing but the model any more.

    Args:
        rows, generation, captures: as `decode` has them.
        laid_out: how it lies in static tensors; None where it goes the plain way.
    """

    rows: Sequence[Row]
    generation: Generation
    captures: Sequence[Capture]
    laid_out: LaidOut | None

    @classmethod
    def of(
        cls, model: LoadedModel, rows: Sequence[Row], generation: Generation, captures: Sequence[Capture]
    ) -> Prepared:
        """Make one ready, without running the model."""
        goes_static = model.static_steps and suits(model, rows, generation)
        laid_out = LaidOut.of(model, rows, generation, captures) if goes_static else None
        return cls(rows, generation, captures, laid_out)

    def decode(self, model: LoadedModel, on_step: Callable[[int, int], None] | None = None) -> Decoded:
        """Let the model write it; errors as those of `decode`."""
        if self.laid_out is None:
            return decode_plainly(model, self.rows, self.generation, self.captures, on_step=on_step)
        try:
            return decode_laid_out(model, self.laid_out, on_step)
        except AsksTheHost:
            # What stands around some sites does, if anybody listens there: the self-test listened at others.
            model.static_steps = False
        return decode_plainly(model, self.rows, self.generation, self.captures, on_step=on_step)


class Ahead:
    """Makes the batch that comes next ready beside the one that is decoded, where a device works by itself.

    A batch depends on its key alone, so what comes of it is the same, foreseen or not.

    Args:
        model: of all batches.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._begun: tuple[object, Future[Prepared]] | None = None
        self._beside: ThreadPoolExecutor | None = None

    def take(self, key: K, make: Callable[[K], Prepared], then: K | None = None) -> Prepared:
        """Return what is made of a key, and begin with the key that comes next.

        Args:
            make: runs no model, as another thread may call it while the model runs; errors are its own.
            then: what will be asked for next, if nothing comes between; None of nothing.
        """
        begun, self._begun = self._begun, None
        prepared = begun[1].result() if begun is not None and begun[0] == key else make(key)
        # A processor that decodes has no time for anything beside.
        if then is not None and self._model.static_steps:
            self._beside = self._beside or ThreadPoolExecutor(1, thread_name_prefix="rows")
            self._begun = then, self._beside.submit(make, then)
        return prepared
