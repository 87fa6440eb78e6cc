"""What `mlpexp.watch` costs a step of plain torch, beside histograms of every gradient and beside BackPACK.

    python experiments/throughput/watch_cost.py                     # three networks, about three minutes
    python experiments/throughput/watch_cost.py --networks mlp64 --rounds 5

One thread, batches of 64 made-up examples, Adam. Each round times every variant once, beside the bare loop of the same
round; told is the median over rounds of the ratios of processor time, with that of watching's second thread. Nothing
is logged to a store. The histograms are what W&B's `watch` makes of every gradient, written anew: least, largest and 64
counts of each parameter, read by the processor at once; at every step here, where W&B does so every thousandth by
default. BackPACK (extra `bench`) tells per-example gradient norms and their variance. Writes watch_cost.csv.
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
from typing import Any

os.environ |= {"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}  # before torch is loaded

import torch
from torch import Tensor, nn

import mlpexp
from mlpexp.watching.watched import Watched

HERE = Path(__file__).parent
BATCH, STEPS = 64, 30
"""Steps of one variant in a round."""


def perceptron(width: int) -> nn.Sequential:
    """8 hidden layers over 64 inputs."""
    units = [64, *[width] * 8]
    return nn.Sequential(
        *(one for a, b in pairwise(units) for one in (nn.Linear(a, b), nn.ReLU())), nn.Linear(width, 10)
    )


def convolutional() -> nn.Sequential:
    """Three convolutions and two dense layers over 28 × 28 pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp64": (lambda: perceptron(64), (64,)),
    "mlp256": (lambda: perceptron(256), (64,)),
    "convolutions": (convolutional, (1, 28, 28)),
}


class Loop:
    """One variant: a network with its optimizer, and what looks on."""

    def __init__(self, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.net, self.loss = make(), nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-5)
        self.x, self.y = torch.randn(BATCH, *shape), torch.randint(10, (BATCH,))
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.watched: Watched | None = None

    def watch(self, **options: Any) -> "Loop":
        """With our eyes."""
        self.watched = mlpexp.watch(self.net, self.optimizer, **options)
        return self

    def histograms(self) -> "Loop":
        """With a histogram of every gradient."""
        for parameter in self.net.parameters():
            parameter.register_hook(histogram)
        return self

    def run(self) -> None:
        """Some steps, and whatever is still under way of them."""
        for _ in range(STEPS):
            self.optimizer.zero_grad()
            value = self.loss(self.net(self.x), self.y)
            with self.around():
                value.backward()
            self.optimizer.step()
        if self.watched is not None:
            self.watched.buffer.settle()


def histogram(gradient: Tensor) -> None:
    """Least, largest and 64 counts of a gradient, as numbers of Python."""
    least, largest = gradient.min().item(), gradient.max().item()
    gradient.histc(64, least, largest).tolist()


def variants(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> dict[str, Loop]:
    """Name → loop; the first one is bare."""
    found = {
        "bare": Loop(make, shape),
        "watch, basic": Loop(make, shape).watch(),
        "watch, basic, every=10": Loop(make, shape).watch(every=10),
        "watch, delta_norm and gradient_norm": Loop(make, shape).watch(quantities=["delta_norm", "gradient_norm"]),
        "watch, full": Loop(make, shape).watch(quantities="full"),
        "histograms of every gradient": Loop(make, shape).histograms(),
    }
    try:
        from backpack import backpack, extend, extensions
    except ImportError:
        return found

    def looking_on(extension: Callable[[], object]) -> AbstractContextManager[object]:
        around: AbstractContextManager[object] = backpack(extension())
        return around

    for name, extension in (("BatchL2Grad", extensions.BatchL2Grad), ("Variance", extensions.Variance)):
        own = found[f"BackPACK {name}"] = Loop(make, shape)
        own.net, own.loss = extend(own.net), extend(own.loss)
        own.around = partial(looking_on, extension)
    return found


def ratios(loops: dict[str, Loop], rounds: int) -> Iterator[tuple[str, float, float]]:
    """(name, factor over the bare loop, milliseconds of a step), medians over rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for round_ in range(rounds + 1):
        for name, loop in loops.items():
            start = time.process_time()
            loop.run()
            if round_:  # the first one warms up
                seconds[name].append(time.process_time() - start)
    for name, own in seconds.items():
        factor = statistics.median(a / b for a, b in zip(own, seconds["bare"], strict=True))
        yield name, factor, 1000 * statistics.median(own) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for network in options.networks:
        print(f"\n{network}")
        loops = variants(*NETWORKS[network])
        for name, factor, milliseconds in ratios(loops, options.rounds):
            print(f"  {name:38} × {factor:5.2f}  {milliseconds:7.2f} ms a step")
            rows.append((network, name, f"{factor:.3f}", f"{milliseconds:.3f}"))
        for loop in loops.values():
            if loop.watched is not None:
                loop.watched.close()
    with (HERE / "watch_cost.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "variant", "factor", "milliseconds_a_step"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
