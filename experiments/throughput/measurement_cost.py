"""What a measurement costs: a training step with it over a bare one, for each quantity and preset.

    python experiments/throughput/measurement_cost.py                  # widths 16, 64, 256; tanh and relu
    python experiments/throughput/measurement_cost.py --widths 64 --rounds 5

8 hidden layers, batches of 64 of digits (64 inputs, 10 classes), Adam, lanes side by side in one thread. Each round
times every variant once, beside the bare step of the same round; told is the median over rounds of the ratios of
processor time. A quantity is measured at every step here, whatever its default schedule (probes and spectra once an
epoch): its factor minus one is what a measurement costs, in steps. Writes measurement_cost.csv beside this file, where
rows of what was not asked for stay as they were. With the extra `bench`, BackPACK's per-example gradient norms are
timed the same way, over a bare step of plain torch.
"""

import argparse
import csv
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path

os.environ |= {"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}  # before torch is loaded

import torch
from torch import nn

from mlpexp import compose
from mlpexp.execution import prepare_process
from mlpexp.lanes import build
from mlpexp.measurement_catalogue import CATALOGUE, PRESETS, of_kind
from mlpexp.training import train_epoch

TABLE = Path(__file__).with_name("measurement_cost.csv")
COLUMNS = ("width", "activation", "lanes", "variant", "factor", "milliseconds_a_step")
Row = tuple[str, ...]
"""Cells of the table; the first two are the shape."""
LANES = {16: 64, 64: 16, 256: 4}
"""Width → lanes side by side."""
BATCH, LAYERS = 64, 8
UPDATES = 17
"""Steps of an epoch of digits."""
ONCE = ("probes", "spectra")
"""Kinds that are measured once an epoch here: at every step they would take minutes. Their factor is that of a step."""
PUBLISHED = {
    "Cockpit, economy set, a CPU MLP": 64.0,
    "Cockpit, gradient norm alone": 1.03,
    "materialised per-example gradients": 60.0,
}
"""Factors over a bare step: Schneider, Dangel & Hennig 2021 and our notes on it; another machine, another network."""


def variants(activation: str) -> dict[str, tuple[str, ...]]:
    """Name → overrides: each quantity alone, the presets as they are, and all scalars of `full`."""
    names = [name for name, one in CATALOGUE.items() if one.kind != "scores" and name != "signal_norm"]
    names = [name for name in names if name != "saturation" or activation == "tanh"]
    scalars = ",".join(name for name in of_kind("scalars") if name in names)
    often = {name: "epoch" if is_once(name) else "1" for name in names}
    alone = {
        name: (f"measurements.quantities=[{name}]", f"measurements.schedule.{name}={schedule}")
        for name, schedule in often.items()
    }
    presets = {f"preset {name}": (f"measurements={name}",) for name in PRESETS if name != "none"}
    every = {"scalars of full": (f"measurements.quantities=[{scalars}]",)}
    return {"bare": ("measurements=none",), **presets, **every, **alone}


def is_once(name: str) -> bool:
    """Whether a variant measures once an epoch."""
    return name in CATALOGUE and CATALOGUE[name].kind in ONCE


def epoch_of(width: int, activation: str, overrides: tuple[str, ...], lanes: int) -> Callable[[], None]:
    """A function that trains one epoch of `fresh` batches, all of them of one size, from where the last one ended."""
    config = compose([
        "data=digits", f"model.depth={LAYERS + 1}", f"model.width={width}", f"model.activation={activation}",
        f"training.batch_size={BATCH}", "training.sampler=fresh", "optimizer.learning_rate=1e-5", "tracking=none",
        f"replicates={lanes}", *overrides,
    ])  # fmt: skip
    plan, cohort = build(config.runs())
    state = {"step": 0}

    def run() -> None:
        piece = train_epoch(plan, cohort, state["step"], {})
        state["step"] += len(piece.steps)

    return run


def backpack(width: int, activation: str) -> dict[str, Callable[[], None]]:
    """Bare steps of plain torch, and steps with BackPACK's BatchL2Grad; nothing where it is not installed."""
    try:
        from backpack import backpack as within
        from backpack import extend, extensions
    except ImportError:
        return {}
    units, kind = [64, *[width] * LAYERS], nn.Tanh if activation == "tanh" else nn.ReLU

    def network() -> nn.Sequential:
        layers = [layer for a, b in pairwise(units) for layer in (nn.Linear(a, b), kind())]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    return {
        "torch, bare": partial(torch_steps, network(), nn.CrossEntropyLoss(), nullcontext),
        "torch, BackPACK BatchL2Grad": partial(
            torch_steps, extend(network()), extend(nn.CrossEntropyLoss()), lambda: within(extensions.BatchL2Grad())
        ),
    }


def torch_steps(net: nn.Module, loss: nn.Module, around: Callable[[], AbstractContextManager[object]]) -> None:
    """As many steps as an epoch has, on one made-up batch; `around` is entered for each backward pass."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-5)
    x, y = torch.randn(BATCH, 64), torch.randint(10, (BATCH,))
    for _ in range(UPDATES):
        optimizer.zero_grad()
        value = loss(net(x), y)
        with around():
            value.backward()
        optimizer.step()


def ratios(timed: dict[str, Callable[[], None]], bare: str, rounds: int) -> Iterator[tuple[str, float, float]]:
    """(name, factor over `bare`, milliseconds of a step), medians over rounds; each variant once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for round_ in range(rounds + 1):
        for name, run in timed.items():
            start = time.process_time()
            run()
            if round_:  # the first one warms up
                seconds[name].append(time.process_time() - start)
    for name, own in seconds.items():
        times = UPDATES if is_once(name) else 1
        factor = 1 + times * (statistics.median(a / b for a, b in zip(own, seconds[bare], strict=True)) - 1)
        yield name, factor, 1000 * factor * statistics.median(seconds[bare]) / UPDATES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--activations", nargs="+", default=["tanh", "relu"])
    parser.add_argument("--only", nargs="+", help="variants by the beginning of their names: preset scalars gradient …")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    prepare_process()
    for width in options.widths:
        for activation in options.activations:
            lanes = LANES.get(width, 4)
            begin = ("bare", *(options.only or [""]))
            timed = {
                name: epoch_of(width, activation, overrides, lanes)
                for name, overrides in variants(activation).items()
                if name.startswith(begin)
            }
            found = list(ratios(timed, "bare", options.rounds))
            peers = backpack(width, activation)
            found += list(ratios(peers, "torch, bare", options.rounds)) if peers else []
            rows = [row_of(width, activation, lanes, *one) for one in found]
            write(merged(read(), rows, whole=bool(peers) and not options.only))  # whoever stops now keeps this shape
            print(f"\nwidth {width}, {activation}, {lanes} lanes")
            for name, factor, milliseconds in found:
                print(f"  {name:28} × {factor:6.2f}  {milliseconds:8.2f} ms a step")
    print("\npublished, elsewhere:")
    for name, factor in PUBLISHED.items():
        print(f"  {name:40} × {factor:g}")


def row_of(width: int, activation: str, lanes: int, variant: str, factor: float, milliseconds: float) -> Row:
    """A variant's cells."""
    return str(width), activation, str(lanes), variant, f"{factor:.3f}", f"{milliseconds:.3f}"


def read() -> list[Row]:
    """Rows of the table as it stands; none where there is no table."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def write(rows: list[Row]) -> None:
    """The table anew."""
    with TABLE.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def merged(before: list[Row], found: list[Row], whole: bool) -> list[Row]:
    """The table with what was found now: in place of its variants, of a shape measured `whole` in place of all rows."""
    shapes, measured = {row[:2] for row in found}, {(*row[:2], row[3]) for row in found}
    kept = [row for row in before if row[:2] not in shapes or not (whole or (*row[:2], row[3]) in measured)]
    order = list(dict.fromkeys(row[:2] for row in [*before, *found]))
    return sorted([*kept, *found], key=lambda row: order.index(row[:2]))


if __name__ == "__main__":
    main()
