"""By study: made-up runs where its claims are true, where they are false, and where the runs cannot tell."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from studies_fixtures import World, points_of
from studies_worlds_of_training import WORLDS as OF_TRAINING

from mlpexp.config import Config
from mlpexp.data_schema import Sine
from mlpexp.study_definition import Point


def signal(run: Config, tilt: float, draw: np.random.Generator) -> dict[str, Any]:
    """δ as theory has it, but for a slope of `tilt` and a little noise."""
    figure = points_of("vanishing_gradients")[0].figure
    depth, width = run.model.depth, run.model.width
    widths = (64, *[width] * (depth - 1), 10)
    theory = figure.predicted(run.model.activation, run.initialisation.name, widths) if depth > 1 else np.zeros(1)
    tilted = theory + tilt * np.arange(depth)[::-1] + draw.normal(0, 0.01, depth)
    return {"delta_norm": np.exp(tilted / 2), "widths": widths}


def vanishing(sigmoid_loses: float, relu_loses: float, tilt: float, spread: float = 0.01) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        lost = sigmoid_loses if "sigmoid" in point.condition else relu_loses
        accuracy = 0.95 - lost * (run.model.depth - 1) / 15 + draw.normal(0, spread)
        return {"accuracy/test": accuracy} | signal(run, tilt, draw)

    return world


def stopping(noisy_gain: float, clean_gain: float, anew_gain: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        gain = noisy_gain if run.data.label_noise else clean_gain
        better = {"stop": gain, "": gain + anew_gain}.get(point.condition, 0.0)
        own: dict[str, Any] = {"accuracy/test": 0.9 + better + draw.normal(0, spread)}
        if point.part != "retraining":
            own |= {"validation": tuple(np.linspace(0.1, 0.9, 30)), "best_epoch": 9.0 + run.seed % 3}
        return own

    return world


def rules(equal: float, floor: float, rprop: float, spread: float = 0.01) -> World:
    costs = {"inside, 1e-16": equal, "outside, 1e-4": floor, "inside, 1e-8": floor, "Rprop, m = 64": rprop}

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        accuracy = 0.9 - costs.get(point.condition, 0.0) + draw.normal(0, spread)
        return {"accuracy/test": accuracy, "course": tuple(np.exp(-np.arange(31) / 10) + 0.01 * draw.random(31))}

    return world


def xor(single: float, narrow: float, wide: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        share = narrow if max(run.model.widths, default=0) <= 2 else wide
        solved = draw.random() < share
        accuracy = single + draw.normal(0, spread) if point.part == "single" else 1.0 if solved else 0.75
        return {"accuracy/test": accuracy, "plane": draw.random((41, 41)) if run.seed < 15 else None}

    return world


def axon(blur: float) -> World:
    """Not of runs but whole: what `compute` returns; `blur` mixes what is silent with what fires."""

    def world() -> pd.DataFrame:
        rows: Callable[..., pd.DataFrame] = points_of("action_potential")[0].figure.rows
        pulse, time = np.linspace(0.5, 15, 20), np.linspace(7, 30, 10)
        steps = [0.04, 0.02, 0.01]
        return pd.concat([
            rows("threshold", "threshold", [6.5], [6.5]),
            rows("refractory", "end", [6.9], [0]),
            rows("trace", "0.9", time, -65 + time),
            rows("peak", "peak", pulse, np.where(pulse > 6.5, 40.0, -60.0 + 10 * blur)),
            rows("refractory", "50 mV", time / 7, np.full(10, float(blur > 0))),
            rows("second", "second", time, 50 - 2 * time + blur * time),
            rows("rate", "rate", pulse, np.where(pulse > 6.5, 50.0 + pulse, blur)),
            rows("step", "error", steps, np.array(steps) ** (4 - blur)),
        ])  # fmt: skip

    return world


def curve_error(mse: float, growth: float, clean: float, spread: float = 0.01) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        assert isinstance(run.data, Sine)
        lost = clean + growth * run.data.outliers / 0.3 + (mse if run.data.outliers else 0.0)
        return {"error": 0.05 + (lost if point.condition == "MSE" else 0.0) + draw.normal(0, spread)}

    return world


def traps(narrow: float, wide: float, noisy: float) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        share = noisy if point.condition == "m = 4" else narrow if max(run.model.widths) <= 2 else wide
        weights = draw.normal(0, 2, 9) if max(run.model.widths) == 2 else None
        return {"accuracy/test": 1.0 if draw.random() < share else 0.75, "weights": weights}

    return world


def fluctuating(factor: float, spread: float = 0.0) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        constant = points_of("width_fluctuations")[0].figure.CONSTANTS[point.condition]
        variance = factor * constant * (run.model.depth - 1) / run.model.widths[0]
        group = run.seed // 30 % 10  # spread between the groups of thirty seeds
        return {"log_square": draw.normal(0, np.sqrt(variance * (1 + spread * (group - 4.5))))}

    return world


def least(
    end: float, random: float, apart: float, layers: float, norm: float, worse: float, spread: float = 1e-3
) -> World:
    """`norm` is how far a network from small weights ends from the least, `worse` its gain in error by them."""

    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        if point.part == "network":
            small = point.condition == "σ_w = 0.1"
            error = 0.2 + worse * (not small) + draw.normal(0, 10 * spread)
            return {"norm": 2.0 * (1 + norm * small) + draw.normal(0, 2 * spread), "error": error}
        distance = {"from zero": end, "from random weights": random}.get(point.condition, layers)
        own = {"distance": distance, "from_ridge": apart, "error": 1.0, "ridge_error": 1.1}
        noisy = {name: abs(value + draw.normal(0, spread)) for name, value in own.items()}
        return noisy | {"time": 0.02 * (run.training.updates or 1)}

    return world


def approximating(trained: float, random: float, spread: float = 0.1) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        width, noise = max(run.model.widths), draw.normal(0, spread, 2)
        errors = 0.7 * width ** -np.array([trained, random]) * np.exp(noise)
        return dict(zip(("error", "control"), errors, strict=True))

    return world


def deep(gain: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        accuracy = 0.9 + gain * (run.model.depth == 4) - 0.05 * (run.model.depth > 4) - 0.02 * (run.model.depth == 3)
        return {"accuracy/test": accuracy + draw.normal(0, spread), "accuracy/validation": accuracy}

    return world


def batches(epochs: float, updates: float, spread: float = 0.005) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        is_small = run.training.batch_size == 16
        gain = epochs * is_small if point.part == "epochs" else -updates * is_small
        other = 0.0 if run.training.batch_size in (16, 128) else -0.1
        accuracy = 0.9 + gain + other
        return {"accuracy/test": accuracy + draw.normal(0, spread), "accuracy/validation": accuracy}

    return world


def scaled(power: float, slower: float, gain: float, spread: float = 0.01) -> World:
    def world(point: Point, run: Config, draw: np.random.Generator) -> dict[str, Any]:
        raw = point.condition == "as they are"
        if point.part == "network":
            return {"accuracy/test": 0.9 - gain * raw + draw.normal(0, spread)}
        kappa = 2.0 * float(point.axes["data.scale_ratio"]) ** 2 if raw else 2.0
        best = 1.0 + abs(run.optimizer.learning_rate - 0.6)
        updates = 5 * kappa**power * best * (slower if raw else 1.0) * np.exp(draw.normal(0, 3 * spread))
        return {"updates": updates, "condition_number": kappa}

    return world


WORLDS: dict[str, tuple[World, ...]] = {
    **OF_TRAINING,
    "action_potential": (axon(0.0), axon(9.0)),
    "outliers": (
        curve_error(0.1, 0.1, 0.0),
        curve_error(0.0, -0.1, 0.1),
        curve_error(0.0, 0.02, 0.0, spread=0.2),
    ),
    "nonconvexity": (traps(0.3, 0.9, 0.8), traps(0.5, 0.4, 0.4), traps(0.5, 0.65, 0.65)),
    "width_fluctuations": (fluctuating(1.0), fluctuating(2.0), fluctuating(1.2, 0.15)),
    "implicit_regularisation": (
        least(0.001, 2.0, 0.1, 0.01, 0.01, 0.1),
        least(0.5, 0.05, 0.5, 0.5, 0.2, 0.0),
        least(0.0105, 0.1, 0.204, 0.0494, 0.05, 0.03),
    ),
    "universal_approximation": (approximating(1.0, 2.0), approximating(0.2, 0.2), approximating(0.5, 0.5, 0.6)),
    "depth_or_width": (deep(0.02), deep(-0.02), deep(0.005, spread=0.02)),
    "batch_size": (batches(0.02, 0.02), batches(-0.02, -0.02), batches(0.005, 0.005, spread=0.02)),
    "data_normalisation": (scaled(1.0, 1.0, 0.1), scaled(0.5, 1.0, 0.0), scaled(1.2, 0.555, 0.02, 0.1)),
    "vanishing_gradients": (
        vanishing(0.8, 0.01, 0.0),
        vanishing(0.01, 0.3, 0.5),
        vanishing(0.06, 0.05, 0.1, spread=0.2),
    ),
    "early_stopping": (stopping(0.05, 0.0, 0.03), stopping(0.0, 0.05, 0.0), stopping(0.01, 0.01, 0.01)),
    "optimizers": (rules(0.0, 0.3, 0.1), rules(0.3, 0.0, -0.05), rules(0.05, 0.05, 0.02)),
    "boolean_functions": (xor(0.74, 0.3, 0.9), xor(0.9, 0.5, 0.4), xor(0.76, 0.5, 0.6)),
}
"""True, false, undecided; a computation has no third."""
