"""The share of seeds that solve XOR over width and batch size; the loss between solutions."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, judged, share_above
from mlpexp.paper import COLOURS, DASHES, MARKERS, THEORY, Figure, panels, powers_of_two, share_interval
from mlpexp.results import Result

SUCCESS = 0.99
MARGIN = 0.1  # ten seeds in a hundred
SCORE = "accuracy/test"
LINES, POINTS, NARROW = 12, 61, 2
CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
LABELS = np.array([0.0, 1.0, 1.0, 0.0])


def read(run: Result) -> dict[str, Any]:
    """Weights (outputs × inputs, as torch has them) and biases of the narrowest networks, a row, [4 + 2 + 2 + 1]."""
    if run.config.model.width != NARROW or run.status == "diverged":
        return {"weights": None}
    matrices = [one.detach().double().numpy().ravel() for one in run.network().parameters()]
    return {"weights": np.concatenate(matrices)}


def draw(table: pd.DataFrame) -> Figure:
    figure, (shares, slices) = panels(2)
    for number, condition in enumerate(table["condition"].unique()):
        solved = successes(table, str(condition))
        widths = np.array([int(width) for width in solved.columns])
        seen = [share_interval(solved[width]) for width in widths]
        at, colour = widths * 2 ** (0.06 * (number - 1)), COLOURS[number]  # beside each other, not above
        shares.vlines(
            at, [low for _, low, _ in seen], [high for _, _, high in seen], color=colour, label=f"_{condition}"
        )
        middle = [share for share, _, _ in seen]
        shares.plot(at, middle, color=colour, marker=MARKERS[number], linestyle=DASHES[number], label=condition)
    powers_of_two(shares, list(widths))
    shares.set_ylim(-0.05, 1.05)
    shares.set_xlabel("hidden units")
    shares.set_ylabel("share of seeds that solve XOR")
    shares.legend(loc="lower right")
    place = np.linspace(0, 1, POINTS)
    losses = between_solutions(table)
    for row in losses:
        slices.plot(place, row, color=COLOURS[0], alpha=0.3, linewidth=0.7, label="_pair")
    if len(losses):
        slices.plot(place, losses.mean(axis=0), color=COLOURS[0], linewidth=1.8, label=f"mean of {len(losses)} pairs")
    slices.axhline(np.log(2), **THEORY, label="ln 2")
    slices.set_xlabel("place between two solutions (2 hidden units)")
    slices.set_ylabel("loss on the four corners")
    slices.legend(loc="upper right")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    whole, small = successes(table, "m = n"), successes(table, "m = 4")
    narrow, wide = min(whole.columns), max(whole.columns)
    return judged(
        [
            share_above(
                "width_helps",
                f"with gradient descent the share that solves XOR is over ten points larger with {wide} than with "
                f"{narrow} units",
                whole[wide].to_numpy(),
                whole[narrow].to_numpy(),
                MARGIN,
                "the lecture: optimisation is not convex",
            ),
            share_above(
                "noise_helps",
                f"at {narrow} units it is over ten points larger with batches of 4 than with all, at equal updates",
                small[narrow].to_numpy(),
                whole[narrow].to_numpy(),
                MARGIN,
                "the lecture: SGD's noise helps across optima",
            ),
        ]
    )


def successes(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Whether a seed's network solves XOR, [seeds, widths]; one that diverged does not."""
    own = table[table["condition"] == condition]
    solved: pd.DataFrame = own.pivot(index="seed", columns="model.width", values=SCORE).fillna(0.0) >= SUCCESS
    return solved


def between_solutions(table: pd.DataFrame) -> NDArray[np.float64]:
    """Loss on the corners along the lines between neighbouring solutions of gradient descent, [pairs, POINTS]."""
    own = table[(table["condition"] == "m = n") & (table["model.width"] == NARROW) & (table[SCORE] >= SUCCESS)]
    solutions = list(own.sort_values("seed")["weights"].dropna())[: LINES + 1]
    place = np.linspace(0, 1, POINTS)
    pairs = pairwise(solutions)
    rows = [[corner_loss((1 - share) * one + share * other) for share in place] for one, other in pairs]
    return np.array(rows).reshape(-1, POINTS)


def corner_loss(weights: NDArray[np.float64]) -> float:
    """Mean cross-entropy of a network of two tanh units on the four corners of XOR; `weights` as `read` has them."""
    first, shift, second, offset = np.split(weights, [4, 6, 8])
    z = np.tanh(CORNERS @ first.reshape(2, 2).T + shift) @ second + offset
    return float(np.mean(np.logaddexp(0, z) - LABELS * z))
