"""What every heading of a table, every word of a legend and every number on the screen means, each in one place.

The help behind `?`, `srm-explorer explain` and docs/glossary.md are made of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from srm_explorer.engine.errors import ExplorerError, nearest
from srm_explorer.engine.figures.table import TableColumn

_TEXT = """
# Words
prompt set = a named list of prompts; their factors, such as type or level, can group the runs
run = one prompt continued once under one condition; its vector is the layer's mean over new tokens; also its number
baseline = the model went on with each prompt, untouched
site = a place in the model by its name, such as L11 hook_post: the neurons of layer 11
clamped | intervened = one or more neurons were held at a value while the model wrote (or changed otherwise), once for
  every value; all values together
σ | sigma | std = the spread (standard deviation) of a neuron over the baseline's generated tokens; values can be
  counted in it
plane = two directions, mostly two neurons: 0° lies on the first, 90° on the second
spotlight | θ | spotlight θ * = a direction that turns through the plane, θ degrees from the first of its two
  directions
cosine | cos | cos at * = of a run's vector with the spotlight, or of two vectors: 1 along, 0 across, −1 against
lit | lit * of * | lit */* = a run is lit where its cosine with the spotlight is above the threshold; of all finite
  runs
arithmetic | arithmetic * = what the clamp alone draws, whatever the model does; only what differs from it is a
  finding
chance = the dim dots: where a curve would lie without a preference; its legend says what drew it
unit | units = what statistics resample: prompts that share a core (core_id), or the same tokens, count as one, else
  each prompt

# On the charts
A | A * | amplitude A = the amplitude: the length of the mean of the runs' vectors (each of length 1) in the plane,
  and so the largest mean cosine
φ | φ * | phase | phase_deg | phase ° | phase φ = the angle at which the mean cosine is largest, degrees
  counter-clockwise from 0°
φ undetermined | φ any = the region of the mean holds the centre of the plane: it may point anywhere
[ ] | A * [*, *] | ΔA * [*, *] = square brackets: the joint 95 % region of the mean, as the range of its length
( ) | φ * (*, *) = round brackets: the angles that the joint 95 % region of the mean spans, from and to,
  counter-clockwise
beyond arithmetic p | beyond arithmetic p * = p of the mean of observed minus arithmetic, whole units' signs flipped:
  could differences that are symmetric around 0 look like this? Symmetry, not the mean alone
p with a star = of the legend's table: beyond arithmetic p; the line with the star says what was tested
common length | common length (* of * unit*) | at the common length* = p is over as many tokens of each text as it and
  its baseline both have, an end-of-text not counted, since a mean over more tokens is shorter; in how many units any
  text differs from its baseline's in length
unlike lengths | unlike lengths (* of * unit*) = p is of means over all tokens, although in so many units texts differ
  in length: no others are kept in this session
beyond arithmetic Δ | Δ * [*, *] p * = length of the mean over units of observed minus arithmetic, where it may lie,
  and the p of its being 0 by resampled units (studentised bootstrap): of the mean, however skewed the units are
text changed | text changed in * of * unit* = units in which a text differs from its baseline's: where arithmetic is
  exact, only these are evidence of anything else
q of n | q * of * = q: p corrected for all n tests of the same analysis (Benjamini-Hochberg): of what is called true
  at q or below, so large a share is false on average
band | ┆ * | ┆ = the faint dotted lines on both sides of a curve: 95 of 100 such bands, with other prompts of this kind,
  hold the whole true curve
over unlike lengths | over unlike lengths, * of * units differ = what was tested are means over unlike numbers of
  tokens: a longer text has a smaller mean, whatever it says; how many units' texts differ
in plane | * in plane | energy | energy in plane | mean in-plane energy = the share of the vectors' squared length
  that lies in the plane: mean of (x² + y²) / |v|²
none > | none > * = at no angle a run has a cosine above that threshold
0 throughout | 0 throughout: * = the curves of these thresholds are 0 at every angle
prompts · runs | * prompt* · * run* = how many prompts a group holds, and how many runs: each prompt once a value
> threshold | > * = which cosines are counted: those above it, strictly
planes of chance | * of * (*, random) planes | * of * random planes | * of * second moment planes | * of * planes* =
  95 % of as many planes in which one direction, or both, were drawn at random lie within the band, angle by angle
controls of chance | * of * matched neurons * alike | * of * random directions * alike = the curves of as many
  controls, each in its own plane: the middle 95 % of them, or their whole range
of group | of * = the group that it stands beside
largest share | largest share > * = the largest share of a group's runs lit at one angle
mean norm = mean over runs of the length of their vectors
minus arithmetic | observed − arithmetic | * − predicted = observed minus what arithmetic predicts
clear of 0 = angles at which the whole band lies above or below 0
mean cosine | mean | mean * | mean at * = the mean: over runs, of the cosine at that angle; of a neuron, over the
  tokens read; of an ensemble, over angles
share above | share > * at * = the share of a group's runs whose cosine at that angle is above the threshold
value = what a neuron was set to, or changed by, in the unit of the experiment; a condition's name
norm = the length of a run's vector in its whole space
mean activation | activation = the mean value along the plane's first direction, raw; of a token, the neuron's value
  there

# p, q and intervals
p | *_p = how often chance alone comes at least as far as the data, which count as one of the draws, if what the notes
  below the table say is exchanged, flipped or ranked is arbitrary; small: hardly by chance; large: nothing is shown
p (symmetry) = signs of whole units flipped: could differences that are symmetric around 0 look like this? Not the
  mean
p of the mean | p_mean = p that the mean over units is 0, by a studentised bootstrap of the units
its size | tested_size = the length of what p is of: of what the experiment did not set by itself
q, any dependence | q_any = p corrected for all tests of the family, whatever they share (Benjamini-Yekutieli)
ledger | tests so far = the list, kept beside a session, of every test that was computed on it: what q counts
family | test | tests | of = the tests that q corrects for together, what each tested and of what, and how many there
  are
when | last = when it was computed, and when last
p if before | q if before = rank p of a target among controls, right if it was chosen before anybody looked at what is
  ranked; nobody says that it was
p of best | q of best = p of the best of all candidates that were looked at, among controls that are none of them
q | *_q = p corrected for all tests of the family that the notes name (Benjamini-Hochberg)
from | to | from, to | *_low | *_high | low | high | share_low | share_high | amplitude_low | amplitude_high = ends of
  the 95 % interval of the number before; beside controls, their smallest and largest
phase_first | phase_last = ends of the angles that the region of the difference spans
p is of | tested = what the p compares: the groups, or only what arithmetic does not explain of their difference
95 % | interval = 95 % interval over units: with other prompts of this kind the truth lies within it 95 times of 100
± over planes | *_spread = standard deviation over the planes of the ensemble

# Planes, pairs and groups
0° | 90° | b | a = the plane's first and second direction
angle | raw_angle_deg | angle_deg = degrees: between the two directions as they were given; of a curve, of the
  spotlight
mean_a | mean_b | B = the mean's coordinates along 0° (A) and 90° (B), vectors of length 1
amplitude = the length of the mean in the plane: the largest mean cosine
size | ΔA * = the length of a difference of means in the plane; of a session, of its files
group | runs | n_runs | done = which runs, or how many of them
x | y = a run's raw coordinates along the plane's first and second direction
gain | gain chosen on | gain tested | score | statistic = Rao's F of what the coordinate that adds less adds to the
  other: chosen on one half of the units, tested on the other half
t² chosen on | t² tested = the square of Student's t of the coordinate that was not set, on either half of the units
r chosen on | r tested = correlation of the two coordinates' unit means, on either half of the units
T² | t2 = Hotelling's statistic of both coordinates: how far the groups' means lie apart in the plane
Δ 0° | Δ 90° | difference_a | difference_b = mean difference of the groups along that coordinate, over units tested
Δ 0° from | Δ 0° to | Δ 90° from | Δ 90° to | difference_a_* | difference_b_* = its 95 % interval, by resampled units
synergy = T² less both t²: what only the two coordinates together tell; below 0 they repeat each other
p synergy | p_synergy = one-sided p that the synergy is 0 or less, of one plane at a time (jackknife over units)
partner | coordinate = what is paired with the neuron
r | r * | *_r | r_at_* = Pearson's correlation over runs, or within a value; 1 together, −1 opposed
ρ | ρ * | *_rho = Spearman's correlation, of ranks
interval of r | r * from | r * to | ρ * from | ρ * to | *_r_low | *_r_high | *_rho_low | *_rho_high = 95 % interval of
  the correlation: Fisher's z, its error by leaving out a unit at a time
mean slope | mean_slope = how far a partner moves with a unit of the neuron that was set: mean over units of its
  slopes by least squares, an intercept a prompt
mean slope from | mean slope to | mean_slope_low | mean_slope_high = its 95 % interval, by resampled units
  (studentised bootstrap)
p of mean slope | mean_slope_p = p of the mean slope being 0, by the same resamples; that of pooled and partial is of
  symmetry
p of ρ | q of ρ | *_rho_p | *_rho_q = p and q of the rank correlation
W_out entry | w_out = what the neuron writes to that coordinate per unit of activation
cos W_out | w_out_cosine = cosine of the two neurons' rows of W_out: 1 where they write the same
cosine ≥ | cosine > | threshold = the cosine above which runs are counted
most | least = the largest and smallest share of runs above the threshold over all angles, mean over planes
at | most_at_deg | least_at_deg = the angle of the largest or smallest
fraction | fraction * | spread * = share of runs above the threshold, mean over planes, and its spread over planes
difference = the first group minus the second; of several sessions, each minus the first one
how = how units were matched between two sessions: prompt by prompt, or not at all
not there | refused = what could not be told, why, and what helps
shift | shift_* = length of the mean less the baseline's mean, in the session's own plane, and its 95 % interval
is | session_* = the setting in that session
ΔA | ΔB = difference of the means along 0° and 90°, vectors of length 1
along 0°, along 90° = the difference's coordinates along the plane's directions
towards = the angle that the difference of the means points to
phase turns by | turn = phase of the first group minus that of the second, where both are determined
largest | share | kl_max = the largest: over angles, over tokens, over all that was measured
degrees beyond its band | clear = angles at which the band of the difference leaves 0 out
share_* | mean_low | mean_high = a curve over the angle and the ends of its band
field | old | new = a field of the experiment, in either session

# Controls
where | measure = a plane, a site or the texts, and what is measured there
target = of the neuron (or direction) that the experiment is about
median | lowest | highest | control_median | control_low | control_high | their median | controls_median = of the
  controls
control | controls | for * | L* n* | neuron_* | control_neurons.neuron = a neuron like the target, or a random
  direction, that went through the same sweep as the target; how many there are
control_neurons.mean | control_neurons.mean_* | mean_* | std_* = its mean and σ over the baseline's generated tokens
distance | distance_* = of control and target in mean, log σ and log W_out norm, in robust spreads of the layer's
  neurons
W_out norm | norm_* = length of the neuron's row of W_out
beyond arithmetic = length of the mean of observed minus arithmetic in the plane
change off axis | change = how far runs move from their baselines in the coordinates nothing edits, in mean baseline
  lengths
|change of cos 0°| | |change of cos 90°| = size of the change of the mean cosine with that direction
most > * = the largest number of runs lit at one angle
measure of a control | measure_* = the measure that the heading names, of the target and of every control

# Dose and response
quantity = what is followed over the values: a mean coordinate, a length, an energy, a cosine
thin: * = curves of single units behind their mean, as many as the legend says
slope | slope * | slope_* = of each unit's curve over the values, by least squares; mean over units, or one unit's
change over the values | dose.change = the mean slope times the range of the values, in the quantity's units
detectable = the smallest change that so many units find in 80 of 100 such experiments (two-sided .05), by their own
  spread
* unit* see * sd = of a cost: the smallest mean over units that so many find in 80 of 100 such experiments, in
  standard deviations of units
p equivalent | equivalent_p = p of two one-sided tests: at .05 or below the change lies within ± the smallest one of
  interest
monotone = whether the nearest monotone curve rises or falls
p symmetry | monotone_p = a monotone curve against a constant one: could units' deviations that are symmetric around a
  flat curve look like this?
explained = share of the mean curve's variation that the nearest monotone curve follows
shape = logistic, of values of both signs, or emax, of distances from 0
start | plateau | half at | half = the levels that a fitted curve leaves and comes to, and the value half-way between
fits = share of resamples of the units to which the curve could be fitted
no curve | why = why no curve with a plateau is fitted
values = at how many values the unit has runs

# Effects on the texts
changed units | units_changed = units of which a text is not the baseline's: only these carry evidence
changed | share changed = the share of runs whose tokens are not the baseline's
first change | first_change_from_1 | change token | token * = the first token that differs from the baseline's,
  counted from 1; of several runs their median
margin | margin there | smallest margin | min_margin = lead of the likeliest token over the next, in logits: small,
  and rounding could have turned it; there: at the first token that changed, without the intervention
KL | KL nats | kl = KL(untouched || condition) of the next-token distributions on the same tokens, mean over them, in
  nats: 0 where they are equal
at token | kl_at_from_1 = the token at which KL is largest, counted from 1
Δ log p | dlogp = change of the log-probability of the same tokens, mean over them, in nats
perplexity | perplexity × | perplexity_ratio = exp of the mean negative log-probability of a text under the untouched
  model; ×: by that of the baseline's text, geometric mean
tokens | tok = how many tokens were written; of a prompt, its length; how many were read
ended by | finish = why a run ended: the length asked for, or an end-of-text
distinct-1 | distinct-2 | distinct_1 | distinct_2 = different tokens (pairs of tokens) over all of the text
repeated | repeated 4-grams | repeated_4 = share of stretches of four tokens that stood in the text before
entropy | token_entropy = entropy of the text's own frequencies of tokens, nats; at most ln(tokens)
longest run | longest_run = how often, at most, one token stands in a row
compression = bytes of a text over those that zlib makes of them: the more, the more it repeats itself
ended at once | ended = runs that wrote nothing, or nothing but an end-of-text
collapsed | collapse = whether, or how many runs, the rule in the notes counts as broken
healthy = units whose texts are collapsed in neither
harmed | harmed of healthy | harmed_share = collapsed with the intervention and not without it
rescued | rescued of collapsed | rescued_share = collapsed without the intervention and not with it
both collapsed | both = collapsed with and without the intervention
rescued units | harmed units | units_rescued | units_harmed = units of which this holds, at least half of a unit's
  texts counted as the unit
net = units rescued minus units harmed, of all units
|total| | |direct| | |through text| | total | through | direct * | through * | total * = lengths (or coordinates) of
  the change of a site's vector: all of it, what the edit does on the baseline's text, what the changed text does
direct share | of mean change | text first, share | direct_share | mean_share | text_first_share = how much of the
  total lies in that part: its projection on the total over the total's length, of runs or of their mean
cos(direct, total) = cosine of the direct part with the whole change
|prefix| | prefix tokens | prefix | prefix_tokens = change over the tokens before the first that differs, and their
  number
logits | logits of = the logit of the first token named less those of the others, or a token's logit alone
before | after | with it | baseline prob = of the untouched model, and with the intervention, on the same prompt
change with it | difference.change | prompts.change | by_prompt.change | text_changes.change = with the intervention
  less without it
log-odds = change of ln(p / (1 − p)) of the token against all others, nats
observed | direct | by the norm | later layers | by the cap = the change of the logits, and its parts: what the
  changed neurons add themselves, what dividing by the norm makes of all else, what later layers and the cap make of
  it
direct share of the change | direct.share = the direct part over what is observed, of means over units
patched in | what is done | patching.done = what is done to the patched place: another run's values put in
  (sufficiency), or its own taken away in the run that they come from (necessity)
between the two runs | patching.difference = the difference of logits in the run that values come from, less that in
  the run that they are written into
moved = by how much of that patching in moves the difference of logits, or ablating takes away
share moved | patching.share | patched.share = what is moved over the difference between the two runs; of means over
  units in the first table
come from | written into | patched | set to 0 | set to its mean | projected out = the difference of logits in the run
  that values come from, in the run that they are written into, in that one with them; and in the first with the place
  ablated
from the prompt | patched.source = the prompt of the run that values come from
promoted | suppressed | by = tokens that gain or lose most, by change of log p or of p
prob with it | prob without it | promoted_p | suppressed_p = mean probability of the token with and without the
  intervention
change of a token | tokens.promoted_change | tokens.suppressed_change = mean change of log-probability (nats) or of
  probability of the token

# Neurons
layer | neuron | id = number of the layer, of the neuron in it, of the token in the vocabulary
active | active (median) | active < 1 % | never active | rare | never = share of positions where the neuron is active,
  or neurons that never, or at under 1 % of positions, are; the notes say what active means
sd = standard deviation of the activations
rms | typical rms | typical = root of the mean square of the activations; typical: median over the layer's neurons
rms / typical | relative = the neuron's rms by its layer's typical one
sd / rms | flatness = 0 for a constant, 1 for a mean of 0
kurtosis = excess kurtosis of the activations: above 0 where the neuron fires rarely and strongly
smallest | largest at | high_at | quietest | flattest | loudest = extreme activations and where they stand; neurons
  with the least rms, the least sd / rms and the most rms of the layer
quantile | q.* | q*.* = that share of the activations is smaller
logit / unit | logit = change of the token's logit for each unit of activation, by the direct path alone
z = in standard deviations over the vocabulary
percentile in layer = share of the layer's neurons with a smaller value
among what was measured | told = where the value lies among the neuron's activations on these texts
fact = what the row says of the neuron
condition = one setting of the interventions: the baseline, or one value of the sweep
token | position | texts | times = the token, its place in the text from 0, how many texts are the same up to it

# Lists
holds = what lies in the trash under a name: the session, its vectors, its ledger, its run folder
name | session | experiment | model | site · neuron · op = what the session or experiment is called and what it is
  about
state | saved | left | kind = how far it is, when it was saved, how long it will take, where it comes from
continuation | text | prompt = what was written, what it followed
set | sets | used / all | count | prompts = the prompt set; how many of its prompts are used, of how many
factor | factors | level | factor * = what groups prompts: a name, and one of its levels
format | origin | line | edited | positions = how a prompt file is written, where it lies, a line of it, which tokens
  are edited
exploratory = computed of a session whose frozen analysis does not name it
kept_for_confirmation | confirm | kept for confirmation = prompts that ran with the rest and that nothing looks at but
  `srm-explorer confirm`
sample = which of several continuations of one prompt, from 1
"""


@dataclass(frozen=True)
class Term:
    """A word and what it means.

    Attributes:
        section: what it is about.
        words: as they stand on the screen; * for what differs from case to case.
        meaning: a sentence, without its end.
    """

    section: str
    words: tuple[str, ...]
    meaning: str

    @property
    def word(self) -> str:
        return self.words[0]

    @functools.cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(re.escape(word).replace(r"\*", ".+")) for word in self.words if "*" in word)

    def means(self, text: str) -> bool:
        """Whether a heading, a key or a legend's detail is one of its words."""
        return text in self.words or any(pattern.fullmatch(text) for pattern in self._patterns)

    @property
    def literal(self) -> int:
        """How much of it stands for itself: the longer, the better a match."""
        return max(len(word.replace("*", "")) for word in self.words)


@functools.cache
def glossary() -> tuple[Term, ...]:
    """Every term, section by section."""
    terms: list[Term] = []
    section = ""
    for line in _TEXT.replace("\n  ", " ").strip().splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
        elif line:
            words, _, meaning = line.partition(" = ")
            terms.append(Term(section, tuple(word.strip() for word in words.split(" | ")), meaning))
    return tuple(terms)


def term_of(text: str) -> Term | None:
    """The term that a heading, a key or another word of the screen stands for; None for none."""
    exact = next((term for term in glossary() if text in term.words), None)
    if exact is not None:
        return exact
    matching = [term for term in glossary() if term.means(text)]
    return max(matching, key=lambda term: term.literal, default=None)


def column_term(column: TableColumn, table: str = "") -> Term | None:
    """The term of a column: that of its key in this table, of its heading, or of its key anywhere; None for none."""
    named = (f"{table}.{column.key}", column.title, column.key)
    exact = (term for name in named for term in glossary() if name in term.words)
    return next(exact, None) or next((term for name in named[1:] if (term := term_of(name))), None)


def column_words(columns: Iterable[TableColumn], table: str = "") -> tuple[tuple[str, str], ...]:
    """Headings with their meanings, those of one meaning together.

    Args:
        columns: of a table.
        table: its name, where it has one.
    """
    titles: dict[str, list[str]] = {}
    for column in columns:
        term = column_term(column, table)
        if term is not None:
            titles.setdefault(term.meaning, []).append(column.title or term.word)
    return tuple((", ".join(dict.fromkeys(listed)), meaning) for meaning, listed in titles.items())


def terms_in(text: str, sections: Sequence[str]) -> tuple[Term, ...]:
    """The terms of some sections whose words stand in a text, as whole words."""
    return tuple(
        term
        for term in glossary()
        if term.section in sections and any(_standing(word).search(text) for word in term.words)
    )


@functools.cache
def _standing(word: str) -> re.Pattern[str]:
    """A word where it stands for itself: no part of another, and something in the place of its stars."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)".replace(r"\*", r"\S+"))


def explain(words: Sequence[str]) -> tuple[Term, ...]:
    """The terms that words stand for, whatever their case.

    Raises:
        ExplorerError: one that is none.
    """
    known = {word.casefold(): word for term in glossary() for word in term.words}
    terms: list[Term] = []
    for word in words:
        term = term_of(known.get(word.casefold(), word))
        if term is None:
            # All of them are no remedy: they fill a screen.
            close = nearest(word, [term.word for term in glossary()])
            near = f"did you mean '{close}'?; " if close else ""
            raise ExplorerError(f"there is no word {word!r}", remedy=f"{near}`srm-explorer explain` lists all")
        terms.append(term)
    return tuple(dict.fromkeys(terms))


def as_markdown() -> str:
    """The glossary as a page."""
    lines = ["# Glossary", "", "Every heading, every word of a legend. `srm-explorer explain WORD` tells one of them;"]
    lines.append("`?` those in view. This page is made of `engine/figures/glossary.py` by `tools/write_reference.py`.")
    section = ""
    for term in glossary():
        if term.section != section:
            section = term.section
            lines += ["", f"## {section}", "", "| word | meaning |", "|---|---|"]
        lines.append("| {} | {} |".format(term.word.replace("|", "\\|"), term.meaning.replace("|", "\\|")))
    return "\n".join(lines) + "\n"
