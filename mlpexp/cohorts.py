"""Which runs train side by side: runs → cohorts of equal shape. Grouping is speed, never meaning.

Flow: config → **cohorts** → execution. No torch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import psutil

from mlpexp.config import Config
from mlpexp.kernel.budget import Pace, flops_per_example
from mlpexp.kernel.layout import Layout
from mlpexp.measurability import undefined_by_activation
from mlpexp.measurement_catalogue import ON_PROBE, numbers_a_step
from mlpexp.measurement_schema import due_updates
from mlpexp.model_schema import PARAMETERS
from mlpexp.refusals import ConfigError
from mlpexp.shapes import layout_of

LANES_MAY_DIFFER = {
    "label_smoothing", "l1", "l2", "clip_norm", "schedule", "warm_up", "decay_every", "decay_factor", "patience",
    "tolerance", "until_loss", "restore",
}  # fmt: skip
"""Keys of training that are columns, a number for each lane."""
USABLE_MEMORY = 0.6
MOST_LANES = 64
"""Beyond this a wider cohort gains nothing, and its working set leaves the cache."""


@dataclass(frozen=True)
class Size:
    """What the memory of a lane depends on, beside its config."""

    inputs: int
    outputs: int
    examples: int
    rows: int = 0  # in all parts together


def cohort_key(config: Config) -> str:
    """Runs may share a cohort exactly where this text is equal: this function is the one definition of a cohort.

    Between the lanes of a cohort may differ: seeds, activations, the optimizer and all its numbers, the initialisation
    and its scale, label noise and smoothing, penalties, clipping, the schedule of the learning rate, dropout, early
    stopping, the loss that is trained for, and which weights are restored. Data, shape, output, loss, batches,
    budget, precision, device and measurements are common, and which of these the activations define.
    """
    own = {"dropout", "activation", *PARAMETERS}
    common = {
        "data": config.data.model_dump(exclude={"label_noise"}),
        "model": {key: value for key, value in config.model.shown().items() if key not in own},
        "training": config.training.model_dump(exclude=LANES_MAY_DIFFER),
        "measurements": config.measurements.model_dump(),
        "undefined": [name for name in config.measurements.names if undefined_by_activation(name, config.model)],
        "device": config.executor.device,
    }
    return json.dumps(common, sort_keys=True)


def pace_of(config: Config, size: Size) -> Pace:
    """What each update of a run costs."""
    training, widths = config.training, [size.inputs, *config.model.widths, size.outputs]
    return Pace(size.examples, training.batch_size, training.sampler, flops_per_example(widths))


def lane_bytes(config: Config, size: Size) -> int:
    """Memory that one lane takes while it trains: its rows of Θ, its activations, its records of an epoch."""
    model, training = config.model, config.training
    number = _number_bytes(config)
    layout = layout_of(model, size.inputs, size.outputs)
    units, parameters = sum(layout.widths[1:]), layout.size + layout.statistics
    full = training.sampler == "full"
    rows = size.examples if full else training.batch_size
    steps = 1 if full else -(-size.examples // training.batch_size)
    rows_of_theta = 13 * parameters  # Θ, gradient, update, two states, best, initial, and scratch for most
    masks = 3 * units * rows if model.dropout else 0
    kinds = 5 + 3 * (layout.batch_norm is not None) + 2 * layout.skip  # z, outputs, deltas, scratch …
    activations = masks + kinds * units * (rows + 256) + 2 * rows * (0 if full else size.inputs)
    return number * (rows_of_theta + activations) + _measured_bytes(config, layout, steps, size) + 24 * size.examples


def _measured_bytes(config: Config, layout: Layout, steps: int, size: Size) -> int:
    """What measurements take of a lane, in double precision: the records of an epoch, and what looks at the probe."""
    measurements = config.measurements
    records = sum(
        numbers_a_step(name, layout.depth, layout.widths) * len(due_updates(measurements.schedule_of(name), 0, steps))
        for name in measurements.names
    )
    looks = set(measurements.names) & ON_PROBE
    probe = min(measurements.probe_examples, size.examples)
    passes = 8 if "sharpness" in looks else 4 * bool(looks)  # z, X and δ, now and at the start; R{·} of each
    return 8 * (steps + records + passes * probe * sum(layout.widths) + layout.size * 8 * ("sharpness" in looks))


def data_bytes(config: Config, size: Size) -> int:
    """Memory that a cohort's data take in a worker: as loaded, in double precision, and in the training's."""
    return size.rows * size.inputs * (8 + 8 + _number_bytes(config))


def _number_bytes(config: Config) -> int:
    return 8 if config.training.dtype == "float64" else 4


def group(
    configs: Sequence[Config],
    size_of: Callable[[Config], Size],
    workers: int,
    memory: int,
    lanes: int | None = None,
    steps: Sequence[int] | None = None,
) -> list[list[int]]:
    """Positions of the given runs, cohort by cohort, largest work first. `steps` are those at which they go on.

    No cohort takes more than its share of `memory` [bytes], and there are cohorts for all workers where runs suffice.
    Raises ConfigError for a run that does not even fit alone.
    """
    alike: dict[tuple[str, int], list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault((cohort_key(config), steps[i] if steps else 0), []).append(i)
    cohorts: list[list[int]] = []
    for positions in alike.values():
        positions.sort(key=lambda i: configs[i].model.activations)  # lanes with the same σ stay together
        first = configs[positions[0]]
        refusal = too_large(first, size_of(first), workers, memory)
        if refusal:
            raise ConfigError([refusal])
        pieces = -(-len(positions) // most_lanes(first, size_of(first), workers, memory, lanes))
        cohorts += _cut(positions, pieces)
    while len(cohorts) < workers and max(map(len, cohorts), default=1) > 1:
        largest = max(cohorts, key=len)
        cohorts.remove(largest)
        cohorts += _cut(largest, 2)
    return sorted(cohorts, key=lambda cohort: -work(configs[cohort[0]], size_of(configs[cohort[0]])) * len(cohort))


def most_lanes(config: Config, size: Size, workers: int, memory: int, lanes: int | None = None) -> int:
    """How many networks like this one a cohort may have: `lanes` at most, and as many as fit into a worker's share."""
    share = memory // workers - data_bytes(config, size)
    return max(1, min(lanes or MOST_LANES, share // lane_bytes(config, size)))


def too_large(config: Config, size: Size, workers: int, memory: int) -> str | None:
    """What to tell of a run that does not even fit alone into a worker's share of the memory [bytes]."""
    share, each = memory // workers, lane_bytes(config, size) + data_bytes(config, size)
    if each <= share:
        return None
    fewer = ", or fewer workers: executor.workers=1" if workers > 1 else ""
    return (
        f"model.depth={config.model.depth} model.width={config.model.width} needs about {each / 1e9:.1f} GB a network, "
        f"each worker has {share / 1e9:.1f} GB; choose a smaller network or batch{fewer}"
    )


def usable_memory() -> int:
    """Bytes that cohorts may take together: most of what is free now."""
    return int(psutil.virtual_memory().available * USABLE_MEMORY)


def worker_count(config: Config, runs: int) -> int:
    """Processes that train: as the config says, else one a core, and no more than there are runs."""
    if config.executor.name == "serial":
        return 1
    return max(1, min(config.executor.workers or psutil.cpu_count() or 1, runs))


def _cut(positions: list[int], pieces: int) -> list[list[int]]:
    """In pieces of equal size, give or take one."""
    bounds = [round(i * len(positions) / pieces) for i in range(pieces + 1)]
    return [positions[a:b] for a, b in pairwise(bounds)]


def work(config: Config, size: Size) -> float:
    """FLOPs of a run."""
    pace = pace_of(config, size)
    return float(pace.flops) * pace.examples_seen(pace.updates(**config.training.budget()))
