"""Chapter 5: from the neuron to the multilayer perceptron in one figure; from the second step on, the task is XOR.

Flow: all other chapters' numbers, runner → **chapter** → finding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.composition import compose
from mlpexp.data import prepare
from mlpexp.figures import BLUE, GREY, Figure
from mlpexp.lineage.action_potentials import after_pulse, thresholds
from mlpexp.lineage.boolean_expression import parse
from mlpexp.lineage.chapters.axes import SHADES, scatter, tidy
from mlpexp.lineage.finding import Finding
from mlpexp.lineage.hodgkin_huxley import Floats, resting_state
from mlpexp.lineage.logistic_regression import Likelihood, fit
from mlpexp.lineage.mcculloch_pitts import compile_net
from mlpexp.lineage.perceptron import learn, with_bias
from mlpexp.results import Result
from mlpexp.runner import run

Rule = Callable[[Floats], Floats]
"""Inputs [n, 2] → probability of class 1, [n]; 0 or 1 for a threshold unit."""
PASSES = 50  # of the perceptron, which would never come to rest
MLP = ("model.depth=2", "model.width=8", "model.activation=tanh", "optimizer.learning_rate=0.01", "training.epochs=60")


@dataclass(frozen=True)
class Step:
    """One step of the road: what it is, when, what is new, and what it says about the plane."""

    name: str
    title: str
    new: str
    rule: Rule
    accuracy: float


@dataclass(frozen=True)
class Road:
    """The neuron's pulses [N] and highest potentials [N] in mV; then the steps on the test part of one data set."""

    pulses: Floats
    peaks: Floats
    threshold: float
    steps: list[Step]
    inputs: Floats
    labels: NDArray[np.int64]


def find(seed: int, outputs: Path) -> Finding:
    """Everything on the same clouds at (±1, ±1): trained on their training part, scored on their test part."""
    own = ["data=xor", "data.normalisation=none", *MLP, f"seed={seed}", f"data.seed={seed}", f"data.split.seed={seed}"]
    config = compose([*own, "tracking=none", "measurements=none", "executor=serial", f"outputs={outputs}"])
    parts = prepare(config.data)
    test = parts.test.features, parts.test.targets.astype(np.int64)
    (result,) = run(config, quiet=True)
    rules = rules_of(parts.training.features, parts.training.targets.astype(np.int64), result)
    steps = [Step(name, *words, rules[name], share_right(rules[name], *test)) for name, words in WORDS.items()]
    rest = resting_state()
    pulses = np.linspace(0.0, 15.0, 121)
    peaks = after_pulse(rest, pulses)[1].max(axis=1)
    road = Road(pulses, peaks, float(thresholds(rest[:, None])[0]), steps, *test)
    return Finding(
        "road",
        lines_of(road, result),
        {"seed": seed, "data": "xor", "run": result.fingerprint},
        {f"accuracy/{step.name}": step.accuracy for step in steps},
        draw(road),
        tables_of(road),
    )


WORDS = {
    "mcculloch_pitts": ("McCulloch–Pitts 1943", "designed, not trained"),
    "perceptron": ("perceptron 1957", "learns, but only a line"),
    "logistic_regression": ("logistic regression 1958", "smooth, but only a line"),
    "mlp": ("multilayer perceptron 1986", "learns its hidden units"),
}


def rules_of(inputs: Floats, labels: NDArray[np.int64], result: Result) -> dict[str, Rule]:
    """What each step says of a point of the plane; all but the first have seen the training examples."""
    net = compile_net(parse("y = x1 xor x2"))
    learned = learn(inputs, 2 * labels - 1, passes=PASSES).path[-1]
    estimate = fit(Likelihood.of(inputs, labels))
    network = result.network()

    def mlp(x: Floats) -> Floats:
        import torch  # after the run: it trains in this process, which has to prepare torch first

        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(x)).numpy()[:, 0], dtype=np.float64)

    return {
        "mcculloch_pitts": lambda x: net.evaluate(x > 0).astype(np.float64),
        "perceptron": lambda x: (with_bias(x) @ learned > 0).astype(np.float64),
        "logistic_regression": lambda x: 1 / (1 + np.exp(-with_bias(x) @ estimate)),
        "mlp": mlp,
    }


def share_right(rule: Rule, inputs: Floats, labels: NDArray[np.int64]) -> float:
    """Share of examples whose class has the larger probability."""
    return float(((rule(inputs) > 0.5) == (labels == 1)).mean())


def lines_of(road: Road, result: Result) -> list[str]:
    """What the terminal shows."""
    return [
        f"neuron 1952                  all or none: a pulse fires it from {road.threshold:.2f} mV on",
        f"XOR, {len(road.labels)} test examples        accuracy",
        *(f"{step.title:<28} {step.accuracy:8.3f}   {step.new}" for step in road.steps),
        f"the multilayer perceptron is run {result.fingerprint}",
    ]


def tables_of(road: Road) -> dict[str, pd.DataFrame]:
    """The numbers behind the figure."""
    examples = pd.DataFrame({"x1": road.inputs[:, 0], "x2": road.inputs[:, 1], "label": road.labels})
    for step in road.steps:
        examples[step.name] = step.rule(road.inputs)
    accuracies = pd.DataFrame({"step": [s.name for s in road.steps], "accuracy": [s.accuracy for s in road.steps]})
    neuron = pd.DataFrame({"pulse_mV": road.pulses, "peak_mV": road.peaks})
    return {"neuron": neuron, "test_examples": examples, "accuracies": accuracies}


def draw(road: Road) -> Figure:
    """Five panels in a row: the neuron, then what each step makes of XOR."""
    figure = Figure(figsize=(14, 3.35), layout="constrained")
    neuron, *planes = figure.subplots(1, 1 + len(road.steps))
    for rows in (road.pulses < road.threshold, road.pulses > road.threshold):
        neuron.plot(road.pulses[rows], road.peaks[rows], color=BLUE)
    neuron.axvline(road.threshold, color=GREY, linestyle=":")
    neuron.set_box_aspect(1)
    tidy(neuron, "neuron (Hodgkin–Huxley 1952)\nall or none: a threshold", "pulse / mV", "highest potential / mV")
    for axes, step in zip(planes, road.steps, strict=True):
        draw_plane(axes, step, road)
    return figure


def draw_plane(axes: Any, step: Step, road: Road) -> None:
    """Shaded where a step says one class or the other, with the test examples on it."""
    edge = np.linspace(-2.3, 2.3, 201)
    grid = np.meshgrid(edge, edge)
    says = step.rule(np.column_stack([part.ravel() for part in grid])).reshape(grid[0].shape)
    axes.contourf(*grid, says, levels=[-0.5, 0.5, 1.5], colors=SHADES)
    if 0.02 < says.min() < 0.98 or len(np.unique(says)) > 2:
        axes.contour(*grid, says, levels=[0.1, 0.9], colors=GREY, linestyles="--", linewidths=0.8)
    scatter(axes, road.inputs, road.labels, size=14)
    axes.set_box_aspect(1)
    tidy(axes, f"{step.title}\n{step.new}: {step.accuracy:.1%}", "$x_1$", "$x_2$")
