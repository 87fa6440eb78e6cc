"""Chapter 4: the same estimate twice, by maximum likelihood and by a network of depth 1 that mlpexp trains.

Flow: data, runner, logistic_regression → **chapter** → finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.composition import compose
from mlpexp.config import Config, validate
from mlpexp.data import DataError, Parts, prepare
from mlpexp.data_schema import DataBase
from mlpexp.figures import BLUE, GREY, ORANGE, Figure
from mlpexp.lineage.chapters.axes import scatter, tidy
from mlpexp.lineage.finding import Finding
from mlpexp.lineage.logistic_regression import Floats, Likelihood, fit
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.runner import run

DATA = ("data=moons", "data.noise=0.2")
MOMENTUM = 0.9
MOMENTS = 8


@dataclass(frozen=True)
class Comparison:
    """Parameters are (b, w_1, …, w_q), of the inputs as the network sees them: normalised by the training part."""

    parts: Parts
    likelihood: Likelihood
    estimate: Floats  # [q + 1]
    updates: NDArray[np.int64]  # [T]
    trained: Floats  # [T, q + 1], the network after so many updates
    last: Result

    @property
    def distances(self) -> Floats:
        """‖θ − θ̂‖ of the network, [T]."""
        return np.asarray(np.linalg.norm(self.trained - self.estimate, axis=1))

    @property
    def slopes(self) -> Floats:
        """Norm of the objective's gradient at the network's parameters, [T]: zero at a maximum of the likelihood."""
        return np.array([np.linalg.norm(self.likelihood.gradient(row)) for row in self.trained])


def find(keys: Sequence[str], l2: float, updates: int, outputs: Path) -> Finding:
    """Both estimates on the training part of a data set with two classes. Raises ConfigError where there is none."""
    found = compare(keys or DATA, l2, updates, outputs)
    scores, test = found.last.scores, found.parts.test
    z = np.column_stack([np.ones(len(test)), test.features]) @ found.estimate
    accuracy = float(((z > 0) == (test.targets == 1)).mean())
    metrics = {
        "loss": found.likelihood.value(found.estimate),
        "accuracy/test": accuracy,
        "distance": float(found.distances[-1]),
        "distance_relative": float(found.distances[-1] / np.linalg.norm(found.estimate)),
        "gradient_of_estimate": float(np.linalg.norm(found.likelihood.gradient(found.estimate))),
        "gradient_of_network": float(found.slopes[-1]),
    }
    examples, features = len(found.parts.training), found.parts.dataset.inputs
    penalty = f"λ = {l2:g}" if l2 else "no penalty"
    lines = [
        f"{found.parts.dataset.name}: {examples} training examples, {features} features, {penalty}",
        f"maximum likelihood     objective {metrics['loss']:.6f}, gradient {metrics['gradient_of_estimate']:.0e}, "
        f"test accuracy {accuracy:.3f}",
        f"network of depth 1     after {updates} updates at {metrics['distance']:.0e} from it "
        f"({metrics['distance_relative']:.0e} of it),",
        f"                       gradient {metrics['gradient_of_network']:.0e}, "
        f"test accuracy {scores['accuracy/test']:.3f}",
        f"                       run {found.last.fingerprint}",
    ]
    params = {"data": " ".join(keys or DATA), "l2": l2, "updates": updates, "run": found.last.fingerprint}
    return Finding("logistic_regression", lines, params, metrics, draw(found), tables_of(found))


def compare(keys: Sequence[str], l2: float, updates: int, outputs: Path) -> Comparison:
    """Fit, then train: gradient descent on all examples with the largest step that is safe everywhere."""
    for key in keys:
        if not key.startswith(("data=", "data.")):
            raise ConfigError([f"{key} is no key of the data; give data=NAME or data.KEY=VALUE"])
        if key.startswith("data.split.validation="):
            raise ConfigError(["data.split.validation has no use here: all that is not for testing trains; leave it"])
    own = ["data.split.validation=0", "model.depth=1", "optimizer=gradient_descent", f"optimizer.momentum={MOMENTUM}"]
    own += ["training.sampler=full", "training.dtype=float64", "training.restore=final", f"training.l2={l2!r}"]
    own += ["tracking=none", "measurements=none", "executor=serial", f"outputs={outputs}"]
    asked = compose([*keys, *own])
    parts = two_classes(asked.data)
    likelihood = Likelihood.of(parts.training.features, parts.training.targets.astype(np.int64), l2)
    estimate = fit(likelihood)
    moments = np.unique(np.round(np.geomspace(1, updates, MOMENTS)).astype(np.int64))
    results = run([lasting(asked, int(moment), 1 / likelihood.steepest_curvature) for moment in moments], quiet=True)
    return Comparison(parts, likelihood, estimate, moments, np.array([parameters(one) for one in results]), results[-1])


def lasting(asked: Config, updates: int, learning_rate: float) -> Config:
    """The same config for so many updates of one step size; scored at the end alone."""
    content = asked.model_dump()
    content["training"] |= {"epochs": updates, "evaluate_every": updates}
    content["optimizer"] |= {"learning_rate": learning_rate}
    return validate(content)


def two_classes(data: DataBase) -> Parts:
    """The parts of a data set that logistic regression can have."""
    try:
        parts = prepare(data)
    except DataError as error:
        raise ConfigError([str(error)]) from None
    dataset = parts.dataset
    if len(dataset.classes) != 2:
        kinds = f"{len(dataset.classes)} classes" if dataset.classes else "real targets"
        raise ConfigError([f"logistic regression tells two classes apart, but {dataset.name} has {kinds}"])
    if data.label_noise > 0:
        raise ConfigError(["data.label_noise replaces labels while a network trains: the estimates would see others"])
    return parts


def parameters(result: Result) -> Floats:
    """(b, w) of a trained network of depth 1 with one output, [q + 1]."""
    state = {name: value.numpy() for name, value in result.network().state_dict().items()}
    return np.concatenate([state["layers.0.bias"], state["layers.0.weight"][0]])


def tables_of(found: Comparison) -> dict[str, pd.DataFrame]:
    """The numbers behind the figure."""
    names = ["bias", *(found.parts.dataset.feature_name(column) for column in range(found.parts.dataset.inputs))]
    course = pd.DataFrame({"updates": found.updates, "distance": found.distances, "gradient_norm": found.slopes})
    both = {"parameter": names, "maximum_likelihood": found.estimate, "network": found.trained[-1]}
    return {"parameters": pd.DataFrame(both), "training": course}


def draw(found: Comparison) -> Figure:
    """The plane with its probabilities, or all parameters where there are more than two; and the way there."""
    figure = Figure(figsize=(9.2, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    if found.parts.dataset.inputs == 2:
        draw_plane(left, found)
    else:
        ends = np.array([found.estimate.min(), found.estimate.max()])
        left.plot(ends, ends, color=GREY, linestyle="--", label="equal")
        left.plot(found.estimate, found.trained[-1], "o", color=BLUE, markersize=4, label="a parameter each")
        left.legend(frameon=False)
        tidy(left, found.parts.dataset.name, "by maximum likelihood", f"network after {found.updates[-1]} updates")
    right.loglog(found.updates, found.distances, color=BLUE, marker="o", markersize=4, label=r"$\|θ - \hat{θ}\|$")
    right.loglog(found.updates, found.slopes, color=ORANGE, marker="s", markersize=4, label="norm of the gradient")
    right.legend(frameon=False)
    tidy(right, "a network of depth 1 gets there", "updates of gradient descent", "norm")
    return figure


def draw_plane(axes: Any, found: Comparison) -> None:
    """Training examples; where P = 0.1, 0.5, 0.9 by maximum likelihood, and dashed on it by the network."""
    inputs, labels = found.parts.training.features, found.parts.training.targets
    low, high = inputs.min(axis=0) - 0.3, inputs.max(axis=0) + 0.3
    grid = np.meshgrid(*(np.linspace(low[j], high[j], 200) for j in (0, 1)))
    lifted = np.stack([np.ones_like(grid[0]), *grid])
    scatter(axes, inputs, labels, size=9)
    levels = [np.log(p / (1 - p)) for p in (0.1, 0.5, 0.9)]
    grey, dots = (GREY, "-", 4.0, "maximum likelihood: P = 0.1, 0.5, 0.9"), ("black", ":", 1.3, "network of depth 1")
    for theta, (colour, style, width, name) in ((found.estimate, grey), (found.trained[-1], dots)):
        z = np.tensordot(theta, lifted, axes=1)
        axes.contour(*grid, z, levels, colors=colour, linestyles=style, linewidths=width)
        axes.plot([], [], style, color=colour, linewidth=width, label=name)
    axes.set_ylim(low[1], high[1] + 0.25 * (high[1] - low[1]))
    axes.legend(frameon=False, loc="upper left")
    tidy(axes, f"{found.parts.dataset.name}, normalised", "$x_1$", "$x_2$")
