"""Searches without training: a place that computes a formula of the config, as soon or as late as a test wants.

Also a program: `python search_fixtures.py STORAGE NAME TRIALS SECONDS` drives a study as a process of its own.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from optuna import Study
from optuna.storages import BaseStorage

from mlpexp.composition import CONFIG_NAME, Composer
from mlpexp.config import Config
from mlpexp.config_files import loader
from mlpexp.results import Result
from mlpexp.search.board import Board
from mlpexp.search.drive import Drive
from mlpexp.search.flight import Ended, Epoch, Round
from mlpexp.search.goals import Goals
from mlpexp.search.space import Space
from mlpexp.search.studies import Numbered, open_storage, open_study, pruner_of, sampler_of
from mlpexp.search_schema import Search

RATE, MOMENTUM, BASE = "optimizer.learning_rate", "optimizer.momentum", ("optimizer=momentum", "tracking=none")
VALLEY = (*BASE, f"{RATE}=tag(log,interval(1e-4,1))", f"{MOMENTUM}=interval(0,1)", "model.depth=range(1,9)")


def loss(config: Config) -> float:
    """0 at a rate of 0.01, a momentum of 0.8 and a depth of 4, and above it elsewhere."""
    optimizer: Any = config.optimizer
    rate, momentum = math.log10(optimizer.learning_rate) + 2, optimizer.momentum - 0.8
    return float(rate**2) + 4 * float(momentum) ** 2 + 0.1 * (config.model.depth - 4) ** 2


@dataclass(frozen=True)
class Computed:
    """What goals read of a recorded run."""

    config: Config
    scores: dict[str, float]
    status: str = "finished"
    facts: dict[str, int] = field(default_factory=lambda: {"diverged_at_step": 7, "parameters": 1})


@dataclass
class Formula:
    """Computes a loss for each trial, and tells `at_once` of them at a look, the first asked first."""

    of: Callable[[Config], Any] = loss
    at_once: int = 1
    seconds: float = 0.0
    waiting: deque[tuple[int, Config]] = field(default_factory=deque)
    started: list[int] = field(default_factory=list)
    most_waiting: int = 0

    def start(self, number: int, config: Config) -> list[str]:
        """Take it on."""
        self.waiting.append((number, config))
        self.started.append(number)
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        return []

    def leave(self, number: int) -> None:
        """Never asked for here."""

    def look(self) -> Iterator[Epoch | Round | Ended]:
        """Tell the oldest."""
        time.sleep(self.seconds)
        for _ in range(min(self.at_once, len(self.waiting))):
            number, config = self.waiting.popleft()
            value = self.of(config)
            run = value if isinstance(value, Computed) else Computed(config, {"loss/validation": value})
            yield Ended(number, [cast(Result, run)])  # it has all that goals read of one


def space(words: Sequence[str] = VALLEY) -> Space:
    """What these words search."""
    with loader() as files:
        return Space(Composer(files, CONFIG_NAME), words)


def study_of(search: Search, outputs: Path, goals: Goals | None = None, storage: BaseStorage | None = None) -> Study:
    """The study of the valley, in the storage that a search names unless given."""
    goals = goals or Goals.of(search, "multiclass")
    objectives = dict(zip(goals.names, goals.directions, strict=True))
    study = open_study(storage or open_storage(search, outputs), "study", objectives, "valley")
    study.sampler, study.pruner = Numbered(sampler_of(search, False), search.seed), pruner_of(search, 1)
    return study


def driven(
    search: Search,
    outputs: Path,
    place: Formula | None = None,
    words: Sequence[str] = VALLEY,
    room: int = 2,
    storage: BaseStorage | None = None,
) -> Study:
    """A study driven to its number of trials; in the storage that the search names unless given."""
    found, goals = space(words), Goals.of(search, "multiclass")
    study = study_of(search, outputs, goals, storage)
    Drive(study, found, goals, search, Board(search.n_trials, goals.names, quiet=True)).run(
        place or Formula(), room, search.n_trials
    )
    return study


def asked(name: str, trials: int, **more: Any) -> Search:
    """A search that makes the loss less."""
    return Search.model_validate({"name": name, "n_trials": trials, "minimize": ["loss/validation"]} | more)


if __name__ == "__main__":
    storage, outputs, trials, seconds = sys.argv[1:]
    uri = None if storage == "journal" else storage
    driven(asked("random", int(trials), storage=uri), Path(outputs), Formula(seconds=float(seconds)))
