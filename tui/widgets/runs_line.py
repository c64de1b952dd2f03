"""The line below the table of runs: how many are listed, how many of them are lit, and by what they are sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.state.run_listing import RunListing

EMPTY = "No runs yet: r runs the experiment, o opens a session"
SORTS = {"": "in the session's order", "lit": "lit first", "cos": "by cosine", "change": "by first change"}


def summary(listing: RunListing, separator: str = "·") -> str:
    """What a listing lists: "500 of 2,000 runs · 37 lit · by cosine"."""
    from tui.state.run_rows import FACTOR, LARGEST_FIRST

    if listing.rows is None:
        return EMPTY
    parts = [f"{len(listing.order):,} of {len(listing.rows):,} runs"]
    if listing.rows.record is not None:
        parts.append(f"{int(listing.lit[listing.order].sum()):,} lit")
    parts.append(SORTS.get(listing.sort) or f"by {listing.sort.removeprefix(FACTOR)}")
    parts += ["reversed"] if listing.descending != (listing.sort in LARGEST_FIRST) else []
    parts += ["lit only"] if listing.only_lit else []
    parts += [f"/ {listing.filter_text}"] if listing.filter_text else []
    return f" {separator} ".join(parts)
