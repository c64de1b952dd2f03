"""Which figure shows a subject, the same on the screen and on the command line."""

from __future__ import annotations

import dataclasses
from typing import Literal

from engine.figures.beyond import beyond_polar, beyond_thresholds
from engine.figures.compass import CompassFigure, compass_of
from engine.figures.difference import difference_of
from engine.figures.dose import DoseFigure
from engine.figures.dosing import dose_of
from engine.figures.plane_facts import with_energies
from engine.figures.polar import PolarFigure
from engine.figures.session import polar_of, thresholds_of
from engine.figures.thresholds import ThresholdFigure
from tui.paint.subject import Subject, View


def polar_figure(subject: Subject, seen: View, view: Literal["counts", "mean"], threshold: float) -> PolarFigure:
    """Shares or means around the plane; ExplorerError where there is no prediction to subtract."""
    if subject.minus:
        return beyond_polar(subject.session, subject.record, seen.groups, seen.beside, view, threshold)
    figure = polar_of(subject.session, subject.record, seen.groups, view, threshold, seen.beside)
    if subject.sight == "observed":
        legend = with_energies(figure.legend, subject.session, subject.record, subject.by)
        return dataclasses.replace(figure, legend=legend)
    return seen.titled(figure)


def compass_figure(subject: Subject, seen: View) -> CompassFigure:
    """Every run in the plane."""
    session, record = subject.session, subject.record
    figure = compass_of(session, record, seen.groups, subject.by, seen.beside, seen.points, beyond=subject.minus)
    return seen.titled(figure)


def threshold_figure(subject: Subject, seen: View, threshold: float, *, difference: bool = False) -> ThresholdFigure:
    """Counts and means over the angle, or what they are beyond the prediction, else beyond the baseline.

    Raises:
        ExplorerError: there is nothing to subtract.
    """
    session, record = subject.session, subject.record
    if subject.minus:
        return beyond_thresholds(session, record, seen.groups, seen.beside, threshold)
    if difference:
        return seen.titled(difference_of(session, record, seen.everything, subject.by, threshold))
    return seen.titled(thresholds_of(session, record, seen.groups, threshold, seen.beside))


def dose_figure(subject: Subject, threshold: float | None) -> DoseFigure:
    """Quantities by the value; bands are those of the grouping by condition.

    Raises:
        ExplorerError: no single value varies, there is no prediction to subtract, or no axis to take out.
    """
    taken = subject.without_axis() if subject.sight == "axis out" else None
    figure = dose_of(
        subject.session,
        subject.record,
        threshold,
        plain=subject.plain,
        bands=subject.bands,
        points=None if taken is None else taken[0],
        beyond=subject.minus,
    )
    return figure if taken is None else dataclasses.replace(figure, title=f"{figure.title} · {taken[1]}")
