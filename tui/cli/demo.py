"""`srm-explorer demo`: the protocol's shape on the bundled model, with its charts and some of its texts."""

from __future__ import annotations

import textwrap

from engine.session import Session
from tui.cli.output import say, screen_size, visible
from tui.cli.run import INTERRUPTED, run_watched, shown_name
from tui.cli.show import header_lines, show_plane

_TEXTS = 3
_TEXT_LINES = 3


def demo_command(no_open: bool) -> int:
    """Run the preset `demo`, or show it where it has run, and draw its charts; return the exit status.

    Args:
        no_open: end after the charts; without a full screen to open, that is what happens anyway.
    """
    outcome, seconds, tokens = run_watched("demo", [], None, restart=False, quiet=False)
    session = outcome.session
    if session is None or outcome.how == "interrupted":
        say("the demo is interrupted; what is finished is kept, and `srm-explorer demo` goes on with it")
        return INTERRUPTED
    width, height = screen_size()
    say(*header_lines(session))
    for plane in session.planes:
        show_plane(session, plane, None, "counts", None, [], width, height)
    say("", *_texts(session, width))
    say("", f"saved as {visible(str(outcome.path))}")
    if outcome.how == "finished":
        say(f"{tokens:,} tokens in {seconds:.0f} s; the next start shows the saved session")
    name = shown_name(outcome)
    say(f"look closer: srm-explorer show {name} --chart dose", "another model: srm-explorer run protocol  (GPT-2 Small)")
    return 0


def _texts(session: Session, width: int) -> list[str]:
    """What the model wrote with and without the strongest intervention, where it made the texts part."""
    strongest = len(session.conditions) - 1
    baseline = {run.prompt: run for run in session.runs if run.condition == 0 and run.sample == 0}
    changed = [run for run in session.runs if run.condition == strongest and run.sample == 0 and "first_change" in run.metrics]
    changed.sort(key=lambda run: (run.metrics["first_change"], run.prompt))
    lines = [f"what it wrote, untouched and at {session.conditions[strongest].label}:"]
    for run in changed[:_TEXTS]:
        lines += ["", f"  {visible(session.prompts[run.prompt].text)} …"]
        lines += _told("untouched", baseline[run.prompt].text, width)
        lines += _told(session.conditions[strongest].label, run.text, width)
    return lines


def _told(label: str, text: str, width: int) -> list[str]:
    indent = " " * 14
    first = f"    {label:<10}"
    return textwrap.wrap(
        f"{first}{visible(text).strip()}",
        max(width, 40),
        subsequent_indent=indent,
        max_lines=_TEXT_LINES,
        placeholder=" …",
    )
