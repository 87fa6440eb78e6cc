"""Whether a data set gives what a config asks of it; what is refused, and what is odd and told.

Flow: config, data → **feasibility** → planning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlpexp.cohorts import Size, pace_of
from mlpexp.config import Config, output_and_loss
from mlpexp.data import DataError, Parts, prepare
from mlpexp.measurability import refused

KEPT_BYTES = 32e6
"""Of all data together: a worker that gets its data need not load the package that has them."""


@dataclass(frozen=True)
class DataFacts:
    """What planning needs of a data set; the data themselves, `parts`, are kept where they are small."""

    name: str
    task: str
    digest: str
    size: Size
    negative_targets: int = 0
    parts: Parts | None = field(default=None, repr=False, compare=False)


def data_key(config: Config) -> str:
    """Configs with the same key share their data and split."""
    return config.data.model_dump_json(exclude={"label_noise"})


def load_facts(configs: Sequence[Config]) -> tuple[dict[str, DataFacts], dict[str, str]]:
    """By data section: the facts of each that occurs, and what is wrong with those that cannot be loaded."""
    facts: dict[str, DataFacts] = {}
    mistakes: dict[str, str] = {}
    room = KEPT_BYTES
    for key, config in {data_key(config): config for config in configs}.items():
        try:
            parts = prepare(config.data)
        except DataError as error:
            mistakes[key] = str(error)
            continue
        dataset = parts.dataset
        rows = len(parts.training) + len(parts.validation) + len(parts.test)
        size = Size(dataset.inputs, dataset.outputs, len(parts.training), rows)
        negative = int((dataset.targets.astype(np.float64) < 0).sum()) if dataset.task == "regression" else 0
        kept = parts if parts.nbytes <= room else None
        room -= kept.nbytes if kept else 0
        facts[key] = DataFacts(dataset.name, dataset.task, parts.digest, size, negative, kept)
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
    lines += _check_loss(loss, output, data)
    lines += _check_budget(config, data)
    if training.label_smoothing and not loss.startswith("cross_entropy"):
        lines.append(
            f"training.label_smoothing={training.label_smoothing:g} is of a cross-entropy, but the loss is {loss}; "
            "leave it at 0" + ("" if data.task == "regression" else ", or choose training.loss=cross_entropy")
        )
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


def _check_loss(loss: str, output: str, data: DataFacts) -> list[str]:
    """Where a cross-entropy finds no probabilities, or none to average."""
    if not loss.startswith("cross_entropy"):
        return []
    if data.task == "regression":
        return [f"training.loss={loss} needs classes, but {data.name} is a regression; choose mse, mae or huber"]
    if output not in ("sigmoid", "softmax"):
        return [f"training.loss={loss} needs probabilities; set model.output=auto, softmax or sigmoid"]
    if loss == "cross_entropy_mean" and output == "softmax":
        return [
            "training.loss=cross_entropy_mean is a mean over sigmoid outputs (torch's BCEWithLogitsLoss); that of a "
            "softmax is cross_entropy, in torch as well"
        ]
    return []


def _check_budget(config: Config, data: DataFacts) -> list[str]:
    """Where a budget of examples or FLOPs does not pay for one update."""
    training, pace = config.training, pace_of(config, data.size)
    if training.epochs is not None or training.updates is not None or pace.updates(**training.budget()):
        return []
    one = pace.spent(1)
    key = "flops" if training.examples is None else "examples"
    return [
        f"training.{key}={training.budget()[key]} is less than one update, of {one['examples']} examples and "
        f"{one['flops']} FLOPs; give more, or choose a smaller training.batch_size"
    ]


RPROP_WITH_BATCHES = (
    "optimizer=rprop reads signs of gradients alone, and with fewer than all examples in a batch these change by "
    "chance: it was made for training.sampler=full"
)


def warnings(config: Config, data: DataFacts) -> list[str]:
    """What a run may be asked for, though it is odd; a line each."""
    training, lines = config.training, []
    if config.optimizer.name == "rprop" and training.sampler != "full" and training.batch_size < data.size.examples:
        lines.append(RPROP_WITH_BATCHES)
    if config.model.output == "relu" and data.negative_targets:
        lines.append(
            f"model.output=relu is never below 0, but {data.negative_targets} targets of {data.name} are: it cannot "
            "reach them"
        )
    return lines
