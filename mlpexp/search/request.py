"""What a command line asks a search for: read, checked before anything is written, and opened as a study.

Flow: command line → space, goals → **request** → command.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from mlpexp.cohorts import pace_of
from mlpexp.composition import Composer
from mlpexp.config import SEMANTICS, Config, absolute_outputs, digest
from mlpexp.dashboard import STUDIES
from mlpexp.display import counted
from mlpexp.feasibility import data_key
from mlpexp.planning import check_all
from mlpexp.refusals import ConfigError
from mlpexp.search.goals import Goals
from mlpexp.search.space import Space
from mlpexp.search.studies import Numbered, open_storage, open_study, pruner_of, quiet, sampler_of
from mlpexp.search_schema import Search

NOT_SEARCHED = ("tracking", "executor", "outputs", "rerun", "search")


@dataclass(frozen=True)
class Request:
    """What a command line asks a search for: `sample` is one of its points, `most` the trials in all.

    `epochs` are those of the sample's budget, the last one perhaps cut short.
    """

    space: Space
    sample: Config
    goals: Goals
    search: Search
    name: str
    described: str
    most: int
    epochs: int

    @classmethod
    def read(
        cls,
        files: ConfigLoader,
        config_name: str,
        overrides: Sequence[str],
        begin: Callable[[Config], object] = lambda sample: None,
    ) -> "Request":
        """Raises ConfigError with everything that is refused; nothing is written.

        `begin` starts who trains as soon as points are known, while data are still looked at.
        """
        if _own(overrides) in _FROZEN:
            return _FROZEN[_own(overrides)]
        paths = [word for word in overrides if word.startswith("hydra.searchpath=")]
        space = Space(Composer(files, config_name, paths), _own(overrides))
        samples = space.samples()
        begin(samples[0])
        facts = check_all(samples)
        sample, search = samples[0], samples[0].search
        assert search is not None
        goals = Goals.of(search, next(iter(facts.values())).task)
        mistakes = [line for one in samples for line in goals.check(one)]
        mistakes += settings_mistakes(search, sample)
        if mistakes:
            raise ConfigError(list(dict.fromkeys(mistakes)))
        pace = pace_of(sample, facts[data_key(sample)].size)
        epochs = -(-pace.updates(**sample.training.budget()) // pace.updates_per_epoch)
        most = min(search.n_trials, space.count(search.n_trials)) if search.name == "grid" else search.n_trials
        fixed = {key: value for key, value in space.composer.keys(space.fixed).items() if not _beside(key)}
        content = {
            "fixed": fixed,
            "space": space.described(),
            "goals": [*goals.names, *goals.directions, *map(str, goals.constraints), goals.score],
            "data": sorted(one.digest for one in facts.values()),
            "activations": sample.model.activation_sources,
            "semantics": SEMANTICS,
        }
        own = {"sampler": search.name, "pruner": search.pruner, "seed": search.seed}
        name = search.study or f"{search.name}-{digest(content | own)[:8]}"
        return cls(space, sample, goals, search, name, digest(content)[:16], most, epochs)

    @property
    def outputs(self) -> Path:
        """The absolute outputs folder."""
        return Path(absolute_outputs(self.sample.outputs))

    def open(self) -> Study:
        """The study, made where it is not there yet; raises ConfigError where its storage is away."""
        objectives = dict(zip(self.goals.names, self.goals.directions, strict=True))
        study = open_study(open_storage(self.search, self.outputs), self.name, objectives, self.described)
        study.sampler = Numbered(sampler_of(self.search, self.space.is_conditional()), self.search.seed)
        study.pruner = pruner_of(self.search, self.epochs)
        return study

    def plan_lines(self) -> list[str]:
        """What the search would do."""
        known: list[FrozenTrial] = []
        if self.search.storage is not None or (self.outputs / STUDIES).exists():
            with quiet():
                storage = open_storage(self.search, self.outputs)
                found = [one for one in storage.get_all_studies() if one.study_name == self.name]
                known = storage.get_all_trials(found[0]._study_id, deepcopy=False) if found else []
        over = [one for one in known if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        named = zip(self.goals.directions, self.goals.names, strict=True)
        wanted = ", ".join(f"{direction} {name}" for direction, name in named)
        keys = [f"  {one.key}: {one.told()}" for one in self.space.dimensions]
        return [
            f"study {self.name}: {wanted}",
            *keys,
            f"{counted(self.most, 'trial')} of {counted(self.sample.replicates, 'replicate')}, {len(over)} done",
        ]


_FROZEN: dict[tuple[str, ...], Request] = {}


@contextmanager
def frozen(request: Request, overrides: Sequence[str]) -> Iterator[None]:
    """Within this, these overrides are what was read of them, whatever becomes of the YAML files meanwhile."""
    _FROZEN[_own(overrides)] = request
    try:
        yield
    finally:
        _FROZEN.clear()


def settings_mistakes(search: Search, sample: Config) -> list[str]:
    """Settings of a search that do not go together."""
    lines = []
    if search.pruner in ("median", "hyperband") and sample.executor.name == "serial":
        lines.append(f"search.pruner={search.pruner} watches cohorts while they train; use executor=local")
    if search.pruner in ("median", "hyperband") and search.score == "bound":
        lines.append(f"search.pruner={search.pruner} compares means over seeds; use search.score=mean")
    if search.pruner == "wilcoxon" and sample.replicates < 3:
        lines.append(f"search.pruner=wilcoxon compares seeds, but replicates={sample.replicates}; give it at least 3")
    if search.score == "bound" and sample.replicates < 2:
        lines.append("search.score=bound is an end of an interval over seeds, but replicates=1; give it at least 2")
    return lines


def _own(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides without those that are Hydra's own."""
    return tuple(word for word in overrides if not word.startswith(("hydra.", "hydra/")))


def _beside(key: str) -> bool:
    """Whether a key changes nothing of what is found, only where and how long it is looked for."""
    return key.partition(".")[0] in NOT_SEARCHED
