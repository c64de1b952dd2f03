"""A finished or interrupted experiment as saved."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator

from srm_explorer.engine.errors import ExplorerError, SpecValueError
from srm_explorer.engine.experiment import Condition, Experiment, directions
from srm_explorer.engine.experiment.conditions import Grid
from srm_explorer.engine.experiment.positions import Positions, RowPositions
from srm_explorer.engine.io.files import sha256_of
from srm_explorer.engine.io.vectors import Matrix, read_tables, read_vectors, stream_runs, widths
from srm_explorer.engine.prompts import set_name
from srm_explorer.engine.session.codec import DamagedError, Number, Text, Whole, read_record
from srm_explorer.engine.session.standing import STANDING, Standing, kept_words
from srm_explorer.engine.session.survey import SURVEY, SurveyTables

Finish: TypeAlias = Literal["length", "eos", "none", "unknown"]
"""Why a run's text ends: the asked length, an end-of-text, or nothing was generated at all; unknown where the text
came from elsewhere, and its tokens with it."""


@dataclass(frozen=True)
class PromptRecord:
    """A prompt as it was fed.

    Attributes:
        set: name of the prompt set it came from.
        token_ids: what the model was fed, a BOS included where there was one; empty where that is unknown.
        occurrence: how many earlier prompts of the session have the same token ids.
        sha256: of the token ids, empty where they are unknown; with `occurrence` it keys the sampling noise.
    """

    set: Text
    text: Text
    factors: Mapping[Text, Text]
    token_ids: tuple[Whole, ...]
    occurrence: Whole
    sha256: Text


@dataclass(frozen=True)
class RunRecord:
    """One prompt under one condition.

    Attributes:
        index: its place among all runs that were planned.
        sample: which of the sampled continuations, from 0.
        prompt_tokens: how many tokens the prompt has.
        finish: why the text ends.
        min_margin: smallest difference between the two largest logits over the generated steps; None where none was,
            NaN where logits were.
    """

    index: Whole
    prompt: Whole
    condition: Whole
    sample: Whole
    token_ids: tuple[Whole, ...]
    text: Text
    prompt_tokens: Whole
    finish: Finish
    min_margin: Number | None
    metrics: Mapping[Text, Number]

    @property
    def is_broken(self) -> bool:
        """Whether logits were NaN: from there on its text, and what was captured of that, is none of the model's.

        The largest of such logits is the first token of the vocabulary: an end of text, or "!" over and over.
        """
        return self.min_margin is not None and math.isnan(self.min_margin)


def _along(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, int) and value < 0):
        raise ValueError("is no whole number from 0, and no direction")
    if isinstance(value, int):
        return value
    try:
        # A session may come from someone else: no text of it commands a terminal.
        return directions.canonical(value if value.isprintable() else "")
    except SpecValueError:
        raise ValueError("is no direction") from None


Along: TypeAlias = Annotated[int | str, PlainValidator(_along, json_schema_input_type=int | str)]
"""A direction of a plane: a coordinate's number, or a direction's text as experiment files have it."""


ShorterShadows: TypeAlias = tuple[tuple[tuple[Whole, Number, Number, Number], ...], ...]
"""[run][mark] (tokens, x, y, norm) of a run's mean over its first tokens."""


@dataclass(frozen=True)
class HeldOut:
    """The split of a plane that is shown on other units than it was made of, or chosen on.

    Attributes:
        seed: of the split.
        prompts: those of the units that it was made of; their runs lie nowhere in the plane.
        made: how many units those are.
        shown: how many units are shown.
    """

    seed: Whole
    prompts: tuple[Whole, ...]
    made: Whole
    shown: Whole


@dataclass(frozen=True)
class PlaneRecord:
    """Where every run lies in a plane: all that a spotlight sweep needs.

    Attributes:
        a: what lies at 0 degrees: a coordinate's number, or a direction's text as experiment files have it.
        b: what lies at 90 degrees, as far as the first leaves it free.
        x: [run] coordinate along the first direction, raw units, runs in the session's order.
        y: [run] coordinate along the second, made orthogonal to the first.
        norm: [run] length of the whole vector.
        raw_angle_deg: degrees between the two directions before they were made orthogonal.
        shorter: [run] where its mean over its first tokens lies, (tokens, x, y, norm) for each number of tokens at
            which another run of the same prompt stopped; empty where nothing is known of that.
        held_out: on which half of the units it was made; None where all runs lie in it.
    """

    site: Text
    a: Along
    b: Along
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    norm: tuple[Number, ...]
    raw_angle_deg: Number = 90.0
    shorter: ShorterShadows = ()
    held_out: HeldOut | None = None

    @classmethod
    def of(
        cls,
        site: str,
        a: int | str,
        b: int | str,
        xy: NDArray[np.floating[Any]],
        norm: NDArray[np.floating[Any]],
        raw_angle_deg: float = 90.0,
        shorter: ShorterShadows = (),
    ) -> Self:
        """Take the coordinates [run, 2] and norms [run] that an analysis computed."""
        x, y = np.asarray(xy, dtype=np.float64).T
        lengths = np.asarray(norm, dtype=np.float64)
        return cls(site, a, b, tuple(x.tolist()), tuple(y.tolist()), tuple(lengths.tolist()), raw_angle_deg, shorter)

    @property
    def xy(self) -> NDArray[np.float64]:
        """[run, 2] both coordinates."""
        return np.array([self.x, self.y], dtype=np.float64).T

    @property
    def coordinates(self) -> tuple[int, ...]:
        return tuple(along for along in (self.a, self.b) if isinstance(along, int))

    @property
    def key(self) -> tuple[str | int, ...]:
        """What tells it from the other planes of a session: its site and directions, and the seed of its split."""
        return (self.site, self.a, self.b, *(() if self.held_out is None else ("held out", self.held_out.seed)))


FROZEN = "frozen_analysis"
"""In a session's provenance: the SHA-256 of the analysis that was named before its run."""

IMPORTED = "imported"
"""In a session's provenance: says that it was made from arrays and texts, and what of a run they do not tell."""

Unknown: TypeAlias = Literal["model", "tokens", "conditions", "interventions", "prompts", "sites", "texts"]
"""What may be unknown of runs that came from elsewhere; of texts alone, nothing is captured, and no site is unknown."""

SCHEMA_VERSION = 2
"""Of the session file; raised whenever an older program could misread it."""

SHORTER = "shorter/"
"""Begins the names, among saved vectors, of means over the first tokens of runs."""

State: TypeAlias = Literal["finished", "interrupted"]

Resolved: TypeAlias = tuple[tuple[tuple[float, ...] | None, ...], ...]
"""[condition][intervention] the raw values its neurons were given (one for a direction); None where it is absent."""


@dataclass(frozen=True)
class Sidecar:
    """The file beside a session that holds its full vectors.

    Attributes:
        sites: the number of coordinates at each captured site.
    """

    file: Text
    sha256: Text
    sites: Mapping[Text, Whole]


@dataclass(frozen=True)
class Session:
    """An experiment with its runs: enough to redraw every chart without the model and without the vectors.

    Attributes:
        state: "interrupted" where planned runs are missing.
        resolved: raw values of every intervention in every condition, units frozen.
        runs: the runs that were finished, by rising index.
        planes: coordinates of the runs in every plane of the experiment.
        provenance: model, tokenizer, versions, device, seeds, self-test, by name.
        layout: the batch layout, for replay.
        receipts: what the hooks reported, a table a batch.
        events: what happened on the way, such as a batch halved for want of memory.
        bands: computed bands by chart.
        predictions: what arithmetic predicts, by chart.
        effects: what a scoring of the texts under every condition found, see `engine.analyses`; empty before.
        notes: the user's own words, Markdown.
        created: when the experiment began, ISO 8601.
        saved: when the file was written, ISO 8601; empty before.
        revision: how often it was saved; 0 before.
        sidecar: where its vectors are; None where they were not kept.
        path: the file it was read from or saved to; no part of its content.
        held: full vectors by site, [run, d], of a session that was made from arrays and is not saved; no part of its
            content.
        surveyed: tables of a survey that are not saved yet: of one that runs, or that was made up; no part of its
            content, see `survey`.
        confirms: whether it is looked at to confirm; no part of its content, see `seen`.
    """

    name: str
    state: State
    spec: Experiment
    conditions: tuple[Condition, ...]
    resolved: Resolved
    prompts: tuple[PromptRecord, ...]
    runs: tuple[RunRecord, ...]
    planes: tuple[PlaneRecord, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    layout: Mapping[str, Any] = field(default_factory=dict[str, Any])
    receipts: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    bands: Mapping[str, Any] = field(default_factory=dict[str, Any])
    predictions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    effects: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: str = ""
    created: str = field(default_factory=lambda: now())
    saved: str = ""
    revision: int = 0
    sidecar: Sidecar | None = None
    path: Path | None = field(default=None, compare=False)
    held: Mapping[str, Matrix] | None = field(default=None, compare=False, repr=False)
    surveyed: SurveyTables | None = field(default=None, compare=False, repr=False)
    confirms: bool = field(default=False, compare=False, repr=False)

    @functools.cached_property
    def prompts_seen(self) -> tuple[bool, ...]:
        """[prompt] whether analyses look at it: all but those of `prompts.confirm`, and while confirming these alone.

        Whatever looks at prompts or runs together, to choose, to test or to warn of anything, asks this first.
        """
        seen = seen_prompts(self.spec, [prompt.set for prompt in self.prompts])
        return tuple(is_seen != self.confirms for is_seen in seen)

    @functools.cached_property
    def kinds(self) -> NDArray[np.str_]:
        """[run] the kind of its condition."""
        return np.array([self.conditions[run.condition].kind for run in self.runs], np.str_)

    @functools.cached_property
    def seen(self) -> NDArray[np.bool_]:
        """[run] whether analyses look at it: of `prompts_seen`, and not broken."""
        return np.array([self.prompts_seen[run.prompt] and not run.is_broken for run in self.runs], np.bool_)

    @property
    def seen_runs(self) -> tuple[RunRecord, ...]:
        """The runs that analyses look at."""
        return tuple(run for run, is_seen in zip(self.runs, self.seen.tolist(), strict=True) if is_seen)

    @property
    def runs_of_seen(self) -> tuple[RunRecord, ...]:
        """All runs of `prompts_seen`, broken ones too."""
        return tuple(run for run in self.runs if self.prompts_seen[run.prompt])

    @property
    def kept_back(self) -> int:
        """How many prompts are kept for confirmation."""
        return sum(not kept for kept in seen_prompts(self.spec, [prompt.set for prompt in self.prompts]))

    def confirming(self) -> Session:
        """The same, looked at on the prompts alone that are kept for confirmation.

        Raises:
            ExplorerError: none are, or none of their runs is there.
        """
        if not self.kept_back:
            what = "no prompts of it were kept for confirmation"
            remedy = "name sets in prompts.confirm before the run, and run it under another name"
            raise ExplorerError(what, where=self.name, remedy=remedy)
        confirming = self.changed(confirms=True)
        if not confirming.runs_of_seen:
            remedy = "run the same command to go on"
            raise ExplorerError(
                "no run of the prompts kept for confirmation is there yet", where=self.name, remedy=remedy
            )
        return confirming

    @property
    def planned_runs(self) -> int:
        """How many runs it has once it is finished; nobody knows what was planned of what came from elsewhere."""
        if self.is_imported:
            return len(self.runs)
        return len(Grid(len(self.prompts), self.spec.generation.samples, len(self.conditions)))

    @property
    def is_imported(self) -> bool:
        """Whether it was made from arrays and texts, and not by a run."""
        return IMPORTED in self.provenance

    def check_plane(self, number: int) -> None:
        """Refuse a plane that is not there, counted from 1, with what would help.

        Raises:
            ExplorerError: there is none of this number.
        """
        if 1 <= number <= len(self.planes):
            return
        if not self.spec.capture.sites:
            remedy = "give it the vectors of its runs too"
            raise ExplorerError("this session holds texts alone, no vectors", where=self.name, remedy=remedy)
        add = f"add one: srm-explorer planes {self.name} --add A B"
        remedy = f"choose 1 to {len(self.planes)}" if self.planes else add
        raise ExplorerError(f"there is no plane {number}", where=self.name, remedy=remedy)

    def told(self, of: str) -> Mapping[str, Any]:
        """What its provenance tells of the model, the tokenizer, an import and the like; empty where it tells none."""
        known: object = self.provenance.get(of)
        return cast("Mapping[str, Any]", known) if isinstance(known, Mapping) else {}

    def is_unknown(self, what: Unknown) -> bool:
        """Whether those who made it could not tell something that a run would have recorded."""
        listed: object = self.told(IMPORTED).get("unknown")
        return isinstance(listed, list | tuple) and what in listed

    @property
    def pieces(self) -> Sequence[Sequence[int]]:
        """[run] tokens into which `tokenizer` parts the texts of an import, not those generated; none without."""
        listed: object = self.told(IMPORTED).get("pieces")
        pieces = cast("Sequence[Sequence[int]]", listed) if isinstance(listed, list | tuple) else ()
        return pieces if len(pieces) == len(self.runs) else ()

    @property
    def tokenizer(self) -> str:
        """What parts the texts of an import into `pieces`; empty for none."""
        return str(self.told(IMPORTED).get("tokenizer", "")) if self.pieces else ""

    def same_text(self, first: RunRecord, other: RunRecord) -> bool:
        """Whether two runs wrote the same: by their tokens, by their texts where tokens are unknown; False if both."""
        return not self.is_unknown("texts") and (first.token_ids, first.text) == (other.token_ids, other.text)

    @property
    def widths(self) -> Mapping[str, int]:
        """The number of coordinates at each site whose full vectors there are."""
        if self.held is not None:
            return widths(self.held)
        return {} if self.sidecar is None else self.sidecar.sites

    def changed(self, **fields: Any) -> Session:
        """A copy with other fields; TypeError for a name that is none."""
        return dataclasses.replace(self, **fields)

    def vectors(self, sites: Collection[str] | None = None) -> dict[str, Matrix | list[Matrix]]:
        """The full vectors by site, rows in the order of `runs`: [run, d], or a list of [token, d] for reduce "tokens".

        Args:
            sites: these alone; all by default.

        Raises:
            ExplorerError: they were not kept, or their file is missing, not the one that was saved, or lacks a site.
        """
        if self.held is None:
            own = () if self.sidecar is None else self.sidecar.sites
            return read_vectors(self.vectors_path(), runs=len(self.runs), sites=own if sites is None else sites)
        return {site: self.held[site] for site in (self.held if sites is None else sites)}

    def stream(self, site: str) -> Iterator[Matrix]:
        """The vectors of one captured site run after run, [d] or [token, d], without all of them in memory.

        Raises:
            ExplorerError: as `vectors`.
        """
        if self.held is not None:
            return iter(self.held[site])
        return stream_runs(self.vectors_path(), runs=len(self.runs), site=site)

    @functools.cached_property
    def _saved_survey(self) -> SurveyTables | None:
        if not self.spec.survey or self.sidecar is None or self.held is not None:
            return None
        path = self.vectors_path()
        try:
            return SurveyTables.from_arrays(read_tables(path, SURVEY))
        except DamagedError as error:
            remedy = "restore it from a copy, or run the experiment again"
            raise ExplorerError(f"this is not what was saved: {error}", where=str(path), remedy=remedy) from None

    def survey(self) -> SurveyTables | None:
        """What its survey found so far; None where it is none, or where its baseline is not finished.

        Raises:
            ExplorerError: the file beside the session is missing, or not the one that was saved.
        """
        return self._saved_survey if self.surveyed is None else self.surveyed

    @functools.cached_property
    def standing(self) -> Standing | None:
        """How far its survey is, without reading what it found; None where it is none.

        One whose provenance does not say it is read, and None where that cannot be done: who asks for what the survey
        found is told so.
        """
        if self.surveyed is not None:
            return self.surveyed.standing
        if not self.spec.survey:
            return None
        try:
            return read_record(Standing, self.provenance.get(STANDING))
        except DamagedError:
            pass
        try:
            tables = self.survey()
        except ExplorerError:
            return None
        return Standing() if tables is None else tables.standing

    @property
    def kept(self) -> str:
        """What is there of what was planned: "412 of 600 runs", of a survey how many neurons too."""
        words = kept_words(len(self.runs), self.planned_runs, self.standing)
        return f"{words} of the baseline" if self.spec.survey and self.standing is None else words

    def frame(self, kind: Literal["runs", "curves", "effects", "statistics", "survey"] = "runs") -> Any:
        """A pandas frame of it, see `engine.analyses.frames.frame`, which is loaded when one is asked for."""
        return import_module("srm_explorer.engine.analyses.frames").frame(self, kind)

    def __repr__(self) -> str:
        # Of figures, which know sessions; whole, it would be every token of every run.
        return import_module("srm_explorer.engine.figures.html").session_line(self)

    def _repr_html_(self) -> str:
        return import_module("srm_explorer.engine.figures.html").session_html(self)

    def shorter_means(self) -> dict[str, list[Matrix]]:
        """Means over the first tokens by site, [mark, d] a run, marks as `lengths.marks_of` has them; errors as there.

        Empty where no text is shorter than another of its prompt, and where every token was kept.
        """
        if self.held is not None:
            return {}
        names = [f"{SHORTER}{site}" for site in self.spec.capture.sites]
        kept = read_vectors(self.vectors_path(), runs=len(self.runs), sites=(), optional=names)
        return {name.removeprefix(SHORTER): list(means) for name, means in kept.items()}

    @property
    def vectors_bytes(self) -> int:
        """The size of the file with the vectors, which is read whole to check it; 0 where there is none."""
        if self.held is not None or self.sidecar is None or self.path is None:
            return 0
        there = [path for path in sidecar_candidates(self.path, self.sidecar) if path.is_file()]
        return there[0].stat().st_size if there else 0

    def vectors_path(self) -> Path:
        """The sidecar, found and checked by its hash; errors as `vectors`."""
        if self.held is not None:
            raise ExplorerError("its vectors are in no file yet", where=self.name, remedy="save the session first")
        if not self.spec.capture.sites:
            remedy = "give it the vectors of its runs too"
            raise ExplorerError("this session holds texts alone, no vectors", where=self.name, remedy=remedy)
        if self.sidecar is None or self.path is None:
            what = "this session was saved without its vectors"
            raise ExplorerError(
                what, where=self.name, remedy="run the experiment again under another name to have them"
            )
        there = [path for path in sidecar_candidates(self.path, self.sidecar) if path.is_file()]
        for path in there:
            try:
                if sha256_of(path) == self.sidecar.sha256:
                    return path
            except OSError as error:
                what = f"the vectors cannot be read: {error.strerror}"
                raise ExplorerError(what, where=str(path), remedy="check its permissions") from None
        if there:
            what = "the vectors are not those this session was saved with (the file was altered)"
            remedy = "restore it from a copy; charts and texts of the session can still be shown"
            raise ExplorerError(what, where=str(there[0]), remedy=remedy)
        what = "the file with the vectors is missing"
        remedy = f"put it back beside {self.path.name}; charts and texts of the session can still be shown"
        raise ExplorerError(what, where=str(self.path.with_name(self.sidecar.file)), remedy=remedy)


def seen_prompts(spec: Experiment, sets: Sequence[str]) -> list[bool]:
    """[prompt] whether analyses look at it before anything is confirmed, by the sets that prompts came from."""
    kept = {set_name(name) for name in spec.prompts.confirm}
    return [name not in kept for name in sets]


def sidecar_candidates(session_path: Path, sidecar: Sidecar) -> list[Path]:
    """Where a sidecar may lie: under its name, under that of a renamed session, or not yet renamed after a crash."""
    renamed = session_path.with_name(f"{session_path.name.removesuffix('.json')}.safetensors")
    named = session_path.with_name(sidecar.file)
    return list(dict.fromkeys([named, renamed, pending_sidecar(named, sidecar.sha256)]))


def pending_sidecar(final: Path, sha256: str) -> Path:
    """The hidden name under which a sidecar waits until the session that refers to it is in place."""
    return final.with_name(f".{final.name.removesuffix('.safetensors')}.{sha256[:16]}.safetensors")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


CAPTURED_AT = "captured_at"
"""Names, in the provenance, the captured positions of each prompt, where they are none that a word means."""


@dataclass(frozen=True)
class _CapturedAt:
    """Positions of a prompt as they are stored."""

    at: tuple[Whole, ...]
    start: Whole | None = None


def captured_at(session: Session, prompt: int) -> Positions | RowPositions:
    """Which positions of a prompt, by its index, were captured.

    Raises:
        ExplorerError: the session does not say.
    """
    choice = session.spec.capture.positions
    if isinstance(choice, str):
        return choice
    try:
        stored = read_record(tuple[_CapturedAt, ...], session.provenance.get(CAPTURED_AT), f"provenance.{CAPTURED_AT}")
        return RowPositions(stored[prompt].at, stored[prompt].start)
    except (DamagedError, IndexError) as error:
        what = str(error) if isinstance(error, DamagedError) else f"{CAPTURED_AT} has too few prompts"
        raise ExplorerError(f"{what}; the captured positions are not known", where=session.name) from None
