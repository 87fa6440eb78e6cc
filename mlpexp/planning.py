"""What is asked for, before anything trains: each run checked against its data, named, and looked up.

Flow: config → **planning** → run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mlpexp.cohorts import Size, too_large, usable_memory, worker_count
from mlpexp.config import Config, Measurements, absolute_outputs, fingerprint, output_and_loss
from mlpexp.data import DataError, prepare
from mlpexp.measurability import refused, settled
from mlpexp.numerics import STABLE_PRODUCTS, agree, numerics
from mlpexp.own_activations import mistakes_of
from mlpexp.refusals import ConfigError
from mlpexp.results import Result, find
from mlpexp.salvage import base_of, salvage


@dataclass(frozen=True)
class DataFacts:
    """What planning needs of a data set; the data themselves are let go."""

    name: str
    task: str
    digest: str
    size: Size


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

    def look_for_base(self, i: int) -> None:
        """Find out whether run i can go on from a recorded one."""
        config = self.configs[i]
        here = numerics(config.executor.device, STABLE_PRODUCTS)
        base = base_of(self.outputs, config, self.fingerprints[i], self.of(config).digest, here)
        self.bases.pop(i, None)
        if base is not None:
            self.bases[i] = base

    def epoch(self, i: int) -> int:
        """The epoch at which run i goes on; 0 for a new one."""
        return int(self.bases[i].facts["epoch"]) if i in self.bases else 0

    def size(self, config: Config) -> Size:
        """What the memory of a lane depends on."""
        return self.of(config).size

    def updates(self, config: Config) -> int:
        """Rows in a run's record: its updates, and the state after the last."""
        training = config.training
        per_epoch = 1 if training.sampler == "full" else -(-self.size(config).examples // training.batch_size)
        return training.epochs * per_epoch + 1

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


def plan(configs: Sequence[Config], rerun: bool = False) -> Order:
    """Check all runs against their data, name them, and find out which must be trained.

    Raises ConfigError with a line for each mistake of any run.
    """
    facts = check_all(configs)
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
        known = find(order.outputs, name)
        if known and not rerun and known.measurements.covers(order.configs[i].measurements):
            if not agree(known.numerics, numerics(configs[i].executor.device, STABLE_PRODUCTS)):
                order.elsewhere.append(name)
            continue
        if known:
            order.configs[i] = measuring(order.configs[i], known.measurements)
        order.to_train.append(i)
        if not rerun:
            order.look_for_base(i)
    return order


def check_all(configs: Sequence[Config]) -> dict[str, DataFacts]:
    """The facts of all data that occur; raises ConfigError with what any config asks of them in vain."""
    facts, mistakes = load_facts(configs)
    mistakes += mistakes_of(configs)
    _must_agree(configs)
    workers, memory = worker_count(configs[0], len(configs)), usable_memory()
    for config in configs:
        data = facts.get(data_key(config))
        if data is None:
            continue
        mistakes += check(config, data)
        oversized = too_large(config, data.size, workers, memory)
        mistakes += [oversized] if oversized else []
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))
    return facts


def load_facts(configs: Sequence[Config]) -> tuple[dict[str, DataFacts], list[str]]:
    """The facts of each data section that occurs, and what is wrong with those that cannot be loaded."""
    facts: dict[str, DataFacts] = {}
    mistakes: list[str] = []
    for key, config in {data_key(config): config for config in configs}.items():
        try:
            parts = prepare(config.data)
        except DataError as error:
            mistakes.append(str(error))
            continue
        dataset = parts.dataset
        rows = len(parts.training) + len(parts.validation) + len(parts.test)
        size = Size(dataset.inputs, dataset.outputs, len(parts.training), rows)
        facts[key] = DataFacts(dataset.name, dataset.task, parts.digest, size)
    return facts, mistakes


def check(config: Config, data: DataFacts) -> list[str]:
    """What a config asks of its data that they cannot give."""
    training, name = config.training, data.name
    output, loss = output_and_loss(config, data.task)
    lines = []
    if training.sampler != "full" and training.batch_size > data.size.examples:
        lines.append(
            f"training.batch_size={training.batch_size} is more than the {data.size.examples} training examples of "
            f"{name}; choose a smaller one, or training.sampler=full"
        )
    if loss == "cross_entropy" and data.task == "regression":
        lines.append(f"training.loss=cross_entropy needs classes, but {name} is a regression; choose mse or mae")
    elif loss == "cross_entropy" and output == "identity":
        lines.append("training.loss=cross_entropy needs probabilities; set model.output=auto, softmax or sigmoid")
    if output == "softmax" and data.size.outputs == 1:
        lines.append(f"model.output=softmax needs several outputs, {name} has one; choose sigmoid or identity")
    elif output == "softmax" and data.task == "regression":
        lines.append(f"model.output=softmax makes probabilities, but {name} is a regression; choose identity")
    last = data.size.examples if training.sampler == "full" else training.batch_size
    if training.sampler == "epoch" and data.size.examples % training.batch_size == 1:
        last = 1
    if config.model.batch_norm is not None and last == 1:
        lines.append(
            f"model.batch_norm={config.model.batch_norm} needs two examples in every batch, but "
            f"training.batch_size={training.batch_size} leaves a batch of one of the {data.size.examples} training "
            f"examples of {name}; choose another training.batch_size"
        )
    lines += refused(config, data.task, data.size.examples)
    if config.data.label_noise and data.task == "regression":
        lines.append(f"data.label_noise flips classes, but {name} is a regression; leave it at 0")
    return lines


def with_settled(config: Config, data: DataFacts) -> Config:
    """The config with its measurements spelt out, without what the run does not define."""
    return config.model_copy(update={"measurements": settled(config, data.task, data.size.examples)})


def data_key(config: Config) -> str:
    """Configs with the same key share their data and split."""
    return config.data.model_dump_json(exclude={"label_noise"})


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
