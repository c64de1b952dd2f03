"""The curves of a comparison as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.figures.curves import SweptGroup

if TYPE_CHECKING:
    from engine.studies.compare import ComparedPair


def groups_csv(groups: Sequence[SweptGroup], levels: Sequence[float]) -> str:
    """The curves of both, a row a group and angle: mean cosine, and the count above every threshold."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["group", "runs", "angle_deg", "mean_similarity", *(f"count_thresh_{x:g}" for x in levels)])
    for group in groups:
        sweep = group.sweep
        order = [sweep.thresholds.index(level) for level in levels]
        for at, angle in enumerate(sweep.angles_deg.tolist()):
            counts = [int(sweep.counts[index, at]) for index in order]
            writer.writerow([group.label, sweep.n, f"{angle:g}", repr(float(sweep.mean[at])), *counts])
    return file.getvalue()


def difference_csv(pair: ComparedPair) -> str:
    """The curves of a difference with the ends of their bands, a row an angle."""
    from engine.studies.compare import curves_of, curves_table_of
    from engine.studies.study import findings_of

    table = curves_table_of(findings_of(curves=[curves_of(pair)]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return file.getvalue()
