"""The one kind of error a user sees."""

from __future__ import annotations


class ExplorerError(Exception):
    """What is wrong, where, and the remedy, as one line.

    Args:
        what: the fact, with the offending value: "neuron 2202 is out of range for this model (d_mlp = 1536)".
        where: file, line or field it concerns: "spec.toml, planes[0].b". Left out where `what` says it.
        remedy: what to do about it: "choose 0 to 1535".
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join((f"{located}; {self.remedy}" if self.remedy else located).split())
