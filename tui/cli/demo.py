"""`srm-explorer demo`: the protocol's shape on the bundled model, with its charts and some of its texts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from srm_explorer.engine.experiment import Site
from srm_explorer.engine.figures import plane_captions, pooled_caption, short, site_caption
from srm_explorer.engine.session import PlaneRecord, Session
from srm_explorer.tui.cli.output import fields, flush, say, screen_size, visible
from srm_explorer.tui.cli.run import INTERRUPTED, run_watched, shown_name
from srm_explorer.tui.cli.screen import has_terminal, open_explorer
from srm_explorer.tui.cli.show import ChartChoice, header_lines, show_plane
from srm_explorer.tui.explorer.startup import LaunchOptions

END_OF_TEXT = "<|endoftext|>"
_TEXTS = 3
_TEXT_LINES = 3


def demo_command(no_open: bool) -> int:
    """Run the preset `demo`, or show it where it has run, and draw its charts; return the exit status."""
    ran = run_watched("demo", [], None, restart=False, quiet=False)
    outcome, session = ran.outcome, ran.outcome.session
    if session is None or outcome.status == "interrupted":
        say("the demo is interrupted; what is finished is kept, and `srm-explorer demo` goes on with it")
        return INTERRUPTED
    width, height = screen_size()
    say(*header_lines(session))
    for plane in session.planes:

        def explain(threshold: float, plane: PlaneRecord = plane) -> Sequence[str]:
            return legend_in_words(session, plane, threshold, width)

        show_plane(session, plane, ChartChoice(), width, height, explain)
    say("", *texts(session, width))
    say("", f"saved as {visible(str(outcome.path))}")
    if outcome.status == "finished":
        say(f"{ran.tokens:,} tokens in {ran.seconds:.0f} s; the next start shows the saved session")
    else:
        say("nothing was computed: this is the session saved before")
    name = shown_name(outcome)
    say(f"look closer: srm-explorer open {name}", "another model: srm-explorer run protocol  (GPT-2 Small)")
    return 0 if no_open else _look_closer(outcome.path)


def _look_closer(session: Path) -> int:
    if not has_terminal():
        return 0
    flush()
    return open_explorer(LaunchOptions(session))


def legend_in_words(session: Session, plane: PlaneRecord, threshold: float, width: int) -> list[str]:
    """Say for a newcomer what the table's and the charts' words and columns mean, a word a line."""
    a, b = plane_captions(plane)
    limit = short(threshold)
    has_sigma = any(intervention.unit == "sigma" for intervention in session.spec.interventions)
    rows = [
        ("baseline", "the model went on with each prompt, untouched"),
        (
            pooled_caption(session.spec),
            "with the intervention, once a value" + ("; σ: its spread at baseline" if has_sigma else ""),
        ),
        ("run", "one prompt continued; its vector: the layer's mean over new tokens"),
        ("spotlight", f"a direction that turns round the plane: {a} at 0°, {b} at 90°"),
        ("cosine", "of a vector with that direction: 1 along, 0 across, −1 against"),
        ("A, φ", "the mean cosine is largest at the angle φ, where it is A"),
        (f"most > {limit}", f"most runs with a cosine above {limit} at one angle; at: which angles"),
        ("arithmetic", "dashed: what the clamp alone draws, the text unchanged"),
        ("chance", f"grey: what planes of {a} and a random partner draw"),
        ("┆", "where a curve may lie, with other prompts of this kind"),
    ]
    site = Site.parse(plane.site)
    if site.is_mlp:
        rows.insert(
            0, (site_caption(plane.site), f"the outputs of layer {site.layer}'s MLP neurons; {a} is neuron {plane.a}")
        )
    return fields(rows, width=width)


def texts(session: Session, width: int) -> list[str]:
    """What the model wrote untouched and under the last condition: the first prompts whose texts differ."""
    last = [condition for condition in session.conditions if condition.kind != "control"][-1]
    baseline = {run.prompt: run.text for run in session.runs if run.condition == 0 and run.sample == 0}
    other = {run.prompt: run.text for run in session.runs if run.condition == last.index and run.sample == 0}
    changed = [prompt for prompt, text in other.items() if text != baseline.get(prompt, text)]
    shown = f", the first {_TEXTS} of them" if len(changed) > _TEXTS else ""
    lines = [f"what it wrote, untouched and at {last.label}: {len(changed)} of {len(other)} texts differ{shown}"]
    for prompt in changed[:_TEXTS]:
        lines += ["", *_text_lines("prompt", session.prompts[prompt].text, width)]
        lines += _text_lines("untouched", baseline[prompt], width)
        lines += _text_lines(last.label, other[prompt], width)
    return lines


def _text_lines(label: str, text: str, width: int) -> list[str]:
    first = f"  {label:<9}  "
    whole = text.removesuffix(END_OF_TEXT)
    return textwrap.wrap(
        visible(whole).strip() + (" [end]" if whole != text else ""),
        max(width, 40),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        max_lines=_TEXT_LINES,
        placeholder=" …",
    )
