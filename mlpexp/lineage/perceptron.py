"""Rosenblatt's perceptron: a threshold unit that learns from its mistakes, the bound on them, and where it fails.

Flow: examples → **perceptron** → chapters.

F. Rosenblatt, Psychol. Rev. 65 (1958) 386–408 (the report of 1957); bound: A. Novikoff, Symp. Math. Theory of Automata
12 (1962) 615–622. Inputs carry a 1 in front for the bias, labels are −1 or 1, weights start at zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]

XOR = (np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([-1, 1, 1, -1]))
"""Inputs [4, 2] and labels [4] of the function that no single unit computes."""


@dataclass(frozen=True)
class Course:
    """What became of the weights: `path` [M + 1, q + 1] at the start and after each mistake; `mistakes` [T] a pass.

    `cycle` is (passes until the weights were first seen, passes until they came back): from there they go round for
    ever. None where the rule came to rest, or where its passes ran out.
    """

    path: Floats
    mistakes: NDArray[np.int64]
    cycle: tuple[int, int] | None

    @property
    def converged(self) -> bool:
        """Whether a whole pass went by without a mistake."""
        return bool(self.mistakes[-1] == 0)


def with_bias(inputs: Floats) -> Floats:
    """A column of ones before the inputs, [n, q + 1]."""
    return np.column_stack([np.ones(len(inputs)), inputs])


def learn(inputs: Floats, labels: NDArray[np.int64], passes: int = 1000) -> Course:
    """Show all examples in turn until none is mistaken: where y w·x ≤ 0, w ← w + y x.

    `inputs` [n, q] without the bias, `labels` [n] of −1 and 1. Ends early where the weights at the end of a pass have
    been there before: the examples come in the same order, so everything repeats.
    """
    x = with_bias(inputs) * labels[:, None]
    w = np.zeros(x.shape[1])
    path, mistakes, seen, cycle = [w.copy()], list[int](), {w.tobytes(): 0}, None
    for _ in range(passes):
        before = len(path)
        for example in x:
            if example @ w <= 0:
                w = w + example
                path.append(w)
        mistakes.append(len(path) - before)
        if mistakes[-1] == 0:
            break
        first = seen.setdefault((w + 0.0).tobytes(), len(mistakes))  # + 0.0 makes −0 a 0
        if first < len(mistakes):
            cycle = first, len(mistakes)
            break
    return Course(np.array(path), np.array(mistakes), cycle)


def accuracy(weights: Floats, inputs: Floats, labels: NDArray[np.int64]) -> float:
    """Share of examples on their own side; w·x = 0 is on neither."""
    return float((labels * (with_bias(inputs) @ weights) > 0).mean())


def best_accuracy(inputs: Floats, labels: NDArray[np.int64]) -> float:
    """The largest share of a few examples that any single unit gets right: all 2ⁿ ways to be wrong are tried."""
    n = len(labels)
    wrongs = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(bool)
    possible = [w.mean() for w in wrongs if widest_margin(inputs, np.where(w, -labels, labels))[0] > 0]
    return 1.0 - float(min(possible))


def widest_margin(inputs: Floats, labels: NDArray[np.int64]) -> tuple[float, Floats]:
    """γ = max over ‖w‖ = 1 of min y w·x, bias included, and that w [q + 1]; (0, 0) where no w separates.

    Lawson & Hanson, Solving Least Squares Problems (1974), ch. 23: min ‖w‖ subject to y w·x ≥ 1 is a non-negative
    least-squares problem, and γ = 1/‖w‖.
    """
    x = with_bias(inputs) * labels[:, None]
    scale = np.linalg.norm(x, axis=1).max()
    target = np.zeros(x.shape[1] + 1)
    target[-1] = 1.0
    lifted = np.vstack([x.T / scale, np.ones(len(x))])
    multipliers, _ = nnls(lifted, target, maxiter=30 * len(x))
    residual = lifted @ multipliers - target
    if -residual[-1] < 1e-10:
        return 0.0, np.zeros(x.shape[1])
    w = residual[:-1] / -residual[-1]
    margin = float((x @ w).min() / np.linalg.norm(w))
    return (margin, w / np.linalg.norm(w)) if margin > 0 else (0.0, np.zeros(x.shape[1]))


def novikoff_bound(inputs: Floats, labels: NDArray[np.int64]) -> float:
    """(R/γ)², which the number of mistakes never exceeds; infinite where the examples cannot be separated."""
    margin, _ = widest_margin(inputs, labels)
    radius = np.linalg.norm(with_bias(inputs), axis=1).max()
    return float((radius / margin) ** 2) if margin else float("inf")


def clouds(seed: int, examples: int, gap: float) -> tuple[Floats, NDArray[np.int64]]:
    """Points of the unit disc, [n, 2], at least `gap` from a random line through it, labelled by their side of it.

    The first two lie on different sides.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    angle, offset = generator.uniform(0, 2 * np.pi), generator.uniform(-0.3, 0.3)
    normal = np.array([np.cos(angle), np.sin(angle)])
    found: list[Floats] = []
    while len(found) < examples:
        radius, turn = np.sqrt(generator.random()), generator.uniform(0, 2 * np.pi)
        point = radius * np.array([np.cos(turn), np.sin(turn)])
        height = point @ normal - offset
        if abs(height) >= gap and (len(found) != 1 or height * (found[0] @ normal - offset) < 0):
            found.append(point)
    inputs = np.array(found)
    return inputs, np.where(inputs @ normal > offset, 1, -1)
