"""The survey of a run whose baseline is finished: its parts are sent out, and what comes of them is journalled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from numpy.typing import NDArray

from srm_explorer.engine.execution.executor import Executor, Finished
from srm_explorer.engine.execution.opening import Opened
from srm_explorer.engine.execution.survey import FreePart, GivenTexts, OfBaseline, Part, PartMaker, ReadingTask
from srm_explorer.engine.experiment.survey import Depth, chosen, site_of
from srm_explorer.engine.runs.collect import session_of
from srm_explorer.engine.runs.journal import JournalWriter
from srm_explorer.engine.runs.journal_reader import compact
from srm_explorer.engine.runs.progress import Meter
from srm_explorer.engine.runs.survey import FREE, LayerReading, Plan, going_on, most_moved, new_plan
from srm_explorer.engine.runs.survey_journal import SurveyChosen, SurveyJournal, SurveyKept, SurveyPlanned

TELLING = 100
"""Settings that are scored before it is told how fast: of few, what a text costs untouched is most of their time."""


@dataclass
class Surveying:
    """Sends the parts of a survey to whoever has the model.

    Args:
        journal: holds every run of the baseline.
        rows_now: the most rows of a batch of one executor, by what is known of its memory.
        on_misfit: called with the rows of a part that did not fit; raises where fewer cannot be tried.
    """

    journal: JournalWriter
    executor: Executor
    opened: Opened
    meter: Meter
    rows_now: Callable[[str], int]
    on_misfit: Callable[[int, Finished[Any]], None]
    rates: dict[str, float] = field(default_factory=dict[str, float])
    """By depth, tokens a second that this start scored, or wrote; where it scored enough to tell."""

    def run(self) -> bool:
        """Do what is left of it; tell whether all is done.

        Raises:
            Stopped: it was asked to stop at once.
            ExplorerError: no such neurons.
        """
        known = self._known
        known.poll()
        if known.plan is None and not self._plan():
            return False
        if not self._do("forced"):
            return False
        self._choose()
        return self._do("free")

    @cached_property
    def _known(self) -> SurveyJournal:
        return SurveyJournal(self.journal.reader)

    @cached_property
    def _texts(self) -> GivenTexts:
        return GivenTexts.of(self.journal.reader.runs)

    @cached_property
    def _of_baseline(self) -> OfBaseline:
        reader = self.journal.reader
        runs, kept = compact(reader)
        return OfBaseline.of(session_of(reader, self.journal.folder, None, reader.start.prompts, runs, (), ()), kept)

    def _plan(self) -> bool:
        """Measure the neurons, and fix what each is given; False where it was asked to stop."""
        experiment, shape = self.journal.reader.experiment, self.opened.shape
        template = experiment.interventions[0]
        top = bool(chosen(experiment.survey.neurons).top)
        by_layer: dict[int, list[int]] = {}
        for layer, neuron in experiment.survey.cells(template, shape):
            by_layer.setdefault(layer, []).append(neuron)
        texts = GivenTexts.scored(experiment, self._texts, self.opened.prompts)
        tasks = deque(
            ReadingTask(layer, site_of(template, layer), None if top else tuple(neurons), texts)
            for layer, neurons in by_layer.items()
        )
        readings: dict[int, LayerReading] = {}
        self.meter.part("survey", 0, 0)

        def take(_by: str) -> ReadingTask | None:
            return None if self.meter.stop.level or not tasks else tasks.popleft()

        for finished in self.executor.run(take, self.meter, counted=False):
            if finished.result is None:
                self.on_misfit(1, finished)
            reading = cast("LayerReading", finished.result)
            readings[reading.layer] = reading
        if len(readings) < len(by_layer):
            return False
        ordered = [readings[layer] for layer in sorted(readings)]
        read = [(len(before), len(scored)) for before, scored in texts.read(self.opened.prompts)]
        plan = new_plan(experiment, ordered, self.opened.prompts, read, self.rows_now(""))

        def planned(shard: str, sha256: str) -> SurveyPlanned:
            return SurveyPlanned(shard, sha256, plan.forced, plan.free, plan.rows, plan.together)

        self.journal.append_tables(plan.to_arrays(), planned)
        self._known.poll()
        return True

    def _choose(self) -> None:
        """Choose whom it goes on with, once all are scored."""
        plan, count = self._plan_now, self.journal.reader.experiment.survey.goes_on
        if count and not plan.chosen:
            later = going_on(plan, most_moved(plan, self._known.forced_kl(), count, self.opened.prompts))
            self.journal.event(SurveyChosen(later.chosen, later.free))
            self._known.poll()

    @property
    def _plan_now(self) -> Plan:
        plan = self._known.plan
        assert plan is not None, "parts come after the plan"
        return plan

    @cached_property
    def _maker(self) -> PartMaker:
        return PartMaker(self.journal.reader.experiment, self._plan_now, self._texts, self.opened.prompts)

    def _do(self, depth: Depth) -> bool:
        plan = self._plan_now
        spans, done = plan.spans[depth], self._known.done(depth)
        queue = deque(number for number in range(len(spans)) if number not in done)
        # Free parts of a survey that goes on are counted once they are known.
        before = 0 if depth == "forced" else len(plan.forced)
        total = len(plan.forced) + len(plan.free)
        began, tokens, settings = time.monotonic(), 0, 0
        if queue:
            self.meter.begin_parts("survey", before + len(done), total, self._known.standing)

        def take(by: str) -> Part | None:
            if self.meter.stop.level or not queue:
                return None
            return self._task(depth, queue.popleft(), min(plan.rows, self.rows_now(by)))

        left = len(queue)
        for finished in self.executor.run(take, self.meter, counted=False):
            part = cast("Part", finished.task)
            if finished.result is None:
                self.on_misfit(part.rows, finished)
                queue.appendleft(part.number)
                continue
            tokens += _tokens_of(part, finished.result)
            self._keep(part, finished.result)
            left -= 1
            settings += sum(map(len, part.values))
            spent = time.monotonic() - began
            if depth == "free" or settings >= TELLING:
                self.rates[depth] = tokens / spent if spent > 0 else 0.0
            self.meter.part("survey", before + len(spans) - left, total, self._known.standing)
        return not left

    def _task(self, depth: Depth, number: int, rows: int) -> Part:
        plan = self._plan_now
        cells = plan.cells(depth, number)
        if depth == "forced":
            return self._maker.forced(number, cells, rows)
        return self._maker.free(number, cells, rows, plan.written_texts, self._of_baseline)

    def _keep(self, part: Part, arrays: dict[str, NDArray[Any]]) -> None:
        if isinstance(part, FreePart):
            # Of the part's cells, as places in the plan.
            cells = self._plan_now.cells("free", part.number)
            arrays = {**arrays, f"{FREE}kept": cells[arrays[f"{FREE}kept"]]}
        self.journal.append_tables(
            arrays, lambda shard, sha256: SurveyKept(part.depth, part.number, shard, sha256, part.rows)
        )
        self._known.poll()


def _tokens_of(part: Part, arrays: dict[str, NDArray[Any]]) -> int:
    """How many tokens a part scored, or wrote."""
    return int(arrays[f"{FREE}tokens"].sum()) if isinstance(part, FreePart) else part.tokens
