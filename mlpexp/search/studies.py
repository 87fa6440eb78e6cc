"""Where trials are kept and how they are proposed: Optuna's storages, samplers and pruners, opened from our config.

Flow: drive ⇄ **studies** ⇄ journal or database.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock
from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mlpexp.dashboard import STUDIES
from mlpexp.leases import is_alive
from mlpexp.refusals import ConfigError, redact
from mlpexp.search_schema import Search

OWNER, REASON, AGAIN, SPACE = "mlpexp.owner", "mlpexp.reason", "mlpexp.again", "mlpexp.space"
"""User attributes of a trial (who runs it, why it failed, which dead one it is again) and of a study (its space).

A trial that failed without a reason was abandoned: its process died, or it was one too many. It does not count.
"""

HEARTBEAT_SECONDS, GRACE_SECONDS = 20, 120
UNOWNED_SECONDS = 60
"""A trial is owned a moment after it was asked; one that is not after this long lost its process in between."""

Direction = Literal["minimize", "maximize"]

optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's remarks on what is experimental, and on heartbeats, which we send."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def open_storage(search: Search, outputs: Path) -> BaseStorage:
    """The database that `search.storage` names, else a journal in the outputs folder. Raises ConfigError."""
    outputs.mkdir(parents=True, exist_ok=True)
    with quiet(), FileLock(outputs / ".optuna.lock"):  # two processes that create one database's tables: one fails
        if search.storage is None:
            lock: Any = FileLock(outputs / f".{STUDIES}.lock")  # the system's, which a killed process does not keep
            return optuna.storages.JournalStorage(JournalFileBackend(str(outputs / STUDIES), lock))
        try:
            return optuna.storages.RDBStorage(
                search.storage,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=queue_again,
            )
        except (SQLAlchemyError, ImportError, ValueError) as error:
            said = redact(str(error).strip().splitlines()[0])
            raise ConfigError([f"search.storage={redact(search.storage)} cannot be opened: {said}"]) from None


def open_study(storage: BaseStorage, name: str, objectives: Mapping[str, Direction], space: str) -> Study:
    """The study of that name; one that searches another space or for something else is left alone: ConfigError."""
    directions = list(objectives.values())
    with quiet():
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        known = study.user_attrs.get(SPACE)
        if known not in (None, space) or [one.name.lower() for one in study.directions] != directions:
            told = f"the study {name} searches something else; give this one another name: search.study=NAME"
            raise ConfigError([told])
        if known is None:  # only now is it known to be ours to write to
            study.set_metric_names(list(objectives))  # as optuna-dashboard names its axes
            study.set_user_attr(SPACE, space)
    return study


def sampler_of(search: Search, conditional: bool) -> Callable[[int], BaseSampler]:
    """From a seed to the sampler that `search.name` names. `conditional` spaces let TPE look at groups of keys."""
    s = optuna.samplers
    match search.name:
        case "tpe":
            return lambda seed: s.TPESampler(seed=seed, group=conditional)
        case "gp":
            return lambda seed: s.GPSampler(seed=seed, warn_independent_sampling=False)
        case "random":
            return lambda seed: s.RandomSampler(seed=seed)
        case "qmc":
            return lambda seed: s.QMCSampler(
                scramble=True, seed=search.seed, warn_independent_sampling=False, warn_asynchronous_seeding=False,
                independent_sampler=s.RandomSampler(seed=seed),
            )  # fmt: skip
        case "nsga2":
            return lambda seed: s.NSGAIISampler(seed=seed)
        case "cmaes":
            return lambda seed: s.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "grid":
            return lambda seed: s.BruteForceSampler(seed=seed)


class Numbered(BaseSampler):
    """A sampler that is seeded anew for each trial by its number, and so depends on nothing but the study.

    No sampler's state is stored: a search that goes on, or a second process beside it, would propose the same points.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed it for this trial."""
        with quiet():
            self.inner = self.make((self.seed + trial.number) % 2**32)
            self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the sampler does."""
        with quiet():
            return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler does."""
        with quiet():
            return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the sampler does."""
        with quiet():
            return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler does; one that has tried everything cannot stop us, who count."""
        if not isinstance(self.inner, optuna.samplers.BruteForceSampler):
            with quiet():
                self.inner.after_trial(study, trial, state, values)


def pruner_of(search: Search, epochs: int) -> BasePruner:
    """The pruner that `search.pruner` names; its steps are epochs, or for wilcoxon the places of seeds."""
    with quiet():
        match search.pruner:
            case "median":
                return optuna.pruners.MedianPruner()
            case "hyperband":
                return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(1, epochs))
            case "wilcoxon":
                return optuna.pruners.WilcoxonPruner()
            case _:
                return optuna.pruners.NopPruner()


def counted_trials(study: Study) -> list[FrozenTrial]:
    """Trials in the order of their numbers that count towards `n_trials`: neither waiting nor abandoned."""
    trials = study.get_trials(deepcopy=False)
    failed, waiting = TrialState.FAIL, TrialState.WAITING
    return [one for one in trials if one.state is not waiting and (one.state is not failed or REASON in one.user_attrs)]


def abandon_dead(study: Study) -> int:
    """Fail the running trials whose process is dead, and queue their points again; how many those were here."""
    with quiet():
        optuna.storages.fail_stale_trials(study)  # those of other machines, by their heartbeats in a database
    dead = [one for one in study.get_trials(deepcopy=False) if one.state is TrialState.RUNNING and _is_dead(one)]
    return sum(abandon(study, one) for one in dead)


def abandon(study: Study, trial: FrozenTrial, again: bool = True) -> bool:
    """Fail a trial without a reason, so that it does not count, and queue its point; False where another did."""
    try:
        if not study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
            return False
    except UpdateFinishedTrialError:
        return False
    if again:
        queue_again(study, trial)
    return True


def queue_again(study: Study, trial: FrozenTrial) -> None:
    """The next trial that is asked for is this point, unless it had no values yet."""
    if trial.params:
        study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether nobody will tell how this trial ended. Who is on another machine is taken to be alive."""
    owner: Mapping[str, Any] | None = trial.user_attrs.get(OWNER)
    if owner is None:
        begun = trial.datetime_start or datetime.now()
        return (datetime.now() - begun).total_seconds() > UNOWNED_SECONDS
    return is_alive(dict(owner)) is False


class Heartbeat:
    """Tells a database now and then that these trials are under way."""

    def __init__(self, study: Study) -> None:
        self.storage: Any = study._storage
        self.told: dict[int, float] = {}

    def beat(self, trials: Iterable[Trial]) -> None:
        """Tell it, where it is time to; a trial that it was never told of would not be missed."""
        if hasattr(self.storage, "record_heartbeat"):
            now = time.monotonic()
            for trial in trials:
                if now - self.told.get(trial._trial_id, -math.inf) >= HEARTBEAT_SECONDS:
                    self.told[trial._trial_id] = now
                    self.storage.record_heartbeat(trial._trial_id)
