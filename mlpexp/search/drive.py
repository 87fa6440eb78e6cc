"""Ask, run, tell: as many trials under way as there is room for, and another one asked as soon as one has ended.

Flow: space, studies → **drive** ⇄ flight. No barrier: nobody waits for the slowest of a batch.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from mlpexp.config import Config
from mlpexp.display import counted
from mlpexp.leases import identity
from mlpexp.refusals import ConfigError
from mlpexp.search.board import MOST_ROWS, Board, Row
from mlpexp.search.flight import Ended, Epoch, Round
from mlpexp.search.goals import Goals
from mlpexp.search.space import Space
from mlpexp.search.studies import OWNER, REASON, Heartbeat, abandon, abandon_dead, counted_trials, quiet
from mlpexp.search_schema import Search

RUNS = "mlpexp.runs"
"""User attribute of a trial: the fingerprints of its runs."""

LOOK_AROUND_SECONDS = 2.0
"""Between two looks at what other processes do with the same study."""


class Place(Protocol):
    """What the loop needs of whoever trains: flight.py has it; a test may compute a formula."""

    def start(self, number: int, config: Config) -> list[str]:
        """Take on a trial; the fingerprints of its runs."""
        ...

    def leave(self, number: int) -> None:
        """Give it up."""
        ...

    def look(self) -> Iterator[Epoch | Round | Ended]:
        """What has happened since the last look."""
        ...


class Drive:
    """One process's part in a study: the trials that it has asked for and not told yet."""

    def __init__(self, study: Study, space: Space, goals: Goals, search: Search, board: Board) -> None:
        self.study, self.space, self.goals, self.search, self.board = study, space, goals, search, board
        self.flying: dict[int, Trial] = {}
        self.heart = Heartbeat(study)
        self.looked_around = 0.0
        self.failures: list[str] = []
        """Lines of trials that failed because training them failed: nothing that a better point would mend."""

    def run(self, place: Place, room: int, most: int) -> None:
        """Until the study has `most` trials in all, each of them told, by this process or another."""
        with quiet():
            try:
                self._run(place, room, most)
            except BaseException:  # what is under way here waits for whoever goes on
                for trial in self.flying.values():
                    self._abandon(trial)
                raise

    def _run(self, place: Place, room: int, most: int) -> None:
        while True:
            self._look_around()
            while len(self.flying) < room and (trial := self._ask(most)) is not None:
                self._start(trial, place)
            if not self.flying:
                others = [one for one in counted_trials(self.study) if one.state is TrialState.RUNNING]
                if not others:
                    return
                self.board.waiting(f"another process tries {counted(len(others), 'trial')}: waiting")
                time.sleep(0.5)
                continue
            for event in place.look():
                try:
                    self._hear(event, place)
                except UpdateFinishedTrialError:  # another process took us for dead, and has told or taken it
                    self.flying.pop(event.trial)
            self.heart.beat(self.flying.values())

    def _look_around(self) -> None:
        """Take over what dead processes left; what others have told shows on the board."""
        if time.monotonic() - self.looked_around >= LOOK_AROUND_SECONDS:
            self.looked_around = time.monotonic()
            abandon_dead(self.study)
            self._show()

    def _ask(self, most: int) -> Trial | None:
        """A new trial, or one whose process died; None where there are enough. One that is too many is taken back."""
        if len(counted_trials(self.study)) >= most:
            return None
        trial = self.study.ask()
        trial.set_user_attr(OWNER, identity())
        self.heart.beat([trial])
        earlier = [one for one in counted_trials(self.study) if one.number < trial.number]
        if len(earlier) >= most:  # another process asked at the same moment
            self._abandon(trial)
            return None
        return trial

    def _abandon(self, trial: Trial) -> None:
        abandon(self.study, next(one for one in self.study.get_trials(deepcopy=False) if one.number == trial.number))

    def _start(self, trial: Trial, place: Place) -> None:
        words, _ = self.space.overrides(lambda dimension: dimension.suggest(trial))
        try:
            names = place.start(trial.number, self.space.composer.config(words))
        except ConfigError as error:
            self._fail(trial, f"refused: {'; '.join(error.mistakes)}")
            return
        self.flying[trial.number] = trial
        trial.set_user_attr(RUNS, names)

    def _hear(self, event: Epoch | Round | Ended, place: Place) -> None:
        trial = self.flying.get(event.trial)
        if trial is None:
            return
        sign = self.goals.signs[0]
        if isinstance(event, Epoch):
            trial.report(self.goals.combined(event.values, sign), event.epoch)
            if trial.should_prune():
                self._prune(trial, place)
            return
        reasons = [reason for run in event.runs if (reason := self.goals.reason(run))]
        if isinstance(event, Ended) and event.failure:
            self.failures.append(event.failure)
            reasons = [event.failure]
        if reasons:
            if isinstance(event, Round):
                place.leave(trial.number)
            self._fail(trial, reasons[0])
            return
        scalars = [self.goals.scalars(run) for run in event.runs]
        if self.search.pruner == "wilcoxon":
            for i, found in enumerate(scalars):
                if i not in trial.storage.get_trial(trial._trial_id).intermediate_values:
                    trial.report(found[self.goals.names[0]], i)
        if isinstance(event, Ended):
            self._complete(trial, scalars)
        elif trial.should_prune():
            self._prune(trial, place)

    def _complete(self, trial: Trial, scalars: Sequence[dict[str, float]]) -> None:
        for name, violation in self.goals.violations(scalars).items():
            trial.set_constraint(name, violation)
        self._tell(trial, values=self.goals.values(scalars))

    def _prune(self, trial: Trial, place: Place) -> None:
        place.leave(trial.number)
        self._tell(trial, state=TrialState.PRUNED)

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        self._tell(trial, state=TrialState.FAIL)

    def _tell(self, trial: Trial, **how: Any) -> None:
        self.flying.pop(trial.number, None)
        self.study.tell(trial, **how)
        self._show()

    def _show(self) -> None:
        names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        states = Counter(names.get(one.state, "running") for one in counted_trials(self.study))
        self.board.trials(states, rows_of(ranking(self.study, self.goals)))


def rows_of(ranked: Sequence[FrozenTrial]) -> list[Row]:
    """The first of these trials, as they are shown."""
    return [Row(one.number, one.values, one.params) for one in ranked[:MOST_ROWS]]


def ranking(study: Study, goals: Goals) -> list[FrozenTrial]:
    """Finished trials that keep every constraint, best first; of several objectives the Pareto front."""
    if len(goals.names) > 1:
        return sorted(study.best_trials, key=lambda one: -goals.signs[0] * one.values[0])
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    feasible = [one for one in complete if all(value <= 0 for value in one.constraints.values())]
    return sorted(feasible, key=lambda one: -goals.signs[0] * one.values[0])
