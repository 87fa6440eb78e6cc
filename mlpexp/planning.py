"""What is asked for, before anything trains: each run checked against its data, named, and looked up.

Flow: config, feasibility → **planning** → run.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from mlpexp import own_activations, own_measurements
from mlpexp.cohorts import Size, pace_of, too_large, usable_memory, worker_count
from mlpexp.composition import Point
from mlpexp.config import Config, Measurements, absolute_outputs, fingerprint
from mlpexp.feasibility import DataFacts, check, data_key, load_facts, warnings
from mlpexp.measurability import settled
from mlpexp.numerics import STABLE_PRODUCTS, agree, numerics
from mlpexp.refusals import ConfigError, RefusedPoints
from mlpexp.results import Result, find
from mlpexp.salvage import base_of, salvage


@dataclass
class Order:
    """Every run that is asked for, with its fingerprint, and which of them have to be trained."""

    configs: list[Config]
    fingerprints: list[str]
    facts: dict[str, DataFacts]
    to_train: list[int] = field(default_factory=list)
    bases: dict[int, Result] = field(default_factory=dict)
    """Recorded runs that some of those to train go on from: interrupted ones, or shorter ones."""
    leases: dict[str, str] = field(default_factory=dict)
    """Fingerprint → content of the lease under which this process trains it."""
    made_at: float = field(default_factory=time.time)
    elsewhere: list[str] = field(default_factory=list)
    """Fingerprints of recorded runs that are taken as they are, but were trained under other numerics."""

    @cached_property
    def position(self) -> dict[str, int]:
        """Where each run stands first."""
        return {name: i for i, name in reversed(list(enumerate(self.fingerprints)))}

    @cached_property
    def folder(self) -> Path:
        """Where runs are recorded."""
        return self.outputs / "runs"

    @property
    def outputs(self) -> Path:
        """The absolute outputs folder."""
        return Path(absolute_outputs(self.configs[0].outputs))

    def of(self, config: Config) -> DataFacts:
        """The facts of a config's data."""
        return self.facts[data_key(config)]

    def extend(self, more: "Order") -> None:
        """Take in the runs of an order that was made later; what is open in it is open here."""
        start = len(self.configs)
        for name, i in more.position.items():
            self.position.setdefault(name, start + i)
        self.configs += more.configs
        self.fingerprints += more.fingerprints
        self.facts |= more.facts
        self.to_train += [start + i for i in more.to_train]
        self.bases |= {start + i: base for i, base in more.bases.items()}
        self.elsewhere += more.elsewhere

    def look_for_base(self, i: int) -> None:
        """Find out whether run i can go on from a recorded one."""
        config = self.configs[i]
        here = numerics(config.executor.device, STABLE_PRODUCTS)
        pace = pace_of(config, self.size(config))
        base = base_of(self.outputs, config, self.fingerprints[i], self.of(config).digest, here, pace)
        self.bases.pop(i, None)
        if base is not None:
            self.bases[i] = base

    def step(self, i: int) -> int:
        """The step at which run i goes on; 0 for a new one."""
        return self.bases[i].next_step if i in self.bases else 0

    def size(self, config: Config) -> Size:
        """What the memory of a lane depends on."""
        return self.of(config).size

    def updates(self, config: Config) -> int:
        """Rows in a run's record: its updates, and the state after the last."""
        return pace_of(config, self.size(config)).updates(**config.training.budget()) + 1

    def warnings(self) -> list[str]:
        """What is odd about the runs that are to be trained, each line once."""
        todo = [self.configs[i] for i in self.to_train]
        return list(dict.fromkeys(line for config in todo for line in warnings(config, self.of(config))))

    def result(self, name: str) -> Result:
        """The run with that fingerprint, once it is recorded; what is read of it is let go with it."""
        return Result(self.folder / name).asked_for(self.configs[self.position[name]])

    def is_recorded_since(self, name: str) -> bool:
        """Whether a run was recorded, by another process, after this order was made, with all that is asked for."""
        file = self.outputs / "runs" / name / "result.json"
        if not file.exists() or file.stat().st_mtime <= self.made_at:
            return False
        wanted = self.configs[self.position[name]].measurements
        return Result(file.parent).measurements.covers(wanted)

    def results(self) -> list[Result]:
        """The runs in their order, once they are recorded; one that was asked for twice is one."""
        found = {name: self.result(name) for name in self.position}
        return [found[name] for name in self.fingerprints]


def plan(
    configs: Sequence[Config], rerun: bool = False, known: Mapping[str, DataFacts] = MappingProxyType({})
) -> Order:
    """Check all runs against their data, name them, and find out which must be trained.

    `known` are facts of data that were loaded before; those are not loaded again.
    Raises ConfigError with a line for each mistake of any run.
    """
    facts = check_all(configs, known)
    configs = [with_settled(config, facts[data_key(config)]) for config in configs]
    names = [fingerprint(config, facts[data_key(config)].digest) for config in configs]
    order = Order(list(configs), names, facts)
    salvage(order.outputs)
    first_of: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in first_of:  # asked for twice: trained once, with the measurements of both
            _also_measure(order, first_of[name], configs[i])
            continue
        first_of[name] = i
    for name, i in first_of.items():
        run = find(order.outputs, name)
        if run and not rerun and run.measurements.covers(order.configs[i].measurements):
            if not agree(run.numerics, numerics(configs[i].executor.device, STABLE_PRODUCTS)):
                order.elsewhere.append(name)
            continue
        if run:
            order.configs[i] = measuring(order.configs[i], run.measurements)
        order.to_train.append(i)
        if not rerun:
            order.look_for_base(i)
    return order


def check_all(configs: Sequence[Config], known: Mapping[str, DataFacts] = MappingProxyType({})) -> dict[str, DataFacts]:
    """The facts of all data that occur; raises ConfigError with what any config asks of them in vain."""
    facts, unloadable = load_facts([config for config in configs if data_key(config) not in known])
    facts |= {key: known[key] for config in configs if (key := data_key(config)) in known}
    mistakes = [line for lines in _mistakes_of_each(configs, facts, unloadable, len(configs)) for line in lines]
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    _must_agree(configs)
    return facts


def least_to_train(configs: Sequence[Config]) -> int:
    """So many of these runs must be trained, whatever their names: as many as are asked for beyond those recorded."""
    asked = sum({config.point(): config.replicates for config in configs}.values())
    if not asked or any(config.rerun for config in configs):
        return asked
    runs = Path(absolute_outputs(configs[0].outputs)) / "runs"
    return asked - sum(1 for _ in islice(runs.iterdir(), asked)) if runs.is_dir() else asked


def accept(points: Sequence[Point]) -> list[Config]:
    """The configs of all points; raises RefusedPoints with every point that was refused, by its config or its data."""
    composed = [point for point in points if point.config is not None]
    configs = [point.config for point in composed if point.config is not None]
    facts, unloadable = load_facts(configs)
    runs = sum(config.replicates for config in configs)
    for point, lines in zip(composed, _mistakes_of_each(configs, facts, unloadable, runs), strict=True):
        point.mistakes = lines
    if any(point.mistakes for point in points):
        raise RefusedPoints([(point.overrides, point.mistakes) for point in points])
    return configs


def _mistakes_of_each(
    configs: Sequence[Config], facts: Mapping[str, DataFacts], unloadable: Mapping[str, str], runs: int
) -> Iterator[list[str]]:
    """What each config asks of its data, of the memory or of its own files in vain."""
    memory = usable_memory()
    for config in configs:
        key = data_key(config)
        lines = [*own_activations.mistakes_of([config]), *own_measurements.mistakes_of([config])]
        if key in unloadable:
            lines.append(unloadable[key])
        else:
            lines += check(config, facts[key])
            oversized = too_large(config, facts[key].size, worker_count(config, runs), memory)
            lines += [oversized] if oversized else []
        yield list(dict.fromkeys(lines))


def with_settled(config: Config, data: DataFacts) -> Config:
    """The config with its measurements spelt out, without what the run does not define."""
    return config.model_copy(update={"measurements": settled(config, data.task, data.size.examples)})


def measuring(config: Config, more: Measurements) -> Config:
    """The config with its measurements and those of `more`."""
    return config.model_copy(update={"measurements": config.measurements.union(more)})


def _also_measure(order: Order, i: int, other: Config) -> None:
    order.configs[i] = measuring(order.configs[i], other.measurements)


def _must_agree(configs: Sequence[Config]) -> None:
    """One call has one outputs folder, one tracking store, one executor."""
    for name in ("outputs", "tracking", "executor"):
        values = list(dict.fromkeys(str(getattr(config, name)) for config in configs))
        if len(values) > 1:
            raise ConfigError(
                [f"{name} differs between the runs of one call: {values[0]} and {values[1]}; make it one"]
            )
