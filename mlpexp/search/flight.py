"""The trials under way: their runs looked up, leased, and trained in cohorts of equal shape while others are asked.

Flow: drive → **flight** → runner → drive. A cohort starts whenever a worker is free, with the waiting runs of one
shape; a trial has ended when its last run has. Nothing of Optuna here.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mlpexp.cohorts import cohort_key, most_lanes, usable_memory, worker_count
from mlpexp.config import Config
from mlpexp.display import Display
from mlpexp.execution import place
from mlpexp.leases import Leases
from mlpexp.planning import Order, plan
from mlpexp.results import Result
from mlpexp.runner import POLL_SECONDS, Attempts, look
from mlpexp.salvage import salvage
from mlpexp.signals import ask_to_leave, evaluations
from mlpexp.task import Task
from mlpexp.tracker import WholePoints, tracker

FIRST_ROUND = 2
"""Seeds of a trial that are trained before its first comparison by seeds; every later round doubles their number."""


@dataclass(frozen=True)
class Epoch:
    """What each replicate of a trial scored after so many epochs."""

    trial: int
    epoch: int
    values: list[float]


@dataclass(frozen=True)
class Round:
    """A trial some of whose seeds have ended; unless it leaves now, more are trained."""

    trial: int
    runs: list[Result]


@dataclass(frozen=True)
class Ended:
    """A trial all of whose runs have ended; `failure` says why one of them has no record."""

    trial: int
    runs: list[Result]
    failure: str | None = None


@dataclass
class Trial:
    """One point under way: the fingerprints of its replicates, and how many of them were asked for."""

    number: int
    names: list[str]
    asked: int
    scores: dict[int, dict[str, float | None]] = field(default_factory=dict)  # epoch → fingerprint → value

    @property
    def open_names(self) -> list[str]:
        """The replicates that were asked for."""
        return self.names[: self.asked]


class Flight:
    """Trains trials side by side. `watched` is an evaluation that is told after every epoch; `in_rounds` asks for
    seeds in rounds. `sample` is any point of the search: it says where, and how, all of them train.
    """

    def __init__(self, sample: Config, display: Display, sweep: str, watched: str | None, in_rounds: bool) -> None:
        self.sample, self.display, self.sweep = sample, display, sweep
        self.watched, self.in_rounds = watched, in_rounds
        self.workers, self.memory = worker_count(sample, 1 << 30), usable_memory()
        self.trials: dict[int, Trial] = {}
        self.waiting: list[int] = []  # positions in the order, in the order of asking
        self.training: set[str] = set()
        self.recorded: set[str] = set()
        self.told: set[str] = set()  # what planning found odd
        self.offsets: dict[str, int] = {}  # how far the evaluations of a cohort were read

    def __enter__(self) -> Self:
        self.order: Order = plan(self.sample.runs()[:1])
        self.order.to_train, self.complete = [], WholePoints(self.order)
        with ExitStack() as stack:
            stack.enter_context(self.display)
            self.track = stack.enter_context(tracker(self.order, self.display, self.sweep, self.complete))
            self.leases = stack.enter_context(Leases(self.order.outputs))
            self.order.leases = self.leases.held
            where = stack.enter_context(place(self.sample.executor.name, self.workers))
            self.attempts = Attempts(self.order, where, self.watched)
            self.closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.__exit__(kind, error, trace)

    def start(self, number: int, config: Config) -> list[str]:
        """Take on a trial, all replicates of a point; their fingerprints. Raises ConfigError where its data refuse."""
        more = plan(config.runs(), config.rerun, self.order.facts)
        to_train = {more.fingerprints[i] for i in more.to_train}
        self.complete.expect(more.fingerprints, more.configs)
        self.order.extend(more)
        for line in more.warnings():
            if line not in self.told:
                self.told.add(line)
                self.display.warning(line)
        names = list(dict.fromkeys(more.fingerprints))
        known = [name for name in names if name not in to_train]
        self.recorded.update(known)
        self.track([self.order.result(name) for name in known])
        self.trials[number] = trial = Trial(
            number, names, min(FIRST_ROUND, len(names)) if self.in_rounds else len(names)
        )
        self._want(trial)
        return names

    def leave(self, number: int) -> None:
        """Give a trial up: its runs that no other trial wants leave their cohorts, and are kept to go on from."""
        names = set(self.trials.pop(number).names)
        names -= {name for trial in self.trials.values() for name in trial.open_names}
        self.waiting = [i for i in self.waiting if self.order.fingerprints[i] not in names]
        for task, _, _ in self.attempts.open.values():
            lanes = [lane for lane, name in enumerate(task.fingerprints) if name in names]
            if lanes:
                ask_to_leave(task.folder, lanes)

    def look(self) -> Iterator[Epoch | Round | Ended]:
        """Start what there is room for, wait a moment, and tell what has happened since the last look."""
        self._fill()
        if self.attempts.open:
            look(self.attempts, self.display, self._take)
        elif self.waiting:
            self.display.waiting("other processes train what is wanted: waiting")
            time.sleep(POLL_SECONDS)
        self._follow()
        self._fill()  # before anybody is told or asked: no worker waits for that
        if self.watched:
            yield from self._epochs()
        yield from self._ended()

    def _want(self, trial: Trial) -> None:
        """Queue what is asked of a trial and is neither recorded nor in training."""
        queued = {self.order.fingerprints[i] for i in self.waiting}
        for name in trial.open_names:
            if name not in self.recorded | self.training | queued and name not in self.attempts.failed:
                self.waiting.append(self.order.position[name])

    def _take(self, results: list[Result]) -> None:
        """These runs are recorded."""
        names = {result.fingerprint for result in results}
        self.recorded |= names
        self.training -= names
        self.leases.release(names)
        self.track(results)

    def _fill(self) -> None:
        """Start cohorts while workers are free and runs wait that no other process trains."""
        blocked: set[int] = set()
        while (free := self.workers - len(self.attempts.open)) > 0:
            cohort = self._next_cohort(free, [i for i in self.waiting if i not in blocked])
            if not cohort:
                return
            mine = []
            for i in cohort:
                name = self.order.fingerprints[i]
                if not self.leases.take([name]):
                    blocked.add(i)
                elif self.order.is_recorded_since(name):  # by a process that held it until now
                    self.waiting.remove(i)
                    self._take([self.order.result(name)])
                else:
                    mine.append(i)
            if mine:
                self.waiting = [i for i in self.waiting if i not in mine]
                self.training |= {self.order.fingerprints[i] for i in mine}
                self.attempts.start(mine)

    def _next_cohort(self, free: int, waiting: list[int]) -> list[int]:
        """Waiting runs of the commonest shape; a part of them where workers would else stay without."""
        alike: dict[tuple[str, int], list[int]] = {}
        for i in waiting:
            alike.setdefault((cohort_key(self.order.configs[i]), self.order.step(i)), []).append(i)
        if not alike:
            return []
        cohort = max(alike.values(), key=len)  # of equals the first that was asked for
        if len(alike) < free:
            points = list(dict.fromkeys(self.order.configs[i].point() for i in cohort))
            kept = set(points[: -(-len(points) // (free - len(alike) + 1))])
            cohort = [i for i in cohort if self.order.configs[i].point() in kept]
        config = self.order.configs[cohort[0]]
        most = most_lanes(config, self.order.size(config), self.workers, self.memory, config.executor.lanes)
        return cohort[:most]

    def _follow(self) -> None:
        """Runs that are in no cohort any more and not recorded: failed, left, or taken over by another process."""
        under_way = {name for task, _, _ in self.attempts.open.values() for name in task.fingerprints}
        gone = self.training - under_way
        self.training -= gone
        self.leases.release(gone)
        for name in gone:
            if any(name in trial.open_names for trial in self.trials.values()) and name not in self.attempts.failed:
                salvage(self.order.outputs)
                self.order.look_for_base(self.order.position[name])
                self.waiting.append(self.order.position[name])

    def _epochs(self) -> Iterator[Epoch]:
        """Epochs of which all replicates of a trial have told their score."""
        for task, _, _ in list(self.attempts.open.values()):
            for epoch, lanes in self._told(task):
                for trial in list(self.trials.values()):
                    mine = {task.fingerprints[lane]: value for lane, value in lanes.items()}
                    scores = trial.scores.setdefault(epoch, {})
                    before = len(scores)
                    scores |= {name: value for name, value in mine.items() if name in trial.names}
                    values = [value for value in scores.values() if value is not None]
                    if epoch > 0 and before < len(scores) == len(values) == len(trial.names):
                        yield Epoch(trial.number, epoch, values)

    def _told(self, task: Task) -> list[tuple[int, dict[int, float | None]]]:
        found, self.offsets[task.number] = evaluations(task.folder, self.offsets.get(task.number, 0))
        return [(epoch, dict(lanes)) for epoch, lanes in found]

    def _ended(self) -> Iterator[Round | Ended]:
        """Trials of which all that was asked for has ended, or something has failed."""
        for trial in list(self.trials.values()):
            failed = [self.attempts.failed[name] for name in trial.open_names if name in self.attempts.failed]
            if failed:
                self.leave(trial.number)
                yield Ended(trial.number, [], failed[0])
            elif self.recorded.issuperset(trial.open_names):
                runs = [self.order.result(name) for name in trial.open_names]
                if trial.asked == len(trial.names):
                    del self.trials[trial.number]
                    yield Ended(trial.number, runs)
                    continue
                yield Round(trial.number, runs)
                if trial.number in self.trials:
                    trial.asked = min(2 * trial.asked, len(trial.names))
                    self._want(trial)
