"""Controls chosen with the model at hand, and frozen before the first of them runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.model.load import LoadedModel
from engine.model.weights import w_out_rows
from engine.runner.controls import choose_controls
from engine.runner.journal import JournalWriter
from engine.session.controls import CONTROLS, Controls
from engine.spec import Site


def freeze_controls(journal: JournalWriter, model: LoadedModel) -> Controls:
    """Choose the controls of a run whose baseline is finished, and put them into its journal.

    Raises:
        ExplorerError: they cannot be matched, or the journal cannot be written.
    """

    def norms(site: str) -> NDArray[np.float64]:
        rows = w_out_rows(model, Site.parse(site).layer).astype(np.float64)
        return np.sqrt((rows**2).sum(axis=1))

    def width(site: str) -> int:
        return Site.parse(site).width(model.shape)

    chosen = choose_controls(journal.reader, width, norms)
    journal.event({"event": CONTROLS, "chosen": chosen.to_dict()})
    return chosen
