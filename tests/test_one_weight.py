"""A network of one weight and one example, trained through everything, against the lecture's equations by hand."""

import math
from collections.abc import Callable
from unittest import mock

import histories
import numpy as np
import pytest

from mlpexp import lanes as lanes_module
from mlpexp.data import Dataset, Part, Parts

X, Y, STEPS = 0.8, 1.7, 100


def trained(*overrides: str) -> float:
    """w after 100 updates from 0.5, of the loss (y − wx)²."""
    rows = np.full((3, 1), X), np.full((3, 1), Y)
    part = Part(rows[0][:1], rows[1][:1])
    parts = Parts(Dataset("made_up", "regression", *rows, ()), part, part, part, np.zeros(1), np.ones(1))
    config = histories.composed(
        "data=diabetes", "model.depth=1", "model.bias=false", "training.loss=mse", "training.dtype=float64",
        "training.sampler=full", f"training.updates={STEPS}", "training.epochs=null", "training.restore=final",
        "measurements=none", *overrides,
    )  # fmt: skip
    with mock.patch.object(lanes_module, "prepare", return_value=parts):
        plan, lanes = lanes_module.build([config])
    lanes.network.parameters.fill_(0.5)
    (history,) = histories.of(plan, lanes).values()
    return float(history.ending.final[0])


def by_hand(step: Callable[[float, float, int], float]) -> float:
    """The same w, where `step(w, g, t)` is what is added to it."""
    w = 0.5
    for t in range(1, STEPS + 1):
        w += step(w, 2 * (w * X - Y) * X, t)
    return w


def adam(decay: float = 0.0, inside: bool = False, rate: Callable[[int], float] = lambda t: 0.01) -> float:
    state = [0.0, 0.0]

    def step(w: float, g: float, t: int) -> float:
        state[0] = 0.9 * state[0] + 0.1 * g
        state[1] = 0.999 * state[1] + 0.001 * g * g
        m, v = state[0] / (1 - 0.9**t), state[1] / (1 - 0.999**t)
        floor = math.sqrt(v + 1e-8) if inside else math.sqrt(v) + 1e-8
        return -rate(t) * m / floor - rate(t) * decay * w

    return by_hand(step)


def test_adamw_decays_the_weight_beside_its_rule() -> None:
    found = trained("optimizer=adamw", "optimizer.learning_rate=0.01", "optimizer.weight_decay=0.3")
    assert found == pytest.approx(adam(decay=0.3), rel=1e-12)
    assert found != pytest.approx(adam(), rel=1e-3)


def test_adam_with_epsilon_inside_is_the_lectures() -> None:
    found = trained("optimizer=adam", "optimizer.learning_rate=0.01", "optimizer.epsilon_placement=inside")
    assert found == pytest.approx(adam(inside=True), rel=1e-12)


def test_a_cosine_with_warm_up_scales_the_rate() -> None:
    found = trained("optimizer=adam", "optimizer.learning_rate=0.01", "training.schedule=cosine", "training.warm_up=10")

    def rate(t: int) -> float:
        return 0.01 * (t / 10 if t <= 10 else (1 + math.cos(math.pi * (t - 11) / (STEPS - 10))) / 2)

    assert found == pytest.approx(adam(rate=rate), rel=1e-12)


def test_l2_is_in_the_gradient_and_clipping_comes_after_it() -> None:
    words = ("optimizer=gradient_descent", "optimizer.learning_rate=0.01", "training.l2=0.2", "training.clip_norm=0.5")

    def step(w: float, g: float, t: int) -> float:
        penalised = g + 0.2 * w
        return -0.01 * penalised * min(1.0, 0.5 / abs(penalised))

    assert trained(*words) == pytest.approx(by_hand(step), rel=1e-12)


def test_single_precision_is_not_what_is_compared_here() -> None:
    assert trained("optimizer=adam", "training.dtype=float32") != trained("optimizer=adam")
