"""A search by mlpexp against Optuna's own `study.optimize` around a plain PyTorch loop: trials a minute, best scores.

    python experiments/search/against_optuna.py speed --trials 200 --peer-trials 200 --repeats 4 --epochs 50
    python experiments/search/against_optuna.py scores --trials 40 --repeats 10 --epochs 10

`speed` runs the two in turn and prints the ratio of each pair. `scores` lets each search with other seeds and another
split each time, trains both best points on fresh seeds and a fresh split, and prints the mean of the differences.
Writes JSON below outputs/search.
"""

import argparse
import copy
import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from torch import nn

import mlpexp
from mlpexp.data import prepare
from mlpexp.verdicts import mean

SPACE = (
    "model.depth=range(2,7)",
    "model.width=choice(16,32,64)",
    "model.activation=choice(tanh,relu)",
    "optimizer=choice(momentum,rmsprop,adam)",
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))",
)
REPLICATES, BATCH = 3, 64
Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
OPTIMIZERS: dict[str, Any] = {
    "momentum": lambda p, rate: torch.optim.SGD(p, rate, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The same space, as a user of Optuna writes it."""
    return {
        "model.depth": trial.suggest_int("model.depth", 2, 6),
        "model.width": trial.suggest_categorical("model.width", [16, 32, 64]),
        "model.activation": trial.suggest_categorical("model.activation", ["tanh", "relu"]),
        "optimizer": trial.suggest_categorical("optimizer", ["momentum", "rmsprop", "adam"]),
        "optimizer.learning_rate": trial.suggest_float("optimizer.learning_rate", 1e-4, 1e-1, log=True),
    }


def plain_accuracy(values: dict[str, Any], seed: int, parts: Parts, epochs: int) -> float:
    """Validation accuracy of one network, trained by the loop of every tutorial; the best epoch by validation loss."""
    torch.manual_seed(seed)
    (x, y), (vx, vy) = parts["train"], parts["validation"]
    widths = [x.shape[1], *[values["model.width"]] * (values["model.depth"] - 1), 10]
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        linear = nn.Linear(a, b)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="linear" if i == 0 else "relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[values["model.activation"]]()]
    network = nn.Sequential(*layers[:-1])
    optimizer = OPTIMIZERS[values["optimizer"]](network.parameters(), values["optimizer.learning_rate"])
    loss_of = nn.CrossEntropyLoss()
    best, accuracy = float("inf"), 0.0
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss_of(network(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            z = network(vx)
            loss = float(loss_of(z, vy))
            if loss < best:
                best, accuracy = loss, float((z.argmax(1) == vy).float().mean())
    return accuracy


def tensors(split: int) -> Parts:
    """Digits as mlpexp splits and normalises them."""
    found = prepare(mlpexp.compose([f"data.split.seed={split}"]).data)
    named = {"train": found.training, "validation": found.validation}
    return {
        name: (torch.from_numpy(part.features).float(), torch.from_numpy(part.targets).long())
        for name, part in named.items()
    }


def peer(trials: int, seed: int, split: int, epochs: int) -> tuple[dict[str, Any], float]:
    """Optuna's own loop: the best values, and the seconds that it took."""
    parts = tensors(split)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))

    def objective(trial: optuna.Trial) -> float:
        values = suggest(trial)
        return sum(plain_accuracy(values, seed * 1000 + i, parts, epochs) for i in range(REPLICATES)) / REPLICATES

    begun = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return study.best_params, time.perf_counter() - begun


def ours(trials: int, seed: int, split: int, epochs: int, outputs: Path) -> tuple[dict[str, Any], float]:
    """`mlpexp sweep search=tpe`, the whole command: the best values, and the seconds that it took."""
    shutil.rmtree(outputs, ignore_errors=True)
    words = [
        "search=tpe", *SPACE, f"search.n_trials={trials}", f"replicates={REPLICATES}", f"training.epochs={epochs}",
        f"search.seed={seed}", f"seed={seed * 1000}", f"data.split.seed={split}", "search.fresh_seeds=0",
        "tracking=none", "measurements=none", "training.evaluate_train_every=null",  # as the peer
        f"outputs={outputs}", f"hydra.sweep.dir={outputs}/search",
    ]  # fmt: skip
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mlpexp", "sweep", *words], check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    best = yaml.safe_load((outputs / "search" / "best.yaml").read_text())
    named = {key: best["model"][key] for key in ("depth", "width", "activation")}
    optimizer = "momentum" if best["optimizer"]["name"] == "gradient_descent" else best["optimizer"]["name"]
    rate = best["optimizer"]["learning_rate"]
    return {f"model.{k}": v for k, v in named.items()} | {
        "optimizer": optimizer,
        "optimizer.learning_rate": rate,
    }, seconds


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Trials a minute of both, in turn, and the ratio of each pair."""
    pairs = []
    for i in range(options.repeats):
        _, mine = ours(options.trials, i, 0, options.epochs, options.outputs / "speed")
        _, theirs = peer(options.peer_trials, i, 0, options.epochs)
        pairs.append({"mlpexp": 60 * options.trials / mine, "study.optimize": 60 * options.peer_trials / theirs})
        pairs[-1]["ratio"] = pairs[-1]["mlpexp"] / pairs[-1]["study.optimize"]
        print({name: round(value, 2) for name, value in pairs[-1].items()}, flush=True)
    ratios = mean([one["ratio"] for one in pairs])
    print(f"trials a minute, mlpexp / study.optimize: {ratios}")
    common = {"trials": options.trials, "peer_trials": options.peer_trials, "epochs": options.epochs}
    return {**common, "pairs": pairs, "ratio": [ratios.value, ratios.low, ratios.high]}


def scores(options: argparse.Namespace) -> dict[str, Any]:
    """Test accuracy of both best points, trained by mlpexp on fresh seeds and a fresh split."""
    found = []
    for i in range(options.repeats):
        best = {
            "mlpexp": ours(options.trials, i, i, options.epochs, options.outputs / "scores")[0],
            "study.optimize": peer(options.trials, i, i, options.epochs)[0],
        }
        fresh = [
            mlpexp.compose([
                *sorted((f"{key}={value}" for key, value in values.items()), key=lambda word: "." in word),
                f"training.epochs={options.epochs}", f"data.split.seed={1000 + i}", "seed=900000", "replicates=10",
                "tracking=none", "measurements=none", f"outputs={options.outputs / 'fresh'}",
            ])
            for values in copy.deepcopy(list(best.values()))
        ]  # fmt: skip
        runs = iter(mlpexp.run(fresh, quiet=True))
        means = [mean([next(runs).scores["accuracy/test"] for _ in range(10)]).value for _ in best]
        found.append(dict(zip(best, means, strict=True)))
        print(found[-1], flush=True)
    difference = mean([one["mlpexp"] - one["study.optimize"] for one in found])
    print(f"difference of test accuracy, mlpexp − study.optimize: {difference}")
    return {
        "trials": options.trials,
        "epochs": options.epochs,
        "found": found,
        "difference": [difference.value, difference.low, difference.high],
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "scores"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--peer-trials", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/search"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)  # the faster choice for networks this small: the peer is at its best
    options.outputs = options.outputs.absolute()
    options.outputs.mkdir(parents=True, exist_ok=True)
    found = speed(options) if options.what == "speed" else scores(options)
    (options.outputs / f"{options.what}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
