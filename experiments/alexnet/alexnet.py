"""What changed in 2012: ReLU against tanh and dropout on and off in a small AlexNet, watched through its convolutions.

    python experiments/alexnet/alexnet.py               # Fashion-MNIST where it is installed, else digits; about 4 min
    python experiments/alexnet/alexnet.py --seeds 3 --epochs 2

The training is plain torch, as anyone writes it; `mlpexp.watch` looks on. Writes figure.png and result.json beside this
file, or into --folder.
"""

import argparse
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ |= {"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}  # before torch is loaded: the same bits again

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

import mlpexp
from mlpexp.claims import Claim, above, in_all_cases, judged, within
from mlpexp.data.catalogue import default_config
from mlpexp.data.dataset import DataError
from mlpexp.data.prepare import load
from mlpexp.figures import save
from mlpexp.paper import Figure, curve, means, panels, style, whole_numbers

HERE = Path(__file__).parent
SIGMAS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
RATES = (0.003, 0.01, 0.03)
BATCH, TRAINING, VALIDATION, TEST = 64, 3000, 1000, 4000
LEARNED = 0.9  # of the training part: the mark that counts the updates
LOOKS = 3  # at 500 of them in an epoch
TUNING_SEED = 100  # the scored ones lie below

SPEED_MARGIN, DROPOUT_MARGIN, DECADES = 1.0, 0.02, 1.0
SPEED_PILOT, DROPOUT_PILOT, DECADES_PILOT = 0.5, 0.02, 0.15
"""Standard deviations between the three seeds of a pilot, rounded up."""

Part = tuple[Tensor, Tensor]
LOOK = {("tanh", "before"): 5, ("tanh", "after"): 0, ("relu", "before"): 4, ("relu", "after"): 2}
"""Colours and markers of profiles; those after training are those of their condition."""


def network(sigma: str, dropout: float, side: int, seed: int) -> nn.Sequential:
    """AlexNet's eight layers with its kernels, strides and channels made small; normal weights, variance 1 or 2 over k.

    Glorot's normal weights for tanh and He's for ReLU, biases zero: the paper's σ = 0.01 is made for its widths.
    """
    torch.manual_seed(seed)
    act, places = SIGMAS[sigma], math.ceil(math.ceil(math.ceil(side / 2) / 2) / 2) ** 2
    net = nn.Sequential(
        nn.Conv2d(1, 24, 5, stride=2, padding=2), act(), nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(24, 32, 3, padding=1), act(), nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(32, 48, 3, padding=1), act(),
        nn.Conv2d(48, 48, 3, padding=1), act(),
        nn.Conv2d(48, 32, 3, padding=1), act(), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(32 * places, 128), act(),
        nn.Dropout(dropout), nn.Linear(128, 128), act(),
        nn.Linear(128, 10),
    )  # fmt: skip
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if sigma == "relu":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias if layer.bias is not None else torch.zeros(0))
    return net


@dataclass(frozen=True)
class Run:
    """One training. `learned` [t]: accuracy on training examples at `steps`; `start`, `end` [8]: log₁₀ ‖δ_l‖."""

    sigma: str
    dropout: bool
    rate: float
    seed: int
    steps: list[int]
    learned: list[float]
    train: float
    validation: float
    test: float
    start: list[float]
    end: list[float]

    @property
    def updates(self) -> int:
        """Until LEARNED of the training examples are right; all of them where that never happens."""
        reached = (step for step, share in zip(self.steps, self.learned, strict=True) if share >= LEARNED)
        return next(reached, self.steps[-1])


def train(sigma: str, dropout: bool, rate: float, seed: int, parts: list[Part], epochs: int) -> Run:
    """Gradient descent with momentum and weight decay, as in the paper; batches are those of the seed."""
    (x, y), validation, test = parts
    net = network(sigma, 0.5 * dropout, x.shape[-1], seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    order = torch.Generator().manual_seed(seed)
    steps, learned = [0], [accuracy(net, (x[:500], y[:500]))]
    with mlpexp.watch(net, optimizer, quantities=["delta_norm"], every=10) as watched:
        for epoch in range(epochs):
            rows = torch.randperm(len(x), generator=order).split(BATCH)
            for i, own in enumerate(rows):
                functional.cross_entropy(net(x[own]), y[own]).backward()
                optimizer.step()
                optimizer.zero_grad()
                if (i + 1) % (len(rows) // LOOKS) == 0:
                    steps.append(epoch * len(rows) + i + 1)
                    learned.append(accuracy(net, (x[:500], y[:500])))
    delta = watched["delta_norm"]
    with np.errstate(divide="ignore"):  # a network that died has no δ
        start, end = (np.log10(own).mean(axis=0).tolist() for own in (delta[:1], delta[-5:]))
    scores = {
        name: accuracy(net, part) for name, part in (("train", (x, y)), ("validation", validation), ("test", test))
    }
    return Run(sigma, dropout, rate, seed, steps, learned, **scores, start=start, end=end)


@torch.no_grad()
def accuracy(net: nn.Module, part: Part) -> float:
    """Share of a part that is right, as in evaluation."""
    net.eval()
    right = sum(int((net(x).argmax(dim=1) == y).sum()) for x, y in zip(*(own.split(500) for own in part), strict=True))
    net.train()
    return right / len(part[1])


def pictures() -> tuple[str, list[Part]]:
    """Training, validation and test part; digits where Fashion-MNIST is not installed.

    Pictures of 28 × 28 are made half as large, means of 2 × 2 pixels; one number centres all, one scales them.
    """
    try:
        dataset, sizes = load(default_config("fashion_mnist")), (TRAINING, VALIDATION, TEST)
        rows = np.concatenate([np.arange(sum(sizes[:2])), 60000 + np.arange(TEST)])  # the test rows of its authors
    except DataError:
        dataset, sizes = load(default_config("digits")), (1000, 300, 497)
        rows = np.random.default_rng(0).permutation(sum(sizes))
    x = torch.from_numpy(dataset.features[rows].astype(np.float32)).view(-1, 1, *(dataset.image_shape or ()))
    y = torch.from_numpy(dataset.targets[rows].astype(np.int64))
    if x.shape[-1] == 28:
        x = functional.avg_pool2d(x, 2)
    x = (x - x[: sizes[0]].mean()) / x[: sizes[0]].std()
    return dataset.name, list(zip(x.split(sizes), y.split(sizes), strict=True))


def conditions() -> Iterator[tuple[str, bool]]:
    """σ and dropout."""
    yield from ((sigma, dropout) for sigma in SIGMAS for dropout in (False, True))


def runs_of(condition: tuple[str, bool], parts: list[Part], seeds: int, epochs: int) -> list[Run]:
    """One condition at the rate that does best on validation with a seed of its own, with all seeds."""
    tried = [train(*condition, rate, TUNING_SEED, parts, epochs) for rate in RATES]
    best = max(tried, key=lambda run: run.validation).rate
    return [train(*condition, best, seed, parts, epochs) for seed in range(seeds)]


def say(own: list[Run]) -> None:
    """What became of a condition."""
    first = own[0]
    edge = " (on the edge of the grid)" if first.rate in (RATES[0], RATES[-1]) else ""
    scores = ", ".join(f"{np.mean([getattr(run, part) for run in own]):.3f}" for part in ("train", "test"))
    dropout = "on" if first.dropout else "off"
    print(f"{first.sigma}, dropout {dropout}: rate {first.rate}{edge}; accuracy on training, test {scores}", flush=True)


def claims(found: list[Run]) -> list[Claim]:
    """What 2012 said, of pairs that share a seed (the same batches)."""

    def of(sigma: str, dropout: bool) -> list[Run]:
        return [run for run in found if (run.sigma, run.dropout) == (sigma, dropout)]

    slow, fast, dropped = of("tanh", False), of("relu", False), of("relu", True)
    decades = {
        f"{sigma} {when}": within("signal_passes", "", [ends[0] - ends[-1] for ends in values], DECADES, DECADES_PILOT)
        for sigma, own in (("tanh", slow), ("ReLU", fast))
        for when, values in (("before", [run.start for run in own]), ("after", [run.end for run in own]))
    }
    return judged([
        above(
            "relu_is_faster", f"tanh takes over twice the updates of ReLU to {LEARNED:.0%} of its training examples",
            [math.log2(a.updates / b.updates) for a, b in zip(slow, fast, strict=True)], SPEED_MARGIN, SPEED_PILOT,
            "Krizhevsky et al. 2012, figure 1: six times, on CIFAR-10",
        ),
        above(
            "dropout_generalises", "with ReLU dropout gains over two points of test accuracy",
            [a.test - b.test for a, b in zip(dropped, fast, strict=True)], DROPOUT_MARGIN, DROPOUT_PILOT,
            "Krizhevsky et al. 2012, section 4.2; Srivastava et al. 2014",
        ),
        in_all_cases(
            "signal_passes", "δ of the first convolution and of the last layer are less than a decade apart, with tanh "
            "as with ReLU, before and after training: it is not a vanishing gradient that ReLU mends here", decades,
        ),
    ])  # fmt: skip


def draw(found: list[Run]) -> Figure:
    """Training accuracy over updates, test accuracy, and δ through the layers."""
    figure, (fast, good, signal) = panels(3)
    for number, (sigma, dropout) in enumerate(conditions()):
        own = [run for run in found if (run.sigma, run.dropout) == (sigma, dropout)]
        name = f"{sigma}, dropout" if dropout else sigma
        looks = [look for run in own for look in zip(run.steps, run.learned, strict=True)]
        learned = pd.DataFrame(looks, columns=["step", "share"])
        table = means(learned, "step", "share")
        curve(fast, table["step"], table, name, number)
        for place, part in enumerate(("train", "test")):
            scores = pd.DataFrame({"at": place + 0.12 * (number - 1.5), "value": [getattr(run, part) for run in own]})
            table = means(scores, "at", "value")
            curve(good, table["at"], table, name if not place else f"_{name}", number, band=False)
        if not dropout:
            for when, values in (("before", [run.start for run in own]), ("after", [run.end for run in own])):
                deltas = [(layer, one) for ends in values for layer, one in enumerate(ends, 1)]
                logs = means(pd.DataFrame(deltas, columns=["layer", "delta"]), "layer", "delta")
                logs[["value", "low", "high"]] = 10 ** logs[["value", "low", "high"]]
                curve(signal, logs["layer"], logs, f"{sigma} {when}", LOOK[sigma, when])
    fast.axhline(LEARNED, color="black", linewidth=0.7, linestyle=":")
    fast.set(xlabel="step (updates)", ylabel="accuracy on training examples")
    good.set(ylabel="accuracy", xticks=[0, 1], xticklabels=["training", "test"], xlim=(-0.4, 1.4))
    signal.set(xlabel="layer (1–5 convolutions, 6–8 dense)", ylabel="backpropagated signal ‖δₗ‖", yscale="log")
    whole_numbers(signal)
    for axes in (fast, signal):
        axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes; the numbers are the same")
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    name, parts = pictures()
    print(f"{name}, {len(parts[0][1])} training examples, {options.epochs} epochs, {options.seeds} seeds")
    one = partial(runs_of, parts=parts, seeds=options.seeds, epochs=options.epochs)
    found: list[Run] = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for own in pool.map(one, conditions()):
            say(own)
            found += own
    verdicts = claims(found)
    for claim in verdicts:
        print(claim.line())
    with style("page"):
        save(draw(found), options.folder / "figure.png")
    content = {"data": name, "claims": [asdict(claim) for claim in verdicts], "runs": [asdict(run) for run in found]}
    (options.folder / "result.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
